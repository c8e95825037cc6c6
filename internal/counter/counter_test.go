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
