// SPDX-License-Identifier: Apache-2.0

package turns

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallsGetTheirTurnsInOrder(t *testing.T) {
	const n = 20
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []int
		running := 0
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				turn := Take(t.Context(), "a")
				defer turn.Leave()
				mu.Lock()
				running++
				assert.Equal(t, 1, running)
				order = append(order, i)
				mu.Unlock()
				testkit.Sleep(10 * time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
			})
			synctest.Wait() // it is in the queue before the next one
		}
		began := time.Now()
		all.Wait()
		for i := range n {
			assert.Equal(t, i, order[i])
		}
		assert.Less(t, time.Since(began), 2*n*10*time.Millisecond, "a turn begins soon after the end of the one before")
		assert.Zero(t, Objects())
	})
}

func TestObjectsHaveSeparateTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a, b := Take(t.Context(), "a"), Take(t.Context(), "b")
		assert.Zero(t, time.Since(began))
		assert.Equal(t, 2, Objects())
		a.Leave()
		assert.Equal(t, 1, Objects())
		b.Leave()
		assert.Zero(t, Objects())
	})
}

func TestTooLongATurnIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := Take(t.Context(), "a")
		began := time.Now()
		second := Take(t.Context(), "a")
		assert.InDelta(t, maxTurn.Seconds(), time.Since(began).Seconds(), 0.01)
		slow.Leave() // it does not end the turn of the second
		began = time.Now()
		third := Take(t.Context(), "a")
		assert.InDelta(t, maxTurn.Seconds(), time.Since(began).Seconds(), 0.01)
		second.Leave()
		third.Leave()
		assert.Zero(t, Objects())
	})
}

func TestEndOfTheContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		current := Take(t.Context(), "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		left := Take(ctx, "a")
		assert.Equal(t, time.Second, time.Since(began))
		require.NotNil(t, left)
		left.Leave()

		assert.Equal(t, 1, Objects(), "the current turn")
		current.Leave()
		assert.Zero(t, Objects())
		next := Take(t.Context(), "a") // the one that left the queue does not hold it up
		assert.Equal(t, time.Second, time.Since(began))
		next.Leave()
	})
}

type doneOnly struct {
	context.Context
	done chan struct{}
}

func (c doneOnly) Done() <-chan struct{} { return c.done }

// The assumption was that Err is set when Done is closed. If it is not, the wait ran without
// a pause until the turn came.
func TestDoneAloneEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		current := Take(t.Context(), "a")
		ctx := doneOnly{context.Background(), make(chan struct{})}
		time.AfterFunc(time.Second, func() { close(ctx.done) })
		began := time.Now()
		left := Take(ctx, "a")
		assert.Equal(t, time.Second, time.Since(began))
		left.Leave()
		current.Leave()
	})
}

func TestNilTurnsCanBeLeft(t *testing.T) {
	assert.NotPanics(t, func() { (*Turn)(nil).Leave() })
}

// Tests that run in parallel, each with its own clock, may use objects with the same UID.
func TestTurnsAcrossBubbles(t *testing.T) {
	for range 4 {
		t.Run("bubble", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						turn := Take(t.Context(), "shared")
						testkit.Sleep(10 * time.Millisecond)
						turn.Leave()
					})
				}
				all.Wait()
			})
		})
	}
}
