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

// configOf returns the config of a call that went straight to fn: that of its Policy, or
// one that is made of numbers. It is on the heap, which nothing that is read from numbers
// makes escape.
//
//go:noinline // its frame must not be part of a call that waits
func configOf(opts []Option) *config {
	if p := onePolicy(opts); p != nil {
		return &p.config
	}
	c := new(config)
	for _, o := range opts {
		if s, ok := o.(setting); ok {
			c.setNumber(s.number, s.value)
		}
	}
	c.setDefaults()
	return c
}

// firstFailure decides what follows the failed first attempt of a call that went straight
// to fn. It returns the config and the progress of a call that goes on, or a nil progress and
// the error of the call.
//
//go:noinline // its frame must not be part of a call that waits
func firstFailure(ctx context.Context, opts []Option, err error) (*config, *progress, error) {
	var v Verdict
	inner := classify(err, &v)
	policy := onePolicy(opts)
	if (policy == nil || policy.simple) && !v.Class.transient() && ctx.Err() == nil && !defaultLogger.enabled(ctx, levelInfo) {
		return nil, nil, withoutMark(err) // permanent, and there is nothing to log
	}
	c := configOf(opts)
	if c.given&(hasCondition|hasClassifier|hasLogger) != 0 {
		p, stopped := firstJudged(ctx, c, err, &v, inner)
		return c, p, stopped
	}
	p := &progress{attempts: 1, verdict: v}
	if stopped := p.failed(c, ctx, err, inner); stopped != nil {
		return c, nil, stopped
	}
	return c, p, nil
}

// firstJudged is firstFailure for a call with a condition, a classifier or a logger of its
// own. A call that ends with a permanent error allocates nothing.
//
//go:noinline // its frame must not be part of firstFailure
func firstJudged(ctx context.Context, c *config, err error, v *Verdict, inner *Error) (*progress, error) {
	answer := notAsked
	if inner == nil && v.flags&markedPermanent == 0 {
		answer = c.ask(err, v)
	}
	certain := v.Outcome == OutcomeNotExecuted || c.verb() == VerbUnspecified
	if answer != answerRepeat && !v.Class.transient() && certain && ctx.Err() == nil && !c.logs(ctx, levelInfo) {
		return nil, withoutMark(err)
	}
	p := &progress{attempts: 1, verdict: *v, answer: answer}
	if stopped := p.failed(c, ctx, err, inner); stopped != nil {
		return nil, stopped
	}
	return p, nil
}

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
	answer := p.answer
	if p.answer = notAsked; answer == notAsked {
		answer = c.ask(err, v)
	}
	if answer != noAnswer {
		return answer == answerRepeat
	}
	if c.numbers[numConnectionOnly] != 0 && v.retryable(c.verb()) && Classify(err).Class != ClassCanceled {
		if is, _ := connectionFailure(err); !is {
			v.Class, v.Detail = ClassPermanent, "not a connection error"
		}
	}
	return c.repeats(v) && (c.readOnly() || v.Outcome == OutcomeNotExecuted || !c.riskConfirmed(p.record))
}

// answer is what the caller's own classifier or condition has said about a failure.
type answer uint8

const (
	notAsked     answer = iota
	noAnswer            // there is none of them, or it leaves the decision to Classify
	answerStop          // do not repeat
	answerRepeat        // repeat
)

// ask asks the caller's own classifier and condition. A verdict of the classifier is stored
// in v.
func (c *config) ask(err error, v *Verdict) answer {
	if c.classify != nil {
		if own, ok := c.classify(err); ok {
			own.complete(v, err)
			repeat := c.repeats(&own)
			if own.StatusCode == 0 { // from here on it no longer tells whether the server answered
				own.StatusCode = v.StatusCode
			}
			*v = own
			if repeat {
				return answerRepeat
			}
			return answerStop
		}
	}
	if c.condition != nil && !c.safeWrite.stopped() && c.condition(err) {
		return answerRepeat
	}
	return noAnswer
}

// complete adds to the verdict of the caller's classifier what it has left out, and,
// where it repeats what Classify makes of the error, what is known beyond that: how the
// attempt ended, and what the record holds.
func (v *Verdict) complete(known *Verdict, err error) {
	plain := Classify(err)
	if v.Class == ClassCanceled && plain.Class == ClassCanceled {
		v.Class = known.Class
	}
	if v.Outcome == plain.Outcome {
		v.Outcome = known.Outcome
	}
	if v.RetryAfter == 0 {
		v.RetryAfter = known.RetryAfter
	}
	v.RetryAfter = max(0, v.RetryAfter)
}

// repeats reports whether the call may be repeated after a failure.
func (c *config) repeats(v *Verdict) bool {
	if c.safeWrite != nil {
		return c.safeWrite.repeats(v)
	}
	if c.namedCreate && v.Class.transient() && v.Outcome == OutcomeUnknown {
		return true // a second object of the same name cannot be made
	}
	return v.retryable(c.verb())
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
