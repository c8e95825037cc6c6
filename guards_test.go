// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// forms are the ways to pass options to a call. They are equivalent.
var forms = map[string]func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error{
	"a prepared Policy": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		_, err := k8sretry.Do(ctx, fn, k8sretry.NewPolicy(opts...))
		return err
	},
	"options in the call": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		_, err := k8sretry.Do(ctx, fn, opts...)
		return err
	},
	"several policies": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		all := []k8sretry.Option{nil, (*k8sretry.Policy)(nil)}
		for _, o := range opts {
			all = append(all, k8sretry.NewPolicy(o))
		}
		_, err := k8sretry.Do(ctx, fn, all...)
		return err
	},
	"Wrap1": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		_, err := k8sretry.Wrap1(func(ctx context.Context, _ int) (string, error) { return fn(ctx) }, opts...)(ctx, 1)
		return err
	},
	"Run": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		return k8sretry.Run(ctx, func(ctx context.Context) error { _, err := fn(ctx); return err }, opts...)
	},
	"with a Transport in the process": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		k8sretry.Transport()
		defer k8sretry.ForgetTransports()
		_, err := k8sretry.Do(ctx, fn, opts...)
		return err
	},
	"with an Observer": func(ctx context.Context, fn func(context.Context) (string, error), opts ...k8sretry.Option) error {
		_, err := k8sretry.Do(ctx, fn, append(opts, k8sretry.WithObserver(new(recorder)))...)
		return err
	},
}

// A call has the same result and the same effect on the guards in all forms.
func TestGuardsInAllForms(t *testing.T) {
	k8sretry.ForgetTransports()
	type shared struct {
		budget  *k8sretry.Budget
		breaker *k8sretry.Breaker
		limiter *k8sretry.Limiter
	}
	for _, c := range []struct {
		situation string
		calls     int
		fails     []error // of each call
		attempts  int     // of all calls
		is        error
		paid      uint64
		breaker   k8sretry.BreakerState
		limited   bool
	}{
		{"success", 3, nil, 3, nil, 0, k8sretry.BreakerClosed, false},
		{"NotFound", 30, []error{notFound()}, 30, nil, 0, k8sretry.BreakerClosed, false},
		{"Conflict", 30, []error{apierrors.NewConflict(podResource, "web-0", errors.New("changed"))}, 30, nil, 0, k8sretry.BreakerClosed, false},
		{"one 503", 1, []error{unavailable()}, 2, nil, 1, k8sretry.BreakerClosed, false},
		{"one 429", 1, []error{tooMany(2)}, 2, nil, 1, k8sretry.BreakerClosed, false},
		{"one refused", 1, []error{noConnection()}, 2, nil, 1, k8sretry.BreakerClosed, false},
		{"throttled all the time", 1, times(10, tooMany(2)), 4, k8sretry.ErrMaxRetries, 3, k8sretry.BreakerClosed, true},
		{"over the budget", 2, times(10, noConnection()), 7, k8sretry.ErrBudgetExhausted, 5, k8sretry.BreakerClosed, true},
		{"a canceled attempt", 1, []error{context.Canceled}, 1, nil, 0, k8sretry.BreakerClosed, false},
	} {
		for name, form := range forms {
			t.Run(c.situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := shared{
						k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 5, Ratio: -1, Window: time.Hour}),
						k8sretry.NewBreaker(k8sretry.BreakerConfig{}), k8sretry.NewLimiter(),
					}
					attempts, err := 0, error(nil)
					for range c.calls {
						fn := fails(c.fails...)
						err = form(t.Context(), fn.get, k8sretry.WithBudget(s.budget), k8sretry.WithBreaker(s.breaker), k8sretry.WithLimiter(s.limiter), k8sretry.WithMaxQueueTime(time.Hour))
						attempts += fn.attempts()
					}
					assert.Equal(t, c.attempts, attempts)
					switch {
					case c.is != nil:
						assert.ErrorIs(t, err, c.is)
					case len(c.fails) > 0 && c.attempts == c.calls:
						assert.Equal(t, c.fails[0], err)
					default:
						assert.NoError(t, err)
					}
					assert.Equal(t, c.paid, s.budget.State().Paid)
					assert.Equal(t, c.breaker, s.breaker.State())
					assert.Equal(t, c.limited, s.limiter.State().Limited)
					assert.Zero(t, s.limiter.State().InFlight)
				})
			})
		}
	}
}

