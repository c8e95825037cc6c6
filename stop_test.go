package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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

// A call that does not retry and does not succeed ends for one reason: its error, its
// event and its log line have it. The reasons of guards are in guards_test.go.
func TestStopReasons(t *testing.T) {
	withTimeout := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 500*time.Millisecond)
	}
	canceled := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}
	for _, c := range []struct {
		stop    k8sretry.StopReason
		level   string
		within  func(context.Context) (context.Context, context.CancelFunc)
		fail    error
		opt     k8sretry.Option
		attempt int
		err     error
	}{
		{k8sretry.StopNonRetryable, "info", nil, notFound(), nil, 1, nil},
		{k8sretry.StopMaxRetries, "error", nil, unavailable(), k8sretry.WithMaxRetries(0), 1, k8sretry.ErrMaxRetries},
		{k8sretry.StopMaxElapsed, "error", nil, tooMany(9), k8sretry.WithMaxElapsed(time.Second), 1, k8sretry.ErrMaxElapsed},
		{k8sretry.StopDeadline, "error", withTimeout, tooMany(9), nil, 1, k8sretry.ErrDeadline},
		{k8sretry.StopRetryAfterTooLong, "error", nil, tooMany(999), nil, 1, k8sretry.ErrRetryAfterTooLong},
		{k8sretry.StopOutcomeUnknown, "error", nil, gatewayTimeout(), k8sretry.WithVerb(k8sretry.VerbCreate), 1, k8sretry.ErrOutcomeUnknown},
		{k8sretry.StopCanceled, "info", canceled, nil, nil, 0, context.Canceled},
	} {
		t.Run(c.stop.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.within != nil {
					var cancel context.CancelFunc
					ctx, cancel = c.within(ctx)
					defer cancel()
				}
				logger, lines := jsonLogs()
				var seen recorder
				_, err := k8sretry.Do(ctx, fails(c.fail).get, logger, c.opt, k8sretry.WithName("f"), k8sretry.WithObserver(&seen))
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				}
				if c.fail != nil {
					require.ErrorIs(t, err, c.fail)
				}
				if e := new(k8sretry.Error); errors.As(err, &e) {
					assert.Equal(t, c.stop, e.StopReason)
					assert.Equal(t, "f", e.Function)
				} else {
					assert.Contains(t, []k8sretry.StopReason{k8sretry.StopNonRetryable, k8sretry.StopCanceled}, c.stop)
				}
				require.Len(t, seen.events, 1)
				e := seen.events[0]
				assert.Equal(t, k8sretry.EventFailure, e.Kind)
				assert.Equal(t, c.stop, e.StopReason)
				assert.Equal(t, c.attempt, e.Attempt)
				require.Len(t, lines(t), 1)
				line := lines(t)[0]
				assert.Equal(t, "k8s_api_call_failed_"+c.stop.String(), line["event"])
				assert.Equal(t, c.level, line["level"])
				assert.Equal(t, "f", line["function"])
				assert.Equal(t, float64(c.attempt), line["attempt"])
				assert.NotEmpty(t, line["error"])
			})
		})
	}
}

