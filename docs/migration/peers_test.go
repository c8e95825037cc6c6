// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	avast "github.com/avast/retry-go/v5"
	cenkalti "github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/fallback"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	sethvargo "github.com/sethvargo/go-retry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// If the context ends during a wait, most libraries do not return the error of the API.
func TestErrorWhenTheContextEndsDuringAWait(t *testing.T) {
	const timeout = 800 * time.Millisecond
	for name, pair := range readers {
		for when, read := range map[string]reader{"before": pair.before, "after": pair.after} {
			t.Run(name+"/"+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					clientset, faults := cluster()
					faults.FailNext(9, "get", "pods", k8sretrytest.Status(503))
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					defer cancel()
					start := time.Now()
					_, err := read(ctx, clientset, "web-0")
					took := time.Since(start)
					switch {
					case when == "after":
						assert.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
						assert.ErrorIs(t, err, k8sretry.ErrDeadline)
						assert.Less(t, took, timeout, "it does not wait for an attempt that would start after the deadline")
					case name == "client-go":
						assert.True(t, apierrors.IsServiceUnavailable(err))
						assert.Greater(t, took, 7*time.Second, "OnError ignores the context")
					default:
						assert.ErrorIs(t, err, context.DeadlineExceeded)
						assert.False(t, apierrors.IsServiceUnavailable(err), "%v", err)
						assert.Equal(t, timeout, took)
					}
				})
			})
		}
	}
}

// Only k8sretry obeys a Retry-After without further code.
func TestRetryAfterIsObeyedAfterTheMigration(t *testing.T) {
	for name, pair := range readers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				faults.FailNext(1, "get", "pods", k8sretrytest.TooManyRequests(20*time.Second))
				start := time.Now()
				_, err := pair.before(t.Context(), clientset, "web-0")
				require.NoError(t, err)
				assert.Less(t, time.Since(start), 3*time.Second)

				faults.FailNext(1, "get", "pods", k8sretrytest.TooManyRequests(20*time.Second))
				start = time.Now()
				_, err = pair.after(t.Context(), clientset, "web-0")
				require.NoError(t, err)
				assert.GreaterOrEqual(t, time.Since(start), 20*time.Second)
			})
		})
	}
}

// The behaviour of each library without options.
func TestDefaults(t *testing.T) {
	forbidden := func() error { return k8sretrytest.Status(403) }
	for name, want := range map[string]struct {
		call     func(ctx context.Context, fn func() error) error
		attempts int // at a permanent error
		took     time.Duration
	}{
		"cenkalti": {func(ctx context.Context, fn func() error) error {
			_, err := cenkalti.Retry(ctx, func() (int, error) { return 0, fn() })
			return err
		}, -1, 15 * time.Minute},
		"avast": {func(ctx context.Context, fn func() error) error { return avast.New(avast.Context(ctx)).Do(fn) }, 10, 51 * time.Second},
		"failsafe-go": {func(ctx context.Context, fn func() error) error {
			return failsafe.With(retrypolicy.NewWithDefaults[any]()).WithContext(ctx).Run(fn)
		}, 3, 0},
		"sethvargo": {func(ctx context.Context, fn func() error) error {
			return sethvargo.Do(ctx, sethvargo.NewExponential(time.Second), func(context.Context) error { return fn() })
		}, 1, 0},
		"k8sretry": {func(ctx context.Context, fn func() error) error {
			return k8sretry.Run(ctx, func(context.Context) error { return fn() })
		}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts, start := 0, time.Now()
				err := want.call(t.Context(), func() error { attempts++; return forbidden() })
				assert.Error(t, err)
				if want.attempts >= 0 {
					assert.Equal(t, want.attempts, attempts)
				} else {
					assert.Greater(t, attempts, 10, "as many as fit into the time")
				}
				assert.InDelta(t, want.took.Minutes(), time.Since(start).Minutes(), 1.5)
			})
		})
	}
}

func TestCenkaltiJitterGoesBelowTheDelayAndAboveTheCap(t *testing.T) {
	least, most := time.Duration(math.MaxInt64), time.Duration(0)
	for range 1000 {
		b := &cenkalti.ExponentialBackOff{InitialInterval: time.Second, MaxInterval: time.Second, Multiplier: 2, RandomizationFactor: 0.5}
		d := b.NextBackOff()
		least, most = min(least, d), max(most, d)
	}
	assert.Less(t, least, 600*time.Millisecond)
	assert.Greater(t, most, 1400*time.Millisecond, "above MaxInterval")
}

func TestCenkaltiRetryAfterRestartsTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		errs := []error{errors.New("a"), errors.New("b"), cenkalti.RetryAfter(1), errors.New("c")}
		_, err := cenkalti.Retry(t.Context(), func() (int, error) {
			if len(waits) < len(errs) {
				return 0, errs[len(waits)]
			}
			return 0, nil
		}, cenkalti.WithBackOff(&cenkalti.ExponentialBackOff{InitialInterval: 2 * time.Second, Multiplier: 2, MaxInterval: time.Minute}),
			cenkalti.WithNotify(func(_ error, d time.Duration) { waits = append(waits, d) }))
		require.NoError(t, err)
		assert.Equal(t, []time.Duration{2 * time.Second, 4 * time.Second, time.Second, 2 * time.Second}, waits)
	})
}

// avast returns the errors of all attempts, and predicates evaluate the first one.
func TestPredicatesEvaluateTheFirstErrorOfAvast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := []error{k8sretrytest.Status(503), k8sretrytest.Status(404)}
		call := func() error { err := errs[0]; errs = append(errs[1:], err); return err }

		err := avast.New(avast.Attempts(2), avast.RetryIf(transient)).Do(call)
		assert.True(t, apierrors.IsServiceUnavailable(err))
		assert.False(t, apierrors.IsNotFound(err), "although the last answer is 404")

		err = k8sretry.Run(t.Context(), func(context.Context) error { return call() })
		assert.True(t, apierrors.IsNotFound(err))
	})
}

func TestAvastThrottleLimitsTheRetriesOfAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := avast.NewFixedTokenBucketThrottle(avast.FixedTokenBucketThrottleConfig{})
		attempts := 0
		for range 1000 {
			_ = avast.New(avast.Attempts(3), avast.WithThrottle(throttle)).Do(func() error { attempts++; return k8sretrytest.Status(503) })
		}
		assert.Less(t, attempts, 2000, "3000 without the throttle")
	})
}

func TestSethvargoBackoffIsUsedUpAcrossCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backoff, attempts := sethvargo.WithMaxRetries(3, sethvargo.NewExponential(time.Second)), 0
		for range 2 {
			_ = sethvargo.Do(t.Context(), backoff, func(context.Context) error {
				attempts++
				return sethvargo.RetryableError(k8sretrytest.Status(503))
			})
		}
		assert.Equal(t, 5, attempts, "4 for the first call, 1 for the second")

		policy, attempts := k8sretry.NewPolicy(k8sretry.WithMaxRetries(3)), 0
		for range 2 {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { attempts++; return k8sretrytest.Status(503) }, policy)
		}
		assert.Equal(t, 8, attempts)
	})
}

// failsafe-go adds a hedge and a fallback to a call with k8sretry.
func TestFailsafeAround(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hedge := hedgepolicy.NewBuilderWithDelay[string](100 * time.Millisecond).Build()
		cached := fallback.NewWithResult("cached")
		read := func(ctx context.Context, answer string, err error, took time.Duration) (string, error) {
			return k8sretry.Do(ctx, func(ctx context.Context) (string, error) {
				select {
				case <-time.After(took):
				case <-ctx.Done():
				}
				return answer, err
			}, k8sretry.ForRead())
		}
		var mu sync.Mutex
		calls := 0
		got, err := failsafe.With[string](cached, hedge).WithContext(t.Context()).GetWithExecution(func(exec failsafe.Execution[string]) (string, error) {
			mu.Lock()
			calls++
			slow := calls == 1
			mu.Unlock()
			if slow {
				return read(exec.Context(), "late", nil, time.Hour)
			}
			return read(exec.Context(), "hedged", nil, 0)
		})
		require.NoError(t, err)
		assert.Equal(t, "hedged", got)

		got, err = failsafe.With[string](cached).WithContext(t.Context()).Get(func() (string, error) {
			return read(t.Context(), "", k8sretrytest.Status(404), 0)
		})
		require.NoError(t, err)
		assert.Equal(t, "cached", got)
	})
}
