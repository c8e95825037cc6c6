// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

func TestBudgetConfig(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    k8sretry.BudgetConfig
		problem   string
		remaining int
	}{
		{"the zero value", k8sretry.BudgetConfig{}, "", 20},
		{"a given MinRetries", k8sretry.BudgetConfig{MinRetries: 3}, "", 3},
		{"no MinRetries", k8sretry.BudgetConfig{MinRetries: -1}, "", 0},
		{"no Ratio", k8sretry.BudgetConfig{Ratio: -0.5}, "", 20},
		{"a Ratio that is NaN", k8sretry.BudgetConfig{Ratio: nan()}, "Ratio must be finite", 0},
		{"an infinite Ratio", k8sretry.BudgetConfig{Ratio: inf()}, "Ratio must be finite", 0},
		{"an infinite, negative Ratio", k8sretry.BudgetConfig{Ratio: -inf()}, "Ratio must be finite", 0},
		{"a negative Window", k8sretry.BudgetConfig{Window: -1}, "Window must not be negative", 0},
		{"a negative MaxRetryTime", k8sretry.BudgetConfig{MaxRetryTime: -1}, "MaxRetryTime must not be negative", 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			b, fn := k8sretry.NewBudget(c.config), fails()
			assert.Equal(t, k8sretry.BudgetState{Remaining: c.remaining}, b.State())
			_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithBudget(b))
			if c.problem == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, "k8sretry: NewBudget: "+c.problem)
			assert.Zero(t, fn.attempts())
		})
	}
}

func TestBudgetZeroValueLimitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(k8sretry.Budget)
		_, err := k8sretry.Do(t.Context(), fails(times(100, gatewayTimeout())...).get, k8sretry.WithBudget(b), k8sretry.WithMaxRetries(100))
		assert.NoError(t, err)
		assert.Zero(t, b.State())
	})
	assert.Zero(t, (*k8sretry.Budget)(nil).State())
}

// What a retry costs depends on the class of the failure.
func TestBudgetPrices(t *testing.T) {
	for class, retries := range map[k8sretry.Class]int{
		k8sretry.ClassServer: 20, k8sretry.ClassConnection: 20, k8sretry.ClassRefused: 20, k8sretry.ClassBadResponse: 20,
		k8sretry.ClassTimeout: 10, k8sretry.ClassThrottled: 40,
		k8sretry.ClassDisruptionBudget: 100, k8sretry.ClassBlocked: 100, k8sretry.ClassConflict: 100,
		k8sretry.ClassPermanent: 20, k8sretry.ClassCanceled: 20,
	} {
		t.Run(class.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := []k8sretry.Option{
					k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{Window: 1000 * time.Hour})), k8sretry.WithMaxRetries(100), k8sretry.WithName("get"),
				}
				failure := map[k8sretry.Class]error{ // those that are retried only if the caller asks for it
					k8sretry.ClassPermanent: notFound(),
					k8sretry.ClassCanceled:  context.Canceled,
					k8sretry.ClassConflict:  apierrors.NewConflict(podResource, "web-0", errors.New("changed")),
					k8sretry.ClassBlocked:   status(401, "Unauthorized"),
				}[class]
				if failure != nil {
					require.Equal(t, class, k8sretry.Classify(failure).Class)
					opts = append(opts, k8sretry.WithRetryIf(func(error) bool { return true }))
				} else {
					failure = errors.New("of the class")
					opts = append(opts, k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: class}, true }))
				}
				fn := fails(times(101, failure)...)
				_, err := k8sretry.Do(t.Context(), fn.get, opts...)
				if retries < 100 {
					assert.ErrorIs(t, err, k8sretry.ErrBudgetExhausted)
				}
				assert.Equal(t, retries, fn.attempts()-1, "of MinRetries of 20")
			})
		})
	}
}

// A retry is paid for before its delay, and a refused call returns the error of the API.
func TestBudget(t *testing.T) {
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
		testkit.Sleep(11 * time.Second)
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

// Each success pays for retries, in all forms.
func TestBudgetCountsSuccesses(t *testing.T) {
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

// An eviction that waits for a disruption budget does not load the server, so its delays are
// not charged as time spent on retries.
func TestBudgetTimeIsNotSpentByWaitingForOthers(t *testing.T) {
	pending := caused(delayed(failure(429, metav1.StatusReasonTooManyRequests, "Cannot evict pod"), 10), "DisruptionBudget", "x")
	for name, err := range map[string]error{
		"disruption budget allows none": budgetSpent(),
		"disruption budget pending":     pending,
		"conflict":                      apierrors.NewConflict(podResource, "web-0", errors.New("changed")),
		"blocked":                       status(401, "Unauthorized"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := k8sretry.NewBudget(k8sretry.BudgetConfig{MaxRetryTime: 5 * time.Second})
				s := fails(times(9, err)...)
				_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (string, error) {
					testkit.Sleep(2 * time.Second) // client-go may wait by itself
					return s.get(ctx)
				}, k8sretry.WithBudget(b), k8sretry.WithMaxRetries(9), k8sretry.WithRetryIf(func(error) bool { return true }))
				assert.NoError(t, err)
				assert.Zero(t, b.State().RetryTime)

				// What other calls have spent refuses no such retry.
				_, err = k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, k8sretry.WithBudget(b), exact, k8sretry.WithMaxRetries(9))
				assert.ErrorIs(t, err, k8sretry.ErrBudgetExhausted)
				assert.Equal(t, 3*time.Second, b.State().RetryTime)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBudget(k8sretry.BudgetConfig{MaxRetryTime: time.Second})
		_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBudget(b), exact)
		assert.NoError(t, err)
		_, err = k8sretry.Do(t.Context(), fails(times(3, budgetSpent())...).get, k8sretry.WithBudget(b))
		assert.NoError(t, err, "the time is spent, but not needed")
	})
}
