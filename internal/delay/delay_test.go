// SPDX-License-Identifier: Apache-2.0

package delay_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/delay"
)

func TestClampNeverExceedsTheLimit(t *testing.T) {
	assert.Equal(t, time.Second, delay.Clamp(1e9, time.Minute))
	assert.Equal(t, time.Minute, delay.Clamp(1e12, time.Minute))
	assert.Equal(t, time.Duration(math.MaxInt64), delay.Clamp(math.MaxInt64, math.MaxInt64))
	assert.Equal(t, time.Duration(math.MaxInt64), delay.Clamp(math.Inf(1), math.MaxInt64))
}

func TestAroundIsBetweenAHalfAndThreeHalves(t *testing.T) {
	assert.Zero(t, delay.Around(0))
	assert.Zero(t, delay.Around(-time.Second))
	for range 1000 {
		d := delay.Around(10 * time.Second)
		assert.True(t, 5*time.Second <= d && d < 15*time.Second, d)
	}
}

func TestAtLeastNeverUndercutsARetryAfter(t *testing.T) {
	for _, c := range []struct {
		situation     string
		d, retryAfter time.Duration
		exact         bool
		low, high     time.Duration
	}{
		{"no Retry-After", time.Second, 0, false, time.Second, time.Second},
		{"a negative one", time.Second, -time.Second, false, time.Second, time.Second},
		{"a shorter one", time.Minute, time.Second, false, time.Minute, time.Minute},
		{"a longer one", time.Second, 10 * time.Second, false, 10 * time.Second, 15 * time.Second},
		{"a longer one, exact", time.Second, 10 * time.Second, true, 10 * time.Second, 10 * time.Second},
		{"the longest one", time.Second, math.MaxInt64, false, math.MaxInt64, math.MaxInt64},
	} {
		t.Run(c.situation, func(t *testing.T) {
			for range 100 {
				d := delay.AtLeast(c.d, c.retryAfter, c.exact)
				assert.GreaterOrEqual(t, d, c.low)
				assert.LessOrEqual(t, d, c.high)
			}
		})
	}
}

func TestWithinDrawsFromTheRoomThatIsLeft(t *testing.T) {
	for _, c := range []struct {
		situation      string
		d, least, left time.Duration
		low, high      time.Duration
	}{
		{"it fits", 8 * time.Second, 7 * time.Second, 9 * time.Second, 8 * time.Second, 8 * time.Second},
		{"it fits exactly", 9 * time.Second, 7 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second},
		{"only the spread does not fit", 10 * time.Second, 7 * time.Second, 9 * time.Second, 7 * time.Second, 8 * time.Second},
		{"the least fits exactly", 10 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second},
		{"nothing fits", 10 * time.Second, 10 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second},
	} {
		t.Run(c.situation, func(t *testing.T) {
			drawn := map[time.Duration]bool{}
			for range 1000 {
				d := delay.Within(c.d, c.least, c.left)
				assert.True(t, c.low <= d && d <= c.high, d)
				drawn[d] = true
			}
			assert.Equal(t, c.low < c.high, len(drawn) > 500, "a spread remains")
		})
	}
}

func TestLeastIsTheLeastThatScaledReturns(t *testing.T) {
	for jitter := delay.Proportional; jitter <= delay.None; jitter++ {
		for _, e := range []delay.Exponential{
			{Jitter: jitter}, {Initial: time.Second, Max: 9 * time.Second, Multiplier: 3, Jitter: jitter},
			{Initial: -1, Jitter: jitter}, {Max: -1, Jitter: jitter}, {Initial: time.Minute, Max: time.Second, Jitter: jitter},
		} {
			for retry := range 20 {
				for _, factor := range []float64{0.5, 1, 2} {
					least, lowest, highest := e.Least(retry, factor), time.Duration(math.MaxInt64), time.Duration(0)
					for range 300 {
						d := e.Scaled(retry, factor)
						lowest, highest = min(lowest, d), max(highest, d)
					}
					assert.LessOrEqual(t, least, lowest, "%+v, retry %d", e, retry)
					assert.LessOrEqual(t, lowest-least, highest/8, "%+v, retry %d", e, retry)
				}
			}
		}
	}
}
