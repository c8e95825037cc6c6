package k8sretry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
)

// An attempt that ends with what an inner call gave up on gives its place back, and tells
// how the server was.
func TestGuardsGetBackWhatAnOuterCallHeld(t *testing.T) {
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
					g := k8sretry.NewLimiter()
					err := form(t.Context(), func(ctx context.Context) (string, error) {
						return k8sretry.Do(ctx, fails(times(9, c.fail)...).get, c.inner...)
					}, k8sretry.WithLimiter(g))
					assert.Error(t, err)
					assert.Zero(t, g.State().InFlight)
					assert.Equal(t, c.limited, g.State().Limited)
					time.Sleep(time.Minute)
					assert.NoError(t, one(t.Context(), g, 0, nil))
					assert.Equal(t, k8sretry.LimiterState{}, g.State())
				})
			})
		}
	}
}

// Errors are asked what they wrap; if that panics, nothing is kept.
func TestGuardsAfterAnErrorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := k8sretry.NewLimiter()
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return &single{panicking{}} }, k8sretry.WithLimiter(gate), k8sretry.WithMaxElapsed(time.Minute))
		})
		assert.Zero(t, gate.State().InFlight)
	})
}

// Only what the gate held back was held back, and it says so once, whatever ends the call.
func TestWhatARefusalSays(t *testing.T) {
	held := func(err error) (n int) {
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
	t.Run("the breaker refuses while the caller leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
			for breaker.State() != k8sretry.BreakerOpen {
				_ = k8sretry.Run(t.Context(), down, k8sretry.WithBreaker(breaker))
			}
			ctx, cancel := context.WithCancel(t.Context())
			leaves := k8sretry.WithObserver(observerFunc(func(context.Context, k8sretry.Event) { cancel() }))
			err := k8sretry.Run(ctx, down, k8sretry.WithBreaker(breaker), leaves)
			assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Zero(t, held(err))
		})
	})
	t.Run("the caller leaves the line", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			gate := k8sretry.NewLimiter()
			for range 3 {
				_ = k8sretry.Run(t.Context(), down, k8sretry.WithLimiter(gate), k8sretry.WithMaxRetries(0))
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			err := k8sretry.Run(ctx, down, k8sretry.WithLimiter(gate))
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, 1, held(err))
		})
	})
}
