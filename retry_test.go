package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/k8sretry/k8sretry"
)

func TestDo(t *testing.T) {
	notFound, conflict := notFound(), status(409, metav1.StatusReasonConflict)
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		waits     []time.Duration // between attempts, so attempts - 1 of them
		check     func(*testing.T, error)
		events    []string
	}{
		{
			situation: "success at once: one attempt, no event",
		},
		{
			situation: "503, 502, then success: the schedule of ForWrite",
			fails:     []error{unavailable(), badGateway()},
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(2, 4),
			events:    []string{"k8s_api_call_failed_retrying", "k8s_api_call_failed_retrying", "k8s_api_call_succeeded_after_retry"},
		},
		{
			situation: "404: one attempt, the very same error",
			fails:     []error{notFound},
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
			events:    []string{"k8s_api_call_failed_non_retryable"},
		},
		{
			situation: "409: one attempt, the very same error",
			fails:     []error{conflict},
			check:     func(t *testing.T, err error) { assert.Same(t, conflict, err) },
			events:    []string{"k8s_api_call_failed_non_retryable"},
		},
		{
			situation: "503 six times with ForWrite: all retries, then the API error in an Error",
			fails:     times(6, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(2, 4, 8, 16, 30),
			check: func(t *testing.T, err error) {
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				e := asError(t, err)
				assert.Equal(t, 6, e.Attempts)
				assert.Equal(t, 60*time.Second, e.Elapsed)
				assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason)
			},
			events: []string{
				"k8s_api_call_failed_retrying", "k8s_api_call_failed_retrying", "k8s_api_call_failed_retrying",
				"k8s_api_call_failed_retrying", "k8s_api_call_failed_retrying", "k8s_api_call_failed_max_retries",
			},
		},
		{
			situation: "503 four times with ForRead: 1, 2, 4 s",
			fails:     times(4, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForRead()},
			waits:     seconds(1, 2, 4),
			check:     func(t *testing.T, err error) { assert.ErrorIs(t, err, k8sretry.ErrMaxRetries) },
		},
		{
			situation: "503, 503, 404 of a read: the last error decides, exactly as it came",
			fails:     []error{unavailable(), unavailable(), notFound},
			opts:      []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbGet)},
			waits:     seconds(1, 2),
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
		},
		{
			situation: "503, 503, 404 without a verb: NotFound, and the doubt about the 503s is told",
			fails:     []error{unavailable(), unavailable(), notFound},
			waits:     seconds(1, 2),
			check: func(t *testing.T, err error) {
				assert.True(t, apierrors.IsNotFound(err))
				assert.False(t, apierrors.IsServiceUnavailable(err))
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Equal(t, k8sretry.StopNonRetryable, asError(t, err).StopReason)
			},
			events: []string{"k8s_api_call_failed_retrying", "k8s_api_call_failed_retrying", "k8s_api_call_failed_non_retryable"},
		},
		{
			situation: "429 then 404: a 429 changes nothing, so the 404 comes exactly as it was",
			fails:     []error{tooMany(0), notFound},
			opts:      []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbDelete)},
			waits:     seconds(2),
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
		},
		{
			situation: "no retries allowed: one attempt, still an Error that tells why",
			fails:     []error{unavailable()},
			opts:      []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, 1, asError(t, err).Attempts)
			},
			events: []string{"k8s_api_call_failed_max_retries"},
		},
		{
			situation: "no delay: retries follow at once",
			fails:     times(2, unavailable()),
			opts:      []k8sretry.Option{k8sretry.WithInitialDelay(0)},
			waits:     seconds(0, 0),
		},
		{
			situation: "504, refused and timeouts wait half of the schedule",
			fails:     []error{gatewayTimeout(), network("dial", syscall.ECONNREFUSED), network("dial", syscall.ETIMEDOUT)},
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(1, 2, 4),
		},
		{
			situation: "lost connections wait the schedule",
			fails:     []error{network("read", syscall.ECONNRESET), io.ErrUnexpectedEOF},
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(2, 4),
		},
		{
			situation: "429 without a delay from the server waits twice the schedule, capped",
			fails:     times(5, tooMany(0)),
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(4, 8, 16, 30, 30),
		},
		{
			situation: "429 with 7 s: the server's delay is a floor",
			fails:     []error{tooMany(7), tooMany(1)},
			opts:      []k8sretry.Option{k8sretry.ForRead()},
			waits:     seconds(7, 2),
		},
		{
			situation: "429 with a day: stops at once and tells the day",
			fails:     []error{tooMany(86400)},
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
				assert.True(t, apierrors.IsTooManyRequests(err))
				assert.Equal(t, 24*time.Hour, asError(t, err).RetryAfter)
				assert.Contains(t, err.Error(), "24h0m0s")
			},
			events: []string{"k8s_api_call_failed_retry_after_too_long"},
		},
		{
			situation: "a Retry-After of exactly the maximum is waited for",
			fails:     []error{tooMany(60)},
			waits:     seconds(60),
		},
		{
			situation: "a longer maximum is given",
			fails:     []error{tooMany(90)},
			opts:      []k8sretry.Option{k8sretry.WithMaxRetryAfter(2 * time.Minute)},
			waits:     seconds(90),
		},
		{
			situation: "504 with a delay below half of the schedule: half of the schedule",
			fails:     []error{withDelay(gatewayTimeout(), 1)},
			opts:      []k8sretry.Option{k8sretry.WithInitialDelay(8 * time.Second)},
			waits:     seconds(4),
		},
		{
			situation: "503 with a delay above the schedule: the delay",
			fails:     []error{withDelay(unavailable(), 9)},
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(9),
		},
		{
			situation: "a PodDisruptionBudget is polled slowly",
			fails:     times(3, budgetSpent()),
			waits:     []time.Duration{5 * time.Second, 7500 * time.Millisecond, 11250 * time.Millisecond},
		},
		{
			situation: "a schedule of one's own for one class",
			fails:     []error{unavailable(), tooMany(0)},
			opts:      []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Minute})},
			waits:     seconds(1, 60),
		},
		{
			situation: "a Backoff of one's own is taken as it is, for every class",
			fails:     []error{tooMany(0), gatewayTimeout(), unavailable()},
			opts:      []k8sretry.Option{k8sretry.WithBackoff(constantBackoff{3 * time.Second})},
			waits:     seconds(3, 3, 3),
		},
		{
			situation: "a Backoff of one's own that answers less than nothing counts as no delay",
			fails:     []error{unavailable()},
			opts:      []k8sretry.Option{k8sretry.WithBackoff(constantBackoff{-time.Second})},
			waits:     seconds(0),
		},
		{
			situation: "time is up: the wait would pass WithMaxElapsed",
			fails:     times(9, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithMaxElapsed(10 * time.Second)},
			waits:     seconds(2, 4),
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, 6*time.Second, asError(t, err).Elapsed)
			},
			events: []string{"k8s_api_call_failed_retrying", "k8s_api_call_failed_retrying", "k8s_api_call_failed_max_elapsed"},
		},
		{
			situation: "time is just not up: a retry at the very end of WithMaxElapsed is made",
			fails:     times(2, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithMaxElapsed(6 * time.Second)},
			waits:     seconds(2, 4),
		},
		{
			situation: "WithRetryOn retries what is listed",
			fails:     []error{fmt.Errorf("list: %w", io.ErrUnexpectedEOF), context.DeadlineExceeded, errNo},
			opts:      []k8sretry.Option{k8sretry.WithRetryOn(io.ErrUnexpectedEOF, context.DeadlineExceeded, errNo)},
			waits:     seconds(1, 1, 4),
		},
		{
			situation: "WithRetryOn leaves the rest to the classifier",
			fails:     []error{unavailable(), errNo},
			opts:      []k8sretry.Option{k8sretry.WithRetryOn(io.EOF), k8sretry.WithVerb(k8sretry.VerbGet)},
			waits:     seconds(1),
			check:     func(t *testing.T, err error) { assert.Same(t, errNo, err) },
		},
		{
			situation: "WithRetryIf retries a whole type of errors, conflicts here",
			fails:     []error{conflict, conflict, notFound},
			opts:      []k8sretry.Option{k8sretry.WithRetryIf(apierrors.IsConflict)},
			waits:     seconds(1, 2),
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
		},
		{
			situation: "WithRetryIf overrules the verb",
			fails:     []error{unavailable()},
			opts:      []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithRetryIf(apierrors.IsServiceUnavailable)},
			waits:     seconds(1),
		},
		{
			situation: "a classifier forbids the 503 of its own webhook",
			fails:     []error{ownWebhook},
			opts:      []k8sretry.Option{k8sretry.WithClassifier(forbidOwnWebhook)},
			check:     func(t *testing.T, err error) { assert.Same(t, ownWebhook, err) },
			events:    []string{"k8s_api_call_failed_non_retryable"},
		},
		{
			situation: "a classifier overrules WithRetryIf, and has no opinion on the rest",
			fails:     []error{unavailable(), ownWebhook},
			opts: []k8sretry.Option{
				k8sretry.WithClassifier(forbidOwnWebhook), k8sretry.WithRetryIf(func(error) bool { return true }), k8sretry.WithVerb(k8sretry.VerbGet),
			},
			waits: seconds(1),
			check: func(t *testing.T, err error) { assert.Same(t, ownWebhook, err) },
		},
		{
			situation: "a classifier allows what is a lasting error otherwise",
			fails:     []error{notFound},
			opts: []k8sretry.Option{k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
				return k8sretry.Verdict{Class: k8sretry.ClassServer}, apierrors.IsNotFound(err)
			})},
			waits: seconds(1),
		},
		{
			situation: "ForConnection retries lost connections",
			fails:     []error{network("dial", syscall.ECONNREFUSED), network("read", syscall.ECONNRESET)},
			opts:      []k8sretry.Option{k8sretry.ForConnection()},
			waits:     seconds(0.25, 1),
		},
		{
			situation: "ForConnection takes an answer of the API as it is",
			fails:     []error{ownWebhook},
			opts:      []k8sretry.Option{k8sretry.ForConnection()},
			check:     func(t *testing.T, err error) { assert.Same(t, ownWebhook, err) },
		},
		{
			situation: "ForEviction asks a PodDisruptionBudget again and again",
			fails:     times(50, budgetSpent()),
			opts:      []k8sretry.Option{k8sretry.ForEviction()},
			waits:     append(seconds(5, 7.5, 11.25, 16.875), times2(46, 20*time.Second)...),
		},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(c.fails...)
				logger, written := logs()
				value, err := k8sretry.Do(t.Context(), s.get, append([]k8sretry.Option{exact, logger}, c.opts...)...)
				if c.check == nil {
					require.NoError(t, err)
					assert.Equal(t, "value", value)
				} else {
					require.Error(t, err)
					c.check(t, err)
				}
				assert.Equal(t, c.waits, s.waits())
				if c.events != nil {
					assert.Equal(t, c.events, messages(written))
				}
			})
		})
	}
}

