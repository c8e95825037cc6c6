// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// one makes a call of one attempt that takes the given time and ends with err.
func one(ctx context.Context, l *k8sretry.Limiter, took time.Duration, err error, opts ...k8sretry.Option) error {
	_, err = k8sretry.Do(ctx, func(context.Context) (int, error) {
		testkit.Sleep(took)
		return 0, err
	}, append([]k8sretry.Option{k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0), k8sretry.WithName("get")}, opts...)...)
	return err
}

// down makes the calls to a server that refuses connections after which the Limiter believes it, and
// allows one attempt at a time.
func down(ctx context.Context, l *k8sretry.Limiter) {
	for range 8 {
		_ = one(ctx, l, 0, noConnection())
	}
}

// busy returns a Limiter with a limit of 1 and an attempt in flight, which succeeds after a while.
func busy(t *testing.T, takes time.Duration) *k8sretry.Limiter {
	l := k8sretry.NewLimiter()
	down(t.Context(), l)
	go func() { _ = one(t.Context(), l, takes, nil) }()
	synctest.Wait()
	require.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 1, InFlight: 1}, l.State())
	return l
}

// What is a sign of overload, and what the Limiter does then.
func TestLimiterSituations(t *testing.T) {
	denied := apierrors.NewForbidden(podResource, "web-0", errors.New("admission webhook denied the request"))
	webhook := apierrors.NewInternalError(errors.New(`failed calling webhook "a.b": Post "https://x": dial tcp: connection refused`))
	named := k8sretry.WithName("get")
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
		pause     time.Duration // at least half of it, and half more at most
		rate      float64
	}{
		{"nothing", func(context.Context, *k8sretry.Limiter) {}, false, 0, 0, 0},
		{"one success", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 1, 0, nil) }, false, 0, 0, 0},
		{"7 refused connections", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 7, 0, noConnection()) }, false, 0, 0, 0},
		{"8 refused connections", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 8, 0, noConnection()) }, true, 1, 0, 0},
		{"5 refused connections within 8 s", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 2, 4*time.Second, noConnection())
			testkit.Sleep(4 * time.Second)
			many(ctx, l, 3, 0, noConnection())
		}, true, 1, 12 * time.Second, 0},
		{"5 x 503 within 8 s", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 2, 4*time.Second, unavailable())
			testkit.Sleep(4 * time.Second)
			many(ctx, l, 3, 0, unavailable())
		}, true, 1, 8 * time.Second, 0},
		{"a server that is down, then NotFound", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 8, 0, noConnection())
			many(ctx, l, 1, 0, notFound())
		}, false, 0, 0, 0},
		{"a server that is down, then Conflict", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 8, 0, noConnection())
			many(ctx, l, 1, 0, apierrors.NewConflict(podResource, "web-0", errors.New("changed")))
		}, false, 0, 0, 0},
		{"a server that is down, then a denied call", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 8, 0, noConnection())
			many(ctx, l, 1, 0, denied)
		}, false, 0, 0, 0},
		{"7 x 503", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 7, 0, unavailable()) }, false, 0, 0, 0},
		{"8 x 503", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 8, 0, unavailable()) }, true, 1, 0, 0},
		{"7 x 503, a success, 7 x 503", func(ctx context.Context, l *k8sretry.Limiter) {
			many(ctx, l, 7, 0, unavailable())
			many(ctx, l, 1, 0, nil)
			many(ctx, l, 7, 0, unavailable())
		}, false, 0, 0, 0},
		{"4 x 503 over 4 s", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 4, 1340*time.Millisecond, unavailable()) }, true, 1, 0, 0},
		{"4 x 503 within 4 s", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 4, 1300*time.Millisecond, unavailable()) }, false, 0, 0, 0},
		{"3 x 503 over 10 s", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 3, 5*time.Second, unavailable()) }, false, 0, 0, 0},
		{"webhooks that are down", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 20, time.Second, webhook) }, false, 0, 0, 0},
		{"429 without a Retry-After", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 7, 0, tooMany(0)) }, false, 0, 0, 0},
		{"many 429 without a Retry-After", func(ctx context.Context, l *k8sretry.Limiter) { many(ctx, l, 8, 0, tooMany(0)) }, true, 1, 0, 0},
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
		{"an attempt timeout", func(ctx context.Context, l *k8sretry.Limiter) {
			_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
				k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0), named, k8sretry.WithAttemptTimeout(2*time.Second))
		}, true, 1, 0, 0},
		{"a short attempt timeout", func(ctx context.Context, l *k8sretry.Limiter) {
			_, _ = k8sretry.Do(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
				k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0), k8sretry.WithAttemptTimeout(time.Second))
		}, false, 0, 0, 0},
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
			many(ctx, l, 8, 0, noConnection())
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
				assert.True(t, c.pause/2 <= s.Pause && s.Pause <= 3*c.pause/2, s.Pause)
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
		down(t.Context(), l)
		testkit.Sleep(time.Minute)
		require.NoError(t, one(t.Context(), l, 0, nil))
		_ = one(t.Context(), l, 0, unavailable()) // from here on the attempts are counted
		for i := range 20 {
			took, err := time.Second, error(nil)
			if i < 12 {
				took, err = 10*time.Millisecond, noConnection()
			}
			go func() { _ = one(t.Context(), l, took, err) }()
		}
		testkit.Sleep(100 * time.Millisecond)
		s := l.State()
		assert.True(t, s.Limited)
		assert.Equal(t, 8, s.InFlight)
		assert.InDelta(t, 5, s.Limit, 1, "half of those in flight, once")
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
			for range 9 {
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
		for range 8 {
			_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, policy, k8sretry.WithLimiter(nil))
		}
		assert.False(t, l.State().Limited)
		for range 8 {
			_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, k8sretry.WithLimiter(nil), policy)
		}
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

// With a Limiter the delay before a retry depends on the cause of the failure: load, if the Limiter has found
// it, or chance.
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
		{"a failure while nothing is limited: as without a Limiter", nil, verdicts(1, of(k8sretry.ClassTimeout)), 500 * time.Millisecond, 600 * time.Millisecond},
		{"load, later", nil, verdicts(3, of(k8sretry.ClassRefused)), 4 * time.Second, 8 * time.Second},
		{"load, less than the maximum delay, and more than half of it", []k8sretry.Option{k8sretry.WithInitialDelay(20 * time.Second)},
			verdicts(1, of(k8sretry.ClassTimeout)), 20 * time.Second, 30 * time.Second},
		{"load, near the maximum delay", nil, verdicts(5, of(k8sretry.ClassConnection)), 15 * time.Second, 30 * time.Second},
		{"load, far beyond", nil, verdicts(40, of(k8sretry.ClassThrottled)), 15 * time.Second, 30 * time.Second},
		{"a throttled call with a Retry-After", nil, verdicts(1, after(k8sretry.ClassThrottled)), 10 * time.Second, 15 * time.Second},
		{"a random failure", nil, verdicts(1, server), 0, time.Second},
		{"a random failure, later", nil, append(verdicts(3, of(k8sretry.ClassTimeout)), server), 0, 8 * time.Second},
		{"a random failure with a Retry-After", nil, verdicts(1, after(k8sretry.ClassServer)), 10 * time.Second, 15 * time.Second},
		{"the third 5xx of a call", nil, verdicts(3, server), 0, 4 * time.Second},
		{"the 300th 5xx of a call", nil, verdicts(300, server), 0, 30 * time.Second},
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
					if !strings.Contains(c.situation, "nothing is limited") && !l.State().Limited {
						down(t.Context(), l)
					}
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
}

