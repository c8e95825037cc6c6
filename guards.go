package k8sretry

import (
	"context"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/breaker"
	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/limiter"
)

// This file is how a call uses its Budget, Breaker and Limiter.
//
// The escape rule: nothing that is read from the options of a call may escape, or the compiler
// puts the options on the heap and each call allocates. What escapes, in its view:
//
//   - the receiver of a method that takes a mutex, calls a method of an interface, or returns
//     a pointer that it holds;
//   - what is stored through a pointer, and each field of a value of which another field
//     escapes.
//
// What does not: calling a func. So the guards offer their methods as structs of bound funcs
// (budget.Calls, breaker.Calls, limiter.Calls), made once with the value. The call path uses
// only those. For the same reason options hold behavior as funcs (options.go), config values are
// returned rather than filled in, and progress does not hold the config (retry.go).
// TestNoAllocation verifies it for each option; go build -gcflags=-m shows where it is broken:
// "leaking param content: opts".

// usualAttempt is how long an attempt may take without a timeout of its own, for the default of
// WithMaxQueueTime.
const usualAttempt = 10 * time.Second

// queueTimeout is how long the call may be queued, all its attempts together.
func (c *config) queueTimeout() time.Duration {
	if c.set&setMaxQueueTime != 0 {
		return c.maxWait
	}
	attempt := c.attempt
	if attempt == 0 {
		attempt = usualAttempt
	}
	schedule := c.exponential.withDefaults()
	schedule.Jitter = JitterNone
	total := float64(attempt)
	for retry := 1; retry <= c.maxRetries && total < math.MaxInt64/2; retry++ {
		d := schedule.Delay(retry)
		if retry > 64 { // the delays no longer grow
			return delay.Clamp(total+float64(c.maxRetries-retry+1)*(float64(d)+float64(attempt)), math.MaxInt64)
		}
		total += float64(d) + float64(attempt)
	}
	return delay.Clamp(total, math.MaxInt64)
}

// turn is what an attempt holds of breaker and limiter and must give back; and how it ended, if
// fn did not decide that.
type turn struct {
	ticket   limiter.Ticket
	admitted bool // by the breaker
	probe    bool
	heldBack bool   // the call ends in the queue of the limiter
	timedOut bool   // by the attempt timeout
	epoch    uint32 // of the breaker
}

func (t *turn) admission() breaker.Admission {
	return breaker.Admission{Probe: t.probe, Epoch: t.epoch}
}

func (t *turn) taken() bool { return t.admitted || t.ticket.Valid() }

// guarded reports whether attempts have to be admitted.
func (c *config) guarded() bool { return c.breaker != nil || c.usesLimiter() }

// usesLimiter reports whether attempts pass the limiter: watches do not.
func (c *config) usesLimiter() bool { return c.limiter != nil && c.verb != VerbWatch }

// limiterKey identifies calls that usually take equally long, 0 if that is not known. The name of
// a call identifies them, and so does a wrapped function. A verb alone does not: a LIST of
// everything takes longer than one of a few objects.
func (c *config) limiterKey() uint32 {
	switch {
	case c.name != "":
		return keyOf(c.name)
	case c.pc != 0:
		return max(1, uint32(c.pc)*2654435769)
	}
	return 0
}

// keyOf returns a number for a name, never 0.
func keyOf(name string) uint32 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return max(h, 1)
}

