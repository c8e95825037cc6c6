// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"runtime"
	"sync/atomic"

	"github.com/k8sretry/k8sretry/internal/counter"
)

// tally counts the attempts of a kind while nothing is limited: those in flight in the lower
// half, and the successes so far in the upper half. It is one number until goroutines get in
// each other's way, and then one for each of them, more or less. The zero value is 0.
type tally struct {
	n     atomic.Int64
	parts atomic.Pointer[[]tallyPart]
}

// tallyPart fills two cache lines, because processors load them in pairs.
type tallyPart struct {
	n atomic.Int64
	_ [120]byte
}

const oneSuccess = 1 << 32

// add adds to the tally. It returns the new value of the part that it has added to.
func (c *tally) add(delta int64) int64 {
	parts := c.parts.Load()
	if parts == nil {
		if old := c.n.Load(); c.n.CompareAndSwap(old, old+delta) {
			return old + delta
		}
		parts = c.split()
	}
	return (*parts)[int(counter.Part())&(len(*parts)-1)].n.Add(delta)
}

// split makes the parts, unless another goroutine has.
func (c *tally) split() *[]tallyPart {
	n := 1
	for n < min(counter.Shards, 4*runtime.GOMAXPROCS(0)) {
		n *= 2
	}
	parts := make([]tallyPart, n)
	c.parts.CompareAndSwap(nil, &parts)
	return c.parts.Load()
}

// sum returns the sum of all parts. Additions made meanwhile may be missing.
func (c *tally) sum() (sum int64) {
	sum = c.n.Load()
	if parts := c.parts.Load(); parts != nil {
		for i := range *parts {
			sum += (*parts)[i].n.Load()
		}
	}
	return sum
}
