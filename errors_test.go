// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// The last error of the API is the first in the chain, whatever else is in it.
func TestErrorChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		repeated, n := notFound(), 0
		err := k8sretry.Run(ctx, func(context.Context) error {
			switch n++; n {
			case 1:
				return repeated
			case 2:
				return unavailable()
			}
			cancel(status(410, "Gone")) // a cause that is an API status, too
			return context.Cause(ctx)
		}, k8sretry.WithRetryOn(repeated))
		require.Error(t, err)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.False(t, apierrors.IsNotFound(err), "not the oldest attempt")
		assert.False(t, apierrors.IsGone(err), "not the cause")
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, context.Cause(ctx))
	})
	t.Run("in full, in order", func(t *testing.T) {
		fail := unavailable()
		e := &k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Outcome: k8sretry.OutcomeUnknown, Err: fail}
		assert.Equal(t, []error{fail, k8sretry.ErrMaxRetries, k8sretry.ErrOutcomeUnknown}, e.Unwrap())
		e.Outcome = k8sretry.OutcomeExecuted
		assert.Equal(t, []error{fail, k8sretry.ErrMaxRetries, k8sretry.ErrOutcomeUnknown}, e.Unwrap())
		e.Outcome, e.Err = k8sretry.OutcomeNotExecuted, nil
		assert.Equal(t, []error{k8sretry.ErrMaxRetries}, e.Unwrap())
		e.StopReason, e.Err = k8sretry.StopCanceled, fail
		assert.Equal(t, []error{fail}, e.Unwrap(), "no nil")
		assert.Empty(t, (&k8sretry.Error{StopReason: 99}).Unwrap())
		assert.Empty(t, (&k8sretry.Error{StopReason: k8sretry.StopCanceled + 1}).Unwrap())
	})
	t.Run("a queue timeout, once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			defer testkit.Sleep(time.Hour) // until the other attempt has ended
			_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithLimiter(busy(t, time.Minute)), k8sretry.WithMaxQueueTime(0))
			e := asError(t, err)
			assert.Equal(t, []error{e.Err, k8sretry.ErrQueueTimeout}, e.Unwrap())
		})
	})
	t.Run("within another error", func(t *testing.T) {
		err := fmt.Errorf("sync: %w", &k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Err: unavailable()})
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.True(t, apierrors.IsServiceUnavailable(err))
	})
}

