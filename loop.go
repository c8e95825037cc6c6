// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/window"
)

const nilFunc = "the function to call is nil"

// errNilFunc and errNilContext are returned for a nil function and a nil context.
var (
	errNilFunc    = errors.New("k8sretry: " + nilFunc)
	errNilContext = errors.New("k8sretry: the context is nil")
)

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
