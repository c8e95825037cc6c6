// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "time"

// Verb is the verb of a Kubernetes API request, as in RBAC. It decides whether a call
// may be repeated after an attempt whose outcome is unknown.
//
// The zero value is [VerbUnspecified]. Without a verb, k8sretry assumes that the call is
// safe to repeat.
type Verb uint8

// The verbs of the Kubernetes API. A request to a subresource has the verb of the
// request: an eviction is a create, a change of scale an update.
const (
	VerbUnspecified      Verb = iota // no verb: the call is assumed to be safe to repeat
	VerbGet                          // reads one object
	VerbList                         // reads a collection
	VerbWatch                        // starts a watch
	VerbCreate                       // creates an object
	VerbUpdate                       // replaces an object
	VerbPatch                        // applies a merge, strategic merge or JSON patch; see [Patch]
	VerbApply                        // server-side apply
	VerbDelete                       // deletes one object
	VerbDeleteCollection             // deletes a collection, object by object
)

var verbNames = [...]string{"", "get", "list", "watch", "create", "update", "patch", "apply", "delete", "deletecollection"}

// String returns the verb as RBAC writes it ("get", "deletecollection"), "apply" for
// [VerbApply], which RBAC treats as a patch, and "" for [VerbUnspecified].
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "invalid"
}

// reads reports whether the verb changes nothing on the server.
func (v Verb) reads() bool { return v == VerbGet || v == VerbList || v == VerbWatch }

// writes reports whether the verb is known to change something on the server.
func (v Verb) writes() bool { return v != VerbUnspecified && !v.reads() }

// Class is the kind of a failure. It decides whether a failure is transient and how long
// to wait before a retry.
type Class uint8

// The classes of failures.
const (
	ClassNone             Class = iota // no failure: the class of a nil error
	ClassPermanent                     // fails the same way again: 400, 403, 404, 422, x509, denied by a webhook
	ClassServer                        // the server failed, and may recover: 408, 500, 502, 503
	ClassTimeout                       // no response in time: 504, timeouts of the client and the network
	ClassThrottled                     // the server asks for fewer requests: 429
	ClassRefused                       // no connection was established: refused, no route, DNS server failure
	ClassConnection                    // the connection was lost: reset, EOF, GOAWAY, truncated body
	ClassDisruptionBudget              // a PodDisruptionBudget allows no eviction at the moment
	ClassConflict                      // a precondition failed: read the object again and rebuild the write
	ClassBlocked                       // fails until something else changes: a quota, a missing namespace
	ClassBadResponse                   // the server carried out the request, but its response cannot be decoded
	ClassCanceled                      // the caller canceled the request
)

var classNames = [...]string{"none", "permanent", "server", "timeout", "throttled", "refused", "connection", "disruption_budget", "conflict", "blocked", "bad_response", "canceled"}

// String returns the name of the class in logs and metrics: one lower-case word, such as
// "server" or "disruption_budget".
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "invalid"
}

// transient reports whether a failure of this class may go away without a change by the
// caller.
func (c Class) transient() bool {
	switch c {
	case ClassServer, ClassTimeout, ClassThrottled, ClassRefused, ClassConnection, ClassDisruptionBudget, ClassBadResponse:
		return true
	default:
		return false
	}
}

// Outcome is what the server did with a failed attempt. Outcomes are ordered: the outcome
// of a call is the highest of its attempts.
type Outcome int8

// The outcomes of a failed attempt.
const (
	OutcomeNone        Outcome = iota - 1 // nothing failed; only in an [Event] without an error
	OutcomeNotExecuted                    // the server changed nothing
	OutcomeUnknown                        // the server may have done it, or may still do it
	OutcomeExecuted                       // the server carried out the request, but its response was lost
)

var outcomeNames = [...]string{"", "not_executed", "unknown", "executed"}

// String returns the name of the outcome in logs and metrics, "" for [OutcomeNone].
func (o Outcome) String() string {
	if i := int(o) - int(OutcomeNone); i >= 0 && i < len(outcomeNames) {
		return outcomeNames[i]
	}
	return "invalid"
}