// delayAfter returns the delay before the retry after the last of the given failures. The errors are not
// those of a server, so that a Limiter learns nothing from them.
func delayAfter(t *testing.T, failures []k8sretry.Verdict, opts ...k8sretry.Option) (delay time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	retries := 0
	opts = append(opts, k8sretry.WithMaxRetries(len(failures)), k8sretry.WithName("get"), k8sretry.WithMaxQueueTime(math.MaxInt64), k8sretry.WithLogger(nil),
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

// A queued call ends with ErrQueueTimeout, and says why.
func TestLimiterQueueTimeout(t *testing.T) {
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
		{"WithMaxQueueTime of 0", []k8sretry.Option{k8sretry.WithMaxQueueTime(0)}, 0, 0, 0,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, "get: queue timeout (server limited), request not sent: " + noConnection().Error()},
		{"WithMaxQueueTime", []k8sretry.Option{k8sretry.WithMaxQueueTime(3 * time.Second)}, 0, 0, 3 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, "get: queue timeout (server limited), request not sent: " + noConnection().Error()},
		{"WithMaxElapsed is longer", []k8sretry.Option{k8sretry.WithMaxQueueTime(3 * time.Second), k8sretry.WithMaxElapsed(time.Minute)}, 0, 0, 3 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, ""},
		{"WithMaxElapsed is shorter", []k8sretry.Option{k8sretry.WithMaxElapsed(2 * time.Second)}, 0, 0, 2 * time.Second,
			k8sretry.StopMaxElapsed, []error{k8sretry.ErrMaxElapsed}, ""},
		{"the deadline", nil, 2 * time.Second, 0, 2 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout, context.DeadlineExceeded}, "get: queue timeout (server limited), request not sent: " + noConnection().Error()},
		{"a cancel", nil, 0, time.Second, time.Second,
			k8sretry.StopCanceled, []error{k8sretry.ErrQueueTimeout, context.Canceled, cause}, ""},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := busy(t, 40*time.Second)
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
				_, err := k8sretry.Do(ctx, fn.get, append(c.opts, k8sretry.WithLimiter(l), k8sretry.WithObserver(&seen), k8sretry.WithName("get"))...)
				assert.Equal(t, c.waits, time.Since(began))
				e := asError(t, err)
				assert.Equal(t, c.stop, e.StopReason)
				assert.Zero(t, e.Attempts)
				assert.Equal(t, noConnection(), e.Err, "what made the scope limited")
				assert.Equal(t, k8sretry.ScopeServer, e.Scope)
				assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome)
				assert.Zero(t, fn.attempts())
				for _, target := range c.is {
					assert.ErrorIs(t, err, target)
				}
				if c.text != "" {
					assert.EqualError(t, err, c.text)
				}
				assert.Equal(t, c.waits, seen.last(t).Queued)
				assert.Equal(t, k8sretry.EventFailure, seen.last(t).Kind)
				assert.Zero(t, l.State().Queued)
				testkit.Sleep(time.Minute)
				assert.Equal(t, k8sretry.LimiterState{}, l.State())
			})
		})
	}

	t.Run("the Done of a context whose Err stays nil", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := busy(t, 40*time.Second)
			ctx := newDoneOnly()
			time.AfterFunc(time.Second, func() { close(ctx.done) })
			began := time.Now()
			_, err := k8sretry.Do(ctx, fails().get, k8sretry.WithLimiter(l), k8sretry.WithMaxQueueTime(time.Hour))
			assert.Equal(t, time.Second, time.Since(began))
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
			assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
			testkit.Sleep(time.Minute)
		})
	})

	t.Run("before a retry, the error of the API is kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := k8sretry.NewLimiter()
			fn := fails(unavailable())
			done := make(chan error)
			go func() {
				_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithLimiter(l), exact, k8sretry.WithMaxQueueTime(time.Second), k8sretry.WithName("get"))
				done <- err
			}()
			synctest.Wait()
			down(t.Context(), l)
			go func() { _ = one(t.Context(), l, 10*time.Second, nil) }()
			err := <-done
			assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			e := asError(t, err)
			assert.Equal(t, 1, e.Attempts)
			assert.Equal(t, 2*time.Second, e.Elapsed)
			assert.EqualError(t, err, "get: queue timeout (server limited) after 1 attempt; the server may have carried out the call: the server said so")
			testkit.Sleep(time.Minute)
		})
	})
}

// Answers that are late limit, too, and are no error that an event could name.
func TestLimiterQueueTimeoutAfterLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := k8sretry.NewLimiter()
		for range 40 {
			require.NoError(t, one(t.Context(), l, 10*time.Millisecond, nil))
		}
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { _ = one(t.Context(), l, 20*time.Second, nil) })
		}
		all.Wait()
		require.True(t, l.State().Limited)
		all.Go(func() { _ = one(t.Context(), l, time.Minute, nil) })
		synctest.Wait()
		var seen recorder
		err := one(t.Context(), l, 0, nil, k8sretry.WithMaxQueueTime(0), k8sretry.WithObserver(&seen))
		assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.NoError(t, asError(t, err).Err)
		assert.Equal(t, k8sretry.ErrQueueTimeout, seen.last(t).Err)
		all.Wait()
	})
}

// WithMaxQueueTime is for all attempts of a call together.
func TestLimiterQueueTimeoutOfARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := busy(t, 3*time.Second)
		var seen recorder
		fn := fails(times(9, unavailable())...)
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithLimiter(l), exact, k8sretry.WithMaxQueueTime(5*time.Second), k8sretry.WithObserver(&seen))
			done <- err
		}()
		testkit.Sleep(3500 * time.Millisecond) // the first attempt has been made, the second comes at 4 s
		synctest.Wait()
		require.Equal(t, 1, fn.attempts())
		down(t.Context(), l)
		go func() { _ = one(t.Context(), l, 40*time.Second, nil) }()
		err := <-done
		assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
		assert.Equal(t, 1, fn.attempts())
		assert.Equal(t, 6*time.Second, time.Since(began), "3 s in the queue, 1 s between the attempts, and the 2 s that are left")
		assert.Equal(t, 5*time.Second, seen.last(t).Queued)
		testkit.Sleep(time.Minute)
	})
}

// Without WithMaxQueueTime a call may be queued as long as it could take without a Limiter.
func TestLimiterDefaultQueueTime(t *testing.T) {
	const ever = math.MaxInt64
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		queued    time.Duration
	}{
		{"the defaults", nil, 4*10*time.Second + 7*time.Second},
		{"ForWrite", []k8sretry.Option{k8sretry.ForWrite()}, 2 * time.Minute},
		{"ForRead", []k8sretry.Option{k8sretry.ForRead()}, 4*10*time.Second + 7*time.Second},
		{"ForConnection", []k8sretry.Option{k8sretry.ForConnection()}, 6*10*time.Second + 15500*time.Millisecond},
		{"ForMaintenance", []k8sretry.Option{k8sretry.ForMaintenance()}, 11*10*time.Second + 243500*time.Millisecond},
		{"ForBackground", []k8sretry.Option{k8sretry.ForBackground()}, 3*10*time.Second + 6*time.Second},
		{"ForEviction", []k8sretry.Option{k8sretry.ForEviction()}, ever},
		{"no retry", []k8sretry.Option{k8sretry.WithMaxRetries(0)}, 10 * time.Second},
		{"an attempt timeout", []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.WithAttemptTimeout(time.Second)}, 3 * time.Second},
		{"the longest attempt timeout", []k8sretry.Option{k8sretry.WithMaxRetries(5), k8sretry.WithAttemptTimeout(ever)}, ever},
		{"the longest delays", []k8sretry.Option{k8sretry.WithMaxRetries(200), k8sretry.WithInitialDelay(ever), k8sretry.WithMaxDelay(ever)}, ever},
		{"an initial delay of 0", []k8sretry.Option{k8sretry.WithInitialDelay(0)}, 40 * time.Second},
		{"a maximum delay of 0", []k8sretry.Option{k8sretry.WithMaxDelay(0)}, 40 * time.Second},
		{"a hundred retries", []k8sretry.Option{k8sretry.WithMaxRetries(100), k8sretry.WithMultiplier(1)}, 101*10*time.Second + 100*time.Second},
		{"WithMaxQueueTime", []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithMaxQueueTime(time.Second)}, time.Second},
		{"WithMaxQueueTime of 0", []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithMaxQueueTime(0)}, 0},
		{"the longest WithMaxQueueTime", []k8sretry.Option{k8sretry.WithMaxQueueTime(ever)}, ever},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := k8sretry.NewLimiter()
				end := make(chan bool)
				for i := range 100 { // one of them is in flight and does not end, and the others are queued
					go func() {
						_ = k8sretry.Run(t.Context(), func(context.Context) error { <-end; return nil }, k8sretry.WithLimiter(l), k8sretry.WithName("get"), k8sretry.WithMaxQueueTime(ever))
					}()
					if i == 0 {
						synctest.Wait()
						_ = one(t.Context(), l, 0, tooMany(299)) // a pause of five minutes, with a limit of 1 from then on
					}
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				_, err := k8sretry.Do(ctx, fails().get, append(c.opts, k8sretry.WithLimiter(l), k8sretry.WithName("get"))...)
				assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
				assert.Equal(t, min(c.queued, time.Hour), time.Since(began))
				close(end)
			})
		})
	}
}

