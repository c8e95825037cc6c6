// SPDX-License-Identifier: Apache-2.0

package counter_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/counter"
)

func TestNoAdditionIsLost(t *testing.T) {
	var c counter.Counter
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 1000 {
				part := counter.Part()
				c.Add(part, 2)
				c.Add(part, ^uint64(0))
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 100_000, c.Sum())
}

func TestAddReturnsTheValueOfThePart(t *testing.T) {
	var c counter.Counter
	c.Add(3, 5)
	assert.EqualValues(t, 7, c.Add(3, 2))
	assert.EqualValues(t, 1, c.Add(4, 1))
	assert.EqualValues(t, 7, c.Load(3))
	assert.Less(t, counter.Part(), uint8(counter.Shards))
}

// Goroutines that run at the same time rarely share a part.
func TestGoroutinesHavePartsOfTheirOwn(t *testing.T) {
	const n = 64
	parts := make(chan uint8, n)
	together := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			parts <- counter.Part()
			<-together
		})
	}
	different := map[uint8]bool{}
	for range n {
		different[<-parts] = true
	}
	close(together)
	all.Wait()
	assert.Greater(t, len(different), n/4)
}