// Verdict describes one failure. It is a plain value: copy it, compare it with ==, and
// change it in a classifier of your own ([WithClassifier]).
type Verdict struct {
	// Class is the kind of the failure.
	Class Class
	// Outcome is what the server did, judged by this error alone and for a call that
	// writes: a call that reads never changes anything.
	Outcome Outcome
	flags   verdictFlags
	// StatusCode is the code of the API status in the error, 0 if there is none.
	StatusCode int
	// RetryAfter is how long the server asked the client to wait, 0 if it did not ask.
	RetryAfter time.Duration
	// Detail names the failure for people and logs, such as "failed calling webhook".
	// It is a constant text of this package, never a part of the error, and may be "".
	// Texts may change in any release; no decision depends on them.
	Detail string
}

// verdictFlags are what decisions need to know beyond the exported fields. Classify
// copies them from the meaning of the error. A Verdict made by a caller has none: it
// applies to the whole call and counts towards the server's health.
type verdictFlags uint16

const (
	// answered: the failure is an API status.
	answered verdictFlags = 1 << iota
	// beforeObjects: the API status was sent before the first object of a
	// deletecollection was processed, so nothing was deleted. The server deletes the
	// objects one by one and runs admission for each of them
	// (k8s.io/apiserver/pkg/registry/generic/registry/store.go): after a denial by a
	// webhook, other objects may be gone. Authentication, authorization, overload,
	// discovery, proxying and the decoding of the request come before all objects.
	beforeObjects
	// besideServer: something other than the server failed, such as a webhook or the
	// backend of a proxied request. The failure says nothing about the server's health.
	besideServer
	// noRoom: the client's rate limiter saw no room before the deadline. Nothing was sent.
	noRoom
	// ofPriorityLevel: the failure is about all requests of a priority level of API Priority
	// and Fairness.
	ofPriorityLevel
	// versionNamed: the conflict is one of a request that names a version or the UID of the
	// object, so that its repetition fails as well.
	versionNamed
	// markedPermanent: the caller's function has marked the error with Permanent.
	markedPermanent
	// byConnection: the connection of the request has refused to carry it. The error proves
	// nothing about requests on other connections.
	byConnection
	// notOfSending: no attempt to send a write has failed. The failure is the caller's own, one
	// of discovery, or in what the server has answered.
	notOfSending
)

// Retryable reports whether a call with the given verb may be repeated after this
// failure. The failure must be transient, and the repetition must do no harm:
//
//   - A conflict of an apply is repeated although [ClassConflict] is not transient: the
//     server has lost a race against another write. [Apply], [Patch] and a [Transport] see
//     the configuration, and do not repeat it if it names a version that may be stale. (A
//     field that is owned by another manager is permanent.)
//   - [OutcomeNotExecuted]: every verb may be repeated. A deletecollection may be
//     repeated only if the failure came before its first object, such as a 429. The
//     failure of a webhook concerns one object; others may already be deleted.
//   - [OutcomeUnknown]: get, list, watch, update, patch, apply, delete and calls without
//     a verb may be repeated. A create could make a second object, and a
//     deletecollection could delete objects created since.
//   - [OutcomeExecuted]: only get, list, watch and calls without a verb may be repeated.
func (v Verdict) Retryable(verb Verb) bool { return v.retryable(verb) }

func (v *Verdict) retryable(verb Verb) bool {
	if !v.Class.transient() {
		// kube-apiserver gives up after five conflicts of its own (MaxRetryWhenPatchConflicts
		// in k8s.io/apiserver/pkg/endpoints/handlers/patch.go).
		return verb == VerbApply && v.Class == ClassConflict && v.Outcome == OutcomeNotExecuted && v.StatusCode != 422 && v.flags&versionNamed == 0
	}
	switch v.Outcome {
	case OutcomeNotExecuted:
		return verb != VerbDeleteCollection || v.beforeAnyObject()
	case OutcomeUnknown:
		return verb != VerbCreate && verb != VerbDeleteCollection
	default:
		return verb == VerbUnspecified || verb.reads()
	}
}

// beforeAnyObject reports whether a failure with OutcomeNotExecuted leaves a
// deletecollection without any effect. See beforeObjects.
func (v *Verdict) beforeAnyObject() bool { return v.flags&(answered|beforeObjects) != answered }

// ofDiscovery reports whether the discovery before the request has failed, so that the request was
// not sent, whatever has ended in the meantime.
func (v *Verdict) ofDiscovery() bool { return v.flags&notOfSending != 0 && v.Class != ClassPermanent }

// noRoomLeft reports whether the failure is nothing but the rate limiter of the client that
// saw no room before the deadline of the attempt.
func (v *Verdict) noRoomLeft() bool { return v.flags&noRoom != 0 && v.Class == ClassCanceled }
