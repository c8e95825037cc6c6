// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What is usual follows a server that has become slow permanently, within minutes, but not a queue in
// it, however many answers that delays, and however slowly it grows.
func TestUsualLatency(t *testing.T) {
	var s latency
	now := time.Hour
	answers := func(took time.Duration) bool {
		late := s.late(took)
		s.learn(took, now)
		now += 20 * time.Millisecond
		return late
	}
	for range 100 {
		assert.False(t, answers(10*time.Millisecond))
	}
	var lateFrom time.Duration
	for took := 10 * time.Millisecond; took < 10*time.Second; took += 20 * time.Millisecond {
		if answers(took) && lateFrom == 0 {
			lateFrom = took
		}
	}
	assert.Less(t, lateFrom, 1200*time.Millisecond, "a queue that grows step by step")
	assert.True(t, answers(10*time.Second))
	for n := range 100_000 {
		if !answers(10 * time.Second) {
			assert.InDelta(t, 1, float64(n)*0.02/60, 1, "it is usual after minutes")
			return
		}
	}
	assert.Fail(t, "10 s never become usual")
}
