package k8sretry_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// one makes a call of one attempt that takes the given time and ends with err.
func one(ctx context.Context, l *k8sretry.Limiter, took time.Duration, err error, opts ...k8sretry.Option) error {
	_, err = k8sretry.Do(ctx, func(context.Context) (int, error) {
		testkit.Sleep(took)
		return 0, err
	}, append([]k8sretry.Option{k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0)}, opts...)...)
	return err
}

// busy returns a Limiter with a limit of 1 and an attempt in flight, which succeeds after a while.
func busy(t *testing.T, takes time.Duration) *k8sretry.Limiter {
	l := k8sretry.NewLimiter()
	_ = one(t.Context(), l, 0, noConnection())
	go func() { _ = one(t.Context(), l, takes, nil) }()
	synctest.Wait()
	require.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 1, InFlight: 1}, l.State())
	return l
}

// What is a sign of overload, and what the Limiter does then.
func TestLimiterSituations(t *testing.T) {
	denied := apierrors.NewForbidden(podResource, "web-0", errors.New("admission webhook denied the request"))
	webhook := apierrors.NewInternalError(errors.New(`failed calling webhook "a.b": Post "https://x": dial tcp: connection refused`))
	named := k8sretry.WithName("get pods")
	many := func(ctx context.Context, l *k8sretry.Limiter, n int, interval time.Duration, err error) {
		for i := range n {
			if i > 0 {
				testkit.Sleep(interval)
			}
			_ = one(ctx, l, 0, err)
		}
	}
	for _, c := range []struct {
		situation string
		happens   func(context.Context, *k8sretry.Limiter)
		limited   bool
		limit     int
		pause     time.Duration // at least, and half more at most
		rate      float64
	}{
		{"nothing", func(context.Context, *k8sretry.Limiter) {}, false, 0, 0, 0},
		{"one success", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 1, 0, nil) }, false, 0, 0, 0},
		{"one refused call", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 1, 0, noConnection()) }, true, 1, 0, 0},
		{"two refused calls", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 2, 0, noConnection()) }, true, 1, time.Second, 0},
		{"one refused call, then NotFound", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 1, 0, noConnection())
			many(ctx, l, 1, 0, notFound())
		}, false, 0, 0, 0},
		{"one refused call, then Conflict", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 1, 0, noConnection())
			many(ctx, l, 1, 0, apierrors.NewConflict(podResource, "web-0", errors.New("changed")))
		}, false, 0, 0, 0},
		{"one refused call, then a denied one", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 1, 0, noConnection())
			many(ctx, l, 1, 0, denied)
		}, false, 0, 0, 0},
		{"7 x 503", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 7, 0, unavailable()) }, false, 0, 0, 0},
		{"8 x 503", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 8, 0, unavailable()) }, true, 1, 0, 0},
		{"7 x 503, a success, 7 x 503", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 7, 0, unavailable())
			many(ctx, l, 1, 0, nil)
			many(ctx, l, 7, 0, unavailable())
		}, false, 0, 0, 0},
		{"3 x 503 over 3 s", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 3, 1500*time.Millisecond, unavailable()) }, true, 1, 0, 0},
		{"3 x 503 within 3 s", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 3, 1400*time.Millisecond, unavailable()) }, false, 0, 0, 0},
		{"2 x 503 over 10 s", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 2, 10*time.Second, unavailable()) }, false, 0, 0, 0},
		{"webhooks that are down", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 20, time.Second, webhook) }, false, 0, 0, 0},
		{"429 without a success", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 1, 0, tooMany(0)) }, true, 1, 0, 0},
		{"429 without a success, Retry-After", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 1, 0, tooMany(7)) }, true, 1, 7 * time.Second, 0},
		{"429 after successes", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 50, 100*time.Millisecond, nil)
			many(ctx, l, 1, 0, tooMany(1))
		}, true, 1, 0, 0},
		{"two 429 after successes", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 50, 100*time.Millisecond, nil)
			many(ctx, l, 2, 0, tooMany(1))
		}, true, 1, 0, 8.5},
		{"a late answer of a known call", func(ctx context.Context, l *k8sretry.Limiter) {
			for range 3 {
				_ = one(ctx, l, 10*time.Millisecond, nil, named)
			}
			_ = one(ctx, l, 1500*time.Millisecond, nil, named)
		}, true, 1, 0, 0},
		{"a slow answer of a slow call", func(ctx context.Context, l *k8sretry.Limiter) {
			for range 3 {
				_ = one(ctx, l, 600*time.Millisecond, nil, named)
			}
			_ = one(ctx, l, 1500*time.Millisecond, nil, named)
		}, false, 0, 0, 0},
		{"a slow answer of an unknown call", func(ctx context.Context, l *k8sretry.Limiter) { _ = one(ctx, l, time.Minute, nil) }, false, 0, 0, 0},
		{"a slow answer of an unknown call with a timeout", func(ctx context.Context, l *k8sretry.Limiter) {
			_ = one(ctx, l, 3*time.Second, nil, k8sretry.WithAttemptTimeout(10*time.Second))
		}, true, 1, 0, 0},
		{"an attempt timeout", func(ctx context.Context, l *k8sretry.Limiter) {
			_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
				k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0), k8sretry.WithAttemptTimeout(time.Second))
		}, true, 1, 0, 0},
		{"callers that cancel soon", func(ctx context.Context, l *k8sretry.Limiter) {
			for range 30 {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(100*time.Millisecond, cancel)
				_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, k8sretry.WithLimiter(l))
			}
		}, false, 0, 0, 0},
		{"a caller that cancels after a long time", func(ctx context.Context, l *k8sretry.Limiter) {
			for range 3 {
				_ = one(ctx, l, 10*time.Millisecond, nil, named)
			}
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, k8sretry.WithLimiter(l), named)
		}, true, 1, 0, 0},
		{"watches that fail", func(ctx context.Context, l *k8sretry.Limiter) {
			for range 20 {
				_ = one(ctx, l, time.Second, noConnection(), k8sretry.WithVerb(k8sretry.VerbWatch))
			}
		}, false, 0, 0, 0},
		{"a panic", func(ctx context.Context, l *k8sretry.Limiter) {
			defer func() { _ = recover() }()
			_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { panic("fn") }, k8sretry.WithLimiter(l))
		}, false, 0, 0, 0},
		{"a panic while limited", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 1, 0, noConnection())
			defer func() { _ = recover() }()
			_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { panic("fn") }, k8sretry.WithLimiter(l))
		}, true, 1, 0, 0},
		{"runtime.Goexit", func(ctx context.Context, l *k8sretry.Limiter) {
			for range 2 {
				done := make(chan bool)
				go func() {
					defer close(done)
					_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, k8sretry.WithLimiter(l))
				}()
				<-done
			}
		}, false, 0, 0, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := k8sretry.NewLimiter()
				c.happens(t.Context(), l)
				s := l.State()
				assert.Equal(t, c.limited, s.Limited)
				assert.Equal(t, c.limit, s.Limit)
				assert.Zero(t, s.InFlight, "each attempt is given back")
				assert.Zero(t, s.Queued)
				assert.InDelta(t, c.rate, s.Rate, 1)
				if c.pause == time.Second { // 2 s, spread
					assert.True(t, time.Second <= s.Pause && s.Pause < 3*time.Second, s.Pause)
				} else {
					assert.True(t, c.pause <= s.Pause && s.Pause <= 3*c.pause/2, s.Pause)
				}
				began := time.Now()
				assert.NoError(t, one(t.Context(), l, 0, nil, k8sretry.WithVerb(k8sretry.VerbWatch)))
				assert.Zero(t, time.Since(began), "a watch bypasses the limiter")
				testkit.Sleep(20 * time.Second)
				assert.NoError(t, one(t.Context(), l, 0, nil))
				assert.Equal(t, k8sretry.LimiterState{}, l.State(), "the limits are removed once the server is healthy")
			})
		})
	}
}

