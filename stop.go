// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"time"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
	"github.com/k8sretry/k8sretry/internal/errchain"
	"github.com/k8sretry/k8sretry/internal/funcname"
	"github.com/k8sretry/k8sretry/internal/health"
)

// succeeded ends a call that went well.
func (p *progress) succeeded(c *config, ctx context.Context) {
	p.record.close()
	if p.turn.taken() {
		p.report(c, ctx, health.Healthy, 0, nil)
	}
	if b := p.budget(c); b != nil {
		p.spend(b, p.verdict.price())
		b.earn()
	}
	if (p.attempts > 1 || c.observe != nil) && c.hears(ctx, EventSuccess, StopNone) {
		p.emit(c, ctx, Event{Kind: EventSuccess}, new(Verdict))
	}
}

// stop ends a call without success. Every failing exit after the options are known
// comes through here: it emits the one last event and decides whether the call
// returns the error unchanged or in an *Error.
func (p *progress) stop(c *config, ctx context.Context, why StopReason, v *Verdict, err error) error {
	p.record.close()
	if c.safeWrite != nil && p.attempts > 0 {
		if c.safeWrite.finalCheck(ctx) {
			p.succeeded(c, ctx)
			return errWriteApplied
		}
		p.outcome = c.safeWrite.outcome
	}

	verdict, cause, contextError := *v, err, error(nil)
	ended, endCause := contextEnd(ctx, why)
	onlyEnded := ended != nil && why != StopNonRetryable && (errchain.Is(err, ended) || errchain.Is(err, endCause)) ||
		why == StopDeadline && v.noRoomLeft()
	if p.last != nil && onlyEnded {
		// The last attempt only says that the context is over. The answer of the API to
		// the attempt before is worth more.
		verdict, cause, contextError = Classify(p.last), p.last, err
	}
	verdict.Outcome = max(p.outcome, v.Outcome)
	if !p.quiet && c.hears(ctx, EventFailure, why) {
		e := Event{Kind: EventFailure, StopReason: why, Err: cause}
		if p.turn.leftQueue {
			e.Scope = p.turn.scope
		}
		e.Expected = why == StopNonRetryable && c.expected != nil && c.expected(err)
		if e.Err == nil && p.turn.leftQueue {
			e.Err = ErrQueueTimeout
		}
		p.emit(c, ctx, e, &verdict)
	}

	refused := p.turn.leftQueue || why == StopBreakerOpen
	attempts := p.past.attempted() + int(p.attempts)
	if attempts == 0 && !refused || why == StopNonRetryable && p.outcome <= p.reportedOutcome() {
		return err
	}
	e := &Error{
		Function:   c.function(p.target(c, cause)),
		Verb:       c.verb(),
		Attempts:   attempts,
		Elapsed:    p.elapsed(),
		StopReason: why,
		Scope:      p.turn.scope,
		RetryAfter: verdict.RetryAfter,
		Outcome:    p.outcome,
		Err:        cause,
		history:    p.past.history(),
	}
	if ended, endCause = contextEnd(ctx, why); ended != nil && why != StopNonRetryable { // an observer may have canceled it
		e.ended = append(e.ended, ended, endCause)
	}
	if contextError != nil {
		e.ended = append(e.ended, contextError)
	}
	if p.turn.leftQueue && why != StopQueueTimeout {
		e.ended = append(e.ended, ErrQueueTimeout) // both are true
	}
	return e
}

// reportedOutcome is the outcome that the error of the last attempt reports by itself.
func (p *progress) reportedOutcome() Outcome {
	if p.inner == StopNone {
		return OutcomeNotExecuted
	}
	return p.verdict.Outcome
}

// contextEnd returns the error and the cause of the context, nil if it is not over.
func contextEnd(ctx context.Context, why StopReason) (err, cause error) {
	err, cause = ctx.Err(), context.Cause(ctx)
	if err == nil && why == StopCanceled {
		err = ctxerr.Of(ctx)
	}
	if cause == nil {
		cause = err // a foreign context has no cause where only its Done says that it is over
	}
	return err, cause
}

// endOf says how the caller's context ended.
func endOf(ctx context.Context) StopReason {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return StopDeadline
	}
	return StopCanceled
}

// elapsed is the time since the first attempt ended, 0 if no other followed it.
func (p *progress) elapsed() time.Duration {
	began := p.past.began(p.failedAt)
	if began == 0 {
		return 0
	}
	return now() - began
}

// function is the name of the call, looked up when it is needed. t is what it works on.
func (c *config) function(t target) string {
	switch {
	case c.name != "":
		return c.copyName()
	case c.pc != 0:
		return funcname.Of(c.pc)
	case c.safeWrite != nil || c.patch != nil:
		if name := t.call(c.verb()); name != "" {
			return name
		}
	}
	return funcname.Caller()
}

// target is what the call works on.
func (p *progress) target(c *config, err error) (t target) {
	switch {
	case c.safeWrite != nil:
		t = c.safeWrite.target()
	case c.patch != nil:
		t = c.patch.target()
	}
	if p.record != nil {
		request := p.record.Request()
		t = t.or(targetOfRequest(&request))
	}
	if t.resource == "" && (c.safeWrite != nil || c.patch != nil) {
		t = t.or(targetOfError(err, t.name))
	}
	return t
}