var (
	errNo      = errors.New("no")
	ownWebhook = error(&apierrors.StatusError{ErrStatus: metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable, Message: "quota service of ours is down"}})
)

func forbidOwnWebhook(err error) (k8sretry.Verdict, bool) {
	return k8sretry.Verdict{Class: k8sretry.ClassPermanent}, errors.Is(err, ownWebhook)
}

// disruption is the refusal of an eviction by a PodDisruptionBudget.
func budgetSpent() error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "DisruptionBudget", Message: "The disruption budget web needs 3 healthy pods and has 3 currently"}}
	return err
}

// withDelay is a status that asks for a delay.
func withDelay(err error, seconds int32) error {
	err.(*apierrors.StatusError).ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	return err
}

func times2(n int, d time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}

// What an unknown outcome means depends on the verb.
func TestDoByVerb(t *testing.T) {
	all := []k8sretry.Verb{
		k8sretry.VerbUnspecified, k8sretry.VerbGet, k8sretry.VerbList, k8sretry.VerbWatch, k8sretry.VerbCreate, k8sretry.VerbUpdate,
		k8sretry.VerbPatch, k8sretry.VerbApply, k8sretry.VerbDelete, k8sretry.VerbDeleteCollection,
	}
	unsafe := map[k8sretry.Verb]bool{k8sretry.VerbCreate: true, k8sretry.VerbDeleteCollection: true}
	for _, verb := range all {
		t.Run("verb "+verb.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(tooMany(0), tooMany(3))
				_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(verb))
				require.NoError(t, err, "429: never executed, so every verb is repeated")
				assert.Equal(t, 3, s.attempts())

				s = fails(gatewayTimeout())
				logger, written := logs()
				_, err = k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(verb), logger)
				if !unsafe[verb] {
					require.NoError(t, err)
					assert.Equal(t, 2, s.attempts())
					return
				}
				assert.Equal(t, 1, s.attempts(), "504: perhaps executed, so the verb must not be repeated")
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.True(t, apierrors.IsTimeout(err))
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopOutcomeUnknown, e.StopReason)
				assert.Equal(t, k8sretry.OutcomeUnknown, e.Outcome)
				assert.Equal(t, []string{"k8s_api_call_failed_outcome_unknown"}, messages(written))
			})
		})
	}
}