// A call that cannot start in time is not queued: the pause lasts longer, and nothing is in flight whose
// success would end it.
func TestLimiterDoesNotQueueInVain(t *testing.T) {
	for _, c := range []struct {
		situation string
		deadline  time.Duration
		opts      []k8sretry.Option
		stop      k8sretry.StopReason
	}{
		{"a deadline within the pause", 10 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Hour)}, k8sretry.StopQueueTimeout},
		{"a queue timeout within the pause", time.Hour, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Minute)}, k8sretry.StopQueueTimeout},
		{"a deadline within the pause and within WithMaxElapsed", 10 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Hour), k8sretry.WithMaxElapsed(30 * time.Minute)}, k8sretry.StopQueueTimeout},
		{"WithMaxElapsed ends within the pause", time.Hour, []k8sretry.Option{k8sretry.WithMaxElapsed(20 * time.Second)}, k8sretry.StopMaxElapsed},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := k8sretry.NewLimiter()
				_ = one(t.Context(), l, 0, tooMany(120))
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				began, fn := time.Now(), fails()
				_, err := k8sretry.Do(ctx, fn.get, append(c.opts, k8sretry.WithLimiter(l), k8sretry.WithName("get"))...)
				assert.Zero(t, time.Since(began))
				assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
				assert.Equal(t, c.stop, asError(t, err).StopReason)
				assert.Zero(t, fn.attempts())
				assert.Zero(t, l.State().Queued)
			})
		})
	}
	t.Run("an attempt in flight may succeed in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := k8sretry.NewLimiter()
			go func() { _ = one(t.Context(), l, 5*time.Second, nil) }()
			synctest.Wait()
			_ = one(t.Context(), l, 0, tooMany(120))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			began := time.Now()
			_, err := k8sretry.Do(ctx, fails().get, k8sretry.WithLimiter(l), k8sretry.WithName("get"))
			assert.NoError(t, err)
			assert.Equal(t, 5*time.Second, time.Since(began))
		})
	})
}

func TestLimiterIsFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := busy(t, time.Second)
		var mu sync.Mutex
		started := map[int]time.Time{}
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			if i%5 == 0 { // the head of the queue among them
				time.AfterFunc(500*time.Millisecond, cancel)
			}
			go func() {
				defer cancel()
				_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) {
					mu.Lock()
					started[i] = time.Now()
					mu.Unlock()
					testkit.Sleep(time.Second)
					return 0, nil
				}, k8sretry.WithLimiter(l))
			}()
			synctest.Wait()
		}
		assert.Equal(t, 20, l.State().Queued)
		testkit.Sleep(900 * time.Millisecond)
		assert.Equal(t, 16, l.State().Queued)
		testkit.Sleep(time.Minute)
		synctest.Wait()
		groups := []int{1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19}
		assert.ElementsMatch(t, groups, slices.Collect(maps.Keys(started)))
		assert.True(t, slices.IsSortedFunc(groups, func(a, b int) int { return started[a].Compare(started[b]) }), "attempts that start at the same time run in any order")
		assert.Greater(t, started[19].Sub(started[1]), 2*time.Second)
		assert.Equal(t, k8sretry.LimiterState{}, l.State())
	})
}

func TestLimiterTenThousandCallsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := busy(t, 10*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var timedOut atomic.Int32
		for range 10000 {
			go func() {
				if errors.Is(one(ctx, l, 0, nil), k8sretry.ErrQueueTimeout) {
					timedOut.Add(1)
				}
			}()
		}
		synctest.Wait()
		assert.Equal(t, 10000, l.State().Queued)
		cancel()
		synctest.Wait()
		assert.EqualValues(t, 10000, timedOut.Load())
		assert.Equal(t, k8sretry.LimiterState{Limited: true, Limit: 1, InFlight: 1}, l.State())
		testkit.Sleep(time.Minute)
		assert.Equal(t, k8sretry.LimiterState{}, l.State())
	})
}

// A call that waits in the queue says so once, when it has waited for a second.
func TestLimiterQueuedCallsSaySo(t *testing.T) {
	for _, c := range []struct {
		situation string
		busy      time.Duration // how long the attempt before the call takes
		opts      []k8sretry.Option
		said      bool
	}{
		{"less than a second", 900 * time.Millisecond, nil, false},
		{"more than a second", 90 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Hour)}, true},
		{"a queue time of less than a second", 10 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(time.Second / 2)}, false},
		{"a queue time of more than a second", 10 * time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(2 * time.Second)}, true},
		{"priority", 10 * time.Second, []k8sretry.Option{k8sretry.WithPriority()}, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := busy(t, c.busy)
				var seen recorder
				observer, out := jsonSlog()
				inCall := observerFunc(func(context.Context, k8sretry.Event) {
					assert.Contains(t, string(debug.Stack()), "k8sretry.Do", "in the goroutine of the call")
				})
				core, written := newObserver()
				opts := append(c.opts, k8sretry.WithLimiter(l), k8sretry.WithName("get"),
					k8sretry.WithLogger(zap.New(core, zap.AddCaller(), zap.AddStacktrace(zap.InfoLevel))),
					k8sretry.WithObserver(k8sretry.MultiObserver(&seen, observer, inCall)))
				began := time.Now()
				go func() {
					if !c.said {
						return
					}
					testkit.Sleep(1001 * time.Millisecond)
					assert.Equal(t, []string{"k8s_api_call_queued"}, messages(written), "while it waits")
				}()
				_, _ = k8sretry.Do(t.Context(), fails().get, opts...)
				took := time.Since(began)
				testkit.Sleep(5 * time.Minute)
				assert.Equal(t, k8sretry.LimiterState{}, l.State())
				var queued []k8sretry.Event
				for _, e := range seen.events {
					if e.Kind == k8sretry.EventQueued {
						queued = append(queued, e)
					}
				}
				if !c.said {
					assert.Empty(t, queued)
					assert.NotContains(t, messages(written), "k8s_api_call_queued")
					return
				}
				assert.Greater(t, took, time.Second)
				require.Len(t, queued, 1)
				e := queued[0]
				assert.Equal(t, "get", e.Function)
				assert.Equal(t, time.Second, e.Queued)
				assert.Equal(t, k8sretry.ScopeServer, e.Scope)
				assert.Equal(t, noConnection().Error(), e.Err.Error())
				line := written.All()[0]
				assert.Equal(t, "k8s_api_call_queued", line.Message)
				assert.Equal(t, zapcore.InfoLevel, line.Level)
				assert.Equal(t, 1.0, line.ContextMap()["queued_seconds"])
				assert.Contains(t, line.Caller.File, "limiter_test.go")
				assert.True(t, strings.HasPrefix(line.Stack, "github.com/k8sretry/k8sretry_test.TestLimiterQueuedCallsSaySo"), line.Stack)
				assert.Contains(t, out.String(), "k8s_api_call_queued")
			})
		})
	}
	t.Run("the first call of its kind names what it waits for, too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := busy(t, 10*time.Second)
			var seen recorder
			_, _ = k8sretry.Do(t.Context(), fails().get, k8sretry.WithLimiter(l), k8sretry.WithName("another kind"), k8sretry.WithObserver(&seen))
			require.NotEmpty(t, seen.events)
			e := seen.events[0]
			assert.Equal(t, k8sretry.EventQueued, e.Kind)
			assert.Equal(t, k8sretry.ScopeServer, e.Scope)
			assert.EqualError(t, e.Err, noConnection().Error())
			testkit.Sleep(5 * time.Minute)
		})
	})
	t.Run("a call that does not queue asks for nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := k8sretry.NewLimiter()
			down(t.Context(), l) // one at a time
			asked := doneCounter{t.Context(), new(atomic.Int32)}
			_, err := k8sretry.Do(asked, fails().get, k8sretry.WithLimiter(l), k8sretry.WithObserver(new(recorder)))
			require.NoError(t, err)
			assert.Zero(t, asked.n.Load(), "the timer begins with the wait")
			testkit.Sleep(5 * time.Minute)
		})
	})
	for situation, takes := range map[string]time.Duration{
		"a panic of an Observer reaches the caller, and nothing is lost": 0,
		"also if the call could have started meanwhile":                  20 * time.Second,
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
				for b.State() != k8sretry.BreakerOpen {
					_ = one(t.Context(), nil, 500*time.Millisecond, unavailable(), k8sretry.WithBreaker(b))
				}
				testkit.Sleep(time.Minute) // one call may try
				l := busy(t, 10*time.Second)
				panics := k8sretry.WithObserver(observerFunc(func(_ context.Context, e k8sretry.Event) {
					if e.Kind == k8sretry.EventQueued {
						testkit.Sleep(takes)
						panic("observer")
					}
				}))
				assert.PanicsWithValue(t, "observer", func() {
					_, _ = k8sretry.Do(t.Context(), fails().get, k8sretry.WithLimiter(l), k8sretry.WithBreaker(b), panics)
				})
				testkit.Sleep(5 * time.Minute)
				assert.Equal(t, k8sretry.LimiterState{}, l.State())
				_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithBreaker(b))
				assert.NoError(t, err, "the Breaker lets one through")
			})
		})
	}
}

