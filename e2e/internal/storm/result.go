// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/k8sretry/k8sretry"
)

// Result counts the results of the calls of one run.
type Result struct {
	Ops           int
	FalseFailures int // failed although they could succeed, or with a wrong error
	GaveUp        int // false failures of calls that were not carried out
	Twice         int // carried out more than once, or although they had to fail
	Lost          int // succeeded although not carried out
	Unknown       int // failed with ErrOutcomeUnknown, which is not wrong
	Expected      int // had to fail, because of another client's change
	Reported      int // expected failures that were reported without ErrOutcomeUnknown
	// ExpectedUnknown counts those calls of Unknown that had to fail.
	ExpectedUnknown int
	// Ambiguous counts successful deletes of objects that were already deleted, whose
	// first answer was lost, and successful evictions of such pods. Nothing shows who
	// deleted the object, so success is also correct.
	Ambiguous int

	Sends  int           // requests that reached the proxy
	Faulty int           // requests with a fault
	Took   time.Duration // duration of all calls

	Notes  []string       // descriptions of the first wrong results
	Causes map[string]int // how often calls ended with a wrong or unknown result, by the kind of their error
}

// cause returns the kind of an error.
func cause(err error) string {
	var e *k8sretry.Error
	switch {
	case err == nil:
		return "success"
	case errors.As(err, &e):
		return fmt.Sprintf("%v after %v", e.StopReason, k8sretry.Classify(e.Err).Class)
	}
	return k8sretry.Classify(err).Class.String()
}

// Wrong returns the number of wrong results.
func (r Result) Wrong() int { return r.FalseFailures + r.Twice + r.Lost }

// Add returns the sum of both results.
func (r Result) Add(o Result) Result {
	r.Ops += o.Ops
	r.FalseFailures += o.FalseFailures
	r.GaveUp += o.GaveUp
	r.Twice += o.Twice
	r.Lost += o.Lost
	r.Unknown += o.Unknown
	r.ExpectedUnknown += o.ExpectedUnknown
	r.Expected += o.Expected
	r.Reported += o.Reported
	r.Ambiguous += o.Ambiguous
	r.Sends += o.Sends
	r.Faulty += o.Faulty
	r.Took += o.Took
	r.Notes = append(r.Notes, o.Notes...)
	causes := maps.Clone(r.Causes)
	for cause, n := range o.Causes {
		if causes == nil {
			causes = map[string]int{}
		}
		causes[cause] += n
	}
	r.Causes = causes
	return r
}

func (r Result) String() string {
	return fmt.Sprintf("%d calls: %d false failures (%d were not carried out), %d done twice, %d lost, %d unknown; %d of %d expected failures reported, %d ambiguous; %d requests, %d with a fault, %v",
		r.Ops, r.FalseFailures, r.GaveUp, r.Twice, r.Lost, r.Unknown, r.Reported, r.Expected, r.Ambiguous, r.Sends, r.Faulty, r.Took.Round(time.Millisecond))
}

const maxNotes = 20

func (r *Result) note(format string, args ...any) {
	if len(r.Notes) < maxNotes {
		r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	}
}

// noteUnknown notes the first calls whose outcome is unknown. Those are not wrong.
func (r *Result) noteUnknown(id string, done int, err error) {
	if r.Unknown <= 3 {
		r.note("%s: outcome unknown, carried out: %d times, error: %v", id, done, err)
	}
}

// add adds one call: its error, a predicate for the expected error (nil if the call had to
// succeed), whether it had its effect, and how often it was carried out. If ambiguous is
// true, success is also correct for a call with an expected error.
func (r *Result) add(id string, err error, expected func(error) bool, present bool, done int, ambiguous bool) {
	was := r.Wrong() + r.Unknown
	defer func() {
		if r.Wrong()+r.Unknown > was {
			if r.Causes == nil {
				r.Causes = map[string]int{}
			}
			r.Causes[cause(err)]++
		}
	}()
	r.Ops++
	limit := 1
	switch {
	case expected != nil:
		r.Expected++
		limit = 0
		switch {
		case err == nil && ambiguous:
			r.Ambiguous++
		case err == nil:
			r.Lost++
			r.note("%s: succeeded, want an error", id)
		case expected(err):
			r.Reported++
		case outcomeUnknown(err):
			r.Unknown++
			r.ExpectedUnknown++
			r.noteUnknown(id, done, err)
		default:
			r.FalseFailures++
			r.note("%s: wrong error: %v", id, err)
		}
	case outcomeUnknown(err):
		r.Unknown++
		r.noteUnknown(id, done, err)
	case err != nil:
		r.FalseFailures++
		if done == 0 {
			r.GaveUp++
		}
		r.note("%s: present: %v, carried out: %d times, error: %v", id, present, done, err)
	case !present:
		r.Lost++
		r.note("%s: succeeded, but has no effect", id)
	}
	if done > limit {
		r.Twice++
		r.note("%s: carried out %d times, error: %v", id, done, err)
	}
}

// noteSends adds the requests of a call with a wrong result to the notes.
func (r *run) noteSends(result *Result, call string) {
	for _, s := range r.proxy.Sends() {
		if s.Call == call {
			result.note("\t%s %s, %s: %d", s.Method, s.Path, s.Fault, s.Status)
		}
	}
}

// each calls f for 0 to n-1, with several workers.
func each(n int, f func(i int)) {
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

// InParallel runs the tasks, some at a time, and returns their errors joined.
func InParallel(tasks []func() error, parallel int) error {
	errs := make([]error, len(tasks))
	var wait sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, task := range tasks {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			errs[i] = task()
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
