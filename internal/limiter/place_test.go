package limiter

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
)

// A call within an attempt uses its place, one at a time; others wait, and so do calls outside of it.
func TestCallsWithinAnAttemptUseItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		for range manyFailures {
			ticket, _, ok := l.enter(t.Context(), 1, 0)
			require.True(t, ok)
			l.leave(ticket, End{Health: health.Down, Err: errTest})
		}
		outer, _, ok := l.enter(t.Context(), 1, 0)
		require.True(t, ok)
		_, _, ok = l.enter(t.Context(), 1, 0)
		require.False(t, ok, "one attempt at a time")

		ctx := WithPlace(t.Context(), outer.Place())
		inner, queued, ok := l.enter(ctx, 1, time.Minute)
		require.True(t, ok)
		assert.Zero(t, queued)
		assert.Equal(t, 1, l.server.inFlight, "in flight stays within the limit")
		_, _, ok = l.enter(ctx, 1, time.Second)
		assert.False(t, ok, "one at a time")
		time.AfterFunc(time.Second, func() { l.leave(inner, End{}) })
		next, queued, ok := l.enter(ctx, 1, time.Minute)
		require.True(t, ok)
		assert.Equal(t, time.Second, queued)
		l.leave(next, End{})
		l.leave(outer, End{})
		_, _, ok = l.enter(ctx, 1, 0)
		assert.True(t, ok, "the place of an attempt that has ended is no longer used")
	})
}
