// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/window"
)

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

const nilFunc = "the function to call is nil"

// errNilFunc and errNilContext are returned for a nil function and a nil context.
var (
	errNilFunc    = errors.New("k8sretry: " + nilFunc)
	errNilContext = errors.New("k8sretry: the context is nil")
)

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

// failedAtOnce is the rest of a call that went straight to fn, whose first attempt has
// failed.
func failedAtOnce[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, v T, err error) (T, error) {
	c, p, err := firstFailure(ctx, opts, err)
	if p == nil {
		return v, err
	}
	return loop(ctx, fn, c, p, v)
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

// run makes all attempts of a call. A Transport gives the record of its own calls, others
// give nil.
//
//go:noinline // its frame must not be part of a call that went straight to fn and waits
func run[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, record *callRecord, code uintptr) (v T, err error) {
	p := progress{record: record, kind: kindOf(c, fn, code)}
	if err := p.begin(c, ctx, fn != nil); err != nil {
		return v, err
	}
	return loop(ctx, fn, c, &p, v)
}

// loop waits for the delay in p, makes an attempt, and does so again until the call ends.
// v is what the last attempt returned.
//
// Ten thousand calls may wait here at a time, and a goroutine whose stack has grown
// beyond 2 KiB keeps 4 KiB. So the frames of call and loop are small: what a call
// remembers is on the heap, and functions with large frames are not inlined.
func loop[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress, v T) (T, error) {
	for {
		if p.delay > 0 {
			p.startTimer()
			select {
			case <-p.timer.C:
			case <-ctx.Done():
				p.timer.Stop()
			}
		}
		var done bool
		var err error
		if v, done, err = step(ctx, fn, c, p, v); done {
			return v, err
		}
	}
}

// step makes one attempt and decides what follows it: the end of the call, or a wait.
//
//go:noinline // its frame must not be part of a call that waits
func step[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress, v T) (_ T, done bool, _ error) {
	if stopped := p.admit(c, ctx); stopped != nil {
		return v, true, stopped
	}
	v, err := attempt(ctx, fn, c, p)
	if err == nil {
		p.succeeded(c, ctx)
		return v, true, nil
	}
	stopped := p.failed(c, ctx, err, p.classify(c, err))
	return v, stopped != nil, stopped
}

// progress is where one call stands. It does not hold the config; see the escape rule in
// config.go.
type progress struct {
	began    time.Duration // when the call began, if WithMaxElapsed asks for it
	failedAt time.Duration // when the first attempt ended, if it was repeated
	queued   time.Duration // time in the queue of the limiter
	waiting  time.Duration // until when queued counts the time of attempts that a Transport below has not started; 0 after one that it has
	charged  time.Duration // time that the budget has been charged for
	last     error         // error of the last attempt
	verdict  Verdict       // on the last attempt
	kind     uint64        // of the call, for a Limiter
	past     *past         // errors and reads before the current ones; nil for none
	record   *callRecord   // what net/http and a Transport saw; nil for a read without a Transport
	delay    time.Duration // before the next attempt
	timer    *time.Timer
	turn     turn
	attempts int32
	quiet    bool       // a call above reports the end
	inner    StopReason // of an inner call that gave up in the last attempt, or StopNone
	answer   answer     // of the caller's classifier or condition to the first failure, if it was asked already
	outcome  Outcome    // of all failed attempts together
}

// count counts attempts up to the largest int32, after which every call ends.
func (p *progress) count(n int) { p.attempts += int32(min(n, math.MaxInt32-int(p.attempts))) }

// begin prepares a call, or ends it before its first attempt.
func (p *progress) begin(c *config, ctx context.Context, callable bool) error {
	switch {
	case c.problem != "":
		return c.invalid()
	case !callable:
		return errNilFunc
	case ctx == nil:
		return errNilContext
	case ctx.Err() != nil:
		return p.stop(c, ctx, endOf(ctx), &Verdict{Class: ClassCanceled}, context.Cause(ctx))
	}
	if c.duration(numMaxElapsed) > 0 {
		p.began = now()
	}
	switch {
	case p.record != nil: // a Transport's own
	case c.safeWrite == nil && c.verb().writes():
		p.record = newRecord(c.verb())
	case transportBuilt.Load():
		p.record = newRecord(VerbUnspecified)
	}
	if p.record != nil {
		p.record.retries = c.maxRetries()
		p.record.guarded = c.guarded()
		p.record.bounded = c.duration(numAttemptTimeout) > 0
		p.record.priority = c.numbers[numPriority] != 0
	}
	return nil
}

// startTimer starts the timer of the call for the delay.
//
//go:noinline // its frame must not be part of a call that waits
func (p *progress) startTimer() {
	if p.timer == nil {
		p.timer = time.NewTimer(p.delay)
	} else {
		p.timer.Reset(p.delay)
	}
}

// now is the time by the clock that progress is measured with. It is never 0.
func now() time.Duration { return clock.Now() }

var clock = window.NewClock()