// The texts of calls. Those of calls that end at a Breaker or in the queue of a Limiter are
// in breaker_test.go and limiter_test.go, too.
func TestErrorSaysWhetherItIsATimeout(t *testing.T) {
	var none *k8sretry.Error
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for situation, tt := range map[string]struct {
		err                *k8sretry.Error
		timeout, temporary bool
	}{
		"nil":                     {none, false, false},
		"no error":                {&k8sretry.Error{StopReason: k8sretry.StopQueueTimeout}, false, false},
		"an answer":               {&k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Err: unavailable()}, false, false},
		"a 504 of the server":     {&k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Err: gatewayTimeout()}, false, false},
		"the deadline":            {&k8sretry.Error{StopReason: k8sretry.StopDeadline, Err: unavailable()}, true, true},
		"canceled":                {&k8sretry.Error{StopReason: k8sretry.StopCanceled, Err: unavailable()}, false, false},
		"an attempt timeout":      {&k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Err: context.DeadlineExceeded}, true, true},
		"a timeout, wrapped":      {&k8sretry.Error{Err: fmt.Errorf("get: %w", os.ErrDeadlineExceeded)}, true, true},
		"a url.Error of a dial":   {&k8sretry.Error{Err: &url.Error{Op: "Get", Err: refused}}, false, false},
		"a timeout before an EOF": {&k8sretry.Error{Err: errors.Join(io.EOF, os.ErrDeadlineExceeded)}, true, true},
		"a temporary errno":       {&k8sretry.Error{Err: syscall.EMFILE}, false, true},
	} {
		assert.Equal(t, tt.timeout, tt.err.Timeout(), situation)
		assert.Equal(t, tt.temporary, tt.err.Temporary(), situation)
		if tt.err != nil {
			assert.Equal(t, tt.timeout, os.IsTimeout(tt.err), situation)
			assert.Equal(t, tt.timeout, (&url.Error{Err: tt.err}).Timeout(), situation)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		want  string
		fails []error
		opts  []k8sretry.Option
		after time.Duration // canceled after this time; 0: never
	}{
		{"PodInterface.Get: max retries reached after 4 attempts in 7s; the server may have carried out the call: the server said so",
			times(4, unavailable()), nil, 0},
		{"PodInterface.Get: max retries reached after 4 attempts in 7s: the server said so",
			times(4, unavailable()), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbGet)}, 0},
		{"PodInterface.Get: no retries allowed, gave up after 1 attempt: the server said so", // none was made that could reach a maximum
			times(1, tooMany(0)), []k8sretry.Option{k8sretry.WithMaxRetries(0)}, 0},
		{"PodInterface.Get: max retries reached after 2 attempts in 1s: the server said so",
			times(2, status(502, "")), []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.ReadOnly()}, 0},
		{"PodInterface.Get: retry-after too long (24h0m0s) after 1 attempt: the server said so",
			[]error{tooMany(86400)}, nil, 0},
		{"PodInterface.Get: max elapsed time reached after 2 attempts in 2s: the server said so",
			times(4, tooMany(0)), []k8sretry.Option{k8sretry.WithMaxElapsed(5 * time.Second)}, 0},
		{"PodInterface.Get: not repeated after 1 attempt; the server may have carried out the call: the server said so",
			[]error{gatewayTimeout()}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, 0},
		{`PodInterface.Get: permanent error after 2 attempts in 1s; the server may have carried out the call: pods "web-0" not found`,
			[]error{unavailable(), notFound()}, nil, 0},
		{"PodInterface.Get: canceled (shutting down) after 1 attempt: the server said so",
			[]error{tooMany(9)}, nil, time.Second},
	} {
		t.Run(c.want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.after > 0 {
					time.AfterFunc(c.after, func() { cancel(errors.New("shutting down")) })
				}
				_, err := k8sretry.Do(ctx, fails(c.fails...).get, append(c.opts, exact, k8sretry.WithName("PodInterface.Get"))...)
				assert.EqualError(t, err, c.want)
			})
		})
	}
	t.Run("the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			_, err := k8sretry.Do(ctx, fails(times(9, unavailable())...).get, exact, k8sretry.ForRead(), k8sretry.WithName("get"))
			assert.EqualError(t, err, "get: no time left before the deadline after 3 attempts in 3s: the server said so")
		})
	})

	for want, e := range map[string]*k8sretry.Error{
		"gave up after 0 attempts: <nil>":                                        {},
		"gave up after 2 attempts in 0s: plain":                                  {StopReason: 99, Attempts: 2, Err: errPlain},
		"canceled after 0 attempts: plain":                                       {StopReason: k8sretry.StopCanceled, Err: errPlain},
		"max retries reached after 0 attempts: plain":                            {StopReason: k8sretry.StopMaxRetries, Err: errPlain, RetryAfter: 2 * time.Second},
		"get: retry budget exhausted after 1 attempt: plain":                     {Function: "get", StopReason: k8sretry.StopBudgetExhausted, Attempts: 1, Err: errPlain},
		"get: circuit breaker open for another 2s, request not sent: plain":      {Function: "get", StopReason: k8sretry.StopBreakerOpen, RetryAfter: 2 * time.Second, Err: errPlain},
		"get: circuit breaker open for another 2.213s, request not sent: plain":  {Function: "get", StopReason: k8sretry.StopBreakerOpen, RetryAfter: 2213448017, Err: errPlain},
		"get: circuit breaker open, request not sent: plain":                     {Function: "get", StopReason: k8sretry.StopBreakerOpen, Err: errPlain},
		"get: circuit breaker open, request not sent":                            {Function: "get", StopReason: k8sretry.StopBreakerOpen},
		"get: circuit breaker open for another 2s after 2 attempts in 1s: plain": {Function: "get", StopReason: k8sretry.StopBreakerOpen, Attempts: 2, Elapsed: time.Second, RetryAfter: 2 * time.Second, Err: errPlain},
		"get: queue timeout, request not sent":                                   {Function: "get", StopReason: k8sretry.StopQueueTimeout},
		"get: queue timeout after 1 attempt: plain":                              {Function: "get", StopReason: k8sretry.StopQueueTimeout, Attempts: 1, Err: errPlain},
		"gave up after 2 attempts in 7.213s: plain":                              {Attempts: 2, Elapsed: 7213448017, Err: errPlain},
		"gave up after 2 attempts in 13.448ms: plain":                            {Attempts: 2, Elapsed: 13448017, Err: errPlain},
		"gave up after 2 attempts in 1s: plain":                                  {Attempts: 2, Elapsed: time.Second, Err: errPlain},
	} {
		assert.EqualError(t, e, want)
	}
	t.Run("a nil pointer", func(t *testing.T) {
		var none *k8sretry.Error
		assert.NotErrorIs(t, none, io.EOF)
		assert.Equal(t, "<nil>", none.Error())
		assert.Equal(t, k8sretry.ClassPermanent, k8sretry.Classify(fmt.Errorf("x: %w", none)).Class)
	})
	t.Run("an error whose method panics", func(t *testing.T) {
		var none *apierrors.StatusError
		assert.Contains(t, (&k8sretry.Error{Err: none}).Error(), "gave up after 0 attempts: ")
	})
}