// If fn panics, the attempt is given back, in all forms.
func TestGuardsWhenFnPanics(t *testing.T) {
	k8sretry.ForgetTransports()
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				breaker, limiter := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
				opts := []k8sretry.Option{k8sretry.WithBreaker(breaker), k8sretry.WithLimiter(limiter), k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(time.Hour)}
				boom := func(context.Context) (string, error) { panic("fn") }
				assert.PanicsWithValue(t, "fn", func() { _ = form(t.Context(), boom, opts...) })
				assert.Zero(t, limiter.State().InFlight)
				for breaker.State() != k8sretry.BreakerOpen {
					_ = form(t.Context(), fails(noConnection()).get, opts...)
					testkit.Sleep(200 * time.Millisecond)
				}
				testkit.Sleep(time.Minute)
				assert.PanicsWithValue(t, "fn", func() { _ = form(t.Context(), boom, opts...) })
				assert.Equal(t, k8sretry.BreakerHalfOpen, breaker.State())
				assert.NoError(t, form(t.Context(), fails().get, opts...), "the probe was given back")
				assert.Equal(t, k8sretry.BreakerClosed, breaker.State())
				assert.Equal(t, k8sretry.LimiterState{}, limiter.State())
			})
		})
	}
}

// An attempt in which an inner call gave up is given back, and its error counts for the outer call.
func TestGuardsOfAnOuterCall(t *testing.T) {
	for _, c := range []struct {
		situation string
		inner     []k8sretry.Option
		fail      error
		limited   bool
	}{
		{"503", nil, unavailable(), false},
		{"refused", nil, noConnection(), true},
		{"out of budget", []k8sretry.Option{k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: -1}))}, noConnection(), false},
	} {
		for name, form := range forms {
			t.Run(c.situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := k8sretry.NewLimiter()
					err := form(t.Context(), func(ctx context.Context) (string, error) {
						return k8sretry.Do(ctx, fails(times(9, c.fail)...).get, c.inner...)
					}, k8sretry.WithLimiter(l))
					assert.Error(t, err)
					assert.Zero(t, l.State().InFlight)
					assert.Equal(t, c.limited, l.State().Limited)
					testkit.Sleep(time.Minute)
					assert.NoError(t, one(t.Context(), l, 0, nil))
					assert.Equal(t, k8sretry.LimiterState{}, l.State())
				})
			})
		}
	}
}

// If the Unwrap of an error panics, the attempt is given back.
func TestGuardsAfterAnErrorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := k8sretry.NewLimiter()
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return &single{panicking{}} }, k8sretry.WithLimiter(limiter), k8sretry.WithMaxElapsed(time.Minute))
		})
		assert.Zero(t, limiter.State().InFlight)
	})
}

// If the Limiter does not admit the probe of a half-open Breaker, the probe is given back.
func TestGuardsProbeThatTimesOutInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
		for b.State() != k8sretry.BreakerOpen {
			_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
			testkit.Sleep(200 * time.Millisecond)
		}
		_ = one(t.Context(), l, 0, tooMany(299)) // a pause
		testkit.Sleep(10 * time.Second)
		_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithBreaker(b), k8sretry.WithLimiter(l), k8sretry.WithMaxQueueTime(0), k8sretry.WithName("get"))
		assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.Equal(t, k8sretry.BreakerHalfOpen, b.State())
		_, err = k8sretry.Do(t.Context(), fails().get, k8sretry.WithBreaker(b))
		assert.NoError(t, err, "the probe was given back")
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
}

// Permanent errors do not open a Breaker and are no signs of overload.
func TestGuardsAfterPermanentErrors(t *testing.T) {
	for situation, err := range map[string]error{
		"404":            notFound(),
		"409":            apierrors.NewConflict(podResource, "web-0", errors.New("changed")),
		"422":            status(422, "Invalid"),
		"denied webhook": apierrors.NewForbidden(podResource, "web-0", errors.New("admission webhook denied the request")),
		"broken webhook": apierrors.NewInternalError(errors.New(`failed calling webhook "a.b": connection refused`)),
		"canceled":       context.Canceled,
		"a denied token": status(401, "Unauthorized"),
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, l := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
				for range 100 {
					_, got := k8sretry.Do(t.Context(), fails(err).get, k8sretry.WithBreaker(b), k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0))
					require.ErrorIs(t, got, err)
					testkit.Sleep(100 * time.Millisecond)
				}
				assert.Equal(t, k8sretry.BreakerClosed, b.State())
				assert.Equal(t, k8sretry.LimiterState{}, l.State())
			})
		})
	}
}