// Failures of attempts that were in flight together halve the limit once.
func TestLimiterConcurrentFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := k8sretry.NewLimiter()
		for i := range 10 {
			took, err := time.Second, error(nil)
			if i < 3 {
				took, err = 10*time.Millisecond, noConnection()
			}
			go func() { _ = one(t.Context(), l, took, err) }()
		}
		testkit.Sleep(100 * time.Millisecond)
		assert.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 5, InFlight: 7}, l.State(), "half of those in flight")
		go func() { _ = one(t.Context(), l, 0, nil) }()
		synctest.Wait()
		assert.Equal(t, 1, l.State().Queued)
		testkit.Sleep(time.Second)
		assert.Equal(t, k8sretry.LimiterState{}, l.State())
	})
}

// Each change is reported once, by the call that caused it.
func TestLimiterEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := k8sretry.NewLimiter()
		var seen recorder
		logger, written := logs()
		opts := []k8sretry.Option{k8sretry.WithObserver(&seen), logger, k8sretry.WithMaxQueueTime(time.Hour)}
		for range 3 {
			for range 4 {
				_ = one(t.Context(), l, 0, noConnection(), opts...)
			}
			_ = one(t.Context(), l, 0, nil, opts...)
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

func TestLimiterOptions(t *testing.T) {
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
	l := k8sretry.NewLimiter()
	synctest.Test(t, func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0))
		_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, policy, k8sretry.WithLimiter(nil))
		assert.False(t, l.State().Limited)
		_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, k8sretry.WithLimiter(nil), policy)
		assert.True(t, l.State().Limited)
	})
}