func TestOutcomeOfAllAttempts(t *testing.T) {
	for _, c := range []struct {
		situation string
		verb      k8sretry.Verb
		fails     []error
		unknown   bool
	}{
		{"an update that timed out and ran out of retries may have happened", k8sretry.VerbUpdate, times(4, gatewayTimeout()), true},
		{"a throttled update has not", k8sretry.VerbUpdate, times(4, tooMany(0)), false},
		{"one doubtful attempt of many is enough", k8sretry.VerbUpdate, []error{gatewayTimeout(), tooMany(0), tooMany(0), tooMany(0)}, true},
		{"a delete that timed out, then NotFound: perhaps ours", k8sretry.VerbDelete, []error{gatewayTimeout(), notFound()}, true},
		{"a read never changes anything", k8sretry.VerbList, times(4, gatewayTimeout()), false},
		{"a create refused for good was not executed", k8sretry.VerbCreate, []error{tooMany(0), status(422, metav1.StatusReasonInvalid)}, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := k8sretry.Do(t.Context(), fails(c.fails...).get, k8sretry.WithVerb(c.verb))
				require.Error(t, err)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
			})
		})
	}
}

func TestContext(t *testing.T) {
	cause := errors.New("shutting down")

	t.Run("over before the first attempt: no attempt, its cause is returned", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		s := fails()
		logger, written := logs()
		_, err := k8sretry.Do(ctx, s.get, logger)
		assert.Same(t, cause, err)
		assert.Zero(t, s.attempts())
		assert.Equal(t, []string{"k8s_api_call_failed_canceled"}, messages(written))
	})

	for name, cause := range map[string]error{"no cause": nil, "a cause of its own": cause} {
		t.Run("cancelled while waiting, "+name+": returns at that instant with everything it knows", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(1500*time.Millisecond, func() { cancel(cause) })
				s := fails(times(9, unavailable())...)
				logger, written := logs()
				start := time.Now()
				_, err := k8sretry.Do(ctx, s.get, k8sretry.ForWrite(), logger)
				assert.Equal(t, 1500*time.Millisecond, time.Since(start))
				assert.Equal(t, 1, s.attempts())
				assert.ErrorIs(t, err, context.Canceled)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				if cause != nil {
					assert.ErrorIs(t, err, cause)
					assert.Contains(t, err.Error(), cause.Error())
				}
				assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
				assert.Equal(t, []string{"k8s_api_call_failed_retrying", "k8s_api_call_failed_canceled"}, messages(written))
			})
		})
	}

	t.Run("cancelled during the second attempt: the API error of the first is kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			n := 0
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (int, error) {
				if n++; n == 1 {
					return 0, unavailable()
				}
				cancel(cause)
				return 0, ctx.Err()
			})
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, cause)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			assert.Equal(t, 2, asError(t, err).Attempts)
		})
	})

	t.Run("cancelled during an attempt that gets a lasting answer: the answer counts", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		want := notFound()
		_, err := k8sretry.Do(ctx, func(context.Context) (int, error) { cancel(); return 0, want })
		assert.Same(t, want, err)
	})

	t.Run("cancelled during an attempt that succeeds: a success", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v, err := k8sretry.Do(ctx, func(context.Context) (int, error) { cancel(); return 7, nil })
		require.NoError(t, err)
		assert.Equal(t, 7, v)
	})

	t.Run("a deadline in 3 s and a wait of 4 s: returns now", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			s := fails(times(9, unavailable())...)
			logger, written := logs()
			_, err := k8sretry.Do(ctx, s.get, k8sretry.ForWrite(), exact, logger)
			assert.Equal(t, 2*time.Second, time.Since(start), "one wait of 2 s, none of 4 s")
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "it has not passed yet")
			assert.True(t, apierrors.IsServiceUnavailable(err))
			assert.Equal(t, "k8s_api_call_failed_deadline", messages(written)[1])
		})
	})

	t.Run("a wait that ends just at the deadline is not slept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			_, err := k8sretry.Do(ctx, fails(unavailable()).get, k8sretry.ForWrite(), exact)
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.Zero(t, time.Since(start))
		})
	})

	t.Run("a deadline that passes during an attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 1, asError(t, err).Attempts)
		})
	})

	t.Run("DeadlineExceeded while the caller's context lives is a timeout of something else", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := fails(context.DeadlineExceeded)
			_, err := k8sretry.Do(t.Context(), s.get)
			require.NoError(t, err)
			assert.Equal(t, 2, s.attempts())
		})
	})

	t.Run("Canceled while the caller's context lives is somebody else's wish: no retry", func(t *testing.T) {
		s := fails(context.Canceled)
		_, err := k8sretry.Do(t.Context(), s.get)
		assert.Same(t, context.Canceled, err)
		assert.Equal(t, 1, s.attempts())
	})

	t.Run("an ended context overrules conditions and classifiers", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		_, err := k8sretry.Do(ctx, func(context.Context) (int, error) { n++; cancel(); return 0, errNo },
			k8sretry.WithRetryIf(func(error) bool { return true }),
			k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true }))
		assert.Equal(t, 1, n)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, errNo)
	})
}

func TestRetryAfterIsSpreadUpwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 200 {
			s := fails(tooMany(7))
			_, err := k8sretry.Do(t.Context(), s.get, k8sretry.ForRead())
			require.NoError(t, err)
			assert.GreaterOrEqual(t, s.waits()[0], 7*time.Second)
			assert.LessOrEqual(t, s.waits()[0], 10500*time.Millisecond)
			seen[s.waits()[0]] = true
		}
		assert.Greater(t, len(seen), 150, "clients told the same second must not come back together")
	})
}

func TestNested(t *testing.T) {
	for name, wrap := range map[string]func(error) error{
		"as it is":          func(err error) error { return err },
		"wrapped":           func(err error) error { return fmt.Errorf("sync: %w", err) },
		"joined":            func(err error) error { return errors.Join(errNo, err) },
		"in an Aggregate":   func(err error) error { return utilerrors.NewAggregate([]error{errNo, err}) },
		"wrapped Aggregate": func(err error) error { return fmt.Errorf("sync: %w", utilerrors.NewAggregate([]error{errNo, err})) },
	} {
		t.Run("what an inner call gave up on is not retried by the outer, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, unavailable())...)
				var inner error
				_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (string, error) {
					v, err := k8sretry.Do(ctx, s.get, k8sretry.WithMaxRetries(2))
					inner = wrap(err)
					return v, inner
				}, k8sretry.WithMaxRetries(5), k8sretry.WithRetryIf(func(error) bool { return true }),
					k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true }))
				assert.Equal(t, 3, s.attempts(), "not 6 x 3")
				assert.Equal(t, inner, err)
			})
		})
	}

	t.Run("doubt of the outer call is told even if the inner one has none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
				if n++; n == 1 {
					return gatewayTimeout()
				}
				return k8sretry.Run(ctx, func(context.Context) error { return tooMany(0) }, k8sretry.WithMaxRetries(0))
			})
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.True(t, apierrors.IsTooManyRequests(err))
		})
	})
}

