package k8sretry

import "time"

// windowParts is how many parts make up a window.
const windowParts = 10

// window is a sliding window of time, counted in parts of a tenth. It holds ten parts
// and the one that has just begun: what happened counts for one window at least, and
// for a tenth more at most. It keeps no clock; whoever has it has a lock.
type window[T any] struct {
	width time.Duration // of a part
	last  int64         // the part that has just begun, counted from the time 0
	parts [windowParts + 1]T
}

func newWindow[T any](length time.Duration) window[T] {
	return window[T]{width: max(1, length/windowParts)}
}

// at drops what has left the window and returns the part that has just begun. A clock
// that goes backwards, as between two bubbles of testing/synctest, empties the window.
func (w *window[T]) at(now time.Duration) *T {
	n := int64(now / w.width)
	if n < w.last || n-w.last > windowParts {
		clear(w.parts[:])
		w.last = n
	}
	for w.last < n {
		w.last++
		*w.back(0) = *new(T)
	}
	return w.back(0)
}

// back returns the part before the given number of parts, 0 to windowParts.
func (w *window[T]) back(n int) *T {
	return &w.parts[(w.last+int64(len(w.parts)-n))%int64(len(w.parts))]
}

// century keeps sinceBase positive in a bubble of testing/synctest, where it is the year
// 2000, for what was made outside of it.
const century = 100 * 365 * 24 * time.Hour

// sinceBase is the clock of what is shared by calls. It begins at a century.
func sinceBase(base time.Time) time.Duration { return time.Since(base) + century }

// origin is where the clocks of calls and of precise tickets begin.
var origin = time.Now()