// doneCounter counts how often its Done is asked for.
type doneCounter struct {
	context.Context
	n *atomic.Int32
}

func (c doneCounter) Done() <-chan struct{} { c.n.Add(1); return c.Context.Done() }

// A call that ends in the queue before its first attempt has the error that made its scope limited. Its error
// and its log say that it was queued.
func TestLimiterQueueTimeoutInLogs(t *testing.T) {
	for _, c := range []struct {
		event, text string
		opt         k8sretry.Option
		cancel      bool
	}{
		{"k8s_api_call_failed_queue_timeout", "get pods: queue timeout (server limited), request not sent: ", k8sretry.WithMaxQueueTime(time.Second), false},
		{"k8s_api_call_failed_max_elapsed", "get pods: max elapsed time reached while queued (server limited), request not sent: ", k8sretry.WithMaxElapsed(time.Second), false},
		{"k8s_api_call_failed_canceled", "get pods: canceled while queued (server limited), request not sent: ", nil, true},
	} {
		t.Run(c.event, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := busy(t, 10*time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancel {
					time.AfterFunc(time.Second, cancel)
				}
				logger, lines := jsonLogs()
				_, err := k8sretry.Do(ctx, fails().get, k8sretry.WithLimiter(l), logger, k8sretry.WithName("get pods"), c.opt)
				assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
				assert.EqualError(t, err, c.text+noConnection().Error())
				line := lines(t)[len(lines(t))-1]
				assert.Equal(t, c.event, line["event"])
				assert.Equal(t, noConnection().Error(), line["error"])
				assert.Equal(t, "server", line["scope"])
				assert.Equal(t, "not_executed", line["outcome"])
				assert.NotContains(t, line, "status_code")
				testkit.Sleep(time.Minute)
			})
		})
	}
}

// concurrencyLimit is a server that processes a number of requests at a time, each for a while, and refuses
// all others at once, as API Priority and Fairness does without a queue.
type concurrencyLimit struct {
	free    atomic.Int64
	takes   time.Duration
	refused atomic.Int64
}

func (s *concurrencyLimit) serve(context.Context) error {
	if s.free.Add(-1) < 0 {
		s.free.Add(1)
		testkit.Sleep(5 * time.Millisecond)
		s.refused.Add(1)
		return apierrors.NewTooManyRequests("too many", 1)
	}
	testkit.Sleep(5*time.Millisecond + s.takes)
	s.free.Add(1)
	return nil
}

// A process that knows nothing of the server sends everything at once. Refused calls then wait, without
// leaving the server idle.
func TestLimiterUsesAConcurrencyLimit(t *testing.T) {
	for _, n := range []int64{1, 3, 20} {
		t.Run(strconv.FormatInt(n, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const calls = 200
				s := &concurrencyLimit{takes: 60 * time.Millisecond}
				s.free.Store(n)
				policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
				begin := time.Now()
				var wg sync.WaitGroup
				for range calls {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
						defer cancel()
						assert.NoError(t, k8sretry.Run(ctx, s.serve, policy))
					})
				}
				wg.Wait()
				took, alone := time.Since(begin), calls*65*time.Millisecond/time.Duration(n)
				t.Logf("%v, %d refused", took, s.refused.Load())
				assert.Less(t, took, 5*time.Second+2*alone, "the server is idle")
				assert.Less(t, s.refused.Load(), int64(calls+30), "few calls are refused more than once")
			})
		})
	}
}

// rateLimit is a server that processes a number of requests per second, with bursts of half of that, and
// refuses all others.
type rateLimit struct {
	mu       sync.Mutex
	rate     float64
	stored   float64
	at       time.Time
	attempts int
}

func (s *rateLimit) serve(context.Context) error {
	s.mu.Lock()
	now := time.Now()
	s.stored = min(s.stored+s.rate*now.Sub(s.at).Seconds(), s.rate/2)
	s.at = now
	s.attempts++
	served := s.stored >= 1
	if served {
		s.stored--
	}
	s.mu.Unlock()
	testkit.Sleep(5 * time.Millisecond)
	if !served {
		return apierrors.NewTooManyRequests("too many", 1)
	}
	return nil
}

// Many processes, each with a call from time to time, together send more than a server accepts. Each has few
// attempts to learn from, and still their calls do not reach their maximum of retries.
func TestLimiterOfManySmallProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const processes, limit = 400, 40
		s := &rateLimit{rate: limit, at: time.Now()}
		policies := make([]*k8sretry.Policy, processes)
		for i := range policies {
			policies[i] = k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
		}
		random := rand.New(rand.NewPCG(1, 5))
		begin := time.Now()
		var wg sync.WaitGroup
		var failed atomic.Int32
		calls := 0
		for since := time.Duration(0); since < 3*time.Minute; since = time.Since(begin) {
			rate := 0.7 * limit
			if since < time.Minute {
				rate *= 2
			}
			testkit.Sleep(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
			policy := policies[random.IntN(processes)]
			calls++
			wg.Go(func() {
				if k8sretry.Run(t.Context(), s.serve, policy) != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		t.Logf("%d calls, %d attempts, %d failed", calls, s.attempts, failed.Load())
		assert.LessOrEqual(t, failed.Load(), int32(20), "three in a thousand")
		assert.Less(t, float64(s.attempts)/float64(calls), 1.6, "few calls are refused more than once")
	})
}

// outage is a server that for a time answers all requests with 429, except for one in oneIn, or that does so
// for a number of requests, and that is healthy before and after.
type outage struct {
	from, to time.Duration
	oneIn    int
	refusals int

	mu       sync.Mutex
	begin    time.Time
	attempts int
	refused  []time.Time
	served   []time.Time
}

func (s *outage) serve(context.Context) error {
	testkit.Sleep(5 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	since := now.Sub(s.begin)
	s.attempts++
	exempt := s.oneIn > 0 && s.attempts%s.oneIn == 0
	if since >= s.from && (since < s.to && !exempt || len(s.refused) < s.refusals) {
		s.refused = append(s.refused, now)
		return apierrors.NewTooManyRequests("too many", 1)
	}
	s.served = append(s.served, now)
	return nil
}

// end returns when the first request after the outage was served.
func (s *outage) end() time.Time {
	last := s.refused[len(s.refused)-1]
	i := slices.IndexFunc(s.served, last.Before)
	return s.served[i]
}

// result is when a call began, how long it took, and whether it succeeded.
type result struct {
	began time.Time
	took  time.Duration
	ok    bool
}

// callServer calls a server for five minutes: a number of calls, at once or one after the other, then a
// pause.
func callServer(t *testing.T, s *outage, calls int, atOnce bool, pause func() time.Duration, opts ...k8sretry.Option) (results []result) {
	policy := k8sretry.NewPolicy(append(opts, k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))...)
	s.begin = time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	call := func() {
		began := time.Now()
		err := k8sretry.Run(t.Context(), s.serve, policy)
		mu.Lock()
		defer mu.Unlock()
		if len(opts) == 0 {
			assert.NoError(t, err)
		}
		results = append(results, result{began, time.Since(began), err == nil})
	}
	for time.Since(s.begin) < 5*time.Minute {
		testkit.Sleep(pause())
		for range calls {
			if atOnce {
				wg.Go(call)
			} else {
				call()
			}
		}
	}
	wg.Wait()
	return results
}

// While everything is refused, a process of many calls has as few successes as one of few. After the outage
// it is as fast as before, at once, or soon if the outage was so short that an earlier measurement still
// counts.
func TestLimiterOfManyCallsAfterAnOutage(t *testing.T) {
	for _, c := range []struct {
		duration, slowFor time.Duration
		oneIn             int
	}{
		{time.Minute, 3 * time.Second, 0},
		{time.Minute, 25 * time.Second, 20},
		{15 * time.Second, 8 * time.Second, 0},
		{10 * time.Second, 12 * time.Second, 0},
		{5 * time.Second, 12 * time.Second, 0},
	} {
		for _, rate := range []float64{1, 5, 200} {
			t.Run(fmt.Sprint(rate, " calls per second, an outage of ", c.duration, ", accepted is one in ", c.oneIn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(1, 6))
					s := &outage{from: 30 * time.Second, to: 30*time.Second + c.duration, oneIn: c.oneIn}
					results := callServer(t, s, 1, true, func() time.Duration { return time.Duration(random.ExpFloat64() / rate * float64(time.Second)) })
					end, longest := s.end(), time.Duration(0)
					assert.Less(t, end.Sub(s.begin), s.to+maxPause+time.Second)
					for _, o := range results {
						if o.began.Sub(end) > c.slowFor {
							longest = max(longest, o.took)
						}
					}
					t.Logf("served after %v; of the calls made %v later and on none took more than %v", end.Sub(s.begin)-s.to, c.slowFor, longest)
					assert.Less(t, longest, time.Second)
				})
			})
		}
	}
}

