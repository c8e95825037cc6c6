// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/record"
)

// transportBuilt is set by the first Transport of the process. Calls that read carry
// a record only from then on, because only a Transport would look for it.
var transportBuilt atomic.Bool

// callRecord is the record of a call and the context that carries it. It is itself the
// context that fn is given, so that it costs one allocation.
type callRecord struct {
	context.Context // the caller's, with the trace if there is one; nil before the first attempt
	record.Record

	trace      *httptrace.ClientTrace // nil if the record hooks into nothing
	collection bool                   // the call deletes a collection
	priority   bool                   // the call does not wait for a limiter
	guarded    bool                   // the call has asked a breaker or a limiter of its own
	bounded    bool                   // the call has an attempt timeout
	transport  bool                   // the call is one of a Transport
	retries    int                    // that the call may make
	hedges     atomic.Int32           // reads that were sent beside another one
	closed     atomic.Bool            // the call has returned: watches and informers keep its context

	mu     sync.Mutex
	budget *Budget // that a Transport has lent
}

// tracedRecord is a record and its hooks in net/http.
type tracedRecord struct {
	callRecord
	trace httptrace.ClientTrace
}

// newRecord makes the record of a call. For a call that writes it hooks into net/http.
func newRecord(verb Verb) *callRecord {
	if !verb.writes() {
		return new(callRecord)
	}
	t := new(tracedRecord)
	r := &t.callRecord
	r.collection = verb == VerbDeleteCollection
	r.trace = &t.trace
	r.Hook(r.trace)
	return r
}

// recordKey finds the record of the innermost call that is still running.
type recordKey struct{}

// recordIn returns the record of the call that ctx belongs to, nil if there is none.
func recordIn(ctx context.Context) *callRecord {
	r, _ := ctx.Value(recordKey{}).(*callRecord)
	return r
}

func (r *callRecord) Value(key any) any {
	if key == (recordKey{}) && !r.closed.Load() {
		return r
	}
	return r.Context.Value(key)
}

// attempt makes the record ready for an attempt of the call.
func (r *callRecord) attempt(n int) { r.Begin(r.retries - n + 1) }

// context returns ctx, which is the same for all attempts, with the record.
func (r *callRecord) context(ctx context.Context) context.Context {
	switch {
	case r.Context != nil:
	case r.trace != nil:
		r.Context = httptrace.WithClientTrace(ctx, r.trace)
	default:
		r.Context = ctx
	}
	return r
}

// close ends the record with its call.
func (r *callRecord) close() {
	if r != nil {
		r.closed.Store(true)
		r.Forget()
	}
}

// contextKept reports whether the context of the attempt must outlive it.
func (r *callRecord) contextKept() bool { return r != nil && r.ContextKept() }

// reveal makes the errors visible that were hidden from client-go.
func (r *callRecord) reveal(err error) error {
	if r == nil || err == nil {
		return err
	}
	return clientgo.RevealError(err)
}

// redirected returns the error of an attempt in which net/http has sent a GET in place of a
// write. That the GET has succeeded or failed says nothing about the write.
func (r *callRecord) redirected(err error) error {
	switch {
	case r == nil || r.trace == nil || !r.Redirected() || errors.Is(err, errRedirected):
		return err
	case err == nil:
		return errRedirected
	}
	return fmt.Errorf("%w: %v", errRedirected, err) //nolint:errorlint // apierrors.IsNotFound must be false for it
}

// repetitions is how often net/http has repeated a request of the attempt by itself.
func (r *callRecord) repetitions() int {
	if r == nil {
		return 0
	}
	return r.Repetitions()
}

// hedged is how many reads were sent beside another one.
func (r *callRecord) hedged() int {
	if r == nil {
		return 0
	}
	return int(r.hedges.Load())
}

// lend gives a call without a budget that of a Transport.
func (r *callRecord) lend(b *Budget) {
	if b == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = b
}

// lent is the budget that a Transport has lent, nil if none has.
func (r *callRecord) lent() *Budget {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.budget
}

// correct corrects a verdict by what was seen. This is where a failed attempt becomes
// "not executed" for want of a connection.
//
// That nothing was sent is believed only if a transport was seen at work: fake
// clientsets and test doubles never call the hooks.
func (r *callRecord) correct(v *Verdict) {
	f := r.Facts()
	switch {
	case v.StatusCode == 0 && f.NotTaken:
		if v.flags &= markedPermanent; v.flags == 0 {
			v.Class = ClassConnection
		}
		v.Outcome, v.Detail = OutcomeNotExecuted, "request not taken by the server"
	case f.StoresNothing && (v.Class.transient() || v.Outcome == OutcomeUnknown):
		v.Outcome = OutcomeNotExecuted
		if f.Collection {
			v.flags, v.Detail = v.flags|beforeObjects, "dry run, nothing is stored" // whatever it says of one object
		}
	case v.Outcome == OutcomeUnknown && v.StatusCode == 0 && f.Asked > 0 && f.Connected == 0:
		v.Outcome, v.Detail = OutcomeNotExecuted, "no connection was obtained"
	case v.Outcome == OutcomeNotExecuted && f.Requests == 0 && r.isAfterAnother(v, &f):
		v.Outcome, v.Detail = OutcomeUnknown, "another request of the attempt was sent before"
	}
	v.correctConflict(f.LostRace, f.StaleVersion)
	if v.Outcome == OutcomeNotExecuted && (f.Done || f.EarlierAmbiguous || f.Unseen || f.Repeated && r.mayFollowItself(v)) {
		v.Outcome, v.Detail = OutcomeUnknown, "another request of the attempt was sent"
	}
	if v.Outcome == OutcomeNotExecuted && (f.Collection || r.collection) && !f.StoresNothing && !v.beforeAnyObject() {
		v.Outcome = OutcomeUnknown // it says nothing about the objects before the last one
	}
	v.RetryAfter = max(v.RetryAfter, f.RetryAfter)
}

