// SPDX-License-Identifier: Apache-2.0

// Package window counts what happened within a sliding window of time.
package window

import "time"

// Parts is the number of parts of a window.
const Parts = 10

// Window is a sliding window of time, counted in parts. It holds [Parts] complete parts
// and the current one: an event counts for the length of the window at least, and for a
// tenth more at most. The caller passes the time and provides the locking.
type Window[T any] struct {
	width time.Duration // of one part
	last  int64         // the number of the current part
	parts [Parts + 1]T
}

// New returns an empty window of the given length, which must not be negative.
func New[T any](length time.Duration) Window[T] {
	return Window[T]{width: max(1, length/Parts)}
}

// Width returns the length of one part.
func (w *Window[T]) Width() time.Duration { return w.width }

// At drops the parts that have left the window and returns the current one. If the clock
// has gone backwards, as it does between two bubbles of testing/synctest, the window is
// cleared.
func (w *Window[T]) At(now time.Duration) *T {
	n := int64(now / w.width)
	if n < w.last || n-w.last > Parts {
		w.Clear()
		w.last = n
	}
	for w.last < n {
		w.last++
		*w.Back(0) = *new(T)
	}
	return w.Back(0)
}

// Back returns the part that is n parts older than the current one; n is 0 to [Parts].
func (w *Window[T]) Back(n int) *T {
	return &w.parts[(w.last+int64(len(w.parts)-n))%int64(len(w.parts))]
}

// Start returns when the part that Back(n) returns began.
func (w *Window[T]) Start(n int) time.Duration {
	return time.Duration(w.last-int64(n)) * w.width
}

// Clear empties the window.
func (w *Window[T]) Clear() { clear(w.parts[:]) }
