// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// safeWrite is the state of one safe write. It is embedded in createCall, updateCall and
// deleteCall, and shared with the retry loop, in which each attempt is one step of the
// write: the step sends the request, or checks what became of an earlier one.
//
// The loop reads the fields and calls the funcs, but keeps no part of the state, so that
// the options of a call do not escape; see progress.
type safeWrite struct {
	verb      Verb
	code      uintptr // tells writes of different types apart, for a Limiter
	dryRun    bool
	action    bool    // the request starts something, and its answer need not be an object: it must not be repeated if it may have been carried out
	outcome   Outcome // of all requests of the call, as far as is known
	next      nextStep
	detail    detail // for Verdict.Detail; detailNone keeps that of Classify
	conflicts int    // conflicts after which Modify has started over

	// unverified is the server's answer to the write, if an earlier request of the call
	// may have caused it. The steps check the object until the answer is explained.
	unverified   error
	ambiguousErr error // the error of the last request that may have been carried out
	report       error // the error to return if the step that failed is a check

	target     func() target              // what is written
	seen       target                     // the same as a Transport has seen it
	url        *url.URL                   // of the last request that a Transport has seen; may be nil
	finalCheck func(context.Context) bool // makes the final check; reports whether the write was applied
	waitTurn   func(context.Context)      // waits for the turn of the call before its next step; may be nil

	// What the record of the last request knows beyond its error.
	class      Class // ClassNone: nothing
	retryAfter time.Duration
}

// nextStep says what the loop does after a failed step.
type nextStep uint8

const (
	nextByVerdict nextStep = iota // retry if the class of the error is transient, whatever the outcome
	nextRepeat                    // retry, whatever the error is
	nextStartOver                 // retry after a conflict: Modify starts over
	nextStop                      // do not retry, and do not make the final check
)

// detail is a text for Verdict.Detail. It is a number, because a string that the loop
// read from here would make the options of all calls escape.
type detail uint8

const (
	detailNone detail = iota
	detailUndetermined
	detailNameTaken
	detailNotVisible
	detailNotVisibleYet
	detailNoObject
	detailNoUID
	detailReplaced
	detailCallerError
	detailServerRace
	detailNamespace
	detailAction
)

var details = [...]string{
	detailNone:          "",
	detailUndetermined:  "the outcome cannot be determined",
	detailNameTaken:     "not created, another object has the name",
	detailNotVisible:    "the name is taken, but the object cannot be read",
	detailNotVisibleYet: "the object does not exist, but may still be created",
	detailNoObject:      "no object in the response",
	detailNoUID:         "an object has the name, and no UID was given",
	detailReplaced:      "another object has the name now",
	detailCallerError:   "error of the caller's function",
	detailServerRace:    "the server lost a race of its own",
	detailNamespace:     "the namespace is being deleted, the pod is not yet",
	detailAction:        "it may be an action, which is not repeated",
}

// errWriteApplied tells runWrite that the final check has found the write applied.
var errWriteApplied = errors.New("k8sretry: the write was applied")

// maxConflicts limits how many conflicts of a Modify do not count as retries.
const maxConflicts = 100

// conflictDelay is the schedule after a conflict. It is short, because the call does not
// wait for the server to recover, and fully jittered, to spread the calls that collided.
var conflictDelay = Exponential{Initial: 10 * time.Millisecond, Max: 2 * time.Second, Jitter: JitterFull}

// uncounted returns how many attempts do not count as retries. If no retries are
// allowed, all attempts count.
func (s *safeWrite) uncounted(maxRetries int) int {
	if s == nil || maxRetries == 0 {
		return 0
	}
	return min(s.conflicts, maxConflicts)
}

// conflict returns the number of conflicts if Modify starts over after one, else 0.
func (s *safeWrite) conflict() int {
	if s == nil || s.next != nextStartOver {
		return 0
	}
	return s.conflicts
}

// known is the outcome of the requests of the write so far.
func (s *safeWrite) known() Outcome {
	if s == nil {
		return OutcomeNotExecuted
	}
	return s.outcome
}

// correct adds what the step knows to the verdict on its error.
func (s *safeWrite) correct(v *Verdict) {
	if s == nil {
		return
	}
	v.Outcome = s.outcome
	v.RetryAfter = max(v.RetryAfter, s.retryAfter)
	if s.class != ClassNone {
		v.Class = s.class
	}
	if s.detail != detailNone {
		v.Detail = details[s.detail]
	}
	if s.next == nextStartOver {
		v.Class = ClassConflict
	}
}

// callerFailed reports whether the step has failed with an error of the caller's function.
func (s *safeWrite) callerFailed() bool { return s != nil && s.detail == detailCallerError }

// stopped reports whether the failed step is the last one, whatever its error means.
func (s *safeWrite) stopped() bool { return s != nil && s.next == nextStop }

// repeats reports whether another step may follow.
func (s *safeWrite) repeats(v *Verdict) bool {
	return s.next == nextRepeat || s.next == nextStartOver || s.next == nextByVerdict && v.Class.transient()
}
