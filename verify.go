package k8sretry

import (
	"context"
	"errors"
	"slices"
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
	dryRun    bool
	outcome   Outcome // of all requests of the call, as far as is known
	next      nextStep
	detail    detail // for Verdict.Detail; detailNone keeps that of Classify
	conflicts int    // conflicts after which Modify has started over

	// unverified is the server's answer to the write, if an earlier request of the call
	// may have caused it. The steps check the object until the answer is explained.
	unverified   error
	ambiguousErr error // the error of the last request that may have been carried out
	report       error // the error to return if the step that failed is a check

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
}

// checkResult is what a check has found out about a write.
type checkResult uint8

const (
	undetermined  checkResult = iota // it cannot be determined
	applied                          // it was carried out
	notApplied                       // it was not carried out and never will be
	notAppliedYet                    // it was not carried out, but a request may still be under way
)

// errWriteApplied tells runWrite that the final check has found the write applied.
var errWriteApplied = errors.New("k8sretry: the write was applied")

// finalCheckTimeout limits the final check, which a safe write makes if the outcome is
// still ambiguous when the retries end. It may run after the context of the call ended.
const finalCheckTimeout = 5 * time.Second

// finalCheckPolicy has a short attempt timeout, so that there is time for more than one
// attempt if the first one hangs.
var finalCheckPolicy = NewPolicy(WithVerb(VerbGet), WithMaxRetries(8), WithInitialDelay(50*time.Millisecond),
	WithMaxDelay(time.Second), WithAttemptTimeout(finalCheckTimeout/3), WithLogger(nil), WithName("k8sretry: final check"))

// runWrite runs the steps of a safe write in the retry loop. check finds out whether the
// write was applied and returns the object; its error means that the check has failed.
func runWrite[T any](
	ctx context.Context, s *safeWrite, step func(context.Context) (T, error),
	check func(context.Context) (T, checkResult, error), opts []Option,
) (T, error) {
	var none, found T
	s.finalCheck = func(ctx context.Context) bool {
		if !s.isAmbiguous() || s.next == nextStop {
			return false
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalCheckTimeout)
		defer cancel()
		result, err := Do(ctx, func(ctx context.Context) (result checkResult, err error) {
			found, result, err = check(ctx)
			return result, err
		}, finalCheckPolicy)
		if err == nil && result == notApplied {
			s.outcome = OutcomeNotExecuted
		}
		return err == nil && result == applied
	}
	v, err := resolved(ctx, func(ctx context.Context) (T, error) {
		s.next, s.detail, s.report = nextByVerdict, detailNone, nil
		s.class, s.retryAfter = ClassNone, 0
		return step(ctx)
	}, append(slices.Clip(opts), safeWriteOption{s}))
	switch {
	case err == nil:
		return v, nil
	case err == errWriteApplied:
		return found, nil
	}
	if e, ok := err.(*Error); ok && s.report != nil {
		// The server's answer to the write is more useful than the error of a check.
		e.Err, e.ended = s.report, append(e.ended, e.Err)
	}
	return none, err
}

// send makes one request that writes, and records what may have become of it. The
// request has a record of its own, which does not include the reads of the same step.
func (s *safeWrite) send(ctx context.Context, request func(context.Context) error) (Verdict, error) {
	r := newRecord(s.verb)
	defer r.close()
	err := r.reveal(request(r.context(ctx)))
	if err == nil && r.redirected() {
		err = errRedirected
		return Classify(err), err
	}
	if err == nil {
		return Verdict{}, nil
	}
	var v Verdict
	inner := classify(err, &v)
	class := v.Class
	switch {
	case inner != nil:
		v.Outcome = max(v.Outcome, inner.Outcome)
	case err == errNoObject, ctx.Err() != nil && v.StatusCode == 0:
		v.Outcome = max(v.Outcome, OutcomeUnknown)
	}
	r.correct(&v)
	if r.repeatedUnseen() {
		v.Outcome = max(v.Outcome, OutcomeUnknown)
	}
	if s.dryRun {
		v.Outcome = OutcomeNotExecuted
	}
	if v.Outcome != OutcomeNotExecuted {
		s.outcome, s.ambiguousErr = max(s.outcome, v.Outcome), err
	}
	s.retryAfter = v.RetryAfter
	if v.Class != class {
		s.class = v.Class
	}
	return v, err
}

// isAmbiguous reports whether a request of the call may have been carried out.
func (s *safeWrite) isAmbiguous() bool { return s.outcome != OutcomeNotExecuted }

// mustCheck reports whether the answer to a request has to be explained by a check: the
// write was carried out without a usable response, or an earlier request may be the cause
// of the answer.
func (s *safeWrite) mustCheck(ctx context.Context, v Verdict) bool {
	return v.Outcome == OutcomeExecuted || s.isAmbiguous() && isPermanent(ctx, v)
}

// stop returns err and ends the call without a final check.
func (s *safeWrite) stop(err error, why detail) error {
	s.next, s.detail = nextStop, why
	return err
}

// repeat returns err and makes the loop take another step, whatever err means.
func (s *safeWrite) repeat(err error, why detail) error {
	s.next, s.detail = nextRepeat, why
	return err
}

// checkFailed returns the error of a check, by which the loop decides about the next
// step. If the call ends with it, the call reports the error of the write instead.
func (s *safeWrite) checkFailed(err error) error {
	s.report = s.unverified
	if s.report == nil {
		s.report = s.ambiguousErr
	}
	s.class, s.retryAfter = ClassNone, 0
	return err
}

// explain checks what the unverified answer means, and ends the step with a success or
// with that answer.
func explain[T any](ctx context.Context, s *safeWrite, check func(context.Context) (T, checkResult, error)) (T, error) {
	var none T
	found, result, err := check(ctx)
	if err != nil {
		return none, s.checkFailed(err)
	}
	answer := s.unverified
	s.unverified = nil
	switch result {
	case applied:
		return found, nil
	case notApplied:
		s.outcome = OutcomeNotExecuted
		return none, answer
	}
	return none, s.stop(answer, detailUndetermined)
}

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

// stopped reports whether the failed step is the last one, whatever its error means.
func (s *safeWrite) stopped() bool { return s != nil && s.next == nextStop }

// repeats reports whether another step may follow.
func (s *safeWrite) repeats(v *Verdict) bool {
	return s.next == nextRepeat || s.next == nextStartOver || s.next == nextByVerdict && v.Class.transient()
}