// Calls that are not queued for long must not be taken for few calls. After a short outage the earlier
// successes still count: they set the rate of a process of many calls, which grows with time, or expires.
func TestLimiterOfManyCallsWithoutAQueueAfterAnOutage(t *testing.T) {
	for _, c := range []struct{ duration, queueTime, after time.Duration }{
		{time.Minute, 0, 3 * time.Second},
		{time.Minute, time.Second, 3 * time.Second},
		{10 * time.Second, 0, 11 * time.Second},
		{10 * time.Second, time.Second, 19 * time.Second},
	} {
		t.Run(fmt.Sprint("an outage of ", c.duration, ", calls that are queued for ", c.queueTime), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &outage{from: 30 * time.Second, to: 30*time.Second + c.duration}
				results := callServer(t, s, 1, true, func() time.Duration { return time.Second / 20 }, k8sretry.WithMaxQueueTime(c.queueTime))
				end, failed := s.end(), 0
				for _, o := range results {
					if o.began.Sub(end) > c.after && !o.ok {
						failed++
					}
				}
				t.Logf("served after %v; of the calls made %v later and on %d failed", end.Sub(s.begin)-s.to, c.after, failed)
				assert.Zero(t, failed)
			})
		})
	}
}

// maxPause is the longest pause, with its jitter.
const maxPause = 45 * time.Second

// Two or three 429 do not slow down a process of few calls for minutes.
func TestLimiterOfFewCallsAfterAFew429(t *testing.T) {
	for _, c := range []struct {
		situation string
		calls     int
		atOnce    bool
		pause     time.Duration
	}{
		{"one call in 5 s", 1, true, 5 * time.Second},
		{"20 at once, each minute", 20, true, time.Minute},
		{"20 one after the other, each minute", 20, false, time.Minute},
	} {
		for _, refusals := range []int{1, 2, 3} {
			t.Run(fmt.Sprint(c.situation, ", ", refusals), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &outage{from: 100 * time.Second, refusals: refusals}
					results := callServer(t, s, c.calls, c.atOnce, func() time.Duration { return c.pause })
					var longest, waited, until time.Duration
					for _, o := range results {
						longest, waited = max(longest, o.took), waited+o.took-5*time.Millisecond
						if o.took > time.Second {
							until = max(until, o.began.Add(o.took).Sub(s.refused[0]))
						}
					}
					t.Logf("none took more than %v, all together waited %v, the last until %v after the first 429", longest, waited, until)
					assert.Less(t, longest, 35*time.Second)
					assert.Less(t, until, time.Minute)
				})
			})
		}
	}
}

// A server that suddenly takes a hundred times as long for every request, and answers them all, is not
// overloaded: no call fails, and once that is known they are queued no more.
func TestLimiterOfAServerThatIsSlowWithEveryRequest(t *testing.T) {
	for _, c := range []struct {
		situation    string
		perSecond    int
		kinds        int
		least, width time.Duration // of an answer
	}{
		{"one call a second", 1, 1, 1200 * time.Millisecond, 600 * time.Millisecond},
		{"five calls a second", 5, 1, time.Second, time.Second},
		{"fifty calls a second", 50, 1, time.Second, time.Second},
		{"fifty calls a second, all of which take as long", 50, 1, 1500 * time.Millisecond, 1},
		{"fifty calls a second of five kinds", 50, 5, time.Second, time.Second},
		{"some are not late", 10, 1, 900 * time.Millisecond, 400 * time.Millisecond},
		{"three hundred times as long", 10, 1, 2700 * time.Millisecond, 600 * time.Millisecond},
	} {
		t.Run(c.situation, func(t *testing.T) {
			for seed := range uint64(3) {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a simulation
					l := k8sretry.NewLimiter()
					takes := 20 * time.Millisecond
					var calls, late steady
					var all sync.WaitGroup
					call := func(s *steady, kind int, takes time.Duration) {
						all.Go(func() {
							began := time.Now()
							err := k8sretry.Run(t.Context(), func(context.Context) error {
								testkit.Sleep(takes)
								return nil
							}, k8sretry.ForRead(), k8sretry.WithLimiter(l), k8sretry.WithName(fmt.Sprint(kind)), k8sretry.WithLogger(nil))
							s.end(time.Since(began), err)
						})
					}
					for i := range 150 * c.perSecond {
						s := &calls
						if i >= 20*c.perSecond {
							takes = c.least + time.Duration(random.Int64N(int64(c.width)))
						}
						if i >= 90*c.perSecond {
							s = &late
						}
						call(s, i%c.kinds, takes)
						testkit.Sleep(time.Second / time.Duration(c.perSecond))
					}
					all.Wait()
					require.Zero(t, calls.failed+late.failed)
					require.Less(t, late.p99(), 2*(c.least+c.width))
				})
			}
		})
	}
}

// A tenth of the attempts fails at random, in all ways, while the server is healthy: that must not be taken for
// overload.
func TestLimiterDuringARandomFault(t *testing.T) {
	faults := []error{unavailable(), unavailable(), noConnection(), lostReply(), gatewayTimeout()}
	done := func(opts ...k8sretry.Option) (n int64) {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			var all sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for range 6 {
				all.Go(func() {
					for ctx.Err() == nil {
						err := k8sretry.Run(ctx, func(context.Context) error {
							testkit.Sleep(20 * time.Millisecond)
							if rand.IntN(10) == 0 {
								return faults[rand.IntN(len(faults))]
							}
							return nil
						}, append(opts, k8sretry.ForRead())...)
						if err == nil {
							calls.Add(1)
						}
						testkit.Sleep(100 * time.Millisecond)
					}
				})
			}
			all.Wait()
			n = calls.Load()
		})
		return n
	}
	without, with := done(), done(k8sretry.WithLimiter(k8sretry.NewLimiter()))
	t.Log(without, with)
	assert.Greater(t, with, without*6/10, "three quarters, usually more")
}

// steady makes calls at a constant rate until the test is over, and records how long each took.
type steady struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
}

func (s *steady) run(ctx context.Context, all *sync.WaitGroup, every time.Duration, call func(context.Context) error) {
	for ctx.Err() == nil {
		all.Go(func() {
			began := time.Now()
			err := call(context.WithoutCancel(ctx))
			s.end(time.Since(began), err)
		})
		testkit.Sleep(every)
	}
}

func (s *steady) end(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
	if err != nil {
		s.failed++
	}
}

// p99 is the time that 99 of 100 calls took at most.
func (s *steady) p99() time.Duration {
	slices.Sort(s.took)
	return s.took[len(s.took)*99/100]
}

