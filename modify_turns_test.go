package k8sretry_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/turns"
)

// Calls of one process that start together take turns once they have collided, so that each
// of them gets at most one Conflict.
func TestModifyTakesTurns(t *testing.T) {
	const n = 50
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(settings("x"))
		c.always = func(string) *mishap { return &mishap{then: func() { time.Sleep(10 * time.Millisecond) }} }
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				_, err := k8sretry.Modify(t.Context(), c, "x", plusOne)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.Equal(t, strconv.Itoa(n), c.get("x").Data["n"])
		assert.LessOrEqual(t, c.count("update"), 2*n-1)
	})
}

// A call whose turn does not end is overtaken, and a call that gives up leaves nothing behind.
func TestModifyDoesNotWaitForATurnThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(settings("x"))
		ctx, cancel := context.WithCancel(t.Context())
		hung := make(chan struct{})
		rounds := 0
		var all sync.WaitGroup
		all.Go(func() { // it collides, and hangs in its turn
			_, err := k8sretry.Modify(ctx, c, "x", func(o *corev1.ConfigMap) error {
				if rounds++; rounds == 1 {
					bump(c)()
					return plusOne(o)
				}
				close(hung)
				<-ctx.Done()
				return ctx.Err()
			})
			assert.ErrorIs(t, err, context.Canceled)
		})
		<-hung
		begun := time.Now()
		collide := func() func(*corev1.ConfigMap) error {
			bumped := false
			return func(o *corev1.ConfigMap) error {
				if !bumped {
					bumped = true
					bump(c)()
				}
				return plusOne(o)
			}
		}
		leaver, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_, err := k8sretry.Modify(leaver, c, "x", collide())
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, 1, time.Since(begun).Seconds(), 0.01)

		_, err = k8sretry.Modify(t.Context(), c, "x", collide())
		require.NoError(t, err)
		assert.InDelta(t, 1+2, time.Since(begun).Seconds(), 0.1, "it waits for the turn for two seconds")
		cancel()
		all.Wait()
		assert.Zero(t, turns.Objects())
	})
}

// Tests that run in parallel, each with its own clock, may use objects with the same UID.
func TestModifyTakesTurnsInParallelTests(t *testing.T) {
	for range 4 {
		t.Run("a bubble", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(settings("x"))
				c.always = func(string) *mishap { return &mishap{then: func() { time.Sleep(10 * time.Millisecond) }} }
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						_, err := k8sretry.Modify(t.Context(), c, "x", plusOne)
						assert.NoError(t, err)
					})
				}
				all.Wait()
				assert.Equal(t, "20", c.get("x").Data["n"])
			})
		})
	}
}
