package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// forms are the ways to give a call its options. All do the same.
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

// Each situation ends in the same way, and leaves the same behind, in all forms.
func TestGuardsInAllForms(t *testing.T) {
	k8sretry.ForgetTransports()
	type shared struct {
		budget  *k8sretry.Budget
		breaker *k8sretry.Breaker
		gate    *k8sretry.Limiter
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
		{"refused all the time", 1, times(10, noConnection()), 4, k8sretry.ErrMaxRetries, 3, k8sretry.BreakerClosed, true},
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
						err = form(t.Context(), fn.get, k8sretry.WithBudget(s.budget), k8sretry.WithBreaker(s.breaker), k8sretry.WithLimiter(s.gate), k8sretry.WithMaxQueueTime(time.Hour))
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
					assert.Equal(t, c.limited, s.gate.State().Limited)
					assert.Zero(t, s.gate.State().InFlight)
				})
			})
		}
	}
}

// Each success earns retries for all, in all forms, also beside the other guards.
func TestSuccessesEarnInAllForms(t *testing.T) {
	k8sretry.ForgetTransports()
	for beside, others := range map[string][]k8sretry.Option{
		"a budget":                           nil,
		"a budget and a breaker":             {k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{}))},
		"a budget, and options of all kinds": {exact, k8sretry.WithName("pods"), k8sretry.WithRetryOn(io.EOF)},
	} {
		for name, form := range forms {
			t.Run(beside+", "+name, func(t *testing.T) {
				b := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: -1, Ratio: 1, Window: time.Hour})
				for range 5 {
					assert.NoError(t, form(t.Context(), fails().get, append([]k8sretry.Option{k8sretry.WithBudget(b)}, others...)...))
				}
				assert.Equal(t, 5, b.State().Remaining)
			})
		}
	}
}

// A panic gives back what the attempt held, in all forms.
func TestGuardsWhenFnPanics(t *testing.T) {
	k8sretry.ForgetTransports()
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				breaker, gate := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
				opts := []k8sretry.Option{k8sretry.WithBreaker(breaker), k8sretry.WithLimiter(gate), k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(time.Hour)}
				boom := func(context.Context) (string, error) { panic("fn") }
				assert.PanicsWithValue(t, "fn", func() { _ = form(t.Context(), boom, opts...) })
				assert.Zero(t, gate.State().InFlight)
				for breaker.State() != k8sretry.BreakerOpen {
					_ = form(t.Context(), fails(noConnection()).get, opts...)
					time.Sleep(200 * time.Millisecond)
				}
				time.Sleep(time.Minute)
				assert.PanicsWithValue(t, "fn", func() { _ = form(t.Context(), boom, opts...) })
				assert.Equal(t, k8sretry.BreakerHalfOpen, breaker.State())
				assert.NoError(t, form(t.Context(), fails().get, opts...), "the place of the probe is free again")
				assert.Equal(t, k8sretry.BreakerClosed, breaker.State())
				assert.Equal(t, k8sretry.LimiterState{}, gate.State())
			})
		})
	}
}

// The budget is asked before the wait, and the error of the API is kept.
func TestBudgetThroughDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 1, Ratio: -1})
		opts := []k8sretry.Option{k8sretry.WithBudget(b), exact}
		began := time.Now()
		_, err := k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, opts...)
		assert.Equal(t, time.Second, time.Since(began), "one retry is paid for")
		assert.ErrorIs(t, err, k8sretry.ErrBudgetExhausted)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.Equal(t, 2, asError(t, err).Attempts)
		assert.Equal(t, k8sretry.StopBudgetExhausted, asError(t, err).StopReason)

		began = time.Now()
		_, err = k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, opts...)
		assert.Zero(t, time.Since(began), "at once")
		assert.ErrorIs(t, err, k8sretry.ErrBudgetExhausted)

		_, err = k8sretry.Do(t.Context(), fails().get, opts...)
		assert.NoError(t, err, "a first attempt is never refused")
		time.Sleep(11 * time.Second)
		_, err = k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
		assert.NoError(t, err, "a window later")
	})
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBudget(k8sretry.BudgetConfig{MaxRetryTime: 5 * time.Second})
		began := time.Now()
		_, err := k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, k8sretry.WithBudget(b), exact, k8sretry.WithMaxRetries(9))
		assert.ErrorIs(t, err, k8sretry.ErrBudgetExhausted)
		assert.Equal(t, 3*time.Second, time.Since(began), "1 s and 2 s; 4 s more would be too much")
		assert.Equal(t, 3*time.Second, b.State().RetryTime)
	})
}

func TestBreakerThroughDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 5, Window: time.Second})
		var seen recorder
		logger, written := logs()
		opts := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0), k8sretry.WithObserver(&seen), logger, k8sretry.WithName("get")}
		for range 5 {
			_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
			require.Error(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, k8sretry.BreakerOpen, b.State())

		fn := fails()
		_, err := k8sretry.Do(t.Context(), fn.get, opts...)
		assert.Zero(t, fn.attempts())
		assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		assert.True(t, apierrors.IsServiceUnavailable(err), "the last error of the API")
		e := asError(t, err)
		assert.Zero(t, e.Attempts)
		assert.Positive(t, e.RetryAfter)
		assert.LessOrEqual(t, e.RetryAfter, 2400*time.Millisecond)
		assert.ErrorContains(t, err, fmt.Sprintf("get: circuit breaker open after 0 attempts (for %v)", e.RetryAfter.Round(time.Millisecond)))

		time.Sleep(e.RetryAfter)
		_, err = k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
		assert.True(t, apierrors.IsServiceUnavailable(err), "the probe failed")
		assert.NotErrorIs(t, err, k8sretry.ErrBreakerOpen)
		_, err = k8sretry.Do(t.Context(), fails().get, opts...)
		assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		time.Sleep(asError(t, err).RetryAfter)
		_, err = k8sretry.Do(t.Context(), fails(notFound()).get, opts...)
		assert.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, k8sretry.BreakerClosed, b.State(), "a 404 is the answer of a server that works")

		var states []k8sretry.BreakerState
		for _, e := range seen.events {
			if e.Kind == k8sretry.EventBreaker {
				states = append(states, e.Breaker)
			}
		}
		const open, half, closed = k8sretry.BreakerOpen, k8sretry.BreakerHalfOpen, k8sretry.BreakerClosed
		assert.Equal(t, []k8sretry.BreakerState{open, half, open, half, closed}, states)
		assert.Equal(t, 2, written.FilterMessage("k8s_api_breaker_open").Len())
		assert.Equal(t, 2, written.FilterMessage("k8s_api_breaker_half_open").Len())
		assert.Equal(t, 1, written.FilterMessage("k8s_api_breaker_closed").Len())
	})
}

// The error is that of another call, of which nobody knows what became; the call itself was
// never sent.
func TestBreakerRefusesWithoutADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second})
		var seen recorder
		opts := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0), k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithObserver(&seen)}
		for b.State() != k8sretry.BreakerOpen {
			_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
			require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			time.Sleep(200 * time.Millisecond)
		}
		_, err := k8sretry.Do(t.Context(), fails().get, opts...)
		assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		assert.True(t, apierrors.IsServiceUnavailable(err), "the error of the API")
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, asError(t, err).Outcome)
		e := seen.last(t)
		assert.Equal(t, k8sretry.StopBreakerOpen, e.StopReason)
		assert.Zero(t, e.Attempt)
		assert.Equal(t, k8sretry.ClassServer, e.Class)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome)
	})
}

// The probe of a half-open Breaker that the Limiter holds back is given back.
func TestBreakerWhoseProbeIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
		for b.State() != k8sretry.BreakerOpen {
			_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
			time.Sleep(200 * time.Millisecond)
		}
		_ = one(t.Context(), g, 0, tooMany(299)) // a rest for all
		time.Sleep(10 * time.Second)
		_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithBreaker(b), k8sretry.WithLimiter(g), k8sretry.WithMaxQueueTime(0))
		assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.Equal(t, k8sretry.BreakerHalfOpen, b.State())
		_, err = k8sretry.Do(t.Context(), fails().get, k8sretry.WithBreaker(b))
		assert.NoError(t, err, "the place of the probe is free")
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
}