// If the caller has canceled, a failure counts only if it is an answer of the API.
func TestGuardsOfCanceledCalls(t *testing.T) {
	for _, c := range []struct {
		situation string
		fail      error
		cancels   bool
		counts    bool
	}{
		{"no connection, not canceled", noConnection(), false, true},
		{"no connection, canceled", noConnection(), true, false},
		{"a lost connection, canceled", network("read", syscall.ECONNRESET), true, false},
		{"503, canceled", unavailable(), true, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, l := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
				guards := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithLimiter(l)}
				for range 10 {
					for _, guard := range guards { // in calls of its own, so that neither refuses attempts for the other
						ctx, cancel := context.WithCancel(t.Context())
						err := k8sretry.Run(ctx, func(context.Context) error {
							if c.cancels {
								cancel()
							}
							return c.fail
						}, guard, k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(0))
						require.Error(t, err)
						cancel()
					}
					testkit.Sleep(100 * time.Millisecond)
				}
				assert.Equal(t, c.counts, b.State() == k8sretry.BreakerOpen, b.State())
				assert.Equal(t, c.counts, l.State().Limited)
			})
		})
	}
}

// ErrQueueTimeout is in the error once if the call ends in the queue, and never otherwise.
func TestErrQueueTimeoutIsReportedOnce(t *testing.T) {
	queueTimeouts := func(err error) (n int) {
		var e *k8sretry.Error
		if errors.As(err, &e) {
			for _, one := range e.Unwrap() {
				if one == k8sretry.ErrQueueTimeout {
					n++
				}
			}
		}
		return n
	}
	down := func(context.Context) error { return noConnection() }
	t.Run("the breaker refuses while the caller cancels", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
			for breaker.State() != k8sretry.BreakerOpen {
				_ = k8sretry.Run(t.Context(), down, k8sretry.WithBreaker(breaker))
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancels := k8sretry.WithObserver(observerFunc(func(context.Context, k8sretry.Event) { cancel() }))
			err := k8sretry.Run(ctx, down, k8sretry.WithBreaker(breaker), cancels)
			assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Zero(t, queueTimeouts(err))
		})
	})
	t.Run("the caller cancels in the queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			limiter := k8sretry.NewLimiter()
			for range 9 {
				testkit.Sleep(100 * time.Millisecond)
				_ = k8sretry.Run(t.Context(), down, k8sretry.WithLimiter(limiter), k8sretry.WithMaxRetries(0))
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			err := k8sretry.Run(ctx, down, k8sretry.WithLimiter(limiter))
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, 1, queueTimeouts(err))
		})
	})
}

// The events of a new state have the error that caused it, if there is one.
func TestStateChangesHaveTheirCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, lines := jsonLogs()
		b, l := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 1}), k8sretry.NewLimiter()
		guards := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithLimiter(l), logger, k8sretry.WithName("f"), k8sretry.WithMaxRetries(0)}
		for range 10 {
			_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, guards...)
			testkit.Sleep(time.Second)
		}
		testkit.Sleep(time.Minute)
		for range 3 {
			_, err := k8sretry.Do(t.Context(), fails().get, guards...)
			require.NoError(t, err)
		}
		logged := map[any]bool{}
		for _, line := range lines(t) {
			switch event := line["event"]; event {
			case "k8s_api_breaker_open", "k8s_api_limiter_limiting":
				logged[event] = true
				assert.Equal(t, "the server said so", line["error"], event)
				assert.Equal(t, 503.0, line["status_code"], event)
				assert.Equal(t, "server", line["class"], event)
			case "k8s_api_breaker_half_open", "k8s_api_breaker_closed", "k8s_api_limiter_open":
				logged[event] = true
				assert.NotContains(t, line, "error", event)
			}
		}
		assert.Len(t, logged, 5)
	})
}

