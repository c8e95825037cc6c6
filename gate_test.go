package k8sretry_test

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
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

// one makes a call of one attempt that takes a time and ends with err.
func one(ctx context.Context, g *k8sretry.Limiter, took time.Duration, err error, opts ...k8sretry.Option) error {
	_, err = k8sretry.Do(ctx, func(context.Context) (int, error) {
		time.Sleep(took)
		return 0, err
	}, append([]k8sretry.Option{k8sretry.WithLimiter(g), k8sretry.WithMaxRetries(0)}, opts...)...)
	return err
}

// What a Limiter makes of what has happened.
func TestLimiterSituations(t *testing.T) {
	denied := apierrors.NewForbidden(podResource, "web-0", errors.New("admission webhook denied the request"))
	webhook := apierrors.NewInternalError(errors.New(`failed calling webhook "a.b": Post "https://x": dial tcp: connection refused`))
	named := k8sretry.WithName("get pods")
	many := func(ctx context.Context, g *k8sretry.Limiter, n int, pause time.Duration, err error) {
		for i := range n {
			if i > 0 {
				time.Sleep(pause)
			}
			_ = one(ctx, g, 0, err)
		}
	}
	for _, c := range []struct {
		situation string
		happens   func(context.Context, *k8sretry.Limiter)
		limited   bool
		limit     int
		rest      time.Duration // at least, and half more at most
		pace      float64
	}{
		{"nothing", func(context.Context, *k8sretry.Limiter) {}, false, 0, 0, 0},
		{"one success", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 1, 0, nil) }, false, 0, 0, 0},
		{"one refused call", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 1, 0, noConnection()) }, true, 1, 0, 0},
		{"two refused calls", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 2, 0, noConnection()) }, true, 1, time.Second, 0},
		{"one refused call, then NotFound", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 1, 0, noConnection())
			many(ctx, g, 1, 0, notFound())
		}, false, 0, 0, 0},
		{"one refused call, then Conflict", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 1, 0, noConnection())
			many(ctx, g, 1, 0, apierrors.NewConflict(podResource, "web-0", errors.New("changed")))
		}, false, 0, 0, 0},
		{"one refused call, then a denying webhook", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 1, 0, noConnection())
			many(ctx, g, 1, 0, denied)
		}, false, 0, 0, 0},
		{"7 x 503", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 7, 0, unavailable()) }, false, 0, 0, 0},
		{"8 x 503", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 8, 0, unavailable()) }, true, 1, 0, 0},
		{"7 x 503, a success, 7 x 503", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 7, 0, unavailable())
			many(ctx, g, 1, 0, nil)
			many(ctx, g, 7, 0, unavailable())
		}, false, 0, 0, 0},
		{"3 x 503 over 3 s", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 3, 1500*time.Millisecond, unavailable()) }, true, 1, 0, 0},
		{"3 x 503 within 3 s", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 3, 1400*time.Millisecond, unavailable()) }, false, 0, 0, 0},
		{"2 x 503 over 10 s", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 2, 10*time.Second, unavailable()) }, false, 0, 0, 0},
		{"webhooks that are down", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 20, time.Second, webhook) }, false, 0, 0, 0},
		{"429 with no success", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 1, 0, tooMany(0)) }, true, 1, 0, 0},
		{"429 with no success, Retry-After", func(ctx context.Context, g *k8sretry.Limiter) { many(ctx, g, 1, 0, tooMany(7)) }, true, 1, 7 * time.Second, 0},
		{"429 beside successes", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 50, 100*time.Millisecond, nil)
			many(ctx, g, 1, 0, tooMany(1))
		}, true, 1, 0, 0},
		{"429 beside successes, again to one alone", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 50, 100*time.Millisecond, nil)
			many(ctx, g, 2, 0, tooMany(1))
		}, true, 1, 0, 8.5},
		{"a slow answer of a call that is known", func(ctx context.Context, g *k8sretry.Limiter) {
			for range 3 {
				_ = one(ctx, g, 10*time.Millisecond, nil, named)
			}
			_ = one(ctx, g, 1500*time.Millisecond, nil, named)
		}, true, 1, 0, 0},
		{"an answer that is slow by its nature", func(ctx context.Context, g *k8sretry.Limiter) {
			for range 3 {
				_ = one(ctx, g, 600*time.Millisecond, nil, named)
			}
			_ = one(ctx, g, 1500*time.Millisecond, nil, named)
		}, false, 0, 0, 0},
		{"a slow answer, of which nothing is known", func(ctx context.Context, g *k8sretry.Limiter) { _ = one(ctx, g, time.Minute, nil) }, false, 0, 0, 0},
		{"a slow answer, by the timeout", func(ctx context.Context, g *k8sretry.Limiter) {
			_ = one(ctx, g, 3*time.Second, nil, k8sretry.WithAttemptTimeout(10*time.Second))
		}, true, 1, 0, 0},
		{"an attempt timeout", func(ctx context.Context, g *k8sretry.Limiter) {
			_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
				k8sretry.WithLimiter(g), k8sretry.WithMaxRetries(0), k8sretry.WithAttemptTimeout(time.Second))
		}, true, 1, 0, 0},
		{"callers that cancel soon", func(ctx context.Context, g *k8sretry.Limiter) {
			for range 30 {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(100*time.Millisecond, cancel)
				_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, k8sretry.WithLimiter(g))
			}
		}, false, 0, 0, 0},
		{"a caller that cancels after a long time", func(ctx context.Context, g *k8sretry.Limiter) {
			for range 3 {
				_ = one(ctx, g, 10*time.Millisecond, nil, named)
			}
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, k8sretry.WithLimiter(g), named)
		}, true, 1, 0, 0},
		{"watches that fail", func(ctx context.Context, g *k8sretry.Limiter) {
			for range 20 {
				_ = one(ctx, g, time.Second, noConnection(), k8sretry.WithVerb(k8sretry.VerbWatch))
			}
		}, false, 0, 0, 0},
		{"a panic", func(ctx context.Context, g *k8sretry.Limiter) {
			defer func() { _ = recover() }()
			_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { panic("fn") }, k8sretry.WithLimiter(g))
		}, false, 0, 0, 0},
		{"a panic while limited", func(ctx context.Context, g *k8sretry.Limiter) {
			many(ctx, g, 1, 0, noConnection())
			defer func() { _ = recover() }()
			_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { panic("fn") }, k8sretry.WithLimiter(g))
		}, true, 1, 0, 0},
		{"runtime.Goexit", func(ctx context.Context, g *k8sretry.Limiter) {
			for range 2 {
				done := make(chan bool)
				go func() {
					defer close(done)
					_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, k8sretry.WithLimiter(g))
				}()
				<-done
			}
		}, false, 0, 0, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := k8sretry.NewLimiter()
				c.happens(t.Context(), g)
				s := g.State()
				assert.Equal(t, c.limited, s.Limited)
				assert.Equal(t, c.limit, s.Limit)
				assert.Zero(t, s.InFlight, "each place is given back")
				assert.Zero(t, s.Waiting)
				assert.InDelta(t, c.pace, s.Pace, 1)
				if c.rest == time.Second { // of 2 s, half less or more
					assert.True(t, time.Second <= s.Rest && s.Rest < 3*time.Second, s.Rest)
				} else {
					assert.True(t, c.rest <= s.Rest && s.Rest <= 3*c.rest/2, s.Rest)
				}
				began := time.Now()
				assert.NoError(t, one(t.Context(), g, 0, nil, k8sretry.WithVerb(k8sretry.VerbWatch)))
				assert.Zero(t, time.Since(began), "a watch passes by")
				time.Sleep(20 * time.Second)
				assert.NoError(t, one(t.Context(), g, 0, nil))
				assert.Equal(t, k8sretry.LimiterState{}, g.State(), "once the server is well, the gate opens")
			})
		})
	}
}

