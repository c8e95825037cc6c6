package k8sretry

import "unsafe"

// shards is over how many cache lines a counter of the healthy path is spread, so that
// callers on many cores do not wait for one another: one counter for all would travel
// between the processors with every call.
const shards = 64

// shardOfCaller picks one of them, by where the stack of the goroutine lies: goroutines
// that run at the same time rarely meet, one mostly gets the same again, and it costs
// neither a clock nor a random number nor a lock.
func shardOfCaller() uint8 {
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // no stack is smaller than 2 KiB
	return uint8(stack * 0x9E3779B97F4A7C15 >> 58)
}
