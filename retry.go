// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "context"

// Do calls fn until it succeeds, returns a non-retryable error, or the policy gives up,
// and returns what fn returned last.
//
// fn should make one API call: a function of several calls is replayed from its
// beginning. fn must hand the context that it is given to its API call: with another one the
// attempt timeout has no effect. If a [Transport] or, for a verb that writes, a lost connection
// shows that fn has used another one, the text of the error says so. Do waits between
// attempts in the caller's goroutine and starts no other. Attempts never overlap, and a
// panic in fn passes through. Without a verb (see [WithVerb]), Do assumes that the call
// is safe to repeat: a create whose response was lost may then create a second object. A
// delete by name is repeated with and without a verb, and deletes what has the name then,
// also an object that was created since, unless a [Transport] is below; [Delete] does not.
// Do sees no object and no patch: [WithVerb] says what follows.
//
// A nil error means success. A permanent error (404, 403, 409, 422, ...) is returned
// exactly as fn returned it, unless an earlier attempt may have been carried out.
// Everything else is an [*Error]. If ctx is over before the first attempt, Do returns its
// cause without calling fn. A nil fn or ctx and an invalid option are errors, too, without
// a call of fn.
//
// Do is safe for concurrent use if fn is. A slice of options must not change while a call
// uses it. Do allocates nothing when fn succeeds at once, unless an option needs it (a
// verb that writes, a timeout), or a [Transport] has been built in this process, which
// costs a call that may read one allocation.
func Do[T any](ctx context.Context, fn func(context.Context) (T, error), opts ...Option) (T, error) {
	return call(ctx, fn, opts, 0)
}

// Run is [Do] for a function that returns only an error.
func Run(ctx context.Context, fn func(context.Context) error, opts ...Option) error {
	if fn == nil {
		_, err := call[struct{}](ctx, nil, opts, 0)
		return err
	}
	_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, opts, codeOf(fn))
	return err
}

// call chooses the way of a call. A call whose options need nothing before and after a
// successful fn goes straight to fn; all others go through run. code is the address of the code
// of the caller's function, 0 if that is fn.
func call[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, code uintptr) (T, error) {
	if fn == nil || ctx == nil || ctx.Err() != nil || transportBuilt.Load() || !direct(opts) {
		return indirect(ctx, fn, opts, code)
	}
	v, err := fn(ctx)
	if err == nil {
		return v, nil
	}
	return failedAtOnce(ctx, fn, opts, v, err)
}

// direct reports whether a successful attempt of a call with these options is nothing but
// a call of fn: they are one Policy that says so, or numbers.
func direct(opts []Option) bool {
	if len(opts) == 1 {
		if p, ok := opts[0].(*Policy); ok && p != nil {
			return p.direct
		}
	}
	for i := range opts {
		if _, ok := opts[i].(setting); !ok {
			return false
		}
	}
	return true
}

// judged reports whether a successful attempt of a call with these options is nothing but a call
// of fn: they are numbers, conditions and classifiers.
func judged(opts []Option) bool {
	for i := range opts {
		switch o := opts[i].(type) {
		case setting:
		case conditionOption:
			if o.condition == nil {
				return false
			}
		case classifierOption:
			if o.classify == nil {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// failedAtOnce is the rest of a call that went straight to fn, whose first attempt has
// failed.
func failedAtOnce[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, v T, err error) (T, error) {
	c, p, err := firstFailure(ctx, opts, err)
	if p == nil {
		return v, err
	}
	return loop(ctx, fn, c, p, v)
}

// withJudge is a call that has a condition or a classifier among its options, and nothing else
// than numbers beside it. Only a call that goes on after its first attempt adds up its options.
//
//go:noinline // its frame must not be part of a call that went straight to fn and waits
func withJudge[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option) (T, error) {
	v, err := fn(ctx)
	if err == nil {
		return v, nil
	}
	var verdict Verdict
	inner := classify(err, &verdict)
	answer, over := judgeFirst(ctx, opts, err, &verdict, inner)
	if over {
		return v, withoutMark(err)
	}
	return goOn(ctx, fn, opts, &progress{attempts: 1, verdict: verdict, answer: answer}, v, err, inner)
}

// goOn is the rest of withJudge for a call that is repeated, or that ends with more than
// the error of fn.
//
//go:noinline // its frame must not be part of withJudge
func goOn[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, p *progress, v T, err error, inner *Error) (T, error) {
	c := resolve(opts)
	c.setDefaults()
	if stopped := p.failed(&c, ctx, err, inner); stopped != nil {
		return v, stopped
	}
	return loop(ctx, fn, &c, p, v)
}

// indirect is a call with other options. A call with one Policy uses its config as it is;
// for all others the options are added up.
func indirect[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, code uintptr) (T, error) {
	if p := onePolicy(opts); p != nil {
		if p.guardsOnly && fn != nil && ctx != nil && ctx.Err() == nil && !transportBuilt.Load() {
			return guarded(ctx, fn, &p.config, code)
		}
		return run(ctx, fn, &p.config, nil, code)
	}
	if fn != nil && ctx != nil && ctx.Err() == nil && !transportBuilt.Load() && judged(opts) {
		return withJudge(ctx, fn, opts)
	}
	return resolved(ctx, fn, opts, code)
}

// guarded is a call with a Policy that needs nothing but its Budget, Breaker and Limiter: it has
// neither a record nor a clock to begin with.
//
//go:noinline // its frame must not be part of a call that went straight to fn and waits
func guarded[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, code uintptr) (v T, err error) {
	var p progress
	p.kind = kindOf(c, fn, code)
	if c.guarded() {
		if stopped := p.passGuards(c, ctx, nil); stopped != nil {
			return v, stopped
		}
	}
	if v, err = attempt(ctx, fn, c, &p); err == nil {
		p.succeeded(c, ctx)
		return v, nil
	}
	if stopped := p.failed(c, ctx, err, p.classify(c, err)); stopped != nil {
		return v, stopped
	}
	return loop(ctx, fn, c, &p, v)
}

// onePolicy returns the Policy of a call that has no other option, nil for other calls.
func onePolicy(opts []Option) *Policy {
	if len(opts) == 1 {
		if p, ok := opts[0].(*Policy); ok && p != nil && p.prepared {
			return p
		}
	}
	return nil
}

// resolved is a call whose options have to be added up.
func resolved[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, code uintptr) (T, error) {
	c := resolve(opts)
	c.setDefaults()
	return run(ctx, fn, &c, nil, code)
}

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
	c, answer := configOf(opts), notAsked
	if c.given&(hasCondition|hasClassifier|hasLogger) != 0 {
		j := c.judge()
		if answer = j.first(err, &v, inner); endsAtOnce(ctx, &v, answer) && !c.logs(ctx, levelInfo) {
			return nil, nil, withoutMark(err)
		}
	}
	p := &progress{attempts: 1, verdict: v, answer: answer}
	if stopped := p.failed(c, ctx, err, inner); stopped != nil {
		return c, nil, stopped
	}
	return c, p, nil
}

// judgeFirst judges the first failure of a call that went straight to fn and has a condition or a
// classifier among its options. over reports that the call ends with err. The verb does not
// matter, because it is none that writes.
func judgeFirst(ctx context.Context, opts []Option, err error, v *Verdict, inner *Error) (a answer, over bool) {
	var j judge
	for i := range opts {
		switch o := opts[i].(type) {
		case conditionOption:
			j.condition = o.condition
		case classifierOption:
			j.classify = o.classify
		}
	}
	a = j.first(err, v, inner)
	return a, endsAtOnce(ctx, v, a) && !defaultLogger.enabled(ctx, levelInfo)
}
