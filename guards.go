package k8sretry

import (
	"context"
	"math"
	"time"
)

// usualAttempt is how long an attempt may take without a timeout of its own, for
// WithMaxQueueTime.
const usualAttempt = 10 * time.Second

// patience is how long the call may wait in line.
func (c *config) patience() time.Duration {
	if c.given&(1<<numMaxQueueTime) != 0 {
		return c.duration(numMaxQueueTime)
	}
	attempt := c.duration(numAttemptTimeout)
	if attempt == 0 {
		attempt = usualAttempt
	}
	schedule := c.schedule().withDefaults()
	schedule.Jitter = JitterNone
	patience := float64(attempt)
	for retry := 1; retry <= c.maxRetries() && patience < math.MaxInt64/2; retry++ {
		delay := schedule.Delay(retry)
		if retry > 64 { // it no longer grows
			return duration(patience+float64(c.maxRetries()-retry+1)*(float64(delay)+float64(attempt)), math.MaxInt64)
		}
		patience += float64(delay) + float64(attempt)
	}
	return duration(patience, math.MaxInt64)
}

// turn is what an attempt holds of breaker and gate, and gives back; and how it ended, if
// that was not by its own doing.
type turn struct {
	ticket   ticket
	admitted bool // by the breaker
	probe    bool
	heldBack bool   // by the gate, to the end
	timedOut bool   // by the attempt timeout
	epoch    uint32 // of the breaker; 0 if it was calm
}

func (t *turn) admission() admission { return admission{ok: true, probe: t.probe, epoch: t.epoch} }

func (t *turn) taken() bool { return t.admitted || t.ticket.held }

// guarded reports whether attempts have to ask somebody.
func (c *config) guarded() bool { return c.breaker != nil || c.gated() }

// gated reports whether attempts pass a gate: what is meant to last does not.
func (c *config) gated() bool { return c.limiter != nil && c.verb() != VerbWatch }

// admit asks breaker and gate for the next attempt, and returns the error that ends the
// call if there is none. last is the error of the attempt before.
//
//go:noinline // its frame must not be part of a call that waits between attempts
func (p *progress) admit(c *config, ctx context.Context) error {
	last := p.last
	p.last = nil // it is last that a stop reports
	if p.attempts > 0 {
		if c.safeWrite != nil && c.safeWrite.waitTurn != nil {
			c.safeWrite.waitTurn(ctx)
		}
		if ctx.Err() != nil { // it may have ended during the wait
			return p.stop(c, ctx, endOf(ctx), &p.verdict, last)
		}
	}
	if c.guarded() {
		if stopped := p.passGuards(c, ctx, last); stopped != nil {
			return stopped
		}
	}
	p.last = last
	return nil
}

// passGuards asks breaker and limiter for the next attempt.
func (p *progress) passGuards(c *config, ctx context.Context, last error) error {
	if c.breaker != nil {
		a := c.breaker.enter()
		if !a.ok {
			if last == nil {
				last = c.breaker.last()
			}
			return p.refuse(c, ctx, StopBreakerOpen, a.wait, last)
		}
		p.turn.admitted, p.turn.probe, p.turn.epoch = true, a.probe, a.epoch
		if a.changed {
			p.probes(c, ctx)
		}
	}
	if !c.gated() {
		return nil
	}
	patience, why := c.patience()-p.queued, StopQueueTimeout
	if limit := c.duration(numMaxElapsed); limit > 0 {
		if left := limit - (now() - p.began); left < patience {
			patience = left
			if deadline, ok := ctx.Deadline(); !ok || left < time.Until(deadline) {
				why = StopMaxElapsed
			}
		}
	}
	t, held, ok := c.limiter.calls.enter(ctx, patience)
	p.turn.ticket = t
	p.queued += held
	if ok {
		return nil
	}
	p.abandon(c)
	if ctx.Err() != nil && endOf(ctx) == StopCanceled {
		why = StopCanceled
	} else if ctx.Err() != nil {
		why = StopQueueTimeout
	}
	return p.refuse(c, ctx, why, 0, last)
}