// One resource whose LIST always fails does not delay the GETs of others, nor the renewal of a lease.
func TestLimiterIsolatesOneRefusedResource(t *testing.T) {
	for _, c := range []struct {
		situation   string
		gets, lists time.Duration // the time between two
		err         error
	}{
		{"50 GETs/s, a LIST each second, 429", time.Second / 50, time.Second, tooMany(1)},
		{"50 GETs/s, a LIST each second, 429 without a Retry-After", time.Second / 50, time.Second, tooMany(0)},
		{"10 GETs/s, a LIST in 5 s, 429", time.Second / 10, 5 * time.Second, tooMany(1)},
		{"a GET each second, a LIST in 15 s, 429", time.Second, 15 * time.Second, tooMany(1)},
		{"a GET in 5 s, a LIST each minute, 429", 5 * time.Second, time.Minute, tooMany(1)},
		{"a GET each second, 5 LISTs/s, 500", time.Second, time.Second / 5, internal()},
		{"a GET each second, 5 LISTs/s, lost", time.Second, time.Second / 5, lostReply()},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				var all sync.WaitGroup
				var gets, lists, leases steady
				var attempts []time.Time
				var mu sync.Mutex
				all.Go(func() {
					gets.run(ctx, &all, c.gets, func(ctx context.Context) error {
						return k8sretry.Run(ctx, func(context.Context) error { testkit.Sleep(10 * time.Millisecond); return nil }, policy, k8sretry.WithName("get pods"))
					})
				})
				all.Go(func() {
					leases.run(ctx, &all, 2*time.Second, func(ctx context.Context) error {
						ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
						defer cancel()
						return k8sretry.Run(ctx, func(context.Context) error { testkit.Sleep(10 * time.Millisecond); return nil }, policy, k8sretry.WithName("update leases"))
					})
				})
				lists.run(ctx, &all, c.lists, func(ctx context.Context) error {
					err := k8sretry.Run(ctx, func(context.Context) error {
						testkit.Sleep(10 * time.Millisecond)
						mu.Lock()
						defer mu.Unlock()
						attempts = append(attempts, time.Now())
						return c.err
					}, policy, k8sretry.WithName("list widgets"))
					assert.Equal(t, apierrors.IsTooManyRequests(c.err), apierrors.IsTooManyRequests(err), "%v", err)
					return err
				})
				all.Wait()
				t.Logf("GET p99 %v, %d failed; LIST p99 %v, %d attempts for %d calls; %d of %d renewals failed", gets.p99(), gets.failed, lists.p99(), len(attempts), len(lists.took), leases.failed, len(leases.took))
				assert.LessOrEqual(t, gets.p99(), 60*time.Millisecond)
				assert.Zero(t, gets.failed)
				assert.Zero(t, leases.failed)
				assert.Less(t, len(attempts), 200, "one for each pause, of one to three seconds if the server asks for one")
			})
		})
	}
}

// Faults by chance are not taken for overload: calls succeed as often and as soon as without a Limiter.
func TestLimiterIgnoresChance(t *testing.T) {
	fault := func(took time.Duration, err error) func(context.Context) error {
		return func(context.Context) error { testkit.Sleep(took); return err }
	}
	mixtures := map[string][]func(context.Context) error{
		"5xx":            {fault(5*time.Millisecond, unavailable()), fault(20*time.Millisecond, internal())},
		"lost answers":   {fault(20*time.Millisecond, lostReply()), fault(time.Millisecond, lostReply())},
		"a bit of all":   {fault(5*time.Millisecond, unavailable()), fault(20*time.Millisecond, lostReply()), fault(0, noConnection()), fault(5*time.Millisecond, tooMany(0)), fault(10*time.Millisecond, gatewayTimeout())},
		"429, no answer": {fault(5*time.Millisecond, tooMany(0)), fault(0, noConnection())},
	}
	run := func(rate float64, atOnce int, faults []func(context.Context) error, opts ...k8sretry.Option) (succeeded, calls int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var all sync.WaitGroup
			for worker := range atOnce {
				random := rand.New(rand.NewPCG(uint64(worker), 7)) // so that it draws the same with and without a Limiter
				all.Go(func() {
					began := time.Now()
					for range 4000 / atOnce {
						err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
							if random.Float64() < rate {
								return faults[random.IntN(len(faults))](ctx)
							}
							return fault(20*time.Millisecond, nil)(ctx)
						}, append(opts, k8sretry.ForRead(), k8sretry.WithMaxRetries(6), k8sretry.WithInitialDelay(20*time.Millisecond), k8sretry.WithName("get pods"))...)
						mu.Lock()
						calls++
						if err == nil {
							succeeded++
						}
						mu.Unlock()
					}
					mu.Lock()
					defer mu.Unlock()
					took += time.Since(began)
				})
			}
			all.Wait()
		})
		return succeeded, calls, took
	}
	mixtures["a bit of all, usual jitter"] = mixtures["a bit of all"]
	for name, faults := range mixtures {
		for _, atOnce := range []int{1, 4, 16, 64} {
			for _, rate := range []float64{0.05, 0.2, 0.4} {
				t.Run(fmt.Sprintf("%s, %v of the requests, %d at once", name, rate, atOnce), func(t *testing.T) {
					opts := []k8sretry.Option{k8sretry.WithJitter(k8sretry.JitterNone)}
					if strings.Contains(name, "usual jitter") {
						opts = nil
					}
					s, n, without := run(rate, atOnce, faults, opts...)
					s2, n2, with := run(rate, atOnce, faults, append(opts, k8sretry.WithLimiter(k8sretry.NewLimiter()))...)
					t.Logf("without %.4f in %v, with %.4f in %v", float64(s)/float64(n), without, float64(s2)/float64(n2), with)
					assert.GreaterOrEqual(t, float64(s2)/float64(n2), float64(s)/float64(n)-0.005)
					assert.LessOrEqual(t, with.Seconds(), without.Seconds()*1.05)
				})
			}
		}
	}
}

func internal() error { return apierrors.NewInternalError(errors.New("watch cache failed")) }

// kube-apiserver's headers, and its answers to a request that it has refused.
const levelHeader = "X-Kubernetes-PF-PriorityLevel-UID"

func watchCacheNotReady(req *http.Request, level string) *http.Response {
	return answer(req, 429, "application/json", statusJSON(429, metav1.StatusReasonTooManyRequests, "storage is (re)initializing"), levelHeader, level, "Retry-After", "1")
}

func levelExhausted(req *http.Request, level string) *http.Response {
	return answer(req, 429, "text/plain; charset=utf-8", "Too many requests, please try again later.\n", levelHeader, level, "Retry-After", "1")
}

// served is an answer with an object of any type.
func served(req *http.Request, level string) *http.Response {
	return answer(req, 200, "application/json", `{"metadata":{"name":"a"}}`, levelHeader, level)
}

// An answer may tell the level of a request that no Limiter of the Transport has seen.
func TestLimiterOfATransportThatIsNotAsked(t *testing.T) {
	l := k8sretry.NewLimiter()
	client := over(t, func(req *http.Request) (*http.Response, error) { return served(req, "workload"), nil }, wrapper(t, k8sretry.WithLimiter(l)))
	require.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithLimiter(k8sretry.NewLimiter())))
	assert.Empty(t, l.Limited())
}

// A Transport knows kinds of requests and their levels: one resource that is refused does not delay others of
// its level, and a level that is exhausted does not delay other levels.
func TestLimiterOfATransportIsolates(t *testing.T) {
	for situation, c := range map[string]struct {
		refused func(*http.Request, string) *http.Response
		host    string
		level   bool
	}{
		"a watch cache that cannot start":             {watchCacheNotReady, "server", false},
		"a level that is exhausted":                   {levelExhausted, "server", true},
		"a level that is exhausted, behind a gateway": {levelExhausted, "gateway/clusters/one", true},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := k8sretry.NewLimiter()
				var seen recorder
				client := clientset(t, &rest.Config{Host: "https://" + c.host, Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
					testkit.Sleep(10 * time.Millisecond)
					switch {
					case strings.Contains(req.URL.Path, "/secrets"):
						return c.refused(req, "workload"), nil
					case strings.Contains(req.URL.Path, "/configmaps"):
						return served(req, "workload"), nil
					}
					return served(req, "system"), nil
				})}, wrapper(t, k8sretry.WithLimiter(l), k8sretry.WithObserver(&seen), k8sretry.WithLogger(nil)))
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				var all sync.WaitGroup
				var configMaps, nodes, leases, secrets steady
				all.Go(func() {
					configMaps.run(ctx, &all, time.Second/10, func(ctx context.Context) error { return get(ctx, client) })
				})
				all.Go(func() {
					nodes.run(ctx, &all, time.Second/10, func(ctx context.Context) error {
						_, err := client.CoreV1().Nodes().Get(ctx, "a", metav1.GetOptions{})
						return err
					})
				})
				all.Go(func() {
					leases.run(ctx, &all, 2*time.Second, func(ctx context.Context) error {
						ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
						defer cancel()
						_, err := client.CoordinationV1().Leases("default").Get(ctx, "a", metav1.GetOptions{})
						return err
					})
				})
				secrets.run(ctx, &all, time.Second, func(ctx context.Context) error {
					_, err := client.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
					assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
					return err
				})
				all.Wait()
				t.Logf("config maps p99 %v, nodes p99 %v, %d leases failed, secrets p99 %v", configMaps.p99(), nodes.p99(), leases.failed, secrets.p99())
				assert.Zero(t, nodes.failed)
				assert.Zero(t, leases.failed)
				assert.Equal(t, 10*time.Millisecond, nodes.p99())
				var scopes []k8sretry.LimiterScope
				for _, e := range seen.events {
					if e.Kind == k8sretry.EventLimiter && e.Limited {
						scopes = append(scopes, e.Scope)
					}
				}
				if c.level {
					assert.Equal(t, k8sretry.ScopeLevel, scopes[len(scopes)-1])
					assert.NotContains(t, scopes, k8sretry.ScopeServer)
					return
				}
				assert.Zero(t, configMaps.failed)
				assert.Equal(t, 10*time.Millisecond, configMaps.p99())
				assert.Equal(t, []k8sretry.LimiterScope{k8sretry.ScopeKind}, slices.Compact(scopes))
				limited := l.Limited()
				require.Len(t, limited, 1)
				assert.Equal(t, "list secrets", limited[0].Name)
				assert.Equal(t, c.host, limited[0].Host)
				assert.True(t, apierrors.IsTooManyRequests(limited[0].Err))
			})
		})
	}
}

