package limiter

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// limitedToOne returns a Limiter that has just met a server that is down.
func limitedToOne(t *testing.T) *Limiter {
	l := New()
	attempt(t, l, health.Unreachable, 0)
	require.Equal(t, State{Limited: true, Limit: 1}, l.State())
	return l
}

// attempt makes one attempt that takes the given time.
func attempt(t *testing.T, l *Limiter, h health.Health, took time.Duration) {
	ticket, _, ok := l.enter(t.Context(), time.Hour)
	require.True(t, ok)
	testkit.Sleep(took)
	l.leave(ticket, h, 0, 0, 0)
}

// lowVolume returns the Limiter of a process that has had one success, and then a 429 to each of
// two lone attempts. Its pauses are over.
func lowVolume(t *testing.T) *Limiter {
	l := New()
	attempt(t, l, health.Healthy, 0)
	testkit.Sleep(5 * time.Second)
	attempt(t, l, health.Throttled, 0)
	require.Zero(t, l.State().Rate, "one lone attempt may be refused by accident")
	attempt(t, l, health.Throttled, 0)
	return l
}

// Of attempts that were in flight together only the first failure lowers the limit.
func TestOneDecreasePerEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		tickets := make([]Ticket, 100)
		for i := range tickets {
			tickets[i], _, _ = l.enter(t.Context(), 0)
		}
		for i, ticket := range tickets {
			changed, limited := l.leave(ticket, health.Unreachable, 0, 0, 0)
			assert.Equal(t, i == 0, changed)
			assert.True(t, limited)
		}
		assert.Equal(t, State{Limited: true, Limit: 50}, l.State(), "they began before the decrease")

		// With the limit at 1, the same holds for pauses.
		l = limitedToOne(t)
		attempt(t, l, health.Unreachable, 0)
		pause := l.control.pausedUntil
		l.leave(Ticket{kind: coarse, epoch: 1}, health.Unreachable, 0, 0, 0)
		assert.Equal(t, pause, l.control.pausedUntil)
		l.attempts.Add(0, 1)
	})
}

// An attempt that began before a success ends much later.
func TestIgnoresFailuresOfOldAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		old, _, _ := l.enter(t.Context(), 0)
		for range 3 {
			attempt(t, l, health.Unreachable, time.Second)
		}
		attempt(t, l, health.Healthy, 0)
		assert.Equal(t, 1, l.State().InFlight)
		assert.False(t, l.State().Limited, "a success, and no call is queued")
		l.leave(old, health.Unreachable, 0, 0, 0)
		assert.Equal(t, State{}, l.State(), "others that began later have succeeded")
	})
}

// Pauses are bounded, however long attempts take.
func TestPauses(t *testing.T) {
	for _, took := range []time.Duration{0, 1, time.Second, 3 * time.Second, time.Minute, 80 * time.Hour, 365 * 24 * time.Hour, math.MaxInt64} {
		for _, answered := range []bool{false, true} {
			c := control{limit: 1}
			now := time.Now()
			var longest time.Duration
			for range 100 {
				c.startPause(now, took, answered)
				pause := c.pausedUntil.Sub(now)
				longest = max(longest, pause)
				assert.GreaterOrEqual(t, pause, min(took, maxPause)/2)
				assert.Less(t, pause, 3*maxPause/2)
			}
			if took > 1 || !answered {
				assert.Greater(t, longest, maxPause, "some of a hundred are longer than the average: %v, %v", took, answered)
			}
		}
	}
}

// The pause that a single Retry-After causes is bounded: it may be a mistake.
func TestHugeRetryAfter(t *testing.T) {
	for _, asked := range []time.Duration{time.Hour, math.MaxInt64} {
		synctest.Test(t, func(t *testing.T) {
			l := New()
			ticket, _, _ := l.enter(t.Context(), 0)
			l.leave(ticket, health.Throttled, 0, 0, asked)
			pause := l.State().Pause
			assert.GreaterOrEqual(t, pause, delay.MaxSharedRetryAfter)
			assert.LessOrEqual(t, pause, 3*delay.MaxSharedRetryAfter/2)
			testkit.Sleep(pause)
			attempt(t, l, health.Healthy, 0)
			assert.Equal(t, State{}, l.State())
		})
	}
}

// There are three tokens for quick retries, and each success adds a half.
func TestQuickTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		quick := func(n int) (taken int) {
			for range n {
				if l.quick() {
					taken++
				}
			}
			return taken
		}
		assert.Equal(t, quickTokens, quick(10))
		for range 4 {
			attempt(t, l, health.Healthy, 0)
		}
		assert.Equal(t, 2, quick(10))
		for range 100 {
			attempt(t, l, health.Healthy, 0)
		}
		assert.False(t, l.needsReset.Load(), "successes take the fast path again")
		assert.Equal(t, quickTokens, quick(10), "three at most")
		assert.Zero(t, quick(1))
		l = limitedToOne(t)
		assert.Zero(t, quick(10), "limited")
	})
}
