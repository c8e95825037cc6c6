package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

func TestErrorText(t *testing.T) {
	sentinel := []k8sretry.Option{exact, k8sretry.WithName("PodInterface.Get")}
	for _, c := range []struct {
		want  string
		fails []error
		opts  []k8sretry.Option
		after time.Duration // cancelled after this time; 0: never
	}{
		{"PodInterface.Get: max retries reached after 4 attempts in 7s; the server may have carried out the call: the server said so",
			times(4, unavailable()), nil, 0},
		{"PodInterface.Get: max retries reached after 4 attempts in 7s: the server said so",
			times(4, unavailable()), []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbGet)}, 0},
		{"PodInterface.Get: no retries allowed, gave up after 1 attempt: the server said so", // none was made that could reach a maximum
			times(1, tooMany(0)), []k8sretry.Option{k8sretry.WithMaxRetries(0)}, 0},
		{"PodInterface.Get: max retries reached after 2 attempts in 1s: the server said so",
			times(2, status(502, "")), []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.ReadOnly()}, 0},
		{"PodInterface.Get: Retry-After is longer than allowed after 1 attempt (the server asks for 24h0m0s): the server said so",
			[]error{tooMany(86400)}, nil, 0},
		{"PodInterface.Get: max elapsed time reached after 2 attempts in 2s: the server said so",
			times(4, tooMany(0)), []k8sretry.Option{k8sretry.WithMaxElapsed(5 * time.Second)}, 0},
		{"PodInterface.Get: not repeated, the server may have carried out the call, after 1 attempt: the server said so",
			[]error{gatewayTimeout()}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, 0},
		{`PodInterface.Get: not retryable after 2 attempts in 1s; the server may have carried out the call: pods "web-0" not found`,
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
				_, err := k8sretry.Do(ctx, fails(c.fails...).get, append(sentinel, c.opts...)...)
				assert.EqualError(t, err, c.want)
			})
		})
	}
	t.Run("an Error that somebody else has put together", func(t *testing.T) {
		assert.Equal(t, "gave up after 0 attempts: <nil>", (&k8sretry.Error{}).Error())
		assert.Equal(t, "canceled after 0 attempts: no", (&k8sretry.Error{StopReason: k8sretry.StopCanceled, Err: errNo}).Error())
		assert.Empty(t, (&k8sretry.Error{StopReason: 99}).Unwrap())
	})
	t.Run("an open Breaker, and for how long", func(t *testing.T) {
		e := &k8sretry.Error{Function: "get", StopReason: k8sretry.StopBreakerOpen, RetryAfter: 2 * time.Second, Err: errNo}
		assert.Equal(t, "get: circuit breaker open after 0 attempts (for 2s): no", e.Error())
		e.RetryAfter = 2213448017
		assert.Equal(t, "get: circuit breaker open after 0 attempts (for 2.213s): no", e.Error())
		e.RetryAfter = 0 // half open, and its probes are under way
		assert.Equal(t, "get: circuit breaker open after 0 attempts: no", e.Error())
		e.StopReason, e.RetryAfter = k8sretry.StopMaxRetries, 2*time.Second
		assert.NotContains(t, e.Error(), "2s", "what the server asked for is told only if it ended the call")
	})
	t.Run("a long time reads well", func(t *testing.T) {
		e := &k8sretry.Error{Attempts: 2, Elapsed: 7213448017, Err: errNo}
		assert.Equal(t, "gave up after 2 attempts in 7.213s: no", e.Error())
		e.Elapsed = 13448017
		assert.Equal(t, "gave up after 2 attempts in 13.448ms: no", e.Error())
	})
}

// The last API error is the first in the chain, whatever else is in it.
func TestErrorChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		err := k8sretry.Run(ctx, func(context.Context) error {
			switch n++; n {
			case 1:
				return notFoundButRetried
			case 2:
				return unavailable()
			}
			cancel(status(410, "Gone")) // a cause that is an API status, too
			return context.Cause(ctx)
		}, k8sretry.WithRetryOn(notFoundButRetried))
		require.Error(t, err)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.False(t, apierrors.IsNotFound(err), "not the oldest attempt")
		assert.False(t, apierrors.IsGone(err), "not the cause")
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, context.Cause(ctx))
	})
	t.Run("an Error within an Error of another call is found by its stop", func(t *testing.T) {
		err := fmt.Errorf("sync: %w", &k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Err: unavailable()})
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.True(t, apierrors.IsServiceUnavailable(err))
	})
}

var notFoundButRetried = notFound()

// An error that cannot be compared must not make a call panic.
func TestUncomparableError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := utilerrors.NewAggregate([]error{unavailable()})
		_, err := k8sretry.Do(t.Context(), fails(times(9, fail)...).get)
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		ctx, cancel := context.WithCancelCause(t.Context())
		err = k8sretry.Run(ctx, func(context.Context) error { cancel(fail); return fail })
		assert.ErrorIs(t, err, context.Canceled)
		assert.Contains(t, err.Error(), "canceled")
	})
}

// Every Stop has a name, an event and, if it is one to look for, an error.
func TestStops(t *testing.T) {
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
		assert.ErrorIs(t, &k8sretry.Error{StopReason: stop}, want)
		assert.Contains(t, (&k8sretry.Error{StopReason: stop}).Error(), want.Error())
	}
}

// A nil *Error that somebody has put into an error is no reason to panic.
func TestNilError(t *testing.T) {
	var none *k8sretry.Error
	assert.NotErrorIs(t, none, io.EOF)
	assert.Equal(t, "<nil>", none.Error())
	assert.Equal(t, k8sretry.ClassPermanent, k8sretry.Classify(fmt.Errorf("x: %w", none)).Class)
}