// Requests for leases are neither held up nor repeated, unless an option says so.
func TestLimiterLeavesLeasesAlone(t *testing.T) {
	for _, included := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int32
			opts := []k8sretry.Option{k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithLogger(nil)}
			if included {
				opts = append(opts, k8sretry.IncludeLeases())
			}
			policy := k8sretry.NewPolicy(opts...)
			client := over(t, func(req *http.Request) (*http.Response, error) {
				requests.Add(1)
				return answer(req, 503, "text/plain", "down"), nil
			}, wrapper(t, policy))
			for range 8 {
				_ = get(t.Context(), client)
			}
			requests.Store(0)
			began := time.Now()
			_, err := client.CoordinationV1().Leases("default").Get(t.Context(), "a", metav1.GetOptions{})
			assert.True(t, apierrors.IsServiceUnavailable(err))
			if included {
				assert.EqualValues(t, 4, requests.Load())
				return
			}
			assert.EqualValues(t, 1, requests.Load())
			assert.Zero(t, time.Since(began))
			// Neither are they by the Transport below a Do, which repeats them itself.
			requests.Store(0)
			_, err = k8sretry.Do(t.Context(), func(ctx context.Context) (any, error) {
				return client.CoordinationV1().Leases("default").Get(ctx, "a", metav1.GetOptions{})
			}, k8sretry.WithMaxRetries(1), exact)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			assert.EqualValues(t, 2, requests.Load())
			assert.Equal(t, time.Second, time.Since(began))
		})
	}
}

// A call with priority does not wait, neither at its own Limiter nor at that of a Transport below.
func TestLimiterLetsPriorityPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := busy(t, time.Minute)
		began := time.Now()
		_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.WithLimiter(l), k8sretry.WithPriority())
		assert.NoError(t, err)
		client, end := stuckBelow(t)
		assert.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error { return get(ctx, client) }, k8sretry.WithPriority()))
		assert.Zero(t, time.Since(began))
		end()
		testkit.Sleep(2 * time.Minute)
	})
}

// stuckBelow is a client over a Transport whose Limiter is limited to one attempt, which is in flight for a
// minute or until the test ends it; after that the server is well.
func stuckBelow(t *testing.T) (client *kubernetes.Clientset, end context.CancelFunc) {
	ctx, end := context.WithCancel(t.Context())
	var requests atomic.Int32
	client = over(t, func(req *http.Request) (*http.Response, error) {
		switch n := requests.Add(1); {
		case n <= 8:
			return nil, syscall.ECONNREFUSED
		case n == 9:
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
		}
		return served(req, "workload"), nil
	}, wrapper(t, k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithLogger(nil), k8sretry.WithMaxRetries(0)))
	for range 8 {
		_ = get(t.Context(), client)
	}
	go func() { _ = get(t.Context(), client) }()
	synctest.Wait()
	return client, end
}

// A Transport below that has not started an attempt has made none: the call above waits, and repeats it within
// its own limits.
func TestLimiterBelowThatStartsNoAttempt(t *testing.T) {
	for _, c := range []struct {
		situation string
		ends      time.Duration // the attempt in flight
		timeout   time.Duration // of a request, as rest.Config.Timeout sets it
		opts      []k8sretry.Option
		stop      k8sretry.StopReason
		took      time.Duration // at most
	}{
		{"no retry is allowed", 5 * time.Second, time.Second, []k8sretry.Option{k8sretry.WithMaxRetries(0)}, k8sretry.StopNone, 10 * time.Second},
		{"retries are allowed", 5 * time.Second, time.Second, nil, k8sretry.StopNone, 10 * time.Second},
		{"longer than the call may be queued", time.Minute, time.Second, []k8sretry.Option{k8sretry.WithMaxQueueTime(7 * time.Second)}, k8sretry.StopQueueTimeout, 9 * time.Second},
		{"longer than WithMaxElapsed", time.Minute, time.Second, []k8sretry.Option{k8sretry.WithMaxElapsed(7 * time.Second)}, k8sretry.StopMaxElapsed, 9 * time.Second},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, end := stuckBelow(t)
				time.AfterFunc(c.ends, end)
				began := time.Now()
				var seen recorder
				err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, c.timeout)
					defer cancel()
					return get(ctx, client)
				}, append(c.opts, k8sretry.WithObserver(&seen))...)
				assert.LessOrEqual(t, time.Since(began), c.took)
				if c.stop == k8sretry.StopNone {
					assert.NoError(t, err)
					assert.Equal(t, 1, seen.last(t).Attempt, "the attempts that were not started do not count")
				} else {
					e := asError(t, err)
					assert.Equal(t, c.stop, e.StopReason)
					assert.Zero(t, e.Attempts)
					assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
					assert.ErrorIs(t, err, syscall.ECONNREFUSED, "what made the scope limited")
				}
				end()
				testkit.Sleep(2 * time.Minute)
			})
		})
	}
}

// Calls within calls use the places of those around them: after a blip none of them waits for itself.
func TestLimiterOfCallsWithinCalls(t *testing.T) {
	for _, name := range []string{"reconcile", "get pods"} { // the inner calls are of the same kind, or of another one
		synctest.Test(t, func(t *testing.T) {
			policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
			begin := time.Now()
			server := func(context.Context) error {
				testkit.Sleep(10 * time.Millisecond)
				if since := time.Since(begin); since > 50*time.Millisecond && since < 500*time.Millisecond {
					return noConnection()
				}
				return nil
			}
			var failed atomic.Int32
			var all sync.WaitGroup
			for range 16 {
				all.Go(func() {
					for range 5 {
						err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
							for range 3 {
								if err := k8sretry.Run(ctx, server, policy, k8sretry.WithName("get pods")); err != nil {
									return err
								}
							}
							return nil
						}, policy, k8sretry.WithName(name))
						if err != nil {
							failed.Add(1)
						}
					}
				})
			}
			all.Wait()
			t.Log(time.Since(begin))
			assert.Zero(t, failed.Load())
			assert.Less(t, time.Since(begin), 20*time.Second)
		})
	}
}

// While a server is down, one attempt at a time tries it. A call within that attempt is part of it: in the queue
// it would wait for its own end.
func TestLimiterLetsACallWithinAnAttemptPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithName("reconcile"))
		for range 10 {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return noConnection() }, policy, k8sretry.WithMaxRetries(0))
		}
		began := time.Now()
		require.NoError(t, k8sretry.Run(t.Context(), func(ctx context.Context) error {
			return k8sretry.Run(ctx, func(context.Context) error { return nil }, policy)
		}, policy))
		assert.Zero(t, time.Since(began))
	})
}