func TestPanicAndGoexitPassThrough(t *testing.T) {
	for name, opts := range map[string][]k8sretry.Option{
		"plain":           nil,
		"attempt timeout": {k8sretry.WithAttemptTimeout(time.Second)},
		"writing verb":    {k8sretry.WithVerb(k8sretry.VerbUpdate)},
	} {
		t.Run("panic in the first attempt, "+name, func(t *testing.T) {
			assert.PanicsWithValue(t, "boom", func() {
				_ = k8sretry.Run(t.Context(), func(context.Context) error { panic("boom") }, opts...)
			})
		})
		t.Run("panic in the second attempt, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				assert.PanicsWithValue(t, "boom", func() {
					_ = k8sretry.Run(t.Context(), func(context.Context) error {
						if n++; n == 2 {
							panic("boom")
						}
						return tooMany(0)
					}, opts...)
				})
			})
		})
		t.Run("Goexit, "+name, func(t *testing.T) {
			returned, done := false, make(chan struct{})
			go func() {
				defer close(done)
				_ = k8sretry.Run(t.Context(), func(context.Context) error { runtime.Goexit(); return nil }, opts...)
				returned = true
			}()
			<-done
			assert.False(t, returned)
		})
	}
}

func TestBadInput(t *testing.T) {
	ctx := t.Context()
	never := func(context.Context) (int, error) { t.Error("an attempt was made"); return 0, nil }
	call := func(opts ...k8sretry.Option) error { _, err := k8sretry.Do(ctx, never, opts...); return err }

	t.Run("a nil function", func(t *testing.T) {
		_, err := k8sretry.Do[int](ctx, nil)
		assert.EqualError(t, err, "k8sretry: the function to call is nil")
		assert.EqualError(t, k8sretry.Run(ctx, nil), "k8sretry: the function to call is nil")
	})
	t.Run("a nil context", func(t *testing.T) {
		//lint:ignore SA1012 that is the case
		_, err := k8sretry.Do(nil, never)
		assert.EqualError(t, err, "k8sretry: the context is nil")
	})
	t.Run("nil options are ignored", func(t *testing.T) {
		var policy *k8sretry.Policy
		v, err := k8sretry.Do(ctx, func(context.Context) (int, error) { return 1, nil }, nil, policy, &k8sretry.Policy{}, k8sretry.WithObserver(nil), k8sretry.WithLogger(nil))
		require.NoError(t, err)
		assert.Equal(t, 1, v)
	})
	t.Run("the first complaint is the one that is told", func(t *testing.T) {
		assert.ErrorContains(t, call(k8sretry.WithMaxRetries(-1), k8sretry.WithInitialDelay(-1)), "WithMaxRetries(-1)")
	})
	t.Run("a later good value does not heal a bad one", func(t *testing.T) {
		assert.ErrorContains(t, call(k8sretry.WithMaxRetries(-1), k8sretry.WithMaxRetries(1)), "WithMaxRetries(-1)")
	})

	var noBackoff k8sretry.Backoff
	for want, opt := range map[string]k8sretry.Option{
		"WithVerb(99): no such verb":                          k8sretry.WithVerb(99),
		"WithMaxRetries(-1): must not be negative":            k8sretry.WithMaxRetries(-1),
		"WithInitialDelay(-1s): must not be negative":         k8sretry.WithInitialDelay(-time.Second),
		"WithMaxDelay(-1ns): must not be negative":            k8sretry.WithMaxDelay(-1),
		"WithMultiplier(0.5): must be finite and at least 1":  k8sretry.WithMultiplier(0.5),
		"WithMultiplier(NaN): must be finite and at least 1":  k8sretry.WithMultiplier(nan()),
		"WithMultiplier(+Inf): must be finite and at least 1": k8sretry.WithMultiplier(inf()),
		"WithJitter(99): no such jitter":                      k8sretry.WithJitter(99),
		"WithMaxElapsed(-1s): must not be negative":           k8sretry.WithMaxElapsed(-time.Second),
		"WithAttemptTimeout(-1s): must not be negative":       k8sretry.WithAttemptTimeout(-time.Second),
		"WithMaxRetryAfter(-1s): must not be negative":        k8sretry.WithMaxRetryAfter(-time.Second),
		"WithBackoff: the Backoff is nil":                     k8sretry.WithBackoff(noBackoff),
		"WithBackoffFor: no such class":                       k8sretry.WithBackoffFor(99, k8sretry.Exponential{}),
		"WithRetryIf: the condition is nil":                   k8sretry.WithRetryIf(nil),
		"WithClassifier: the classifier is nil":               k8sretry.WithClassifier(nil),
	} {
		t.Run(want, func(t *testing.T) {
			want := "k8sretry: " + want
			assert.EqualError(t, call(opt), want)
			assert.EqualError(t, call(k8sretry.NewPolicy(opt)), want, "in a policy")
			assert.EqualError(t, call(k8sretry.ForRead(), k8sretry.NewPolicy(k8sretry.NewPolicy(opt), k8sretry.WithName("x"))), want, "in a policy in a policy")
			_, err := k8sretry.Wrap(never, opt)(ctx)
			assert.EqualError(t, err, want, "wrapped")
		})
	}
}

