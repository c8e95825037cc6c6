// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// checkResult is what a check has found out about a write.
type checkResult uint8

const (
	undetermined  checkResult = iota // it cannot be determined
	applied                          // it was carried out
	notApplied                       // it was not carried out and never will be
	notAppliedYet                    // it was not carried out, but a request may still be under way
)

// finalCheckTimeout limits the final check, which a safe write makes if the outcome is
// still ambiguous when the retries end. It may run after the context of the call ended.
const finalCheckTimeout = 5 * time.Second

// finalCheckPolicy has a short attempt timeout, so that there is time for more than one
// attempt if the first one hangs.
var finalCheckPolicy = NewPolicy(WithVerb(VerbGet), WithMaxRetries(8), WithInitialDelay(50*time.Millisecond),
	WithMaxDelay(time.Second), WithAttemptTimeout(finalCheckTimeout/3), WithLogger(nil), WithName("k8sretry: final check"), WithPriority())

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
		v, err := step(ctx)
		if err != nil && s.action && s.isAmbiguous() {
			err = s.stop(err, detailAction)
		}
		return v, err
	}, append(slices.Clip(opts), safeWriteOption{s}), s.code)
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, errWriteApplied):
		return found, nil
	}
	if e, ok := err.(*Error); ok && s.report != nil { //nolint:errorlint // the Error of this call
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
	if attempt := recordIn(ctx); attempt != nil {
		r.guarded, r.bounded = attempt.guarded, attempt.bounded
		r.BeginWithin(&attempt.Record)
		defer func() {
			r.EndWithin(&attempt.Record)
			attempt.lend(r.lent())
		}()
	}
	err := r.redirected(r.reveal(request(r.context(ctx))))
	if err == nil {
		return Verdict{}, nil
	}
	var v Verdict
	inner := classify(err, &v)
	class := v.Class
	switch {
	case inner != nil:
		v.Outcome = max(v.Outcome, inner.Outcome)
	case errors.Is(err, errNoObject), ctxerr.Of(ctx) != nil && v.StatusCode == 0 && !v.ofDiscovery():
		v.Outcome = max(v.Outcome, OutcomeUnknown)
	}
	r.correct(&v)
	if request := r.Request(); request.Resource != "" {
		s.seen, s.url = targetOfRequest(&request), r.URL()
	}
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
	return !s.action && (v.Outcome == OutcomeExecuted || s.isAmbiguous() && isPermanent(ctx, v))
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
	default:
		return none, s.stop(answer, detailUndetermined)
	}
}

// isPermanent reports whether the server has answered and another request would get the
// same answer. The error of a request that its context has ended is no answer.
func isPermanent(ctx context.Context, v Verdict) bool {
	return !v.Class.transient() && (v.StatusCode != 0 || ctxerr.Of(ctx) == nil)
}

// readObject reads an object for a check: applied means that it exists, notAppliedYet
// that it does not. An error means that the read may be repeated. After a permanent error
// the result is undetermined.
func readObject[T Object](ctx context.Context, client Getter[T], name string) (found T, result checkResult, err error) {
	found, err = client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && isEmpty(found):
		return found, undetermined, nil
	case err == nil:
		return found, applied, nil
	case isAbsent(err, name):
		return found, notAppliedYet, nil
	case isPermanent(ctx, Classify(err)):
		return found, undetermined, nil
	}
	return found, undetermined, err
}

// watcherOf returns the Watcher of a client, if it has one. The adapters of this package
// return that of the client they adapt.
func watcherOf(client any) (Watcher, bool) {
	if adapter, ok := client.(interface{ watcher() (Watcher, bool) }); ok {
		return adapter.watcher()
	}
	w, ok := client.(Watcher)
	return w, ok
}

// isAction reports whether a write by a client may be an action, such as the restart of a virtual
// machine: it is one to a subresource that is not known to replace state.
func isAction(client any, verb Verb) bool {
	return apirequest.IsAction(apirequest.Verb(verb), subresourceOf(client))
}

// subresourceOf returns the subresource that a client writes, "" for the object itself.
func subresourceOf(client any) string {
	if adapter, ok := client.(interface{ subresource() string }); ok {
		return adapter.subresource()
	}
	return ""
}