// A call whose every attempt is answered by 429 ends with that, and takes about as long as without a Limiter.
func TestLimiterOfAPersistent429(t *testing.T) {
	for _, seconds := range []int32{0, 1} {
		var took [2]time.Duration
		for i, opt := range []k8sretry.Option{nil, k8sretry.WithLimiter(k8sretry.NewLimiter())} {
			for range 20 {
				synctest.Test(t, func(t *testing.T) {
					if i > 0 {
						opt = k8sretry.WithLimiter(k8sretry.NewLimiter())
					}
					opts := []k8sretry.Option{k8sretry.WithMaxRetries(5), k8sretry.WithInitialDelay(200 * time.Millisecond), k8sretry.WithMaxDelay(3 * time.Second)}
					if opt != nil {
						opts = append(opts, opt)
					}
					fn := fails(times(9, tooMany(seconds))...)
					began := time.Now()
					_, err := k8sretry.Do(t.Context(), fn.get, opts...)
					took[i] += time.Since(began) / 20
					assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
					assert.True(t, apierrors.IsTooManyRequests(err))
					assert.Equal(t, 6, fn.attempts())
				})
			}
		}
		t.Log(took)
		assert.Less(t, took[1], 2*took[0])
	}
}

// The assumption was that the code of a function tells what it calls. All safe writes share
// theirs, and all writes of the dynamic client their type.
func TestLimiterTellsSafeWritesApart(t *testing.T) {
	widget := func(kind, name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": "default"}}}
	}
	resource := func(client *dynamicfake.FakeDynamicClient, name string) *k8sretry.DynamicClient {
		return k8sretry.Dynamic(client.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: name}).Namespace("default"))
	}
	typed := fake.NewClientset()
	untyped := dynamicfake.NewSimpleDynamicClient(apiruntime.NewScheme())
	fails := func(clienttesting.Action) (bool, apiruntime.Object, error) { return true, nil, unavailable() }
	typed.PrependReactor("create", "secrets", fails)
	untyped.PrependReactor("create", "broken", fails)
	untyped.PrependReactor("patch", "broken", fails)
	untyped.PrependReactor("patch", "well", func(clienttesting.Action) (bool, apiruntime.Object, error) { return true, widget("Well", "w"), nil })
	for situation, c := range map[string]struct {
		broken, well func(ctx context.Context, name string, policy k8sretry.Option) error
	}{
		"of typed clients": {
			func(ctx context.Context, name string, policy k8sretry.Option) error {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}
				_, err := k8sretry.Create(ctx, typed.CoreV1().Secrets("default"), secret, metav1.CreateOptions{}, policy)
				return err
			},
			func(ctx context.Context, name string, policy k8sretry.Option) error {
				_, err := k8sretry.Create(ctx, typed.CoreV1().ConfigMaps("default"), configMap(name), metav1.CreateOptions{}, policy)
				return err
			},
		},
		"of the dynamic client": {
			func(ctx context.Context, name string, policy k8sretry.Option) error {
				_, err := k8sretry.Create(ctx, resource(untyped, "broken"), widget("Broken", name), metav1.CreateOptions{}, policy)
				return err
			},
			func(ctx context.Context, name string, policy k8sretry.Option) error {
				_, err := k8sretry.Create(ctx, resource(untyped, "well"), widget("Well", name), metav1.CreateOptions{}, policy)
				return err
			},
		},
		"applied with the dynamic client": {
			func(ctx context.Context, name string, policy k8sretry.Option) error {
				_, err := k8sretry.Apply(ctx, resource(untyped, "broken"), widget("Broken", name), metav1.ApplyOptions{FieldManager: "test"}, policy)
				return err
			},
			func(ctx context.Context, name string, policy k8sretry.Option) error {
				_, err := k8sretry.Apply(ctx, resource(untyped, "well"), widget("Well", name), metav1.ApplyOptions{FieldManager: "test"}, policy)
				return err
			},
		},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := k8sretry.NewPolicy(k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithMaxElapsed(time.Minute))
				var all sync.WaitGroup
				for i := range 20 {
					all.Go(func() { assert.Error(t, c.broken(t.Context(), fmt.Sprint("b", i), policy)) })
				}
				for i := range 30 {
					testkit.Sleep(time.Second)
					start := time.Now()
					require.NoError(t, c.well(t.Context(), fmt.Sprint("w", i), policy))
					assert.Zero(t, time.Since(start), "a write of another kind")
				}
				all.Wait()
			})
		})
	}
}

// A server that is not called for some minutes costs nothing, and until then little. Kinds are bounded.
func TestLimiterOfManyServersAndKinds(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	requests := func(n int, limiter *k8sretry.Limiter, urls func(int) []string) {
		// The timers of attempts are no part of it: package time drops stopped ones later.
		client := http.Client{Transport: wrapper(t, k8sretry.WithLimiter(limiter), k8sretry.WithAttemptTimeout(0))(roundTripper(func(req *http.Request) (*http.Response, error) {
			return served(req, "workload"), nil
		}))}
		for i := range n {
			testkit.Sleep(time.Millisecond) // so that their timers do not fire all at once
			for _, url := range urls(i) {
				resp, err := client.Get(url)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
		}
	}
	const n = 10_000
	t.Run("10,000 servers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			limiter := k8sretry.NewLimiter()
			before := heap()
			requests(n, limiter, func(i int) []string {
				server := fmt.Sprintf("https://server%d/api/v1/namespaces/default/", i)
				return []string{server + "configmaps/a", server + "pods"}
			})
			testkit.Sleep(time.Minute)
			each := (heap() - before) / n
			t.Logf("%d bytes for a server", each)
			assert.LessOrEqual(t, each, 2<<10)
			testkit.Sleep(2 * time.Minute)
			each = (heap() - before) / n
			t.Logf("%d bytes for a server that was not called for some minutes", each)
			assert.LessOrEqual(t, each, 64)
			runtime.KeepAlive(limiter)
		})
	})
	t.Run("10,000 names", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			limiter := k8sretry.NewLimiter()
			before := heap()
			for i := range n {
				_ = one(t.Context(), limiter, 0, nil, k8sretry.WithName(fmt.Sprint("get", i)))
			}
			all := heap() - before
			t.Logf("%d bytes", all)
			assert.LessOrEqual(t, all, 64<<10)
			runtime.KeepAlive(limiter)
		})
	})
}

// The time of attempts that have been made is not time in a queue.
func TestLimiterBelowCountsNoAttemptAsQueueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := busy(t, time.Hour)
		notStarted := func(ctx context.Context) error { return one(ctx, l, 0, nil, k8sretry.WithMaxQueueTime(0)) }
		attempts := 0
		var seen recorder
		err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
			switch attempts++; attempts {
			case 1, 2, 4:
				return notStarted(ctx)
			case 3, 5:
				testkit.Sleep(20 * time.Second)
				return unavailable()
			}
			return nil
		}, k8sretry.WithMaxQueueTime(10*time.Second), k8sretry.WithObserver(&seen), exact, k8sretry.WithMaxRetries(2))
		assert.NoError(t, err)
		assert.Equal(t, 3, seen.last(t).Attempt)
		assert.Equal(t, 6*time.Second, seen.last(t).Queued, "the delays after the attempts that were not started")
		testkit.Sleep(2 * time.Hour)
	})
}

// The final check of a safe write does not wait for a Limiter, neither its own nor that of a Transport below:
// it has little time to prove what became of the write.
func TestLimiterLetsAFinalCheckPass(t *testing.T) {
	for _, below := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			end := make(chan struct{})
			server := func(req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodPost {
					testkit.Sleep(5 * time.Second)
					return nil, lostReply()
				}
				switch path.Base(req.URL.Path) {
				case "down":
					return nil, syscall.ECONNREFUSED
				case "slow":
					<-end
				}
				return served(req, "workload"), nil
			}
			limited := k8sretry.WithLimiter(k8sretry.NewLimiter())
			opts := []k8sretry.Option{k8sretry.WithMaxRetries(0)}
			client := over(t, server)
			if below {
				client = over(t, server, wrapper(t, limited, opts[0], k8sretry.WithLogger(nil)))
			} else {
				opts = append(opts, limited)
			}
			read := func(name string) error {
				_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (*corev1.ConfigMap, error) {
					return client.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})
				}, append(opts, k8sretry.WithName("get"))...)
				return err
			}
			done := make(chan error)
			go func() {
				_, err := k8sretry.Create(t.Context(), client.CoreV1().ConfigMaps("default"),
					&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}}, metav1.CreateOptions{}, opts...)
				done <- err
			}()
			testkit.Sleep(time.Second)
			for range 8 {
				_ = read("down")
			}
			go func() { _ = read("slow") }()
			synctest.Wait()
			began := time.Now()
			assert.NoError(t, <-done)
			assert.Equal(t, 4*time.Second, time.Since(began))
			close(end)
			testkit.Sleep(2 * time.Minute)
		})
	}
}