// The cause decides the share of the schedule that is waited, and the default jitter spreads
// that share.
func TestDefaultJitterSpreadsTheShareOfTheCause(t *testing.T) {
	for _, c := range []struct {
		situation string
		fail      error
		low, high []time.Duration // of each wait
	}{
		{"503: the schedule", unavailable(), seconds(2, 4, 8, 16, 24), seconds(2.4, 4.8, 9.6, 19.2, 30)},
		{"a lost connection: the schedule", network("read", syscall.ECONNRESET), seconds(2, 4, 8, 16, 24), seconds(2.4, 4.8, 9.6, 19.2, 30)},
		{"504: half of it", gatewayTimeout(), seconds(1, 2, 4, 8, 15), seconds(1.2, 2.4, 4.8, 9.6, 19.2)},
		{"refused: half of it", noConnection(), seconds(1, 2, 4, 8, 15), seconds(1.2, 2.4, 4.8, 9.6, 19.2)},
		{"a timeout: half of it", network("dial", syscall.ETIMEDOUT), seconds(1, 2, 4, 8, 15), seconds(1.2, 2.4, 4.8, 9.6, 19.2)},
		{"429 without a Retry-After: twice", tooMany(0), seconds(4, 8, 16, 24, 24), seconds(4.8, 9.6, 19.2, 30, 30)},
		{"429 with a short Retry-After: the schedule", tooMany(1), seconds(2, 4, 8, 16, 24), seconds(2.4, 4.8, 9.6, 19.2, 30)},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 100 {
					s := fails(times(5, c.fail)...)
					_, err := k8sretry.Do(t.Context(), s.get, k8sretry.ForWrite())
					require.NoError(t, err)
					for i, wait := range s.waits() {
						require.GreaterOrEqual(t, wait, c.low[i], "retry %d", i+1)
						require.LessOrEqual(t, wait, c.high[i], "retry %d", i+1)
					}
				}
			})
		})
	}
}