// The caller's own context decides whether it is over.
func TestContext(t *testing.T) {
	cause := errors.New("shutting down")

	t.Run("over before the first attempt: no attempt, and its cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		s := fails()
		var seen recorder
		_, err := k8sretry.Do(ctx, s.get, k8sretry.WithObserver(&seen))
		assert.Same(t, cause, err)
		assert.Zero(t, s.attempts())
		last := seen.last(t)
		assert.Equal(t, k8sretry.StopCanceled, last.StopReason)
		assert.Equal(t, k8sretry.ClassCanceled, last.Class)
		assert.Equal(t, cause, last.Err)
	})

	for name, cause := range map[string]error{"no cause": nil, "a cause": cause} {
		t.Run("canceled during a wait, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(1500*time.Millisecond, func() { cancel(cause) })
				s := fails(times(9, unavailable())...)
				logger, written := logs()
				_, err := k8sretry.Do(ctx, s.get, k8sretry.ForWrite(), logger)
				assert.ErrorIs(t, err, context.Canceled)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				if cause != nil {
					assert.ErrorIs(t, err, cause)
					assert.ErrorContains(t, err, "canceled (shutting down)")
				} else {
					assert.NotContains(t, err.Error(), "(context canceled)", "not repeated in the text")
				}
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopCanceled, e.StopReason)
				assert.Equal(t, 1, e.Attempts)
				assert.Equal(t, 1500*time.Millisecond, e.Elapsed)
				assert.Equal(t, []string{"k8s_api_call_failed_retrying", "k8s_api_call_failed_canceled"}, messages(written))
			})
		})
	}

	t.Run("canceled during a transient failure: no retry is logged", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		logger, written := logs()
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return unavailable() }, logger)
		assert.ErrorIs(t, err, context.Canceled)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.Equal(t, []string{"k8s_api_call_failed_canceled"}, messages(written))
	})

	t.Run("canceled during an error without an API status", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(); return errPlain })
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, errPlain)
		assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
	})

	t.Run("canceled during a permanent answer: the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		want := notFound()
		_, err := k8sretry.Do(ctx, func(context.Context) (int, error) { cancel(); return 0, want })
		assert.Same(t, want, err)
	})

	t.Run("a permanent answer that is the cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		want := notFound()
		err := k8sretry.Run(ctx, func(context.Context) error { cancel(want); return want })
		assert.ErrorIs(t, err, context.Canceled)
		assert.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
	})

	t.Run("canceled during a permanent answer after an unknown outcome: no context error", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
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
		})
	})

	t.Run("canceled during a success", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v, err := k8sretry.Do(ctx, func(context.Context) (int, error) { cancel(); return 7, nil })
		require.NoError(t, err)
		assert.Equal(t, 7, v)
	})

	t.Run("the next wait would pass the deadline: returns at once, and it is no DeadlineExceeded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			s := fails(times(9, unavailable())...)
			_, err := k8sretry.Do(ctx, s.get, k8sretry.ForWrite(), exact)
			assert.Equal(t, 2*time.Second, time.Since(began), "one wait of 2 s, none of 4 s")
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "it has not passed yet")
			assert.True(t, apierrors.IsServiceUnavailable(err))
		})
	})

	t.Run("the deadline passes during the first attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			assert.ErrorIs(t, err, k8sretry.ErrDeadline)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			e := asError(t, err)
			assert.Equal(t, 1, e.Attempts)
			assert.Equal(t, context.DeadlineExceeded, e.Err)
		})
	})
}

