package k8sretry_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

func ExampleExponential() {
	schedule := k8sretry.Exponential{Initial: 2 * time.Second, Max: 30 * time.Second, Jitter: k8sretry.JitterNone}
	for retry := 1; retry <= 5; retry++ {
		fmt.Println(schedule.Delay(retry))
	}
	// Output:
	// 2s
	// 4s
	// 8s
	// 16s
	// 30s
}

func TestExponentialSchedule(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		situation string
		backoff   k8sretry.Exponential
		want      []time.Duration
	}{
		{"the zero value: 1 s doubling to 30 s", k8sretry.Exponential{}, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}},
		{"a constant delay", k8sretry.Exponential{Initial: 3 * s, Multiplier: 1}, []time.Duration{3 * s, 3 * s, 3 * s}},
		{"a multiplier with a fraction", k8sretry.Exponential{Initial: 2 * s, Multiplier: 1.5}, []time.Duration{2 * s, 3 * s, 4500 * time.Millisecond}},
		{"Initial above Max", k8sretry.Exponential{Initial: time.Minute, Max: s}, []time.Duration{s, s}},
		{"negative Initial: no delay", k8sretry.Exponential{Initial: -1}, []time.Duration{0, 0}},
		{"negative Max: no delay", k8sretry.Exponential{Max: -1}, []time.Duration{0, 0}},
		{"a multiplier below 1: no growth", k8sretry.Exponential{Multiplier: 0.5}, []time.Duration{s, s, s}},
		{"a negative multiplier: no growth", k8sretry.Exponential{Multiplier: -2}, []time.Duration{s, s, s}},
		{"NaN: no growth", k8sretry.Exponential{Multiplier: math.NaN()}, []time.Duration{s, s, s}},
		{"Inf: the cap from the second retry", k8sretry.Exponential{Multiplier: math.Inf(1)}, []time.Duration{s, 30 * s, 30 * s}},
		{"the largest durations", k8sretry.Exponential{Initial: math.MaxInt64, Max: math.MaxInt64}, []time.Duration{math.MaxInt64, math.MaxInt64}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			c.backoff.Jitter = k8sretry.JitterNone
			for i, want := range c.want {
				assert.Equal(t, want, c.backoff.Delay(i+1), "retry %d", i+1)
			}
			assert.Zero(t, c.backoff.Delay(0), "no wait before the first attempt")
			assert.Zero(t, c.backoff.Delay(-1))
			assert.Zero(t, c.backoff.Delay(math.MinInt))
			assert.Equal(t, c.backoff.Delay(10_000), c.backoff.Delay(math.MaxInt), "far beyond the cap")
		})
	}
}

func TestGrowthBeyondTheShortProduct(t *testing.T) {
	slow := k8sretry.Exponential{Initial: time.Millisecond, Max: time.Hour, Multiplier: 1.1, Jitter: k8sretry.JitterNone}
	for retry := 2; retry < 100; retry++ {
		assert.InEpsilon(t, 1.1, float64(slow.Delay(retry))/float64(slow.Delay(retry-1)), 1e-6, "retry %d", retry)
	}
}

// The range of each jitter, below the cap and at it: delays never leave it and use all of it.
func TestJitterRanges(t *testing.T) {
	const draws = 4000
	for _, c := range []struct {
		jitter        k8sretry.Jitter
		retry         int // of 10, 20, 40, 50, 50, ... s
		low, high     time.Duration
		wantMean      time.Duration
		uniformEnough bool
	}{
		{k8sretry.JitterProportional, 1, 10 * time.Second, 12 * time.Second, 11 * time.Second, true},
		{k8sretry.JitterProportional, 3, 40 * time.Second, 48 * time.Second, 44 * time.Second, true},
		{k8sretry.JitterProportional, 4, 40 * time.Second, 50 * time.Second, 45 * time.Second, true},
		{k8sretry.JitterProportional, 99, 40 * time.Second, 50 * time.Second, 45 * time.Second, true},
		{k8sretry.JitterFull, 2, 0, 20 * time.Second, 10 * time.Second, true},
		{k8sretry.JitterFull, 99, 0, 50 * time.Second, 25 * time.Second, true},
		{k8sretry.JitterEqual, 2, 10 * time.Second, 20 * time.Second, 15 * time.Second, true},
		{k8sretry.JitterEqual, 99, 25 * time.Second, 50 * time.Second, 37500 * time.Millisecond, true},
		{jitter: 77, retry: 1, low: 10 * time.Second, high: 12 * time.Second, wantMean: 11 * time.Second, uniformEnough: true},
	} {
		for _, multiplier := range multipliers {
			t.Run(fmt.Sprintf("jitter %d, retry %d, multiplier %v", c.jitter, c.retry, multiplier), func(t *testing.T) {
				b := k8sretry.Exponential{Initial: 10 * time.Second, Max: 50 * time.Second, Multiplier: multiplier, Jitter: c.jitter}
				low, high, sum := time.Duration(math.MaxInt64), time.Duration(0), time.Duration(0)
				different := map[time.Duration]bool{}
				for range draws {
					d := b.Delay(c.retry)
					low, high, sum = min(low, d), max(high, d), sum+d
					different[d] = true
				}
				assert.GreaterOrEqual(t, low, c.low)
				assert.LessOrEqual(t, high, c.high)
				assert.Greater(t, len(different), draws/10, "the spread goes on at the cap")
				if !c.uniformEnough {
					return
				}
				width := c.high - c.low
				assert.Less(t, low-c.low, width/50, "the low end is used")
				assert.Less(t, c.high-high, width/50, "the high end is used")
				assert.InDelta(t, float64(c.wantMean), float64(sum/draws), float64(width)/20)
			})
		}
	}
}

// multipliers are the default, left out and given: a schedule that is given in full is
// computed in another way.
var multipliers = []float64{0, 2}

// Jitter never exceeds the cap.
func TestJitterNeverPassesTheCap(t *testing.T) {
	for _, multiplier := range multipliers {
		b := k8sretry.Exponential{Initial: 29 * time.Second, Max: 30 * time.Second, Multiplier: multiplier}
		for range 1000 {
			d := b.Delay(1)
			require.LessOrEqual(t, d, 30*time.Second, "multiplier %v", multiplier)
			require.GreaterOrEqual(t, d, 29*time.Second, "multiplier %v", multiplier)
		}
	}
}

func FuzzExponential(f *testing.F) {
	f.Add(int64(0), int64(0), 0.0, uint8(0), 1)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), math.MaxFloat64, uint8(0), 10_000)
	f.Add(int64(math.MaxInt64-1), int64(math.MaxInt64-511), 1.0000001, uint8(3), math.MaxInt)
	f.Add(int64(-1), int64(-5), math.NaN(), uint8(4), -7)
	f.Fuzz(func(t *testing.T, initial, limit int64, multiplier float64, jitter uint8, retry int) {
		b := k8sretry.Exponential{Initial: time.Duration(initial), Max: time.Duration(limit), Multiplier: multiplier, Jitter: k8sretry.Jitter(jitter)}
		ceiling := b.Max
		if ceiling == 0 {
			ceiling = 30 * time.Second
		}
		d := b.Delay(retry)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, max(0, ceiling))
		if retry < 1 {
			require.Zero(t, d)
		}
	})
}