// admit asks breaker and limiter whether the next attempt may start, and waits in the queue of
// the limiter if necessary. It returns the error that ends the call if the attempt may not. last
// is the error of the previous attempt.
//
//go:noinline // its frame must not be part of a call that waits between attempts
func (p *progress) admit(c *config, ctx context.Context, last error) error {
	if c.breaker != nil {
		a := c.breaker.enter()
		if !a.Admitted() {
			if last == nil {
				last = c.breaker.lastError()
			}
			return p.refuse(c, ctx, StopBreakerOpen, a.Wait, last)
		}
		p.turn.admitted, p.turn.probe, p.turn.epoch = true, a.Probe, a.Epoch
		if a.Changed {
			p.reportHalfOpen(c, ctx)
		}
	}
	if !c.usesLimiter() {
		return nil
	}
	timeout, why := c.queueTimeout()-p.held, StopQueueTimeout
	if c.maxElapsed > 0 {
		if left := c.maxElapsed - (now() - c.began); left < timeout {
			timeout = left
			if deadline, ok := ctx.Deadline(); !ok || left < time.Until(deadline) {
				why = StopMaxElapsed
			}
		}
	}
	t, queued, ok := c.limiter.calls.Enter(ctx, timeout)
	p.turn.ticket = t
	p.held += queued
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

// reportHalfOpen emits the event for the first attempt of a half-open breaker. If an observer
// panics, the attempt is given back.
func (p *progress) reportHalfOpen(c *config, ctx context.Context) {
	returned := false
	defer func() {
		if !returned {
			p.abandon(c)
		}
	}()
	p.changed(c, ctx, Event{Kind: EventBreaker, Breaker: BreakerHalfOpen}, nil)
	returned = true
}

// refuse ends a call whose next attempt was not admitted.
func (p *progress) refuse(c *config, ctx context.Context, why StopReason, wait time.Duration, last error) error {
	v := p.verdict
	if p.attempts == 0 && last != nil {
		v = Classify(last) // of another call
		v.Outcome = OutcomeNotExecuted
	}
	if why == StopBreakerOpen {
		v.RetryAfter = wait // it includes the Retry-After of the server
	}
	p.turn.heldBack = why != StopBreakerOpen
	return p.stop(c, ctx, why, &v, last)
}

// report gives back what the attempt holds, with what its end says about the server.
func (p *progress) report(c *config, ctx context.Context, h health.Health, retryAfter time.Duration, err error) {
	var switched, turned, limited bool
	var state BreakerState
	if p.turn.admitted {
		p.turn.admitted = false
		switched, state = c.breaker.leave(p.turn.admission(), h, retryAfter, err)
	}
	if ticket := p.turn.ticket; ticket.Valid() {
		p.turn.ticket = limiter.Ticket{}
		timeout := c.attempt
		if timeout == 0 && h == health.Unknown && endOf(ctx) == StopDeadline {
			timeout = limiter.NeverLate // the deadline of the caller has passed
		}
		turned, limited = c.limiter.calls.Leave(ticket, h, c.key, timeout, retryAfter)
	}
	if switched {
		p.changed(c, ctx, Event{Kind: EventBreaker, Breaker: state}, err)
	}
	if turned {
		p.changed(c, ctx, Event{Kind: EventLimiter, Limited: limited}, err)
	}
}

// abandon gives back what an attempt holds whose end says nothing about the server.
func (p *progress) abandon(c *config) {
	if p.turn.admitted {
		p.turn.admitted = false
		c.breaker.leave(p.turn.admission(), health.Unknown, 0, nil)
	}
	if ticket := p.turn.ticket; ticket.Valid() {
		p.turn.ticket = limiter.Ticket{}
		c.limiter.calls.Leave(ticket, health.Unknown, c.key, 0, 0)
	}
}

// health returns what a failed attempt says about the server.
func (p *progress) health(ctx context.Context, v *Verdict) health.Health {
	if v.StatusCode == 0 && ctx.Err() != nil {
		return health.Unknown // the caller has canceled or timed out
	}
	switch p.inner {
	case StopBreakerOpen, StopQueueTimeout, StopBudgetExhausted:
		return health.Unknown // nothing was sent
	}
	return v.health()
}

// budget returns what the retries of the call are paid from, nil if from none.
func (p *progress) budget(c *config) *Budget {
	if c.budget != nil {
		return c.budget
	}
	return p.wire.lent()
}

// spend charges for the time that the call has spent on retries since the last charge.
func (p *progress) spend(b *Budget) {
	if p.attempts > 1 {
		if spent := now() - p.failed - p.charged; spent > 0 {
			b.spend(spent)
			p.charged += spent
		}
	}
}

// delayByCause returns the delay before a retry of a call with a limiter. If the cause is load,
// the retry must not come before the delay of the schedule. If the failure is random, an early
// retry is better, as long as most attempts succeed.
func (c *config) delayByCause(p *progress, retry int, v *Verdict) time.Duration {
	schedule := c.exponential
	schedule.Jitter = JitterNone
	d := float64(schedule.Delay(retry))
	limit := max(0, schedule.withDefaults().Max)
	if v.Class == ClassServer {
		if p.failing = min(p.failing+1, randomFailures+1); p.failing <= randomFailures {
			if v.RetryAfter == 0 && c.limiter.calls.Quick() {
				d /= quickPart
			}
			return delay.Clamp(delay.Between(0, d), limit)
		}
	}
	high := min(2*d, float64(limit))
	if d >= high { // the cap applies before the jitter, which does not end at the cap
		d = high / 2
	}
	return delay.Clamp(delay.Between(d, high), limit)
}

const (
	randomFailures = 3  // 5xx of one call; the fourth is not random
	quickPart      = 10 // of the delay, see limiter.Calls.Quick
)