// Each StopReason has a name, an event and, if it is one to look for, an error.
func TestStopReasonNames(t *testing.T) {
	names := map[string]bool{}
	for s := k8sretry.StopNonRetryable; s <= k8sretry.StopCanceled; s++ {
		assert.NotEmpty(t, s.String())
		assert.False(t, names[s.String()], "%v twice", s)
		names[s.String()] = true
		assert.Equal(t, "k8s_api_call_failed_"+s.String(), k8sretry.Event{Kind: k8sretry.EventFailure, StopReason: s}.Name())
	}
	assert.Equal(t, "invalid", (k8sretry.StopCanceled + 1).String())
	assert.Empty(t, k8sretry.StopNone.String())
	for stop, want := range map[k8sretry.StopReason]error{
		k8sretry.StopMaxRetries: k8sretry.ErrMaxRetries, k8sretry.StopMaxElapsed: k8sretry.ErrMaxElapsed, k8sretry.StopDeadline: k8sretry.ErrDeadline,
		k8sretry.StopRetryAfterTooLong: k8sretry.ErrRetryAfterTooLong, k8sretry.StopBudgetExhausted: k8sretry.ErrBudgetExhausted,
		k8sretry.StopBreakerOpen: k8sretry.ErrBreakerOpen, k8sretry.StopQueueTimeout: k8sretry.ErrQueueTimeout,
	} {
		e := &k8sretry.Error{StopReason: stop}
		assert.ErrorIs(t, e, want)
		assert.ErrorContains(t, e, want.Error())
		assert.NotContains(t, want.Error(), ",", "short")
	}
}

// What fn marks with Permanent ends the call at once and is returned without the mark.
func TestPermanentEndsTheCall(t *testing.T) {
	down := unavailable()
	for situation, opts := range map[string][]k8sretry.Option{
		"no option":          nil,
		"a preset":           {k8sretry.ForWrite()},
		"a verb that reads":  {k8sretry.WithVerb(k8sretry.VerbGet)},
		"WithRetryIf":        {k8sretry.WithRetryIf(func(error) bool { return true })},
		"WithRetryOn":        {k8sretry.WithRetryOn(down)},
		"WithClassifier":     {k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true })},
		"WithAttemptTimeout": {k8sretry.WithAttemptTimeout(time.Minute)},
		"WithObserver":       {k8sretry.WithObserver(new(recorder))},
	} {
		for _, way := range ways {
			t.Run(situation+", "+way.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := fails(k8sretry.Permanent(down))
					_, err := way.call(t.Context(), s.get, opts)
					assert.Same(t, down, err)
					assert.Equal(t, 1, s.attempts())
				})
			})
		}
	}
}

func TestPermanentAfterRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(unavailable(), k8sretry.Permanent(io.EOF))
		_, err := k8sretry.Do(t.Context(), s.get, k8sretry.ForRead())
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, 2, s.attempts())

		var seen recorder
		s = fails(unavailable(), k8sretry.Permanent(io.EOF))
		_, err = k8sretry.Do(t.Context(), s.get, k8sretry.WithObserver(&seen))
		assert.ErrorIs(t, err, io.EOF)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "of the first attempt")
		last := seen.last(t)
		assert.Equal(t, k8sretry.StopNonRetryable, last.StopReason)
		assert.Equal(t, io.EOF, last.Err, "the event has no mark either")
		assert.Equal(t, k8sretry.ClassPermanent, last.Class)
	})
}

// A write with an unknown outcome reports it, marked or not.
func TestPermanentKeepsTheOutcomeOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := k8sretry.Do(t.Context(), fails(k8sretry.Permanent(gatewayTimeout())).get, k8sretry.WithVerb(k8sretry.VerbUpdate))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.True(t, apierrors.IsTimeout(err))
	})
}

// An attempt timeout does not make a marked error transient.
func TestPermanentAfterAnAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		var seen recorder
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			attempts++
			<-ctx.Done()
			return k8sretry.Permanent(ctx.Err())
		}, k8sretry.WithAttemptTimeout(time.Second), k8sretry.WithObserver(&seen))
		assert.Equal(t, context.DeadlineExceeded, err)
		assert.Equal(t, 1, attempts)
		assert.Equal(t, k8sretry.ClassPermanent, seen.last(t).Class)
	})
}

func TestPermanentIsSeenThrough(t *testing.T) {
	assert.NoError(t, k8sretry.Permanent(nil))
	notFound := notFound()
	marked := k8sretry.Permanent(notFound)
	assert.True(t, apierrors.IsNotFound(marked))
	assert.ErrorIs(t, marked, notFound)
	assert.Equal(t, notFound.Error(), marked.Error())

	for _, err := range []error{marked, fmt.Errorf("pods: %w", k8sretry.Permanent(unavailable())), errors.Join(io.EOF, k8sretry.Permanent(io.EOF))} {
		assert.Equal(t, k8sretry.ClassPermanent, k8sretry.Classify(err).Class, "%v", err)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), "%v", err)
		synctest.Test(t, func(t *testing.T) {
			_, got := k8sretry.Do(t.Context(), func(context.Context) (int, error) { return 0, err }, k8sretry.ForRead())
			if err == marked {
				require.Same(t, notFound, got)
			} else {
				require.Equal(t, err, got, "a wrapper is returned as it is")
			}
		})
	}
}

// A marked error says nothing about the health of the server.
func TestPermanentDoesNotOpenABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 1, Window: time.Second})
		for range 20 {
			_, _ = k8sretry.Do(t.Context(), fails(k8sretry.Permanent(unavailable())).get, k8sretry.WithBreaker(b))
			testkit.Sleep(time.Second)
		}
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
}

func TestPermanentMarkedTwice(t *testing.T) {
	_, err := k8sretry.Do(t.Context(), fails(k8sretry.Permanent(k8sretry.Permanent(io.EOF))).get)
	assert.Equal(t, io.EOF, err)
}

// A marked error is the answer, also if the context has ended meanwhile.
func TestPermanentOfAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return k8sretry.Permanent(io.EOF) })
	assert.Equal(t, io.EOF, err)
}

// A mark ends the call that it was returned to: what Do returns has none.
func TestPermanentIsOfOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			return k8sretry.Run(ctx, func(context.Context) error { attempts++; return k8sretry.Permanent(unavailable()) })
		}, k8sretry.WithMaxRetries(2))
		assert.Equal(t, 3, attempts)
	})
}