// Of many calls at once some are refused.
func TestLimiterOfManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := k8sretry.NewLimiter()
		for i := range 10 {
			took, err := time.Second, error(nil)
			if i < 3 {
				took, err = 10*time.Millisecond, noConnection()
			}
			go func() { _ = one(t.Context(), g, took, err) }()
		}
		time.Sleep(100 * time.Millisecond)
		assert.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 5, InFlight: 7}, g.State(), "half of them, once")
		go func() { _ = one(t.Context(), g, 0, nil) }()
		synctest.Wait()
		assert.Equal(t, 1, g.State().Waiting)
		time.Sleep(time.Second)
		assert.Equal(t, k8sretry.LimiterState{}, g.State())
	})
}

// busy is a Limiter whose one place is taken for a time by an attempt that then succeeds.
func busy(t *testing.T, for_ time.Duration) *k8sretry.Limiter {
	g := k8sretry.NewLimiter()
	_ = one(t.Context(), g, 0, noConnection())
	go func() { _ = one(t.Context(), g, for_, nil) }()
	synctest.Wait()
	require.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 1, InFlight: 1}, g.State())
	return g
}

func TestLimiterHoldsBack(t *testing.T) {
	cause := errors.New("shutting down")
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		timeout   time.Duration // of the context
		cancel    time.Duration
		waits     time.Duration
		stop      k8sretry.StopReason
		is        []error
		text      string
	}{
		{"fail fast", []k8sretry.Option{k8sretry.WithMaxQueueTime(0)}, 0, 0, 0,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, "get: held back, not sent after 0 attempts"},
		{"WithMaxQueueTime", []k8sretry.Option{k8sretry.WithMaxQueueTime(3 * time.Second)}, 0, 0, 3 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, "get: held back, not sent after 0 attempts"},
		{"WithMaxElapsed is shorter", []k8sretry.Option{k8sretry.WithMaxElapsed(2 * time.Second)}, 0, 0, 2 * time.Second,
			k8sretry.StopMaxElapsed, []error{k8sretry.ErrMaxElapsed}, ""},
		{"the deadline", nil, 2 * time.Second, 0, 2 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout, context.DeadlineExceeded}, "get: held back, not sent after 0 attempts"},
		{"a cancel", nil, 0, time.Second, time.Second,
			k8sretry.StopCanceled, []error{k8sretry.ErrQueueTimeout, context.Canceled, cause}, ""},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := busy(t, 40*time.Second)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.timeout > 0 {
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, c.timeout)
					defer stop()
				}
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, func() { cancel(cause) })
				}
				var seen recorder
				fn := fails()
				began := time.Now()
				_, err := k8sretry.Do(ctx, fn.get, append(c.opts, k8sretry.WithLimiter(g), k8sretry.WithObserver(&seen), k8sretry.WithName("get"))...)
				assert.Equal(t, c.waits, time.Since(began))
				e := asError(t, err)
				assert.Equal(t, c.stop, e.StopReason)
				assert.Zero(t, e.Attempts)
				assert.NoError(t, e.Err)
				assert.Zero(t, fn.attempts())
				for _, target := range c.is {
					assert.ErrorIs(t, err, target)
				}
				if c.text != "" {
					assert.EqualError(t, err, c.text)
				}
				assert.Equal(t, c.waits, seen.last(t).Queued)
				assert.Equal(t, k8sretry.EventFailure, seen.last(t).Kind)
				assert.Zero(t, g.State().Waiting)
				time.Sleep(time.Minute)
				assert.Equal(t, k8sretry.LimiterState{}, g.State())
			})
		})
	}

	t.Run("before a retry, the error of the API is kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := k8sretry.NewLimiter()
			fn := fails(unavailable())
			done := make(chan error)
			go func() {
				_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithLimiter(g), exact, k8sretry.WithMaxQueueTime(time.Second), k8sretry.WithName("get"))
				done <- err
			}()
			synctest.Wait()
			_ = one(t.Context(), g, 0, noConnection())
			go func() { _ = one(t.Context(), g, 10*time.Second, nil) }()
			err := <-done
			assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			e := asError(t, err)
			assert.Equal(t, 1, e.Attempts)
			assert.Equal(t, 2*time.Second, e.Elapsed)
			assert.EqualError(t, err, "get: held back, not sent after 1 attempt; the server may have carried out the call: the server said so")
			time.Sleep(time.Minute)
		})
	})
}

