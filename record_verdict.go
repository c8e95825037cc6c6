// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"net/http"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/record"
)

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