// So have those of a Transport with its own guards below a Do.
func TestStateChangesOfATransportHaveTheirCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		client := over(t, func(req *http.Request) (*http.Response, error) {
			testkit.Sleep(5 * time.Second)
			return answer(req, 504, "application/json", statusJSON(504, metav1.StatusReasonTimeout, "too late")), nil
		}, wrapper(t, k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithObserver(&seen)))
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithMaxRetries(0))
		require.Error(t, err)
		e := seen.events[0]
		assert.Equal(t, "k8s_api_limiter_limiting", e.Name())
		assert.Equal(t, k8sretry.ClassTimeout, e.Class)
		assert.Equal(t, 504, e.StatusCode)
		testkit.Sleep(time.Minute)
	})
}

// The outcome of a call that only reads is never ambiguous.
func TestStateChangesOfReadsAreNotAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) {
			testkit.Sleep(5 * time.Second)
			return 0, gatewayTimeout()
		}, k8sretry.ForRead(), k8sretry.WithMaxRetries(0), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithObserver(&seen))
		require.Error(t, err)
		require.Len(t, seen.events, 2)
		assert.Equal(t, k8sretry.EventLimiter, seen.events[0].Kind)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, seen.events[0].Outcome)
		testkit.Sleep(time.Minute)
	})
}

// If 30 % of all attempts fail at random, the guards do not refuse the retries that are necessary.
func TestGuardsDuringARandomFault(t *testing.T) {
	for situation, guard := range map[string]k8sretry.Option{
		"Breaker": k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})),
		"Limiter": k8sretry.WithLimiter(k8sretry.NewLimiter()),
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const calls = 10000
				random := rand.New(rand.NewPCG(1, 2))
				fault := make([][]error, calls)
				for i := range fault {
					for random.Float64() < 0.3 {
						fault[i] = append(fault[i], unavailable())
					}
				}
				var failed atomic.Int32
				for i := range calls {
					go func() {
						if _, err := k8sretry.Do(t.Context(), fails(fault[i]...).get, guard, k8sretry.ForWrite()); err != nil {
							failed.Add(1)
						}
					}()
					testkit.Sleep(20 * time.Millisecond)
				}
				testkit.Sleep(10 * time.Minute)
				assert.LessOrEqual(t, failed.Load(), int32(calls/1000+7), "99.9 % succeed; six random failures in a row are unavoidable")
			})
		})
	}
}

// Nor do a Budget and a Breaker together, however many calls are made: of attempts of which 30 % fail,
// six in a row fail for 0.07 % of the calls.
func TestGuardsDuringARandomFaultAtAnyRate(t *testing.T) {
	const calls = 20_000
	var all, failed, overBudget, breakerOpen atomic.Int64
	for _, perSecond := range []float64{0.01, 0.1, 0.3, 1, 2, 5, 10, 20, 50, 100, 300, 1000} {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, math.Float64bits(perSecond)))
			policy := k8sretry.NewPolicy(k8sretry.WithMaxRetries(5), k8sretry.WithInitialDelay(2*time.Second), k8sretry.WithLogger(nil),
				k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})), k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})))
			overBudget.Store(0)
			for range calls {
				failures := 0
				for random.Float64() < 0.3 {
					failures++
				}
				go func() {
					_, err := k8sretry.Do(t.Context(), fails(times(failures, unavailable())...).get, policy)
					switch {
					case err == nil:
						return
					case errors.Is(err, k8sretry.ErrBudgetExhausted):
						overBudget.Add(1)
					case errors.Is(err, k8sretry.ErrBreakerOpen):
						breakerOpen.Add(1)
					}
					failed.Add(1)
				}()
				testkit.Sleep(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
			}
			testkit.Sleep(10 * time.Minute)
			all.Add(calls)
			assert.Zero(t, breakerOpen.Load(), "refused by the breaker, of 20,000 at %v per second", perSecond)
			assert.LessOrEqual(t, overBudget.Load(), int64(2), "refused by the budget, of 20,000 at %v per second", perSecond)
		})
	}
	assert.GreaterOrEqual(t, 1-float64(failed.Load())/float64(all.Load()), 0.999, "of all calls")
}