// A thousand goroutines and a server that is down for a second, again and again.
func TestLimiterConcurrentCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := k8sretry.NewLimiter()
		down := func() bool { return time.Now().Second()%7 == 3 }
		var done, failed atomic.Int32
		for i := range 1000 {
			go func() {
				for range 20 {
					_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) {
						testkit.Sleep(time.Duration(i%97) * time.Millisecond)
						if down() {
							return 0, []error{noConnection(), unavailable(), tooMany(1), notFound()}[i%4]
						}
						return 0, nil
					}, k8sretry.WithLimiter(l), k8sretry.ForWrite(), k8sretry.WithMaxQueueTime(time.Hour))
					if err != nil && !apierrors.IsNotFound(err) {
						failed.Add(1)
					}
					done.Add(1)
				}
			}()
		}
		testkit.Sleep(time.Hour)
		assert.EqualValues(t, 20000, done.Load())
		assert.Less(t, failed.Load(), int32(200))
		_ = one(t.Context(), l, 0, nil)
		assert.Equal(t, k8sretry.LimiterState{}, l.State())
	})
}

// If a permanent error comes so late that it is a sign of overload, the change is logged as a warning,
// although the error itself is not.
func TestLimiterChangeIsLoggedAfterAPermanentError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, written := observer.New(zapcore.WarnLevel)
		defer zap.ReplaceGlobals(zap.New(core))()
		l, name := k8sretry.NewLimiter(), k8sretry.WithName("get pods")
		for range 20 {
			require.NoError(t, one(t.Context(), l, 10*time.Millisecond, nil, name))
		}
		_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) {
			testkit.Sleep(20 * time.Second)
			return 0, notFound()
		}, k8sretry.WithLimiter(l), name)
		assert.True(t, apierrors.IsNotFound(err))
		assert.True(t, l.State().Limited)
		assert.Equal(t, []string{"k8s_api_limiter_limiting"}, messages(written))
	})
}

