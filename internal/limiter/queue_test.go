package limiter

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// What happens without the lock may happen at any moment, also while the head of the queue
// checks whether it may start. It must not sleep because of that.
func TestLosesNoWakeup(t *testing.T) {
	for _, c := range []struct {
		situation string
		adds      uint64 // by the attempt without the lock when it ends
	}{
		{"an attempt is counted, sees the limit and goes to the queue", math.MaxUint64},
		{"a success has not seen the limit and does not wake the queue", oneSuccess - 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limitedToOne(t)
				first, _, _ := l.enter(t.Context(), time.Hour)
				var started time.Time
				go func() {
					ticket, _, _ := l.enter(t.Context(), time.Hour)
					started = time.Now()
					l.leave(ticket, health.Healthy, 0, 0, 0)
				}()
				synctest.Wait()
				l.attempts.Add(0, 1)
				l.leave(first, health.Unknown, 0, 0, 0)
				synctest.Wait()
				require.Equal(t, 1, l.State().Queued, "because another attempt seems to be in flight")
				l.attempts.Add(0, c.adds)
				now := time.Now()
				testkit.Sleep(time.Minute)
				synctest.Wait()
				assert.LessOrEqual(t, started.Sub(now), 2*tick)
				assert.Equal(t, State{}, l.State())
			})
		})
	}
}

// Calls that give up leave nothing behind.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limitedToOne(t)
		first, _, _ := l.enter(t.Context(), time.Hour)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("at once"))
		_, queued, ok := l.enter(ctx, time.Hour)
		assert.False(t, ok)
		assert.Zero(t, queued)
		_, queued, ok = l.enter(t.Context(), time.Second)
		assert.False(t, ok)
		assert.Equal(t, time.Second, queued)
		_, queued, ok = l.enter(t.Context(), -time.Second)
		assert.False(t, ok)
		assert.Zero(t, queued)
		assert.Equal(t, 0, l.State().Queued)
		assert.Nil(t, l.queue.head)
		assert.Nil(t, l.queue.tail)
		l.leave(first, health.Unknown, 0, 0, 0)
		assert.Zero(t, l.State().InFlight)
	})
}

// A call that leaves because it cannot start in time may return at once. It must not count as one
// that gave up each time, which would raise the rate.
func TestEarlyLeaversAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		ticket, _, _ := l.enter(t.Context(), time.Hour)
		l.leave(ticket, health.Throttled, 0, 0, 2*time.Minute)
		for range 10 {
			_, queued, ok := l.enter(t.Context(), time.Second)
			assert.False(t, ok)
			assert.Zero(t, queued)
		}
		assert.Zero(t, l.control.abandoned)
		_, _, ok := l.enter(t.Context(), 0)
		assert.False(t, ok)
		assert.Equal(t, 1, l.control.abandoned)
	})
}
