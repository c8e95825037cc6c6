package limiter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry/internal/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys of two kinds of calls, which have slots of their own.
const (
	getPods  = 7 << 24
	listPods = 8 << 24
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
	time.Sleep(took)
	l.leave(ticket, h, 0, 0, 0)
}

// lowVolume returns the Limiter of a process that has had one success, and then a 429 to each of
// two lone attempts. Its pauses are over.
func lowVolume(t *testing.T) *Limiter {
	l := New()
	attempt(t, l, health.Healthy, 0)
	time.Sleep(5 * time.Second)
	attempt(t, l, health.Throttled, 0)
	require.Zero(t, l.State().Rate, "one lone attempt may be refused by accident")
	attempt(t, l, health.Throttled, 0)
	return l
}