// What a working server answers opens no breaker, and limits nothing.
func TestGuardsAndLastingAnswers(t *testing.T) {
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
				b, g := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
				for range 100 {
					_, got := k8sretry.Do(t.Context(), fails(err).get, k8sretry.WithBreaker(b), k8sretry.WithLimiter(g), k8sretry.WithMaxRetries(0))
					require.ErrorIs(t, got, err)
					time.Sleep(100 * time.Millisecond)
				}
				assert.Equal(t, k8sretry.BreakerClosed, b.State())
				assert.Equal(t, k8sretry.LimiterState{}, g.State())
			})
		})
	}
}

// How an attempt fails whose caller has left tells nothing about the server, unless it is an
// answer.
func TestGuardsAndCallersWhoLeave(t *testing.T) {
	for _, c := range []struct {
		situation string
		fail      error
		leaves    bool
		counts    bool
	}{
		{"no connection, the caller is still there", noConnection(), false, true},
		{"no connection, the caller has left", noConnection(), true, false},
		{"a lost connection, the caller has left", network("read", syscall.ECONNRESET), true, false},
		{"503, the caller has left", unavailable(), true, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second}), k8sretry.NewLimiter()
				guards := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithLimiter(g)}
				for range 10 {
					for _, guard := range guards { // each alone: neither keeps calls from the other
						ctx, cancel := context.WithCancel(t.Context())
						err := k8sretry.Run(ctx, func(context.Context) error {
							if c.leaves {
								cancel()
							}
							return c.fail
						}, guard, k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(0))
						require.Error(t, err)
						cancel()
					}
					time.Sleep(100 * time.Millisecond)
				}
				assert.Equal(t, c.counts, b.State() == k8sretry.BreakerOpen, b.State())
				assert.Equal(t, c.counts, g.State().Limited)
			})
		})
	}
}

// A fault that hits 30 % of all attempts at random is what retries are for.
func TestGuardsLeaveARandomFaultToTheRetries(t *testing.T) {
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
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(10 * time.Minute)
				assert.LessOrEqual(t, failed.Load(), int32(calls/1000+7), "99.9 %, and 0.3^6 of chance")
			})
		})
	}
}

// Of any server and any calls: nobody comes before its Retry-After, nobody more often
// than it may, every call ends, and nothing stays behind.
func TestGuardsProperties(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			g := k8sretry.NewLimiter()
			guards := []k8sretry.Option{k8sretry.WithLimiter(g)}
			if seed%2 == 0 {
				guards = append(guards, k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})))
			}
			if seed%3 == 0 {
				guards = append(guards, k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})))
			}
			answers := []error{nil, nil, nil, noConnection(), unavailable(), tooMany(1), tooMany(30), notFound(), gatewayTimeout(), context.Canceled}
			phase := 0
			var open atomic.Int32
			for i := range 200 {
				if i%40 == 0 {
					phase = random.IntN(len(answers))
				}
				retries := random.IntN(6)
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				weather, patience, leaves := phase, time.Duration(r.IntN(200))*time.Second, time.Duration(r.IntN(400))*time.Second
				open.Add(1)
				go func() {
					defer open.Add(-1)
					defer func() { _ = recover() }()
					ctx, cancel := context.WithTimeout(t.Context(), leaves)
					defer cancel()
					attempts, began := 0, time.Now()
					var notBefore time.Time
					_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) {
						attempts++
						assert.False(t, time.Now().Before(notBefore), "before its Retry-After")
						assert.LessOrEqual(t, attempts, 1+retries)
						time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
						err := answers[weather]
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
					}, append(slices.Clone(guards), k8sretry.WithMaxRetries(retries), k8sretry.WithMaxQueueTime(patience))...)
					assert.LessOrEqual(t, time.Since(began), leaves+3*time.Second, "it ends with its context")
				}()
				time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
			}
			time.Sleep(time.Hour)
			assert.Zero(t, open.Load())
			s := g.State()
			assert.Zero(t, s.InFlight)
			assert.Zero(t, s.Queued)
			assert.NoError(t, one(t.Context(), g, 0, nil))
			assert.Equal(t, k8sretry.LimiterState{}, g.State(), "seed %d", seed)
		})
	}
}