// If the last attempt only says that the context is over, the answer of the API to the
// attempt before is kept: in the error, the event and the log line.
func TestLastAnswerOfTheAPI(t *testing.T) {
	own := error(&url.Error{Op: "Get", URL: "x", Err: context.Canceled})
	for _, c := range []struct {
		situation string
		fails     []error // nil: the caller cancels, and the attempt returns the context's error
		want      error
		ended     error // also in the chain
	}{
		{"one attempt", []error{nil}, context.Canceled, nil},
		{"the context's error after a 429", []error{tooMany(7), nil}, tooMany(7), context.Canceled},
		{"the context's error after a 503", []error{unavailable(), nil}, unavailable(), context.Canceled},
		{"an error that wraps it", []error{unavailable(), own}, unavailable(), own},
		{"the API's answer after another", []error{badGateway(), unavailable()}, unavailable(), context.Canceled},
		{"a timeout after an answer", []error{unavailable(), context.DeadlineExceeded}, context.DeadlineExceeded, context.Canceled},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				logger, lines := jsonLogs()
				var seen recorder
				n := 0
				err := k8sretry.Run(ctx, func(context.Context) error {
					if n++; n < len(c.fails) {
						return c.fails[n-1]
					}
					cancel()
					if fail := c.fails[n-1]; fail != nil {
						return fail
					}
					return ctx.Err()
				}, logger, k8sretry.WithObserver(&seen))
				assert.ErrorIs(t, err, context.Canceled)
				if c.ended != nil {
					assert.ErrorIs(t, err, c.ended)
				}
				e := asError(t, err)
				want := k8sretry.Classify(c.want)
				assert.Equal(t, c.want, e.Err)
				assert.Equal(t, len(c.fails), e.Attempts)
				assert.Equal(t, want.RetryAfter, e.RetryAfter)
				last := seen.last(t)
				assert.Equal(t, c.want, last.Err)
				assert.Equal(t, want.Class, last.Class)
				assert.Equal(t, want.StatusCode, last.StatusCode)
				assert.Equal(t, want.RetryAfter, last.RetryAfter)
				assert.Equal(t, e.Outcome, last.Outcome)
				line := lines(t)[len(c.fails)-1]
				assert.Equal(t, "k8s_api_call_failed_canceled", line["event"])
				assert.Equal(t, c.want.Error(), line["error"])
			})
		})
	}

	for name, of := range map[string]func(context.Context) error{"the cause": context.Cause, "the context's error, beside a cause": context.Context.Err} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				n := 0
				err := k8sretry.Run(ctx, func(context.Context) error {
					if n++; n == 1 {
						return unavailable()
					}
					cancel(errPlain)
					return of(ctx)
				})
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.ErrorIs(t, err, errPlain)
				assert.ErrorIs(t, err, context.Canceled)
				assert.Equal(t, 2, asError(t, err).Attempts)
			})
		})
	}

	t.Run("at the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			logger, lines := jsonLogs()
			attempts := 0
			err := k8sretry.Run(ctx, func(ctx context.Context) error {
				if attempts++; attempts == 1 {
					return unavailable()
				}
				<-ctx.Done()
				return ctx.Err()
			}, logger)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			line := lines(t)[1]
			assert.Equal(t, "k8s_api_call_failed_deadline", line["event"])
			assert.Equal(t, "the server said so", line["error"])
			assert.Equal(t, 503.0, line["status_code"])
			assert.Equal(t, "server", line["class"])
			assert.Equal(t, "unknown", line["outcome"])
		})
	})
}

// The outcome of a call is that of all of its attempts.
func TestOutcomeOfAllAttempts(t *testing.T) {
	plainConflict := apierrors.NewGenericServerResponse(409, "post", podResource, "web-0", "no JSON", 0, true)
	inFlight := &url.Error{Op: "Post", URL: "x", Err: context.Canceled}
	for _, c := range []struct {
		situation string
		verb      k8sretry.Verb
		fails     []error
		unknown   bool
	}{
		{"an update that timed out", k8sretry.VerbUpdate, times(4, gatewayTimeout()), true},
		{"an update that was throttled", k8sretry.VerbUpdate, times(4, tooMany(0)), false},
		{"one of many attempts with an unknown outcome", k8sretry.VerbUpdate, []error{gatewayTimeout(), tooMany(0), tooMany(0), tooMany(0)}, true},
		{"a delete that timed out, then NotFound", k8sretry.VerbDelete, []error{gatewayTimeout(), notFound()}, true},
		{"a delete that was throttled, then NotFound", k8sretry.VerbDelete, []error{tooMany(0), notFound()}, false},
		{"a read", k8sretry.VerbList, times(4, gatewayTimeout()), false},
		{"a read, then NotFound", k8sretry.VerbGet, []error{unavailable(), notFound()}, false},
		{"a create that was throttled, then invalid", k8sretry.VerbCreate, []error{tooMany(0), status(422, metav1.StatusReasonInvalid)}, false},
		{"a create whose 409 is in plain text", k8sretry.VerbCreate, []error{plainConflict}, true},
		{"a create that was canceled in flight, not by the caller", k8sretry.VerbCreate, []error{inFlight}, true},
		{"the same without a verb", k8sretry.VerbUnspecified, []error{inFlight}, false},
		{"no verb, and a timeout", k8sretry.VerbUnspecified, times(4, gatewayTimeout()), true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen recorder
				_, err := k8sretry.Do(t.Context(), fails(c.fails...).get, k8sretry.WithVerb(c.verb), k8sretry.WithObserver(&seen))
				require.Error(t, err)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				if c.unknown {
					assert.Equal(t, k8sretry.OutcomeUnknown, asError(t, err).Outcome)
					assert.Equal(t, k8sretry.OutcomeUnknown, seen.last(t).Outcome)
				}
				if c.verb == k8sretry.VerbGet || c.verb == k8sretry.VerbList {
					for _, e := range seen.events {
						assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome)
					}
				}
			})
		})
	}
}

