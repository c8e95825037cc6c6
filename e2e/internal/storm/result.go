package storm

import (
	"fmt"
	"sync"
	"time"
)

// Result is what became of the calls of one run.
type Result struct {
	Ops           int
	FalseFailures int // told that they failed, or why, which is not so
	Twice         int // carried out more often than once, or against what was asked
	Lost          int // told that they succeeded, and did not
	Right         int // had to fail: somebody else has the name, was there before
	Reported      int // of those, told so
	// Moot are deletions of what was gone before, whose first answer was lost: nobody
	// can tell then who was first, and success says that the object is gone, as it is.
	Moot int

	Sends  int           // requests that reached the proxy
	Struck int           // of those, struck by a fault
	Took   time.Duration // all calls

	Notes []string // the first of what was wrong, for people
}

// Wrong is how many things went wrong.
func (r Result) Wrong() int { return r.FalseFailures + r.Twice + r.Lost }

// Add returns both results as one.
func (r Result) Add(o Result) Result {
	r.Ops += o.Ops
	r.FalseFailures += o.FalseFailures
	r.Twice += o.Twice
	r.Lost += o.Lost
	r.Right += o.Right
	r.Reported += o.Reported
	r.Moot += o.Moot
	r.Sends += o.Sends
	r.Struck += o.Struck
	r.Took += o.Took
	r.Notes = append(r.Notes, o.Notes...)
	return r
}

func (r Result) String() string {
	return fmt.Sprintf("%d calls: %d false failures, %d done twice, %d lost; %d of %d right failures reported, %d moot; %d sends, %d struck, %v",
		r.Ops, r.FalseFailures, r.Twice, r.Lost, r.Reported, r.Right, r.Moot, r.Sends, r.Struck, r.Took.Round(time.Millisecond))
}

const mostNotes = 20

func (r *Result) note(format string, args ...any) {
	if len(r.Notes) < mostNotes {
		r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	}
}

// judge adds one call: what its caller was told, what it should have failed with (nil
// if it had to succeed), whether its effect is there, and how often it was carried
// out.
//
// With moot, success is right as well where the call had to fail.
func (r *Result) judge(id string, told error, right func(error) bool, there bool, done int, moot bool) {
	r.Ops++
	limit := 1
	switch {
	case right != nil:
		r.Right++
		limit = 0
		switch {
		case told == nil && moot:
			r.Moot++
		case told == nil:
			r.Lost++
			r.note("%s: succeeded, should have failed", id)
		case right(told):
			r.Reported++
		default:
			r.FalseFailures++
			r.note("%s: failed otherwise than it should: %v", id, told)
		}
	case told != nil:
		r.FalseFailures++
		r.note("%s: there: %v, done: %d, failed: %v", id, there, done, told)
	case !there:
		r.Lost++
		r.note("%s: succeeded, and is not there", id)
	}
	if done > limit {
		r.Twice++
		r.note("%s: done %d times, told %v", id, done, told)
	}
}

// noteSends adds what the proxy knows of a call that went wrong.
func (r *run) noteSends(result *Result, call string) {
	for _, s := range r.proxy.Sends() {
		if s.Call == call {
			result.note("\t%s %s, %s: %d", s.Method, s.Path, s.Fault, s.Status)
		}
	}
}

// each calls f for 0 to n-1, so many at once.
func each(n, workers int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