// probes tells that the attempt is the first one of a half-open breaker. Its place is given
// back if a listener panics.
func (p *progress) probes(c *config, ctx context.Context) {
	told := false
	defer func() {
		if !told {
			p.abandon(c)
		}
	}()
	p.changed(c, ctx, Event{Kind: EventBreaker, Breaker: BreakerHalfOpen})
	told = true
}

// refuse ends a call whose attempt was not let through.
func (p *progress) refuse(c *config, ctx context.Context, why StopReason, wait time.Duration, last error) error {
	v := p.verdict
	if p.attempts == 0 && last != nil {
		v = Classify(last) // of another call
		v.Outcome = OutcomeNotExecuted
	}
	if why == StopBreakerOpen {
		v.RetryAfter = wait // what the server once asked for is in it, and passes
	}
	p.turn.heldBack = why != StopBreakerOpen
	return p.stop(c, ctx, why, &v, last)
}

// report gives back what the attempt held, and tells how the server was.
func (p *progress) report(c *config, ctx context.Context, h health, retryAfter time.Duration, err error) {
	var switched, turned, limited bool
	var state BreakerState
	if p.turn.admitted {
		p.turn.admitted = false
		switched, state = c.breaker.leave(p.turn.admission(), h, retryAfter, err)
	}
	if p.turn.ticket.held {
		p.turn.ticket.held = false
		timeout := c.duration(numAttemptTimeout)
		if timeout == 0 && h == unsaid && endOf(ctx) == StopDeadline {
			timeout = longAnyway // the caller's own has passed
		}
		turned, limited = c.limiter.calls.leave(p.turn.ticket, h, c.limiterKey, timeout, retryAfter)
	}
	if switched {
		p.changed(c, ctx, Event{Kind: EventBreaker, Breaker: state, Err: err})
	}
	if turned {
		p.changed(c, ctx, Event{Kind: EventLimiter, Limited: limited, Err: err})
	}
}

// abandon gives back what an attempt held that has told nothing.
func (p *progress) abandon(c *config) {
	if p.turn.admitted {
		p.turn.admitted = false
		c.breaker.leave(p.turn.admission(), unsaid, 0, nil)
	}
	if p.turn.ticket.held {
		p.turn.ticket.held = false
		c.limiter.calls.leave(p.turn.ticket, unsaid, c.limiterKey, 0, 0)
	}
}

// health is what a failed attempt tells about the server.
func (p *progress) health(ctx context.Context, v *Verdict) health {
	if v.StatusCode == 0 && ctx.Err() != nil {
		return unsaid // the caller has left, for whatever reason
	}
	switch p.inner {
	case StopBreakerOpen, StopQueueTimeout, StopBudgetExhausted:
		return unsaid // it did not ask
	}
	return v.health()
}

// budget is what the retries of the call are paid from, nil if from none.
func (p *progress) budget(c *config) *Budget {
	if c.budget != nil {
		return c.budget
	}
	return p.record.lent()
}

// spend counts the time that a call has spent on retrying since it was last asked.
func (p *progress) spend(b *Budget) {
	if p.attempts > 1 {
		if spent := now() - p.failedAt - p.charged; spent > 0 {
			b.spend(spent)
			p.charged += spent
		}
	}
}

// delayByCause is the delay before a retry of a call with a gate. Where the load is the
// cause, attempts must outlast it and never come before the delay of the schedule; where
// chance is, the sooner the better, for as long as most attempts succeed.
func (c *config) delayByCause(p *progress, retry int, v *Verdict) time.Duration {
	schedule := c.schedule()
	schedule.Jitter = JitterNone
	d := float64(schedule.Delay(retry))
	limit := max(0, schedule.withDefaults().Max)
	if v.Class == ClassServer {
		if p.failing = min(p.failing+1, byChance+1); p.failing <= byChance {
			if v.RetryAfter == 0 && c.limiter.calls.quick() {
				d /= quickPart
			}
			return duration(between(0, d), limit)
		}
	}
	high := min(2*d, float64(limit))
	if d >= high { // the cap goes before the spread, and the spread goes on at the cap
		d = high / 2
	}
	return duration(between(d, high), limit)
}

const (
	byChance  = 3  // 5xx of a call may be; the fourth is not
	quickPart = 10 // of the delay, for a retry that successes have paid for
)
