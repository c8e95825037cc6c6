package k8sretry_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

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
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, "get: queue timeout, request not sent"},
		{"WithMaxQueueTime", []k8sretry.Option{k8sretry.WithMaxQueueTime(3 * time.Second)}, 0, 0, 3 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout}, "get: queue timeout, request not sent"},
		{"WithMaxElapsed is shorter", []k8sretry.Option{k8sretry.WithMaxElapsed(2 * time.Second)}, 0, 0, 2 * time.Second,
			k8sretry.StopMaxElapsed, []error{k8sretry.ErrMaxElapsed}, ""},
		{"the deadline", nil, 2 * time.Second, 0, 2 * time.Second,
			k8sretry.StopQueueTimeout, []error{k8sretry.ErrQueueTimeout, context.DeadlineExceeded}, "get: queue timeout, request not sent"},
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
			_ = one(t.Context(), l, 0, noConnection())
			go func() { _ = one(t.Context(), l, 10*time.Second, nil) }()
			err := <-done
			assert.ErrorIs(t, err, k8sretry.ErrQueueTimeout)
			assert.True(t, apierrors.IsServiceUnavailable(err))
			e := asError(t, err)
			assert.Equal(t, 1, e.Attempts)
			assert.Equal(t, 2*time.Second, e.Elapsed)
			assert.EqualError(t, err, "get: queue timeout after 1 attempt; the server may have carried out the call: the server said so")
			testkit.Sleep(time.Minute)
		})
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
		_ = one(t.Context(), l, 0, noConnection())
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
						_ = k8sretry.Run(t.Context(), func(context.Context) error { <-end; return nil }, k8sretry.WithLimiter(l), k8sretry.WithMaxQueueTime(ever))
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
				_, err := k8sretry.Do(ctx, fails().get, append(c.opts, k8sretry.WithLimiter(l))...)
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
				_, err := k8sretry.Do(ctx, fn.get, append(c.opts, k8sretry.WithLimiter(l))...)
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
			_, err := k8sretry.Do(ctx, fails().get, k8sretry.WithLimiter(l))
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

// A call that ends in the queue before its first attempt has no error of the API: its error and its log
// say that it was queued.
func TestLimiterQueueTimeoutInLogs(t *testing.T) {
	for _, c := range []struct {
		event, text string
		opt         k8sretry.Option
		cancel      bool
	}{
		{"k8s_api_call_failed_queue_timeout", "get pods: queue timeout, request not sent", k8sretry.WithMaxQueueTime(time.Second), false},
		{"k8s_api_call_failed_max_elapsed", "get pods: max elapsed time reached while queued, request not sent", k8sretry.WithMaxElapsed(time.Second), false},
		{"k8s_api_call_failed_canceled", "get pods: canceled while queued, request not sent", nil, true},
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
				assert.EqualError(t, err, c.text)
				line := lines(t)[0]
				assert.Equal(t, c.event, line["event"])
				assert.Equal(t, k8sretry.ErrQueueTimeout.Error(), line["error"])
				assert.Equal(t, "not_executed", line["outcome"])
				assert.NotContains(t, line, "status_code")
				testkit.Sleep(time.Minute)
			})
		})
	}
}