// A Backoff that answers less than nothing counts as no delay wherever the delay is told or
// paid for.
func TestBackoffThatAnswersLessThanNothing(t *testing.T) {
	for name, opt := range map[string]k8sretry.Option{
		"WithBackoff":    k8sretry.WithBackoff(constantBackoff{-time.Second}),
		"WithBackoffFor": k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{-time.Second}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen recorder
				budget := k8sretry.NewBudget(k8sretry.BudgetConfig{})
				s := fails(unavailable())
				_, err := k8sretry.Do(t.Context(), s.get, opt, k8sretry.WithObserver(&seen), k8sretry.WithBudget(budget))
				require.NoError(t, err)
				assert.Equal(t, seconds(0), s.waits())
				require.Len(t, seen.events, 2)
				assert.Equal(t, k8sretry.EventRetry, seen.events[0].Kind)
				assert.Zero(t, seen.events[0].Delay)
				assert.Zero(t, budget.State().RetryTime)
			})
		})
	}
}

func TestOnePolicyForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.ForWrite(), exact)
		wrapped := fails()
		wrappedGet := k8sretry.Wrap(wrapped.get, policy)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				s := fails(times(3, unavailable())...)
				_, err := k8sretry.Do(t.Context(), s.get, policy)
				assert.NoError(t, err)
				assert.Equal(t, seconds(2, 4, 8), s.waits(), "each call begins anew")
			})
		}
		wg.Wait()
		for range 1000 {
			_, err := wrappedGet(t.Context())
			require.NoError(t, err)
		}
		assert.Equal(t, 1000, wrapped.attempts())
	})
}

func TestValueOfTheLastAttempt(t *testing.T) {
	v, err := k8sretry.Do(t.Context(), func(context.Context) (string, error) { return "partial", notFound() })
	require.Error(t, err)
	assert.Equal(t, "partial", v, "a decorator changes nothing about what fn returned")
}