// For any server and any calls: no attempt starts before its Retry-After, no call makes more
// attempts than it may, every call ends, and nothing leaks.
func TestGuardsProperties(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			l := k8sretry.NewLimiter()
			guards := []k8sretry.Option{k8sretry.WithLimiter(l)}
			if seed%2 == 0 {
				guards = append(guards, k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})))
			}
			if seed%3 == 0 {
				guards = append(guards, k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})))
			}
			answers := []error{nil, nil, nil, noConnection(), unavailable(), tooMany(1), tooMany(30), notFound(), gatewayTimeout(), context.Canceled}
			phase := 0
			var running atomic.Int32
			for i := range 200 {
				if i%40 == 0 {
					phase = random.IntN(len(answers))
				}
				retries := random.IntN(6)
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				usual, queueTime, timeout := phase, time.Duration(r.IntN(200))*time.Second, time.Duration(r.IntN(400))*time.Second
				running.Add(1)
				go func() {
					defer running.Add(-1)
					defer func() { _ = recover() }()
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					defer cancel()
					attempts, began := 0, time.Now()
					var notBefore time.Time
					_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) {
						attempts++
						assert.False(t, time.Now().Before(notBefore), "not before its Retry-After")
						assert.LessOrEqual(t, attempts, 1+retries)
						testkit.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
						err := answers[usual]
						if r.IntN(3) == 0 {
							err = answers[r.IntN(len(answers))]
						}
						if after, ok := apierrors.SuggestsClientDelay(err); ok {
							notBefore = time.Now().Add(time.Duration(after) * time.Second)
						}
						if r.IntN(100) == 0 {
							panic("fn")
						}
						return 0, err
					}, append(slices.Clone(guards), k8sretry.WithMaxRetries(retries), k8sretry.WithMaxQueueTime(queueTime))...)
					assert.LessOrEqual(t, time.Since(began), timeout+3*time.Second, "it ends with its context")
				}()
				testkit.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
			}
			testkit.Sleep(time.Hour)
			assert.Zero(t, running.Load())
			s := l.State()
			assert.Zero(t, s.InFlight)
			assert.Zero(t, s.Queued)
			assert.NoError(t, one(t.Context(), l, 0, nil))
			assert.Equal(t, k8sretry.LimiterState{}, l.State(), "seed %d", seed)
		})
	}
}

// What Budget, Breaker and Limiter add to a call that succeeds at once:
//
//	go test -run '^$' -bench BenchmarkGuards -cpu 1,2 .
func BenchmarkGuards(b *testing.B) {
	k8sretry.ForgetTransports()
	value := 42
	get := func(context.Context) (*int, error) { return &value, nil }
	budget := k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{}))
	breaker := k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{}))
	limiter := k8sretry.WithLimiter(k8sretry.NewLimiter())
	name := k8sretry.WithName("get")
	for _, c := range []struct {
		name string
		opts []k8sretry.Option
	}{
		{"without", nil},
		{"another option", []k8sretry.Option{k8sretry.WithMaxRetries(5)}},
		{"Budget", []k8sretry.Option{budget}},
		{"Breaker", []k8sretry.Option{breaker}},
		{"Limiter", []k8sretry.Option{limiter}},
		{"Limiter with a name", []k8sretry.Option{limiter, name}},
		{"all", []k8sretry.Option{budget, breaker, limiter}},
	} {
		policy := k8sretry.NewPolicy(append([]k8sretry.Option{k8sretry.ForRead()}, c.opts...)...)
		inCall := append([]k8sretry.Option{k8sretry.ForRead()}, c.opts...)
		ctx := context.Background()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(ctx, get, policy)
			}
		})
		b.Run(c.name+", in the call", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(ctx, get, inCall...)
			}
		})
		b.Run(c.name+", in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = k8sretry.Do(ctx, get, policy)
				}
			})
		})
		b.Run(c.name+", 1000 goroutines", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(1000)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = k8sretry.Do(ctx, get, policy)
				}
			})
		})
	}
}

type silentObserver struct{}

func (*silentObserver) Observe(context.Context, k8sretry.Event) {}

