// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry/internal/limiter"
)

// hears reports whether an event of this kind reaches a logger or an observer. It is asked
// before anything is looked up or built.
func (c *config) hears(ctx context.Context, kind EventKind, why StopReason) bool {
	return c.observe != nil || c.logs(ctx, levelOf(kind, why))
}

// logs reports whether the logger of the call writes lines of a level.
func (c *config) logs(ctx context.Context, l level) bool {
	if c.given&hasLogger == 0 {
		return defaultLogger.enabled(ctx, l)
	}
	return c.logger.enabled != nil && c.logger.enabled(ctx, l)
}

// emitRetry publishes that the attempt has failed and will be repeated after the delay.
//
//go:noinline // its frame must not be part of failed
func (p *progress) emitRetry(c *config, ctx context.Context, delay time.Duration, err error) {
	p.emit(c, ctx, Event{Kind: EventRetry, Delay: delay, Err: err, risk: c.risk(&p.verdict, p.record)}, &p.verdict)
}

// risk is what a reader of the log should know of a repetition that may do the work twice, as a
// part of a Detail.
func (c *config) risk(v *Verdict, r *callRecord) string {
	switch {
	case c.safeWrite != nil || c.readOnly() || !v.Class.transient() || v.Outcome == OutcomeNotExecuted:
		return ""
	case !c.repeats(v) || c.riskConfirmed(r):
		return "; repeated by WithRetryIf or WithRetryOn against the verb"
	case c.verb() == VerbUnspecified:
		return "; repeated without a verb, as if that were safe"
	}
	return ""
}

// emit publishes a decision of the call. The event holds what is known of it alone; emit
// adds the state of the call and the verdict on the error.
//
//go:noinline // its frame must not be part of a call that waits
func (p *progress) emit(c *config, ctx context.Context, e Event, v *Verdict) {
	p.complete(c, &e, v)
	if e.Name() != "" && (c.observe == nil || c.logs(ctx, e.level())) { // without an observer, hears has asked
		c.write(ctx, e)
	}
	if c.observe != nil {
		c.observe(ctx, e)
	}
}

// complete adds what is known of the call to an event.
func (p *progress) complete(c *config, e *Event, v *Verdict) {
	e.Attempt, e.MaxRetries, e.Verb, e.Elapsed = int(p.attempts), c.maxRetries(), c.verb(), p.elapsed()
	e.Queued += p.queued
	e.Hedges = p.record.hedged()
	e.Class, e.Outcome, e.StatusCode, e.RetryAfter, e.Detail = v.Class, v.Outcome, v.StatusCode, v.RetryAfter, v.Detail
	e.addRisk()
	if e.Err == nil && e.Kind != EventFailure {
		e.Outcome = OutcomeNone
	}
	switch { // the name of a success at once is not looked up
	case e.Name() != "":
		t := p.target(c, e.Err)
		e.Function, e.ObjectNamespace, e.ObjectName = c.function(t), t.namespace, t.name
		e.objectNames = c.numbers[numObjectNames] != 0
	case c.name != "":
		e.Function = c.copyName()
	}
}

// emitQueued publishes that the call has been queued at its limiter for the given time, and still is.
//
//go:noinline // its frame must not be part of a call that waits
func (p *progress) emitQueued(c *config, ctx context.Context, queued time.Duration) {
	scope, _, cause := c.limiter.calls.Why(p.kind)
	v := Classify(cause)
	if cause != nil {
		v.Outcome = OutcomeNotExecuted // of another call
	}
	p.emit(c, ctx, Event{Kind: EventQueued, Queued: queued, Scope: LimiterScope(scope), Err: cause}, &v)
}

// changed publishes a new state of breaker or limiter, with the error that caused it, if
// there is one.
func (p *progress) changed(c *config, ctx context.Context, e Event) {
	if c.observe == nil && !c.logs(ctx, e.level()) {
		return
	}
	var v Verdict
	if e.Err != nil {
		v = p.verdict
		if c.readOnly() {
			v.Outcome = OutcomeNotExecuted
		}
	}
	p.emit(c, ctx, e, &v)
}

// write hands an event to the logger of the call.
func (c *config) write(ctx context.Context, e Event) {
	if c.given&hasLogger == 0 {
		defaultLogger.write(ctx, &e)
		return
	}
	c.logger.write(ctx, &e)
}

// limitsChanged publishes which scopes the limiter has begun and ended to limit.
func (p *progress) limitsChanged(c *config, ctx context.Context, change limiter.Change, err error) {
	if change.Began.Has(limiter.OfKind) {
		c.limiter.calls.Name(p.kind, c.function(p.target(c, err)))
	}
	for s := ScopeKind; s <= ScopeServer; s++ {
		if change.Began.Has(limiter.Scope(s)) {
			p.changed(c, ctx, Event{Kind: EventLimiter, Limited: true, Scope: s, Err: err})
		}
		if change.Ended.Has(limiter.Scope(s)) {
			p.changed(c, ctx, Event{Kind: EventLimiter, Scope: s, Err: err})
		}
	}
}
