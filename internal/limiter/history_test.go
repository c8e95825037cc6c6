package limiter

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// A kind of requests that is slow, or a request that was lost, is no sign of overload while others
// that began later are answered in good time.
func TestOvertaken(t *testing.T) {
	for _, c := range []struct {
		situation string
		between   func(*testing.T, *Limiter)
		end       health.Health
		limited   bool
	}{
		{"a late answer, others were quick", quickOnes, health.Healthy, false},
		{"a late answer, no others", func(*testing.T, *Limiter) { testkit.Sleep(15 * time.Second) }, health.Healthy, true},
		{"a late answer, the others are late, too", func(t *testing.T, l *Limiter) {
			other, _ := l.enterFast()
			testkit.Sleep(15 * time.Second)
			l.leave(other, health.Healthy, listPods, 0, 0)
		}, health.Healthy, true},
		{"a timeout, others were quick", quickOnes, health.Unreachable, false},
		{"a timeout, no others", func(*testing.T, *Limiter) { testkit.Sleep(15 * time.Second) }, health.Unreachable, true},
		{"a caller that cancels after a long time, others were quick", quickOnes, health.Unknown, false},
		{"a timeout, others were quick before it", func(t *testing.T, l *Limiter) { testkit.Sleep(15 * time.Second) }, health.Unreachable, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New()
				for range 10 {
					attempt(t, l, health.Healthy, 10*time.Millisecond)
					l.latencies.learn(getPods, 10*time.Millisecond)
					l.latencies.learn(listPods, 10*time.Millisecond)
				}
				testkit.Sleep(time.Second)
				slow, _, _ := l.enter(t.Context(), 0)
				c.between(t, l)
				l.leave(slow, c.end, getPods, 0, 0)
				assert.Equal(t, c.limited, l.State().Limited)
				assert.Zero(t, l.State().InFlight)
			})
		})
	}
}

func quickOnes(t *testing.T, l *Limiter) {
	for range 15 {
		testkit.Sleep(time.Second)
		attempt(t, l, health.Healthy, 10*time.Millisecond)
	}
}
