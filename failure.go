// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
	"github.com/k8sretry/k8sretry/internal/errchain"
	"github.com/k8sretry/k8sretry/internal/limiter"
)

// failed decides what follows a failed attempt. It returns the error with which the call
// ends, or nil if another attempt follows after the delay in p.
//
//	verdict > context over? > may this verb repeat it? > retries left? > delay >
//	fits the deadline? > budget pays > event > (wait > context over?)
func (p *progress) failed(c *config, ctx context.Context, err error, inner *Error) error {
	p.count(p.record.repetitions())
	repeat := p.judge(c, ctx, err, inner)
	if inner.neverStarted() && p.verdict.Outcome == OutcomeNotExecuted && ctxerr.Of(ctx) == nil && !c.safeWrite.stopped() {
		return p.waitBelow(c, ctx, inner)
	}
	p.waiting = 0
	err = p.record.noteStray(withoutMark(err))
	v := &p.verdict
	before := p.outcome
	if c.safeWrite != nil {
		p.outcome, before = c.safeWrite.outcome, c.safeWrite.outcome
	} else if c.readOnly() {
		v.Outcome = OutcomeNotExecuted
	} else {
		p.outcome = max(p.outcome, v.Outcome)
	}

	if n := c.numbers[numErrorHistory]; n > 0 {
		p.past = p.past.remember(err, int(n))
	}
	retries := int(p.attempts) - c.safeWrite.uncounted(c.maxRetries())
	switch {
	case isOver(ctx, repeat) && v.flags&markedPermanent == 0 && !c.safeWrite.callerFailed() && (repeat || v.StatusCode == 0 || errchain.Is(err, context.Cause(ctx))):
		return p.stop(c, ctx, endOf(ctx), v, err)
	case p.last != nil && v.noRoomLeft() && (!repeat || c.safeWrite != nil):
		return p.stop(c, ctx, StopDeadline, v, err)
	case !repeat && (v.Class.transient() || c.verb() != VerbUnspecified) && v.Outcome != OutcomeNotExecuted && p.inner == StopNone:
		return p.stop(c, ctx, StopOutcomeUnknown, v, err)
	case !repeat:
		p.outcome = before // a permanent error says what became of its own attempt
		return p.stop(c, ctx, StopNonRetryable, v, err)
	case retries > c.maxRetries() || p.attempts == math.MaxInt32:
		return p.stop(c, ctx, StopMaxRetries, v, err)
	case v.RetryAfter > c.duration(numMaxRetryAfter):
		return p.stop(c, ctx, StopRetryAfterTooLong, v, err)
	}

	if p.failedAt == 0 {
		p.failedAt = now()
	}
	delay, why := p.nextDelay(c, ctx, retries, v)
	if why != StopNone {
		return p.stop(c, ctx, why, v, err)
	}
	if b := p.budget(c); b != nil {
		price := v.price()
		p.spend(b, price)
		if !b.pay(price, delay) {
			return p.stop(c, ctx, StopBudgetExhausted, v, err)
		}
		p.charged += delay
	}
	if c.hears(ctx, EventRetry, StopNone) {
		p.emitRetry(c, ctx, delay, err)
	}
	limiter.Waits(ctx, delay)
	p.last = err
	p.delay = delay
	return nil
}

// isOver reports whether ctx is over after a failed attempt. Only a call that would wait for
// the next one looks at Done, which may allocate.
func isOver(ctx context.Context, repeat bool) bool {
	return ctx.Err() != nil || repeat && ctxerr.Of(ctx) != nil
}

// classify stores the verdict of Classify on a failed attempt, and returns the error of an
// inner call in err, if there is one.
func (p *progress) classify(c *config, err error) (inner *Error) {
	if !p.turn.taken() {
		return classify(err, &p.verdict)
	}
	returned := false
	defer func() {
		if !returned { // a method of the error has panicked
			p.abandon(c)
		}
	}()
	inner = classify(err, &p.verdict)
	returned = true
	return inner
}

// judge decides what a failure means and whether the call may be repeated after it. The
// caller's classifier comes first, then the caller's condition, then Classify; none of
// them repeats what an inner call has given up on. Breaker and limiter hear of the end of
// the attempt before anything of the caller's runs.
func (p *progress) judge(c *config, ctx context.Context, err error, inner *Error) (repeat bool) {
	v := &p.verdict
	p.inner = StopNone
	if inner != nil {
		p.inner = max(inner.StopReason, StopNonRetryable) // also of an Error that a caller has made
	} else {
		if v.Class == ClassCanceled || v.Class == ClassPermanent && v.flags&markedPermanent == 0 {
			p.correctTimeout(c, ctx, v)
		}
		if p.record != nil {
			p.record.correct(v)
		}
		c.safeWrite.correct(v)
		c.patch.correct(v)
	}
	if p.turn.taken() {
		p.report(c, ctx, p.health(ctx, v), v.RetryAfter, err)
	}
	if inner != nil {
		v.Outcome, v.Detail = inner.Outcome, "an inner call gave up"
		if p.record != nil && inner.neverStarted() {
			p.record.correct(v) // another request of the attempt may have been sent
		}
		return false
	}
	if v.flags&markedPermanent != 0 {
		return false
	}
	j, answer := c.judge(), p.answer
	if p.answer = notAsked; answer == notAsked {
		answer = j.ask(err, v, true)
	}
	if answer != noAnswer {
		return answer == answerRepeat
	}
	if c.numbers[numConnectionOnly] != 0 && v.retryable(c.verb()) && Classify(err).Class != ClassCanceled {
		if is, _ := connectionFailure(err); !is {
			v.Class, v.Detail = ClassPermanent, "not a connection error"
		}
	}
	return j.repeats(v) && (c.readOnly() || v.Outcome == OutcomeNotExecuted || !c.riskConfirmed(p.record))
}

// correctTimeout corrects the verdict on an attempt that the attempt timeout has ended:
// its error may say no more than "canceled", though the caller's context lives.
func (p *progress) correctTimeout(c *config, ctx context.Context, v *Verdict) {
	switch {
	case c.duration(numAttemptTimeout) == 0 || v.StatusCode != 0 || ctx.Err() != nil:
	case p.turn.timedOut:
		v.Class, v.Outcome, v.Detail = ClassTimeout, max(v.Outcome, OutcomeUnknown), "attempt timeout"
	case v.Class == ClassCanceled && v.Outcome == OutcomeNotExecuted && !endsWithin(ctx, c.duration(numAttemptTimeout)):
		// client-go's rate limiter saw no room before the attempt's deadline.
		v.Class, v.flags = ClassTimeout, v.flags|besideServer
	}
}

// endsWithin reports whether the deadline of ctx comes before that of an attempt with this
// timeout.
func endsWithin(ctx context.Context, timeout time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= timeout
}
