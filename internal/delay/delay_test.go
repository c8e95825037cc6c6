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