// correctConflict corrects the verdict on a conflict of a patch by what its body says.
func (v *Verdict) correctConflict(lostRace, staleVersion bool) {
	switch {
	case v.Class != ClassConflict || v.Outcome != OutcomeNotExecuted || v.StatusCode != http.StatusConflict:
	case staleVersion:
		v.flags |= versionNamed
	case lostRace && v.flags&versionNamed == 0:
		v.Class, v.flags, v.Detail = ClassServer, v.flags|besideServer, details[detailServerRace]
	}
}

// seenPatch is a patch or an apply whose body the call sees, with or without a Transport. The
// judgement on the body is that of a Transport. It consists of funcs because of the escape
// rule in config.go.
type seenPatch struct {
	verb          Verb
	dryRun        bool
	target        func() target // what is patched
	riskConfirmed func() bool
	namesVersion  func() bool
}

// see describes a patch of this type and body.
func see(contentType string, body []byte, dryRun bool, subresources ...string) *seenPatch {
	req := apirequest.NewPatch(contentType, body, subresources...)
	r := apirequest.Read(req)
	return &seenPatch{
		verb: Verb(r.Verb), dryRun: dryRun,
		riskConfirmed: func() bool { return r.Risk.Confirmed(req) },
		namesVersion:  func() bool { return apirequest.NamesVersion(req) },
	}
}

// correct adds what is known of the patch to the verdict on an attempt.
func (s *seenPatch) correct(v *Verdict) {
	if s == nil {
		return
	}
	if s.dryRun {
		v.Outcome = OutcomeNotExecuted
	}
	if v.Class == ClassConflict {
		named := s.namesVersion()
		v.correctConflict(!named && s.verb == VerbPatch, named && s.verb == VerbApply)
	}
}

// riskConfirmed reports whether the call must not be repeated while its outcome is unknown,
// whatever the verb allows.
func (c *config) riskConfirmed(r *callRecord) bool {
	if c.patch != nil {
		return c.patch.riskConfirmed()
	}
	return r.riskConfirmed()
}

// riskConfirmed reports whether the attempt must not be repeated while its outcome is
// unknown, whatever the verb allows.
func (r *callRecord) riskConfirmed() bool { return r != nil && r.RiskConfirmed() }

// isAfterAnother reports whether a failure that was not executed leaves the outcome of the attempt
// unknown, because another write of the attempt was sent before. It is used without a
// Transport, where client-go may have repeated a write by itself, up to ten times, after
// answers that it has forgotten.
func (r *callRecord) isAfterAnother(v *Verdict, f *record.Facts) bool {
	switch {
	case v.flags&notOfSending != 0:
		return false
	case v.flags&byConnection != 0:
		return f.Answered > 0
	case v.StatusCode == 0:
		return f.Connected > 0 // not for the request that has failed
	}
	// client-go repeats only what asks for a wait. A failure that does not, such as a webhook that
	// cannot be called, is no link of a chain of the same failures.
	return f.Answered > 1 && (r.causedByItself(v) || v.Class.transient() && v.RetryAfter == 0)
}

// causedByItself reports whether a write may have got this answer because it was carried out
// before. All others say nothing about it, but the same request would have got them before, too.
func (r *callRecord) causedByItself(v *Verdict) bool {
	switch v.StatusCode {
	case http.StatusNotFound, http.StatusConflict:
		return true
	case http.StatusUnprocessableEntity:
		if r.patchesTwice() {
			return true // the first one may have made the object such that the second is invalid
		}
	}
	return v.Class == ClassConflict ||
		v.Class == ClassBlocked && (v.StatusCode == http.StatusForbidden || v.StatusCode == http.StatusUnprocessableEntity)
}

// mayFollowItself reports whether the same write may have been carried out before this failure.
func (r *callRecord) mayFollowItself(v *Verdict) bool {
	return v.Class.transient() || r.causedByItself(v)
}

// patchesTwice reports whether the attempt held a patch that changes the object again if it is
// applied again. Without a Transport, every JSON patch may.
func (r *callRecord) patchesTwice() bool {
	verb := r.Request().Verb
	return (verb == apirequest.Unspecified || verb == apirequest.Patch) && r.RiskConfirmed()
}

// repeatedUnseen reports whether client-go may have repeated the request by itself, after
// answers that were not seen. It counts connections that were obtained, not looked for:
// HTTP/2 looks twice for one request when several wait for a new connection.
func (r *callRecord) repeatedUnseen() bool {
	f := r.Facts()
	return f.Requests == 0 && f.Connected > 1
}