// An inner call reports its own outcome. An outer call adds that of its earlier attempts.
func TestOutcomeOfNestedCalls(t *testing.T) {
	inner := func(fail error, opts ...k8sretry.Option) func(context.Context) error {
		return func(ctx context.Context) error {
			return k8sretry.Run(ctx, func(context.Context) error { return fail }, append(opts, k8sretry.WithMaxRetries(0))...)
		}
	}
	second := func(first error, then func(context.Context) error) func(context.Context) error {
		n := 0
		return func(ctx context.Context) error {
			if n++; n == 1 {
				return first
			}
			return then(ctx)
		}
	}
	t.Run("unknown in the outer call only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := k8sretry.Run(t.Context(), second(gatewayTimeout(), inner(tooMany(0))))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.True(t, apierrors.IsTooManyRequests(err))
			assert.Equal(t, 2, asError(t, err).Attempts, "the Error of the outer call")
		})
	})
	t.Run("unknown in both: the inner call has reported it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fail error
			err := k8sretry.Run(t.Context(), second(unavailable(), func(ctx context.Context) error {
				fail = fmt.Errorf("sync: %w", inner(unavailable())(ctx))
				return fail
			}))
			assert.Same(t, fail, err)
		})
	})
	t.Run("an inner read, canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			err := k8sretry.Run(ctx, func(ctx context.Context) error {
				return k8sretry.Run(ctx, func(context.Context) error { return unavailable() }, k8sretry.WithVerb(k8sretry.VerbGet))
			})
			assert.ErrorIs(t, err, context.Canceled)
			assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		})
	})
}

// uncomparable is an error type that cannot be compared: it contains a slice.
type uncomparable struct{ error }

func newUncomparable(errs ...error) error { return uncomparable{utilerrors.NewAggregate(errs)} }

// An error that cannot be compared does not make a call panic.
func TestUncomparableErrors(t *testing.T) {
	for name, fail := range map[string]error{
		"an Aggregate":       utilerrors.NewAggregate([]error{unavailable()}),
		"a value with one":   newUncomparable(unavailable()),
		"one without status": newUncomparable(errPlain),
	} {
		for when, first := range map[string]error{"the first attempt": nil, "the second attempt": unavailable()} {
			for _, is := range []string{"both", "the cause", "the error"} {
				t.Run(name+", "+when+", "+is, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := context.WithCancelCause(t.Context())
						cause, last := fail, fail
						switch is {
						case "the cause":
							last = errPlain
						case "the error":
							cause = nil
						}
						n := 0
						err := k8sretry.Run(ctx, func(context.Context) error {
							if n++; n == 1 && first != nil {
								return first
							}
							cancel(cause)
							return last
						})
						assert.ErrorIs(t, err, context.Canceled)
						assert.ErrorContains(t, err, "canceled")
					})
				})
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := k8sretry.Do(t.Context(), fails(times(9, utilerrors.NewAggregate([]error{unavailable()}))...).get)
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
	})
}

// Without a name, Error.Function is the function that calls Do.
func TestNameOfDoIsItsCaller(t *testing.T) {
	_, err := k8sretry.Do(t.Context(), fails(tooMany(0)).get, k8sretry.WithMaxRetries(0))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function)
	_, err = k8sretry.Do(t.Context(), fails(tooMany(0)).get, k8sretry.NewPolicy(k8sretry.WithMaxRetries(0)))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function)
	err = k8sretry.Run(t.Context(), func(context.Context) error { return tooMany(0) }, k8sretry.WithMaxRetries(0))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function)
	err = k8sretry.Run(t.Context(), func(context.Context) error { return tooMany(0) }, k8sretry.WithMaxRetries(0), k8sretry.WithName("get"), k8sretry.WithName(""))
	assert.Equal(t, "TestNameOfDoIsItsCaller", asError(t, err).Function, "an empty name is none")
}