// WithMaxQueueTime is for all attempts of a call together: what the first has waited in line, the
// second no longer may.
func TestLimiterHoldsBackARetryAfterAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := busy(t, 3*time.Second)
		var seen recorder
		fn := fails(times(9, unavailable())...)
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithLimiter(g), exact, k8sretry.WithMaxQueueTime(5*time.Second), k8sretry.WithObserver(&seen))
			done <- err
		}()
		time.Sleep(3500 * time.Millisecond) // the first attempt has had its turn, the second comes at 4 s
		synctest.Wait()
		require.Equal(t, 1, fn.attempts())
		_ = one(t.Context(), g, 0, noConnection())
		go func() { _ = one(t.Context(), g, 40*time.Second, nil) }()
		err := <-done
		assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.Equal(t, 1, fn.attempts())
		assert.Equal(t, 6*time.Second, time.Since(began), "3 s in line, 1 s between the attempts, and the 2 s that are left")
		assert.Equal(t, 5*time.Second, seen.last(t).Queued)
		time.Sleep(time.Minute)
	})
}

// Without WithMaxQueueTime a call waits as long as it could take without a Limiter.
func TestLimiterDefaultWait(t *testing.T) {
	for _, c := range []struct {
		situation string
		policy    *k8sretry.Policy
		waits     time.Duration
	}{
		{"the defaults", k8sretry.NewPolicy(), 47 * time.Second},
		{"ForWrite", k8sretry.ForWrite(), 2 * time.Minute},
		{"ForRead", k8sretry.ForRead(), 47 * time.Second},
		{"ForConnection", k8sretry.ForConnection(), 75500 * time.Millisecond},
		{"ForBackground", k8sretry.ForBackground(), 36 * time.Second},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := k8sretry.NewLimiter()
				go func() { _ = one(t.Context(), g, 10*time.Minute, nil) }() // who may end the rest
				synctest.Wait()
				_ = one(t.Context(), g, 0, tooMany(299)) // a rest of five minutes
				began := time.Now()
				_, err := k8sretry.Do(t.Context(), fails().get, c.policy, k8sretry.WithLimiter(g))
				assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
				assert.Equal(t, c.waits, time.Since(began))
				time.Sleep(10 * time.Minute)
			})
		})
	}
}

