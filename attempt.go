// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"time"

	"github.com/k8sretry/k8sretry/internal/attemptctx"
	"github.com/k8sretry/k8sretry/internal/breaker"
	"github.com/k8sretry/k8sretry/internal/ctxerr"
	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/limiter"
)

// This file makes one attempt: admission by breaker and limiter, the context of the attempt, fn,
// and the report of how it ended. The methods of Budget, Breaker and Limiter are used as bound
// funcs only (budget.Calls, breaker.Calls, limiter.Calls): see the escape rule in config.go.

// turn is what an attempt holds of breaker and limiter and must give back; and how it ended, if fn
// did not decide that.
type turn struct {
	ticket    limiter.Ticket
	admitted  bool // by the breaker
	probe     bool
	leftQueue bool         // the call ends in the queue of the limiter
	scope     LimiterScope // of the limits for which it waited
	timedOut  bool         // by the attempt timeout
	epoch     uint32       // of the breaker
}

func (t *turn) admission() breaker.Admission {
	return breaker.Admission{Probe: t.probe, Epoch: t.epoch}
}

func (t *turn) taken() bool { return t.admitted || t.ticket.Valid() }

// guarded reports whether attempts have to be admitted.
func (c *config) guarded() bool { return c.breaker != nil || c.limited() }

// limited reports whether attempts pass the limiter: watches and calls with priority do not.
func (c *config) limited() bool {
	return c.limiter != nil && c.verb() != VerbWatch && c.numbers[numPriority] == 0
}

// admit prepares the next attempt. It returns the error that ends the call if the attempt may not
// start.
//
//go:noinline // its frame must not be part of a call that waits between attempts
func (p *progress) admit(c *config, ctx context.Context) error {
	last := p.last
	p.last = nil // a stop reports last, not p.last
	if p.attempts > 0 {
		if c.safeWrite != nil && c.safeWrite.waitTurn != nil {
			if left, why := p.waitTurn(c, ctx); left <= 0 && why == StopMaxElapsed {
				return p.stop(c, ctx, why, &p.verdict, last)
			}
		}
		if ctxerr.Of(ctx) != nil { // it may have ended during the wait
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

// passGuards asks breaker and limiter whether the next attempt may start, and waits in the queue
// of the limiter if necessary. last is the error of the previous attempt.
func (p *progress) passGuards(c *config, ctx context.Context, last error) error {
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
	if c.limited() {
		return p.passLimiter(c, ctx, last)
	}
	return nil
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
	p.changed(c, ctx, Event{Kind: EventBreaker, Breaker: BreakerHalfOpen})
	returned = true
}

// refuse ends a call whose next attempt was not admitted.
func (p *progress) refuse(c *config, ctx context.Context, why StopReason, wait time.Duration, last error) error {
	v := p.verdict
	if p.attempts == 0 && last != nil {
		v = Classify(last) // of another call
		v.Outcome = OutcomeNotExecuted
	}
	if why == StopBreakerOpen || p.attempts == 0 {
		v.RetryAfter = wait // it includes the Retry-After of the server
	}
	p.turn.leftQueue = why != StopBreakerOpen
	return p.stop(c, ctx, why, &v, last)
}

// attempt calls fn once, with the context that the options ask for. Breaker and limiter
// have let the attempt through; if fn panics, what they gave is given back here.
func attempt[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress) (T, error) {
	p.count(1)
	timeout := c.duration(numAttemptTimeout)
	if p.record == nil && timeout == 0 && !p.turn.taken() {
		return fn(ctx)
	}
	var bounded *attemptctx.Context
	returned, ok := false, false
	defer func() {
		if !returned { // fn has panicked, or its goroutine exits
			p.abandon(c)
			p.record.close()
		}
		if bounded != nil {
			p.turn.timedOut = bounded.End(ok)
		}
	}()
	if place := p.turn.ticket.Place(); place != nil {
		ctx = limiter.WithPlace(ctx, place)
	}
	if p.record != nil {
		p.record.attempt(int(p.attempts))
		ctx = p.record.context(ctx)
	}
	if timeout > 0 {
		bounded = attemptctx.New(ctx, timeout)
		ctx = bounded
	}
	var v T
	var err error
	if p.record == nil || p.record.transport {
		v, err = fn(ctx)
	} else {
		v, err = recorded(ctx, fn)
	}
	err = p.record.redirected(p.record.reveal(err)) // methods of the error may panic
	returned, ok = true, err == nil || p.record.contextKept()
	return v, err
}

// report gives back what the attempt holds, with what its end says about the server.
func (p *progress) report(c *config, ctx context.Context, h health.Health, retryAfter time.Duration, err error) {
	var switched bool
	var change limiter.Change
	var state BreakerState
	if p.turn.admitted {
		p.turn.admitted = false
		switched, state = c.breaker.leave(p.turn.admission(), h, retryAfter, err)
	}
	if ticket := p.turn.ticket; ticket.Valid() {
		p.turn.ticket = limiter.Ticket{}
		change = c.limiter.calls.Leave(ticket, limiter.End{
			Health: h, RetryAfter: retryAfter, Err: err, TimedOut: h == health.Unknown && errors.Is(ctx.Err(), context.DeadlineExceeded),
		})
	}
	if switched {
		p.changed(c, ctx, Event{Kind: EventBreaker, Breaker: state, Err: err})
	}
	if change != (limiter.Change{}) {
		p.limitsChanged(c, ctx, change, err)
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
		c.limiter.calls.Leave(ticket, limiter.End{})
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
	default:
		return v.health()
	}
}

// budget returns what the retries of the call are paid from, nil if from none.
func (p *progress) budget(c *config) *Budget {
	if c.budget != nil {
		return c.budget
	}
	return p.record.lent()
}

// spend charges for the time that the call has spent on retries since the last charge. It is
// free if the retry is: client-go may have spent all of it waiting.
func (p *progress) spend(b *Budget, price float64) {
	if p.attempts > 1 {
		if spent := now() - p.failedAt - p.charged; spent > 0 {
			if price > 0 {
				b.spend(spent)
			}
			p.charged += spent
		}
	}
}

// health returns what a failed attempt with this verdict says about the server. A failure of
// something beside the server, such as a webhook, says nothing.
func (v *Verdict) health() health.Health {
	if v.flags&markedPermanent != 0 {
		return health.Unknown // the class is not that of the failure
	}
	switch v.Class {
	case ClassServer, ClassTimeout:
		if v.flags&besideServer != 0 {
			return health.Unknown
		}
		if v.Class == ClassServer {
			return health.Failing
		}
		return health.Unreachable
	case ClassRefused:
		return health.Down
	case ClassConnection:
		return health.Unreachable
	case ClassThrottled:
		switch {
		case v.flags&besideServer != 0: // a 429 about an object
			return health.Healthy
		case v.flags&ofPriorityLevel != 0:
			return health.Exhausted
		}
		return health.Throttled
	case ClassBadResponse:
		return health.Healthy
	case ClassConflict, ClassBlocked, ClassDisruptionBudget, ClassPermanent:
		if v.StatusCode != 0 {
			return health.Healthy
		}
		return health.Unknown
	default: // no failure, or the caller has canceled
		return health.Unknown
	}
}
