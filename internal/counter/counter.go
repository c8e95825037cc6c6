// SPDX-License-Identifier: Apache-2.0

// Package counter provides a counter that many goroutines can add to without slowing each
// other down.
package counter

import (
	"sync/atomic"
	"unsafe"
)

// Shards is the number of cache lines over which a [Counter] is spread. A single number
// would move between processors with each call.
const Shards = 64

// Counter is a number in [Shards] parts. The zero value is 0. It is safe for concurrent
// use and must not be copied.
type Counter struct{ shards [Shards]shard }

// shard is one part. Processors load cache lines in pairs, so it fills two.
type shard struct {
	n atomic.Uint64
	_ [120]byte
}

// Add adds delta to a part, modulo 2^64, and returns the new value of that part. An uint64
// of ^0 subtracts 1.
func (c *Counter) Add(part uint8, delta uint64) uint64 { return c.shards[part].n.Add(delta) }

// Load returns the value of a part.
func (c *Counter) Load(part uint8) uint64 { return c.shards[part].n.Load() }

// Sum returns the sum of all parts, modulo 2^64. Additions made meanwhile may be missing.
func (c *Counter) Sum() (sum uint64) {
	for i := range c.shards {
		sum += c.shards[i].n.Load()
	}
	return sum
}

// Part returns the part that the calling goroutine should add to, chosen by the address of
// its stack: goroutines that run at the same time rarely share a part, a goroutine mostly
// gets the same part again, and choosing needs no clock, random number or lock.
func Part() uint8 {
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // a stack has at least 2 KiB
	return uint8(stack * 0x9E3779B97F4A7C15 >> 58)
}