// Who cannot have a turn before the end of his time does not wait for that end: nobody is
// under way whose success would end the rest.
func TestLimiterSleepsTowardsNoEndThatItCannotMeet(t *testing.T) {
	for _, c := range []struct {
		situation string
		deadline  time.Duration
		opts      []k8sretry.Option
		stop      k8sretry.StopReason
	}{
		{"a deadline within the rest", 10 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Hour)}, k8sretry.StopQueueTimeout},
		{"less patience than the rest", time.Hour, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Minute)}, k8sretry.StopQueueTimeout},
		{"a deadline within the rest and within the time", 10 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Hour), k8sretry.WithMaxElapsed(30 * time.Minute)}, k8sretry.StopQueueTimeout},
		{"less time than the rest", time.Hour, []k8sretry.Option{k8sretry.WithMaxElapsed(20 * time.Second)}, k8sretry.StopMaxElapsed},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := k8sretry.NewLimiter()
				_ = one(t.Context(), g, 0, tooMany(120))
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				began, fn := time.Now(), fails()
				_, err := k8sretry.Do(ctx, fn.get, append(c.opts, k8sretry.WithLimiter(g))...)
				assert.Zero(t, time.Since(began))
				assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
				assert.Equal(t, c.stop, asError(t, err).StopReason)
				assert.Zero(t, fn.attempts())
				assert.Zero(t, g.State().Waiting)
			})
		})
	}
	t.Run("an answer may come in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := k8sretry.NewLimiter()
			go func() { _ = one(t.Context(), g, 5*time.Second, nil) }()
			synctest.Wait()
			_ = one(t.Context(), g, 0, tooMany(120))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			began := time.Now()
			_, err := k8sretry.Do(ctx, fails().get, k8sretry.WithLimiter(g))
			assert.NoError(t, err)
			assert.Equal(t, 5*time.Second, time.Since(began))
		})
	})
}

func TestLimiterIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := busy(t, time.Second)
		var mu sync.Mutex
		started := map[int]time.Time{}
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			if i%5 == 0 { // the head of the line among them
				time.AfterFunc(500*time.Millisecond, cancel)
			}
			go func() {
				defer cancel()
				_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) {
					mu.Lock()
					started[i] = time.Now()
					mu.Unlock()
					time.Sleep(time.Second)
					return 0, nil
				}, k8sretry.WithLimiter(g))
			}()
			synctest.Wait()
		}
		assert.Equal(t, 20, g.State().Waiting)
		time.Sleep(900 * time.Millisecond)
		assert.Equal(t, 16, g.State().Waiting)
		time.Sleep(time.Minute)
		synctest.Wait()
		groups := []int{1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19}
		assert.ElementsMatch(t, groups, slices.Collect(maps.Keys(started)))
		assert.True(t, slices.IsSortedFunc(groups, func(a, b int) int { return started[a].Compare(started[b]) }), "who goes at one moment runs in any order")
		assert.Greater(t, started[19].Sub(started[1]), 2*time.Second)
		assert.Equal(t, k8sretry.LimiterState{}, g.State())
	})
}

func TestLimiterOfTenThousandWhoGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := busy(t, 10*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var held atomic.Int32
		for range 10000 {
			go func() {
				if errors.Is(one(ctx, g, 0, nil), k8sretry.ErrQueueTimeout) {
					held.Add(1)
				}
			}()
		}
		synctest.Wait()
		assert.Equal(t, 10000, g.State().Waiting)
		cancel()
		synctest.Wait()
		assert.EqualValues(t, 10000, held.Load())
		assert.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 1, InFlight: 1}, g.State())
		time.Sleep(time.Minute)
		assert.Equal(t, k8sretry.LimiterState{}, g.State())
	})
}

// Each change is told once, by the call that made it.
func TestLimiterEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := k8sretry.NewLimiter()
		var seen recorder
		logger, written := logs()
		opts := []k8sretry.Option{k8sretry.WithObserver(&seen), logger, k8sretry.WithMaxQueueTime(time.Hour)}
		for range 3 {
			for range 4 {
				_ = one(t.Context(), g, 0, noConnection(), opts...)
			}
			_ = one(t.Context(), g, 0, nil, opts...)
		}
		var limited []bool
		for _, e := range seen.events {
			if e.Kind == k8sretry.EventLimiter {
				limited = append(limited, e.Limited)
			}
		}
		assert.Equal(t, []bool{true, false, true, false, true, false}, limited)
		assert.Equal(t, 3, written.FilterMessage("k8s_api_limiter_limiting").Len())
		assert.Equal(t, 3, written.FilterMessage("k8s_api_limiter_open").Len())
	})
}

func TestLimiterThatMakesNoSense(t *testing.T) {
	fn := fails()
	for _, opts := range [][]k8sretry.Option{
		{k8sretry.WithLimiter(new(k8sretry.Limiter))},
		{k8sretry.NewPolicy(k8sretry.WithLimiter(new(k8sretry.Limiter)))},
		{k8sretry.WithMaxRetries(1), k8sretry.NewPolicy(k8sretry.WithLimiter(new(k8sretry.Limiter)))},
	} {
		_, err := k8sretry.Do(t.Context(), fn.get, opts...)
		assert.EqualError(t, err, "k8sretry: WithLimiter: the Limiter was not made by NewLimiter")
	}
	for _, opts := range [][]k8sretry.Option{
		{k8sretry.WithMaxQueueTime(-time.Second)},
		{k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(-time.Second)},
		{k8sretry.NewPolicy(k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxQueueTime(-time.Second))},
	} {
		_, err := k8sretry.Do(t.Context(), fn.get, opts...)
		assert.EqualError(t, err, "k8sretry: WithMaxQueueTime(-1s): must not be negative")
	}
	assert.Zero(t, fn.attempts())
	assert.Zero(t, (*k8sretry.Limiter)(nil).State())
	_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithLimiter(nil))
	assert.NoError(t, err)

	// The later option wins.
	g := k8sretry.NewLimiter()
	synctest.Test(t, func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.WithLimiter(g), k8sretry.WithMaxRetries(0))
		_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, policy, k8sretry.WithLimiter(nil))
		assert.False(t, g.State().Limited)
		_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, k8sretry.WithLimiter(nil), policy)
		assert.True(t, g.State().Limited)
	})
}

// A thousand goroutines and a server that comes and goes.
func TestLimiterOfAThousandGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := k8sretry.NewLimiter()
		down := func() bool { return time.Now().Second()%7 == 3 }
		var done, failed atomic.Int32
		for i := range 1000 {
			go func() {
				for range 20 {
					_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) {
						time.Sleep(time.Duration(i%97) * time.Millisecond)
						if down() {
							return 0, []error{noConnection(), unavailable(), tooMany(1), notFound()}[i%4]
						}
						return 0, nil
					}, k8sretry.WithLimiter(g), k8sretry.ForWrite(), k8sretry.WithMaxQueueTime(time.Hour))
					if err != nil && !apierrors.IsNotFound(err) {
						failed.Add(1)
					}
					done.Add(1)
				}
			}()
		}
		time.Sleep(time.Hour)
		assert.EqualValues(t, 20000, done.Load())
		assert.Less(t, failed.Load(), int32(200))
		_ = one(t.Context(), g, 0, nil)
		assert.Equal(t, k8sretry.LimiterState{}, g.State())
	})
}

func noConnection() error { return network("dial", syscall.ECONNREFUSED) }
