package k8sretry_test

import (
	"context"
	"errors"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// Each setting alone in a policy: nothing else takes the call off the plain path.
func TestEachSettingAloneInAPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		P := k8sretry.NewPolicy
		for _, wrap := range []func(k8sretry.Option) k8sretry.Option{
			func(o k8sretry.Option) k8sretry.Option { return o },
			func(o k8sretry.Option) k8sretry.Option { return P(o) },
			func(o k8sretry.Option) k8sretry.Option { return P(P(o)) },
		} {
			_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
				_, ok := ctx.Deadline()
				assert.True(t, ok)
				return nil
			}, wrap(k8sretry.WithAttemptTimeout(1)))
			for v := k8sretry.VerbUnspecified; v <= k8sretry.VerbDeleteCollection; v++ {
				_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
					assert.Equal(t, v >= k8sretry.VerbCreate, httptrace.ContextClientTrace(ctx) != nil, v)
					return nil
				}, wrap(k8sretry.WithVerb(v)))
			}
			start := time.Now()
			_, err := k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, exact, wrap(k8sretry.WithMaxElapsed(4*time.Second)))
			assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
			assert.Equal(t, 3*time.Second, time.Since(start))
			s := fails(status(409, metav1.StatusReasonConflict))
			_, err = k8sretry.Do(t.Context(), s.get, wrap(k8sretry.WithRetryIf(apierrors.IsConflict)))
			assert.NoError(t, err)
			s = fails(notFound())
			_, err = k8sretry.Do(t.Context(), s.get, wrap(k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) {
				return k8sretry.Verdict{Class: k8sretry.ClassServer}, true
			})))
			assert.NoError(t, err)
			logger, written := logs()
			_, _ = k8sretry.Do(t.Context(), fails(notFound()).get, wrap(logger))
			assert.Len(t, written.All(), 1)
			s = fails(tooMany(3), tooMany(5))
			_, err = k8sretry.Do(t.Context(), s.get, wrap(k8sretry.WithMaxRetryAfter(4*time.Second)))
			assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
			assert.Equal(t, 2, s.attempts())
			s = fails(errNo)
			_, err = k8sretry.Do(t.Context(), s.get, wrap(k8sretry.WithMaxDelay(0)), wrap(k8sretry.WithMultiplier(1)), k8sretry.WithMaxElapsed(0), k8sretry.WithAttemptTimeout(0))
			assert.Same(t, errNo, err)
		}
		// A later 0 in a policy takes off an earlier setting, and a policy that does not set it leaves it.
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			_, ok := ctx.Deadline()
			assert.True(t, ok)
			return nil
		}, k8sretry.WithAttemptTimeout(1), k8sretry.ForRead())
		var seen recorder
		_ = k8sretry.Run(t.Context(), func(context.Context) error { return nil }, k8sretry.WithObserver(&seen), k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithName("n"), P(exact))
		assert.Equal(t, "n", seen.last(t).Function)
		assert.Equal(t, k8sretry.VerbGet, seen.last(t).Verb)
		s := fails(errNo)
		_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithRetryOn(errNo), P(exact))
		assert.NoError(t, err)
		n := 0
		_ = k8sretry.Run(t.Context(), func(context.Context) error { return errNo }, k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { n++; return k8sretry.Verdict{}, false }), P(exact))
		assert.Equal(t, 1, n)
		s = fails(unavailable())
		_, _ = k8sretry.Do(t.Context(), s.get, k8sretry.WithBackoff(constantBackoff{9 * time.Second}), P(k8sretry.WithMaxRetries(1)))
		assert.Equal(t, seconds(9), s.waits())
		_, err = k8sretry.Do(t.Context(), fails(tooMany(100)).get, k8sretry.WithMaxRetryAfter(2*time.Minute), P(exact))
		assert.NoError(t, err)
		_, err = k8sretry.Do(t.Context(), fails(unavailable(), unavailable()).get, k8sretry.WithMaxElapsed(time.Second), P(exact))
		assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
	})
}

func TestVerdictOfAReadAndOfAnInnerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Do(t.Context(), fails(unavailable(), notFound()).get, k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithObserver(&seen))
		require.Error(t, err)
		for _, e := range seen.events {
			assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome)
		}
		seen.events = nil
		var inner error
		err = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			inner = k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithMaxRetries(0))
			return inner
		}, k8sretry.WithObserver(&seen))
		assert.Same(t, inner, err)
		e := seen.last(t)
		assert.Equal(t, "an inner call gave up", e.Detail)
		assert.Equal(t, 503, e.StatusCode)
		assert.Equal(t, k8sretry.StopNonRetryable, e.StopReason)
		own := k8sretry.Verdict{Class: k8sretry.ClassBlocked, StatusCode: 418, Detail: "mine"}
		_, _ = k8sretry.Do(t.Context(), fails(errNo).get, k8sretry.WithObserver(&seen), k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return own, true }))
		assert.Equal(t, 418, seen.last(t).StatusCode)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = k8sretry.Do(ctx, fails().get, k8sretry.WithObserver(&seen))
		assert.Equal(t, k8sretry.ClassCanceled, seen.last(t).Class)
	})
}

func TestAttemptTimeoutVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timeout := k8sretry.WithAttemptTimeout(time.Second)
		var seen recorder
		watch := k8sretry.WithObserver(&seen)
		// an error that knows nothing, after the timeout
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return errors.New("stream closed") }, timeout, watch, k8sretry.WithMaxRetries(0))
		assert.Equal(t, k8sretry.ClassTimeout, seen.last(t).Class)
		assert.Equal(t, k8sretry.OutcomeUnknown, seen.last(t).Outcome)
		// an answer that came just with the timeout is an answer
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return notFound() }, timeout, watch)
		assert.Equal(t, 404, seen.last(t).StatusCode)
		assert.Equal(t, k8sretry.StopNonRetryable, seen.last(t).StopReason)
		// the client's rate limiter saw no room before the attempt's deadline
		limiter := errors.New("rate: Wait(n=1) would exceed context deadline")
		n := 0
		err := k8sretry.Run(t.Context(), func(context.Context) error {
			if n++; n == 1 {
				return limiter
			}
			return nil
		}, timeout)
		assert.NoError(t, err)
		assert.Same(t, limiter, k8sretry.Run(t.Context(), func(context.Context) error { return limiter }))
		// and the caller's context over
		ctx, cancel := context.WithCancel(t.Context())
		_ = k8sretry.Run(ctx, func(ctx context.Context) error { cancel(); return limiter }, timeout, watch)
		assert.Equal(t, k8sretry.ClassCanceled, seen.last(t).Class)
		assert.Equal(t, k8sretry.StopCanceled, seen.last(t).StopReason)
		// the caller's deadline is later than the attempt's: the attempt's shows
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_ = k8sretry.Run(ctx, func(ctx context.Context) error {
			d, _ := ctx.Deadline()
			assert.Equal(t, time.Second, time.Until(d))
			return nil
		}, timeout)
	})
}

func TestStopWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// a lasting answer after doubt, the context over meanwhile: no context error in the chain
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := k8sretry.Run(ctx, func(context.Context) error {
			if n++; n == 1 {
				return unavailable()
			}
			cancel()
			return notFound()
		})
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.NotErrorIs(t, err, context.Canceled)
		// a second 503 with the context over: the LAST error is kept
		ctx, cancel = context.WithCancel(t.Context())
		n = 0
		err = k8sretry.Run(ctx, func(context.Context) error {
			if n++; n == 1 {
				return badGateway()
			}
			cancel()
			return unavailable()
		})
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.ErrorIs(t, err, context.Canceled)
		// cancelled without a cause: it is not repeated in the text
		assert.NotContains(t, err.Error(), "(context canceled)")
		// a create refused by the verb is not in doubt when not executed; a value comes with its error
		v, err := k8sretry.Do(t.Context(), func(context.Context) (string, error) { return "partial", unavailable() }, k8sretry.WithMaxRetries(0))
		assert.Error(t, err)
		assert.Equal(t, "partial", v)
		// cancelled while waiting, the attempt before was another error
		ctx, cancel = context.WithCancel(t.Context())
		n = 0
		err = k8sretry.Run(ctx, func(context.Context) error {
			if n++; n == 2 {
				time.AfterFunc(time.Millisecond, cancel)
				return context.DeadlineExceeded
			}
			return unavailable()
		})
		assert.Equal(t, context.DeadlineExceeded, asError(t, err).Err)
	})
}

func TestBounds(t *testing.T) {
	none := func(context.Context) error { return nil }
	for _, o := range []k8sretry.Option{
		k8sretry.WithMultiplier(1), k8sretry.WithMultiplier(1.7976931348623157e308), k8sretry.WithMaxRetryAfter(0), k8sretry.WithAttemptTimeout(0), k8sretry.WithMaxElapsed(0),
		k8sretry.WithJitter(k8sretry.JitterNone),
	} {
		assert.NoError(t, k8sretry.Run(t.Context(), none, o))
	}
	for _, o := range []k8sretry.Option{
		k8sretry.WithVerb(k8sretry.VerbDeleteCollection + 1), k8sretry.WithJitter(k8sretry.JitterNone + 1), k8sretry.WithBackoffFor(k8sretry.ClassCanceled+1, constantBackoff{}),
	} {
		assert.Error(t, k8sretry.Run(t.Context(), none, o))
	}
	synctest.Test(t, func(t *testing.T) {
		own := k8sretry.Verdict{Class: k8sretry.ClassServer, RetryAfter: time.Nanosecond}
		_, err := k8sretry.Do(t.Context(), fails(errNo).get, k8sretry.WithMaxRetryAfter(0), k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return own, true }))
		assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
		for range 50 {
			s := fails(tooMany(100))
			_, _ = k8sretry.Do(t.Context(), s.get, k8sretry.WithMaxRetryAfter(time.Hour))
			assert.LessOrEqual(t, s.waits()[0], 150*time.Second)
		}
		longest := time.Duration(0)
		for range 200 {
			s := fails(tooMany(100))
			_, _ = k8sretry.Do(t.Context(), s.get, k8sretry.WithMaxRetryAfter(time.Hour))
			longest = max(longest, s.waits()[0])
		}
		assert.Greater(t, longest, 140*time.Second, "the whole room is used")
		// a 503 with a delay waits the schedule of a 503
		late := status(503, "")
		late.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
		s := fails(late)
		_, _ = k8sretry.Do(t.Context(), s.get, exact, k8sretry.WithInitialDelay(4*time.Second))
		assert.Equal(t, seconds(4), s.waits())
	})
}
