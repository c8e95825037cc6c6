package k8sretry

import (
	"context"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
)

// nextDelay is how long to wait before the next attempt, or why there is no time for it.
// If only the jitter makes a delay too long for the time that is left, nextDelay draws another
// one that fits.
func (p *progress) nextDelay(c *config, ctx context.Context, retry int, v *Verdict) (time.Duration, StopReason) {
	left, why := p.timeLeft(c, ctx)
	d, least := c.delay(p, retry, v, why != StopNone)
	if least > left {
		return 0, why
	}
	return delay.Within(d, least, left), StopNone
}

// timeLeft is how long the call may wait before its next attempt, and what bounds it:
// StopNone for nothing.
func (p *progress) timeLeft(c *config, ctx context.Context) (left time.Duration, why StopReason) {
	left = math.MaxInt64
	if limit := c.duration(numMaxElapsed); limit > 0 {
		left, why = limit-(now()-p.began), StopMaxElapsed
	}
	if deadline, ok := ctx.Deadline(); ok {
		if until := time.Until(deadline) - 1; until < left { // an attempt at the deadline is too late
			left, why = until, StopDeadline
		}
	}
	return left, why
}

// delay is how long to wait before the next attempt, as drawn, and the least that could have
// been drawn, if the wait is bounded. This is where a 429 becomes a wait: the Retry-After of
// the server is a floor under every schedule.
func (c *config) delay(p *progress, retry int, v *Verdict, bounded bool) (d, least time.Duration) {
	if own := c.ownBackoff(v.Class); own != nil {
		d = max(0, own(retry))
		least = d // what is spread in it is not known
	} else if conflict := c.safeWrite.conflict(); conflict > 0 {
		d = conflictDelay.Delay(conflict) // its least is 0
	} else if c.limiter != nil && c.given&(1<<numJitter) == 0 && v.Class != ClassDisruptionBudget {
		d, least = c.delayByCause(p, retry, v)
	} else {
		e, factor := c.scheduleFor(v)
		d = e.Scaled(retry, factor)
		if bounded {
			least = e.Least(retry, factor)
		}
	}
	exact := Jitter(c.numbers[numJitter]) == JitterNone
	return delay.AtLeast(d, v.RetryAfter, exact), max(least, v.RetryAfter)
}

// scheduleFor is the schedule after a failure, and the factor that applies to it.
func (c *config) scheduleFor(v *Verdict) (delay.Exponential, float64) {
	e := c.schedule()
	switch {
	case v.Class == ClassDisruptionBudget:
		return Exponential{disruptionDelay.Initial, min(disruptionDelay.Max, e.Max), disruptionDelay.Multiplier, e.Jitter}.schedule(), 1
	case v.Class == ClassThrottled && v.RetryAfter > 0:
		return e.schedule(), 1
	}
	return e.schedule(), classFactor(v.Class)
}

// ownBackoff is the caller's Backoff for a class, nil if there is none.
func (c *config) ownBackoff(class Class) func(int) time.Duration {
	if int(class) < len(c.backoffFor) && c.backoffFor[class] != nil {
		return c.backoffFor[class]
	}
	return c.backoff
}

// delayByCause returns the delay before a retry of a call with a limiter. If the cause is load,
// the retry must not come before the delay of the schedule. If the failure is random, an early
// retry is better, as long as most attempts succeed.
func (c *config) delayByCause(p *progress, retry int, v *Verdict) (drawn, least time.Duration) {
	schedule := c.schedule()
	schedule.Jitter = JitterNone
	d := float64(schedule.Delay(retry))
	limit := max(0, schedule.withDefaults().Max)
	if v.Class == ClassServer {
		if p.failing = min(p.failing+1, randomFailures+1); p.failing <= randomFailures {
			if v.RetryAfter == 0 && c.limiter.calls.Quick() {
				d /= quickPart
			}
			return delay.Clamp(delay.Between(0, d), limit), 0
		}
	}
	high := min(2*d, float64(limit))
	if d >= high { // the cap applies before the jitter, which does not end at the cap
		d = high / 2
	}
	return delay.Clamp(delay.Between(d, high), limit), delay.Clamp(d, limit)
}

const (
	randomFailures = 3  // 5xx of one call; the fourth is not random
	quickPart      = 10 // of the delay, see limiter.Calls.Quick
)
