// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/limiter"
)

// nextDelay is how long to wait before the next attempt, or why there is no time for it.
// If only the jitter makes a delay too long for the time that is left, nextDelay draws another
// one that fits.
func (p *progress) nextDelay(c *config, ctx context.Context, retry int, v *Verdict) (time.Duration, StopReason) {
	left, why := p.timeLeft(c, ctx)
	d, least := c.delay(retry, v, why != StopNone, p.isLimited(c))
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
func (c *config) delay(retry int, v *Verdict, bounded, limited bool) (d, least time.Duration) {
	if own := c.ownBackoff(v.Class); own != nil {
		d = max(0, own(retry))
		least = d // what is spread in it is not known
	} else if conflict := c.safeWrite.conflict(); conflict > 0 {
		d = conflictDelay.Delay(conflict) // its least is 0
	} else if c.limiter != nil && c.given&(1<<numJitter) == 0 && v.Class != ClassDisruptionBudget && (limited || v.Class == ClassServer) {
		d, least = c.delayByCause(retry, v)
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

// isLimited reports whether a limiter limits calls like this one.
func (p *progress) isLimited(c *config) bool {
	if c.limiter == nil {
		return false
	}
	scope, _, _ := c.limiter.calls.Why(p.kind)
	return scope != limiter.NoScope
}

// delayByCause returns the delay before a retry of a call with a limiter. If the cause is load,
// which the limiter has found, the retry must not come before the delay of the schedule. A 5xx
// may be random, and then an early retry is better.
func (c *config) delayByCause(retry int, v *Verdict) (drawn, least time.Duration) {
	schedule := c.schedule()
	schedule.Jitter = JitterNone
	d := float64(schedule.Delay(retry))
	limit := max(0, schedule.withDefaults().Max)
	if v.Class == ClassServer {
		return delay.Clamp(delay.Between(0, d), limit), 0
	}
	high := min(2*d, float64(limit))
	if d >= high { // the cap applies before the jitter, which does not end at the cap
		d = high / 2
	}
	return delay.Clamp(delay.Between(d, high), limit), delay.Clamp(d, limit)
}

// usualAttempt is how long an attempt may take without a timeout of its own, for the default of
// WithMaxQueueTime.
const usualAttempt = 10 * time.Second

// queueTimeout is how long the call may be queued, all its attempts together.
func (c *config) queueTimeout() time.Duration {
	if c.given&(1<<numMaxQueueTime) != 0 {
		return c.duration(numMaxQueueTime)
	}
	attempt := c.duration(numAttemptTimeout)
	if attempt == 0 || c.given&(1<<numAttemptTimeout) == 0 { // that of a Transport may not be given
		attempt = usualAttempt
	}
	attempts := (float64(c.maxRetries()) + 1) * float64(attempt)
	return delay.Clamp(attempts+c.schedule().schedule().Sum(c.maxRetries()), math.MaxInt64)
}

// passLimiter waits in the queue of the limiter if necessary.
func (p *progress) passLimiter(c *config, ctx context.Context, last error) error {
	var ok bool
	if p.turn.ticket, ok = c.limiter.calls.EnterFast(p.kind); ok {
		return nil
	}
	timeout, why := c.queueTimeout()-p.queued, StopQueueTimeout
	if limit := c.duration(numMaxElapsed); limit > 0 {
		if left := limit - (now() - p.began); left < timeout {
			timeout = left
			if deadline, ok := ctx.Deadline(); !ok || left < time.Until(deadline) {
				why = StopMaxElapsed
			}
		}
	}
	t, queued, ok := p.enterQueue(c, ctx, timeout)
	p.turn.ticket = t
	p.queued += queued
	if p.waiting != 0 {
		p.waiting += queued // it is counted
	}
	if ok {
		return nil
	}
	p.abandon(c)
	if ended := ctxerr.Of(ctx); ended != nil && endOf(ctx) == StopCanceled {
		why = StopCanceled
	} else if ended != nil {
		why = StopQueueTimeout
	}
	scope, wait, cause := c.limiter.calls.Why(p.kind)
	if last == nil {
		last = cause
	}
	p.turn.scope = LimiterScope(scope)
	return p.refuse(c, ctx, why, wait, last)
}

// noticeAfter is how long a call is queued before it says so.
const noticeAfter = time.Second

// enterQueue enters the limiter. A call that is queued for long says so.
func (p *progress) enterQueue(c *config, ctx context.Context, timeout time.Duration) (t limiter.Ticket, queued time.Duration, ok bool) {
	if timeout <= noticeAfter || !c.hears(ctx, EventQueued, StopNone) {
		return c.limiter.calls.Enter(ctx, p.kind, timeout)
	}
	t, queued, ok, waiter := c.limiter.calls.EnterFor(ctx, p.kind, timeout, noticeAfter)
	if waiter == nil {
		return t, queued, ok
	}
	panicked := true // unless the rest is reached
	defer func() {
		if panicked {
			waiter.Abandon()
		}
	}()
	p.emitQueued(c, ctx, queued)
	panicked = false
	return waiter.Wait()
}

// waitBelow decides what follows an attempt that a Transport below has not started, because its
// queue was too long for the time that it had: that was no attempt. The call waits for the rest
// of the pause, for no longer than it may be queued. That includes the time of another such attempt
// that follows.
func (p *progress) waitBelow(c *config, ctx context.Context, inner *Error) error {
	p.attempts--
	at := now()
	if p.waiting != 0 {
		p.queued += at - p.waiting
	}
	p.waiting = at
	v := &p.verdict
	v.Class, v.Outcome, v.RetryAfter = ClassThrottled, OutcomeNotExecuted, inner.RetryAfter
	p.outcome = max(p.outcome, c.safeWrite.known())
	d, why := p.nextDelay(c, ctx, 1, v)
	if why == StopNone && d > c.queueTimeout()-p.queued {
		why = StopQueueTimeout
	}
	if why == StopNone {
		limiter.Waits(ctx, d)
		p.delay = d
		p.queued += d
		p.waiting += d
		return nil
	}
	last := p.last
	if last == nil {
		last = inner.Err
	}
	p.turn.scope, p.turn.leftQueue = inner.Scope, true
	return p.stop(c, ctx, why, v, last)
}

// neverStarted reports whether the error is that of a call that ended in a queue before its
// first attempt.
func (e *Error) neverStarted() bool { return e != nil && e.Attempts == 0 && e.endedInQueue() }

// waitTurn makes a safe write wait for its turn, for as long as the call may take. It returns what
// timeLeft does after that.
func (p *progress) waitTurn(c *config, ctx context.Context) (left time.Duration, why StopReason) {
	bounded := ctx
	if left, why := p.timeLeft(c, ctx); why == StopMaxElapsed {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctxerr.Parent(ctx), left)
		defer cancel()
	}
	c.safeWrite.waitTurn(bounded)
	return p.timeLeft(c, ctx)
}