// A delay was drawn without regard to the time that is left, and the call gave up where only
// the spread did not fit.
func TestSpreadIsDrawnFromTheTimeThatIsLeft(t *testing.T) {
	type limit func(*testing.T, time.Duration) (context.Context, []k8sretry.Option)
	deadline := func(t *testing.T, d time.Duration) (context.Context, []k8sretry.Option) {
		ctx, cancel := contextWithTimeout(t, d)
		t.Cleanup(cancel)
		return ctx, nil
	}
	elapsed := func(t *testing.T, d time.Duration) (context.Context, []k8sretry.Option) {
		return t.Context(), []k8sretry.Option{k8sretry.WithMaxElapsed(d)}
	}
	for name, bound := range map[string]limit{"deadline": deadline, "max elapsed": elapsed} {
		for _, c := range []struct {
			situation        string
			fail             error
			opts             []k8sretry.Option
			left, least, end time.Duration // end 0: the call gives up
		}{
			{"Retry-After", tooMany(7), nil, 9 * time.Second, 7 * time.Second, 9 * time.Second},
			{"Retry-After that does not fit", tooMany(7), nil, 6 * time.Second, 0, 0},
			{"Retry-After, exact", tooMany(7), []k8sretry.Option{exact}, 6 * time.Second, 0, 0},
			{"schedule", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second)}, 10100 * time.Millisecond, 10 * time.Second, 10100 * time.Millisecond},
			{"schedule that does not fit", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second)}, 9 * time.Second, 0, 0},
			{"schedule, full jitter", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second), k8sretry.WithJitter(k8sretry.JitterFull)}, time.Second, 0, time.Second},
			{"schedule, equal jitter", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second), k8sretry.WithJitter(k8sretry.JitterEqual)}, 6 * time.Second, 5 * time.Second, 6 * time.Second},
			{"schedule at its cap", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(time.Hour), k8sretry.WithMaxDelay(10 * time.Second)}, 9 * time.Second, 8 * time.Second, 9 * time.Second},
			{"disruption budget", budgetSpent(), nil, 5100 * time.Millisecond, 5 * time.Second, 5100 * time.Millisecond},
			{"limiter", tooMany(0), []k8sretry.Option{k8sretry.WithLimiter(k8sretry.NewLimiter())}, 1500 * time.Millisecond, time.Second, 1500 * time.Millisecond},
			{"a Backoff of the caller is taken as it is", unavailable(), []k8sretry.Option{k8sretry.WithBackoff(k8sretry.BackoffFunc(func(int) time.Duration { return 7 * time.Second }))}, 6 * time.Second, 0, 0},
		} {
			t.Run(name+", "+c.situation, func(t *testing.T) {
				for range 40 {
					synctest.Test(t, func(t *testing.T) {
						ctx, opts := bound(t, c.left)
						s := fails(c.fail)
						start := time.Now()
						_, err := k8sretry.Do(ctx, s.get, append(opts, c.opts...)...)
						if c.end == 0 {
							assert.Error(t, err)
							assert.Equal(t, 1, s.attempts())
							assert.Zero(t, time.Since(start), "it gives up at once")
							return
						}
						require.NoError(t, err)
						assert.GreaterOrEqual(t, s.waits()[0], c.least)
						assert.Less(t, s.waits()[0], c.end)
					})
				}
			})
		}
	}
}

// The error of client-go's rate limiter that sees no room before the deadline was taken for
// the answer to the call, and the answers before it were forgotten.
func TestRateLimiterWithoutRoomBeforeTheDeadlineEndsTheCallAsTheDeadlineDoes(t *testing.T) {
	limited := fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline"))
	for name, c := range map[string]struct {
		fails   []error
		opts    []k8sretry.Option
		unknown bool
	}{
		"no verb":              {[]error{unavailable(), limited}, nil, true},
		"a read":               {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.ForRead()}, false},
		"a write":              {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbUpdate)}, true},
		"a create":             {[]error{tooMany(0), limited}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, false},
		"with a classifier":    {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{}, false })}, true},
		"an earlier doubt":     {[]error{gatewayTimeout(), tooMany(0), limited}, []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbUpdate)}, true},
		"an attempt's timeout": {[]error{unavailable(), limited}, []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.WithAttemptTimeout(time.Second)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := contextWithTimeout(t, time.Minute)
				defer cancel()
				seen := new(recorder)
				_, err := k8sretry.Do(ctx, fails(c.fails...).get, append(c.opts, k8sretry.WithObserver(seen))...)
				e := asError(t, err)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				if name == "an attempt's timeout" {
					assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason, "it is not the call's deadline that is near")
					return
				}
				assert.Equal(t, k8sretry.StopDeadline, e.StopReason)
				assert.Same(t, c.fails[len(c.fails)-2], e.Err, "the last answer of the API")
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.ErrorIs(t, err, limited)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, k8sretry.StopDeadline, seen.last(t).StopReason)
				assert.Equal(t, e.Err, seen.last(t).Err)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := k8sretry.Do(t.Context(), fails(limited).get)
		assert.Same(t, limited, err, "no answer before it")
	})
}
