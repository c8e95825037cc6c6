package k8sretry_test

import (
	"context"
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
		{"out of budget", []k8sretry.Option{k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{Reserve: -1}))}, noConnection(), false},
	} {
		for name, form := range forms {
			t.Run(c.situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := k8sretry.NewGate()
					err := form(t.Context(), func(ctx context.Context) (string, error) {
						return k8sretry.Do(ctx, fails(times(9, c.fail)...).get, c.inner...)
					}, k8sretry.WithGate(g))
					assert.Error(t, err)
					assert.Zero(t, g.State().InFlight)
					assert.Equal(t, c.limited, g.State().Limited)
					time.Sleep(time.Minute)
					assert.NoError(t, one(t.Context(), g, 0, nil))
					assert.Equal(t, k8sretry.GateState{}, g.State())
				})
			})
		}
	}
}

// Errors are asked what they wrap; if that panics, nothing is kept.
func TestGuardsAfterAnErrorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := k8sretry.NewGate()
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return &single{panicking{}} }, k8sretry.WithGate(gate), k8sretry.WithMaxElapsed(time.Minute))
		})
		assert.Zero(t, gate.State().InFlight)
	})
}