// With a Limiter the delay before a retry depends on the cause of the failure.
func TestLimiterDelaysByCause(t *testing.T) {
	verdicts := func(n int, v k8sretry.Verdict) []k8sretry.Verdict { return slices.Repeat([]k8sretry.Verdict{v}, n) }
	of := func(class k8sretry.Class) k8sretry.Verdict { return k8sretry.Verdict{Class: class} }
	after := func(class k8sretry.Class) k8sretry.Verdict {
		return k8sretry.Verdict{Class: class, RetryAfter: 10 * time.Second}
	}
	server := of(k8sretry.ClassServer)
	seven := k8sretry.BackoffFunc(func(int) time.Duration { return 7 * time.Second })
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		failures  []k8sretry.Verdict // the delay after the last of them
		low, high time.Duration
	}{
		{"load", nil, verdicts(1, of(k8sretry.ClassTimeout)), time.Second, 2 * time.Second},
		{"load, later", nil, verdicts(3, of(k8sretry.ClassRefused)), 4 * time.Second, 8 * time.Second},
		{"load, near the maximum delay", nil, verdicts(5, of(k8sretry.ClassConnection)), 15 * time.Second, 30 * time.Second},
		{"load, far beyond", nil, verdicts(40, of(k8sretry.ClassThrottled)), 15 * time.Second, 30 * time.Second},
		{"a throttled call with a Retry-After", nil, verdicts(1, after(k8sretry.ClassThrottled)), 10 * time.Second, 15 * time.Second},
		{"a random failure", nil, verdicts(1, server), 0, time.Second},
		{"a random failure, later", nil, append(verdicts(3, of(k8sretry.ClassTimeout)), server), 0, 8 * time.Second},
		{"a random failure with a Retry-After", nil, verdicts(1, after(k8sretry.ClassServer)), 10 * time.Second, 15 * time.Second},
		{"the third 5xx of a call", nil, verdicts(3, server), 0, 4 * time.Second},
		{"the fourth 5xx of a call is not random", nil, verdicts(4, server), 8 * time.Second, 16 * time.Second},
		{"nor is the 300th", nil, verdicts(300, server), 15 * time.Second, 30 * time.Second},
		{"a PodDisruptionBudget", nil, verdicts(1, of(k8sretry.ClassDisruptionBudget)), 5 * time.Second, 6 * time.Second},
		{"WithJitter", []k8sretry.Option{exact}, verdicts(2, server), 2 * time.Second, 2 * time.Second},
		{"WithJitter and a Retry-After", []k8sretry.Option{exact}, verdicts(2, after(k8sretry.ClassServer)), 10 * time.Second, 10 * time.Second},
		{"WithBackoff of an Exponential", []k8sretry.Option{k8sretry.WithBackoff(k8sretry.Exponential{Initial: time.Minute, Max: time.Hour})},
			verdicts(1, server), time.Minute, 72 * time.Second},
		{"WithBackoff", []k8sretry.Option{k8sretry.WithBackoff(seven)}, verdicts(1, server), 7 * time.Second, 7 * time.Second},
		{"WithBackoffFor another class", []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassTimeout, seven)}, verdicts(1, of(k8sretry.ClassRefused)), time.Second, 2 * time.Second},
		{"WithBackoffFor the class", []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassTimeout, seven)}, verdicts(1, of(k8sretry.ClassTimeout)), 7 * time.Second, 7 * time.Second},
		{"a maximum delay of 0", []k8sretry.Option{k8sretry.WithMaxDelay(0)}, verdicts(1, of(k8sretry.ClassTimeout)), 0, 0},
		{"a maximum delay of 0, a random failure", []k8sretry.Option{k8sretry.WithMaxDelay(0)}, verdicts(1, server), 0, 0},
		{"an initial delay of 0", []k8sretry.Option{k8sretry.WithInitialDelay(0)}, verdicts(1, of(k8sretry.ClassTimeout)), 0, 0},
		{"a maximum delay of 1 ns", []k8sretry.Option{k8sretry.WithMaxDelay(1)}, verdicts(1, of(k8sretry.ClassTimeout)), 0, 1},
		{"the longest delays", []k8sretry.Option{k8sretry.WithInitialDelay(math.MaxInt64), k8sretry.WithMaxDelay(math.MaxInt64)},
			verdicts(1, of(k8sretry.ClassTimeout)), math.MaxInt64 / 2, math.MaxInt64},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := k8sretry.NewLimiter()
				least, most := time.Duration(math.MaxInt64), time.Duration(0)
				for range 2000 / len(c.failures) {
					d := delayAfter(t, c.failures, append(slices.Clone(c.opts), k8sretry.WithLimiter(l))...)
					least, most = min(least, d), max(most, d)
				}
				assert.GreaterOrEqual(t, least, c.low)
				assert.LessOrEqual(t, most, c.high)
				if width := c.high - c.low; width > 1 && len(c.failures) < 10 {
					assert.Less(t, least, c.low+width/10, "the whole range is used")
					assert.Greater(t, most, c.high-width/10)
				}
			})
		})
	}

	t.Run("a few retries after a random failure wait a tenth", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			limiter := k8sretry.WithLimiter(k8sretry.NewLimiter())
			delayAfter(t, verdicts(1, after(k8sretry.ClassServer)), limiter) // a Retry-After takes no token
			for range 3 {
				assert.LessOrEqual(t, delayAfter(t, verdicts(1, server), limiter), time.Second/10)
			}
			longest := time.Duration(0)
			for range 100 {
				longest = max(longest, delayAfter(t, verdicts(1, server), limiter))
			}
			assert.Greater(t, longest, time.Second/2)
		})
	})
}

// delayAfter returns the delay before the retry after the last of the given failures. The errors are not
// those of a server, so that a Limiter learns nothing from them.
func delayAfter(t *testing.T, failures []k8sretry.Verdict, opts ...k8sretry.Option) (delay time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	retries := 0
	opts = append(opts, k8sretry.WithMaxRetries(len(failures)), k8sretry.WithName("get"), k8sretry.WithLogger(nil),
		k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return failures[retries], true }),
		k8sretry.WithObserver(observerFunc(func(_ context.Context, e k8sretry.Event) {
			if e.Kind != k8sretry.EventRetry {
				return
			}
			if retries++; retries == len(failures) {
				delay = e.Delay
				cancel()
			}
		})))
	_ = k8sretry.Run(ctx, func(context.Context) error { return errors.New("of no server") }, opts...)
	require.Equal(t, len(failures), retries)
	return delay
}

type unwrapPanics struct{}

func (unwrapPanics) Error() string { return "foreign" }
func (unwrapPanics) Unwrap() error { panic("unwrap") }

// A method of the caller's error that panics passes through, and the attempt is given back.
func TestLimiterGetsBackAnAttemptWhoseErrorPanics(t *testing.T) {
	l := k8sretry.NewLimiter()
	assert.Panics(t, func() {
		_ = k8sretry.Run(t.Context(), func(context.Context) error { return unwrapPanics{} }, k8sretry.WithLimiter(l), k8sretry.WithVerb(k8sretry.VerbUpdate))
	})
	assert.Zero(t, l.State().InFlight)
}
