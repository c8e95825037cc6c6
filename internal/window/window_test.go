// SPDX-License-Identifier: Apache-2.0

package window_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/internal/window"
)

// sum is what is in the window.
func sum(w *window.Window[int]) (n int) {
	for i := range window.Parts + 1 {
		n += *w.Back(i)
	}
	return n
}

func TestEventsCountForTheLengthAndATenth(t *testing.T) {
	w := window.New[int](10 * time.Second)
	*w.At(1500 * time.Millisecond) = 1
	*w.At(2 * time.Second) += 2
	assert.Equal(t, 2, *w.Back(0))
	assert.Equal(t, 1, *w.Back(1))
	assert.Equal(t, time.Second, w.Start(1))
	w.At(12*time.Second - 1)
	assert.Equal(t, 3, sum(&w))
	w.At(12 * time.Second)
	assert.Equal(t, 2, sum(&w))
	w.At(13 * time.Second)
	assert.Equal(t, 0, sum(&w))
}

func TestIsClearedAfterALongTimeAndWhenTheClockGoesBackwards(t *testing.T) {
	for _, now := range []time.Duration{0, time.Minute - time.Second, time.Hour, math.MaxInt64} {
		w := window.New[int](10 * time.Second)
		*w.At(time.Minute) = 1
		w.At(now)
		assert.Equal(t, 0, sum(&w), now)
	}
}

func TestAnyLengthHasParts(t *testing.T) {
	for _, length := range []time.Duration{0, 1, math.MaxInt64} {
		w := window.New[int](length)
		*w.At(window.Epoch) = 1
		assert.Positive(t, w.Width())
		assert.Equal(t, 1, sum(&w))
	}
}

// Readings are positive also in a bubble, where the year is 2000, for a Clock made outside of it.
func TestClockIsNeverNegative(t *testing.T) {
	c := window.NewClock()
	assert.GreaterOrEqual(t, c.Now(), window.Epoch)
	synctest.Test(t, func(t *testing.T) {
		now := c.Now()
		assert.Positive(t, now)
		assert.Equal(t, now, c.At(time.Now()))
		testkit.Sleep(time.Second)
		assert.Equal(t, now+time.Second, c.Now())
	})
}
