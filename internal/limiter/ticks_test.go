package limiter

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestTicksOnlyWhileAttemptsAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		assert.False(t, l.ticking, "unused")
		ticket, _, _ := l.enter(t.Context(), 0)
		testkit.Sleep(time.Minute + tick/2)
		assert.EqualValues(t, time.Minute/tick, l.ticks.Load())
		assert.True(t, l.ticking)
		l.leave(ticket, health.Healthy, 0, 0, 0)
		testkit.Sleep(3 * tick)
		l.mu.Lock()
		assert.False(t, l.ticking, "idle")
		l.mu.Unlock()
		assert.Equal(t, idle, l.mode.Load())
		ticks := l.ticks.Load()
		testkit.Sleep(time.Hour)
		assert.Equal(t, ticks, l.ticks.Load())

		_, ok := l.enterFast()
		assert.False(t, ok, "the ticks have to be started")
		ticket, _, ok = l.enter(t.Context(), 0)
		assert.True(t, ok)
		other, ok := l.enterFast()
		assert.True(t, ok)
		testkit.Sleep(5 * tick / 2)
		assert.Equal(t, ticks+2, l.ticks.Load())
		assert.False(t, l.leaveFast(ticket, 0), "it took a while")
		assert.False(t, l.leaveFast(other, 0), "it took a while")
		l.leave(ticket, health.Unreachable, 0, 0, 0)
		l.leave(other, health.Unknown, 0, 0, 0)
		testkit.Sleep(time.Minute)
		l.mu.Lock()
		assert.False(t, l.ticking, "limited, and idle")
		l.mu.Unlock()
		assert.True(t, l.State().Limited, "because there was no attempt since")
		attempt(t, l, health.Healthy, 0)
		assert.Equal(t, State{}, l.State())
	})
}

// The ticks of a bubble are lost with it. In the next one they are started again.
func TestLimiterAcrossBubbles(t *testing.T) {
	l := New()
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			testkit.Sleep(10 * time.Minute)
			ticks := l.ticks.Load()
			attempt(t, l, health.Unknown, time.Second)
			ticket, _, ok := l.enter(t.Context(), 0)
			assert.True(t, ok)
			testkit.Sleep(2 * time.Minute)
			assert.Greater(t, l.ticks.Load(), ticks)
			l.leave(ticket, health.Healthy, 0, 0, 0)
			assert.Equal(t, State{}, l.State())
		})
	}
}

// A clock that goes backwards, as between two bubbles, must not queue calls for years.
func TestClockGoesBackwards(t *testing.T) {
	for _, c := range []struct {
		situation string
		fails     func(*testing.T, *Limiter)
		within    time.Duration
	}{
		{"in a pause", func(t *testing.T, l *Limiter) {
			for range 8 {
				attempt(t, l, health.Unreachable, 0)
			}
		}, 0},
		{"after a 429 with a Retry-After", func(t *testing.T, l *Limiter) {
			ticket, _, _ := l.enter(t.Context(), time.Hour)
			l.leave(ticket, health.Throttled, 0, 0, time.Minute)
		}, 0},
		{"with a rate", func(t *testing.T, l *Limiter) {
			for range 20 {
				attempt(t, l, health.Healthy, 100*time.Millisecond)
			}
			attempt(t, l, health.Throttled, 0)
			attempt(t, l, health.Throttled, 0)
			require.Positive(t, l.State().Rate)
		}, time.Second},
		{"with the rate of a process of few successes", func(t *testing.T, l *Limiter) {
			for range 2 {
				attempt(t, l, health.Throttled, 0)
			}
			require.Equal(t, firstRate, l.State().Rate)
		}, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			l := New()
			synctest.Test(t, func(t *testing.T) {
				testkit.Sleep(time.Hour)
				c.fails(t, l)
				require.True(t, l.State().Limited)
			})
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				attempt(t, l, health.Healthy, 0)
				assert.LessOrEqual(t, time.Since(began), c.within)
				for range 20 {
					attempt(t, l, health.Healthy, time.Second)
				}
				assert.Equal(t, State{}, l.State())
			})
		})
	}
}
