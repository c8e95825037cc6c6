// SPDX-License-Identifier: Apache-2.0

package delay_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/delay"
)

func TestSumIsThatOfTheDelays(t *testing.T) {
	for situation, e := range map[string]delay.Exponential{
		"the zero value":           {},
		"a constant delay":         {Initial: 3 * time.Second, Multiplier: 1},
		"a fraction":               {Initial: time.Millisecond, Multiplier: 1.1, Max: time.Hour},
		"Initial above Max":        {Initial: time.Minute, Max: time.Second},
		"no delays":                {Initial: -1},
		"no delays, by Max":        {Max: -1},
		"an infinite multiplier":   {Multiplier: math.Inf(1)},
		"a multiplier that is NaN": {Multiplier: math.NaN()},
	} {
		t.Run(situation, func(t *testing.T) {
			e.Jitter = delay.None
			sum := 0.0
			for retry := 1; retry <= 60; retry++ {
				assert.InDelta(t, sum, e.Sum(retry-1), 100)
				sum += float64(e.Delay(retry))
			}
		})
	}
	assert.Zero(t, delay.Exponential{}.Sum(-1))
	huge := delay.Exponential{Initial: math.MaxInt64, Max: math.MaxInt64}.Sum(math.MaxInt)
	assert.Greater(t, huge, 1e28, "MaxInt may have 32 bits")
	assert.False(t, math.IsInf(huge, 0))
	assert.Less(t, delay.Exponential{Multiplier: 1.0000001}.Sum(math.MaxInt), 1e30, "without a long loop")
}
