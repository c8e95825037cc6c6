// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRateAndTotalOfACurve(t *testing.T) {
	s := time.Second
	brownOut := Curve{{0, 200}, {30 * s, 200}, {30 * s, 40}, {90 * s, 40}, {90 * s, 200}}
	slowStart := Curve{{0, 60}, {60 * s, 200}}
	for _, c := range []struct {
		name  string
		curve Curve
		at    time.Duration
		rate  float64
		total float64
	}{
		{"constant", Constant(5), 3 * s, 5, 15},
		{"before a step", brownOut, 29 * s, 200, 5800},
		{"at a step", brownOut, 30 * s, 40, 6000},
		{"during the brown-out", brownOut, 60 * s, 40, 7200},
		{"after the brown-out", brownOut, 100 * s, 200, 6000 + 2400 + 2000},
		{"on a slope", slowStart, 30 * s, 130, 30 * 95},
		{"after a slope", slowStart, 70 * s, 200, 60*130 + 2000},
		{"at the start", brownOut, 0, 200, 0},
	} {
		assert.InDelta(t, c.rate, c.curve.At(c.at), 1e-9, c.name)
		assert.InDelta(t, c.total, c.curve.Total(c.at), 1e-6, c.name)
		assert.InDelta(t, c.at, c.curve.Reach(c.total), float64(time.Microsecond), c.name)
	}
	assert.Equal(t, time.Duration(math.MaxInt64), Curve{{0, 1}, {s, 1}, {s, 0}}.Reach(2), "the total is never reached")
}

func TestReachIsTheInverseOfTotal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		var c Curve
		at := time.Duration(0)
		for range 1 + rng.IntN(5) {
			c = append(c, Point{at, 0.1 + 100*rng.Float64()})
			at += time.Duration(rng.IntN(3)) * 10 * time.Second // includes steps
		}
		when := time.Duration(rng.Float64() * float64(2*time.Minute))
		assert.InDelta(t, when, c.Reach(c.Total(when)), float64(time.Millisecond), "%v at %v", c, when)
	}
}