// A call that succeeds or fails permanently at once does not allocate: with each option
// alone, with constants and with variables, and with all of them together.
func TestNoAllocation(t *testing.T) {
	k8sretry.ForgetTransports() // of other tests: a read beside one carries a record
	ctx := context.Background()
	canceler, cancel := context.WithCancel(ctx)
	defer cancel()
	value, notFound := 42, error(apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web-0"))
	get := func(context.Context) (*int, error) { return &value, nil }
	miss := func(context.Context) (*int, error) { return nil, notFound }
	run := func(context.Context) error { return nil }
	policy := k8sretry.NewPolicy(k8sretry.WithMaxRetries(4), k8sretry.WithName("get"))
	wrapped := k8sretry.Wrap2(func(context.Context, string, int) (*int, error) { return &value, nil }, k8sretry.ForRead())
	wrappedRun := k8sretry.WrapRun1(func(context.Context, string) error { return nil }, k8sretry.ForRead())

	// Variables, whose values the compiler does not know.
	n := rand.IntN(5) + 1
	d := time.Duration(rand.IntN(5)+1) * time.Second
	m := 1 + rand.Float64()
	name := []string{"get a pod", "list pods"}[rand.IntN(2)]
	verb := []k8sretry.Verb{k8sretry.VerbGet, k8sretry.VerbList}[rand.IntN(2)]
	jitter := []k8sretry.Jitter{k8sretry.JitterFull, k8sretry.JitterNone}[rand.IntN(2)]
	target := []error{io.EOF, io.ErrUnexpectedEOF}[rand.IntN(2)]
	logger := zap.NewNop()
	observer := new(silentObserver)
	budget, breaker, limiter := k8sretry.NewBudget(k8sretry.BudgetConfig{}), k8sretry.NewBreaker(k8sretry.BreakerConfig{}), k8sretry.NewLimiter()
	guarded := k8sretry.NewPolicy(k8sretry.WithBudget(budget), k8sretry.WithBreaker(breaker), k8sretry.WithLimiter(limiter))
	hits := 0

	for name, call := range map[string]func(){
		"Do, no option":                 func() { _, _ = k8sretry.Do(ctx, get) },
		"Do, cancellable context":       func() { _, _ = k8sretry.Do(canceler, get) },
		"Do, prepared policy":           func() { _, _ = k8sretry.Do(ctx, get, policy) },
		"Do, preset":                    func() { _, _ = k8sretry.Do(ctx, get, k8sretry.ForWrite()) },
		"Run":                           func() { _ = k8sretry.Run(ctx, run, policy) },
		"Run, a closure over variables": func() { _ = k8sretry.Run(ctx, func(context.Context) error { hits += n; return nil }, policy) },
		"Wrap2":                         func() { _, _ = wrapped(ctx, "web-0", 1) },
		"WrapRun1":                      func() { _ = wrappedRun(ctx, "web-0") },

		"WithName":                   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithName("get")) },
		"WithName, variable":         func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithName(name)) },
		"WithVerb":                   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithVerb(k8sretry.VerbGet)) },
		"WithVerb, variable":         func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithVerb(verb)) },
		"WithMaxRetries":             func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetries(5)) },
		"WithMaxRetries, variable":   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetries(n)) },
		"WithInitialDelay":           func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithInitialDelay(2*time.Second)) },
		"WithInitialDelay, variable": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithInitialDelay(d)) },
		"WithMaxDelay":               func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxDelay(2*time.Second)) },
		"WithMaxDelay, variable":     func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxDelay(d)) },
		"WithMultiplier":             func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMultiplier(1.5)) },
		"WithMultiplier, variable":   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMultiplier(m)) },
		"WithJitter":                 func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithJitter(k8sretry.JitterFull)) },
		"WithJitter, variable":       func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithJitter(jitter)) },
		"WithBackoff, Exponential":   func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoff(k8sretry.Exponential{Initial: time.Second})) },
		"WithBackoff, variable": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoff(k8sretry.Exponential{Initial: d, Max: 2 * d}))
		},
		"WithBackoff, the caller's own": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoff(constantBackoff{d})) },
		"WithBackoffFor": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Second}))
		},
		"WithBackoffFor, variable": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBackoffFor(k8sretry.ClassThrottled, k8sretry.Exponential{Initial: d}))
		},
		"WithMaxRetryAfter":           func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetryAfter(time.Minute)) },
		"WithMaxRetryAfter, variable": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxRetryAfter(d)) },
		"WithMaxElapsed":              func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxElapsed(time.Minute)) },
		"WithMaxElapsed, variable":    func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithMaxElapsed(d)) },
		"WithErrorHistory":            func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithErrorHistory(5)) },
		"WithErrorHistory, variable":  func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithErrorHistory(n)) },
		"WithRetryOn":                 func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryOn(io.EOF, context.DeadlineExceeded)) },
		"WithRetryOn, variable":       func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryOn(target, io.EOF)) },
		"WithRetryIf":                 func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryIf(apierrors.IsConflict)) },
		"WithRetryIf, a closure": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithRetryIf(func(err error) bool { hits++; return errors.Is(err, target) }))
		},
		"WithClassifier": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { hits++; return k8sretry.Classify(err), n > 1 }))
		},
		"WithExpected": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithExpected(func(err error) bool { hits++; return err == target }))
		},
		"WithLogger":      func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLogger(logger)) },
		"WithLogger, nil": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLogger(nil)) },
		"WithContextLogger": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithContextLogger(func(context.Context) *zap.Logger { hits++; return logger }))
		},
		"WithBudget":               func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBudget(budget)) },
		"WithBreaker":              func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithBreaker(breaker)) },
		"WithLimiter":              func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter)) },
		"WithLimiter, with a name": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter), k8sretry.WithName(name)) },
		"WithMaxQueueTime": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(time.Second))
		},
		"WithMaxQueueTime, variable": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(d)) },
		"Budget, Breaker and Limiter": func() {
			_, _ = k8sretry.Do(ctx, get, k8sretry.WithBudget(budget), k8sretry.WithBreaker(breaker), k8sretry.WithLimiter(limiter))
		},
		"Budget, Breaker and Limiter, prepared policy": func() { _, _ = k8sretry.Do(ctx, get, guarded) },
		"WithObserver": func() { _, _ = k8sretry.Do(ctx, get, k8sretry.WithObserver(observer)) },
		"all of them": func() {
			_, _ = k8sretry.Do(ctx, get, policy, k8sretry.WithName(name), k8sretry.WithVerb(verb), k8sretry.WithMaxRetries(n),
				k8sretry.WithInitialDelay(d), k8sretry.WithMaxDelay(d), k8sretry.WithMultiplier(m), k8sretry.WithJitter(jitter),
				k8sretry.WithBackoff(constantBackoff{d}), k8sretry.WithBackoff(k8sretry.Exponential{Initial: d}),
				k8sretry.WithBackoffFor(k8sretry.ClassThrottled, k8sretry.Exponential{Initial: d}),
				k8sretry.WithMaxElapsed(d), k8sretry.WithMaxRetryAfter(d), k8sretry.WithRetryOn(target, io.EOF),
				k8sretry.WithRetryIf(func(error) bool { hits++; return false }),
				k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { hits++; return k8sretry.Verdict{}, false }),
				k8sretry.WithContextLogger(func(context.Context) *zap.Logger { hits++; return logger }),
				k8sretry.WithExpected(func(error) bool { hits++; return false }),
				k8sretry.WithLogger(logger), k8sretry.WithObserver(observer), k8sretry.ForRead())
		},

		"NotFound at once, WithBudget":                                   func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithBudget(budget)) },
		"NotFound at once, WithBreaker":                                  func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithBreaker(breaker)) },
		"NotFound at once, WithLimiter":                                  func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithLimiter(limiter)) },
		"NotFound at once, WithMaxQueueTime":                             func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithLimiter(limiter), k8sretry.WithMaxQueueTime(d)) },
		"NotFound at once, Budget, Breaker and Limiter, prepared policy": func() { _, _ = k8sretry.Do(ctx, miss, guarded) },

		"NotFound at once, WithErrorHistory": func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithErrorHistory(n)) },
		"NotFound at once":                   func() { _, _ = k8sretry.Do(ctx, miss) },
		"NotFound at once, prepared policy":  func() { _, _ = k8sretry.Do(ctx, miss, policy) },
		"NotFound at once, options": func() {
			_, _ = k8sretry.Do(ctx, miss, k8sretry.WithMaxRetries(n), k8sretry.WithInitialDelay(d), k8sretry.WithVerb(verb))
		},
		"NotFound at once, silent logger": func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithLogger(logger)) },
		"NotFound at once, silent logger in the context": func() {
			_, _ = k8sretry.Do(ctx, miss, k8sretry.WithContextLogger(func(context.Context) *zap.Logger { hits++; return logger }))
		},
		"NotFound at once, expected": func() {
			_, _ = k8sretry.Do(ctx, miss, k8sretry.WithExpected(func(error) bool { hits++; return true }))
		},
		"NotFound at once, closure condition":  func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithRetryIf(func(error) bool { hits++; return false })) },
		"NotFound at once, list of conditions": func() { _, _ = k8sretry.Do(ctx, miss, k8sretry.WithRetryOn(target, io.EOF)) },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, call), name)
	}
	_ = hits
}
