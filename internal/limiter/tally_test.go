// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A goroutine may move to another processor between the begin and the end of its attempt.
func TestATallyLosesNothing(t *testing.T) {
	var c tally
	c.add(1) // before the parts
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for n := range 200 {
				if i == 0 && n == 10 {
					c.split()
				}
				c.add(1)
				done := make(chan struct{})
				go func() { defer close(done); c.add(oneSuccess - 1) }()
				<-done
			}
		})
	}
	all.Wait()
	k := kind{}
	k.fast.n.Store(c.sum())
	assert.Equal(t, 1, k.fastInFlight())
	assert.EqualValues(t, 50*200, k.successes())
}
