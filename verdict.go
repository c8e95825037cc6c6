package k8sretry

import "time"

// Verb says what a call does, in the words of RBAC. It decides whether a call
// whose outcome is unknown may be sent again.
//
// The zero value, [VerbUnspecified], means that the caller vouches for it: the call
// may be repeated whatever became of the attempt before.
type Verb uint8

// The verbs of the Kubernetes API. A subresource has the verb of its request:
// an eviction is a create, a scale update an update.
const (
	VerbUnspecified      Verb = iota // not said: the caller vouches that the call may be repeated
	VerbGet                          // reads one object
	VerbList                         // reads a collection
	VerbWatch                        // starts a watch
	VerbCreate                       // stores a new object
	VerbUpdate                       // replaces an object
	VerbPatch                        // changes an object by a merge, strategic-merge or JSON patch
	VerbApply                        // server-side apply
	VerbDelete                       // deletes one object
	VerbDeleteCollection             // deletes a collection, object by object
)

var verbNames = [...]string{"", "get", "list", "watch", "create", "update", "patch", "apply", "delete", "deletecollection"}

// String returns the verb as RBAC writes it ("get", "deletecollection"), "" for
// [VerbUnspecified]. Apply, which RBAC counts as a patch, is "apply".
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

// Class says what a failure means, and with it how long a retry should wait.
type Class uint8

// The classes of failures.
const (
	ClassNone             Class = iota // no failure: the class of a nil error
	ClassPermanent                     // would fail in the same way again: 400, 403, 404, 422, x509, a denying webhook
	ClassServer                        // the server failed for now: 408, 500, 502, 503
	ClassTimeout                       // nobody answered in time: 504, timeouts of client and network
	ClassThrottled                     // the server asks for fewer calls: 429
	ClassRefused                       // no connection came about: refused, no route, DNS that may heal
	ClassConnection                    // the connection was lost: reset, EOF, GOAWAY, a cut body
	ClassDisruptionBudget              // a PodDisruptionBudget allows no eviction for now
	ClassConflict                      // a precondition failed: read again and rebuild the write
	ClassBlocked                       // refused until somebody else changes the world: quota, a missing namespace
	ClassBadResponse                   // the server did it, but its answer cannot be read
	ClassCanceled                      // the caller gave up
)

var classNames = [...]string{"none", "permanent", "server", "timeout", "throttled", "refused", "connection", "disruption_budget", "conflict", "blocked", "bad_response", "canceled"}

// String returns the class as one lower-case word, as logs and metrics name it.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "invalid"
}

// Outcome says what the server did with a failed attempt. Outcomes are ordered:
// of several attempts, the highest is what a caller must reckon with.
type Outcome uint8

// The outcomes of a failed attempt.
const (
	OutcomeNotExecuted Outcome = iota // the server changed nothing
	OutcomeUnknown                    // the server may have done it, or may still do it
	OutcomeExecuted                   // the server did it, only its answer was lost
)

var outcomeNames = [...]string{"not_executed", "unknown", "executed"}

// String returns the outcome as logs and metrics name it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "invalid"
}

// Verdict is what one error means. It is a plain value.
type Verdict struct {
	// Class says what the failure means.
	Class Class
	// Outcome says what the server did, judged by this error alone and for a
	// call that writes: a read never changes anything.
	Outcome Outcome
	// StatusCode is the code of the API status in the error, 0 if there is none.
	StatusCode int
	// RetryAfter is how long the server asked the caller to wait, 0 if it did not say.
	RetryAfter time.Duration
	// Detail names what decided, for people and logs: "failed calling webhook".
	// It is a constant text of this package, never part of the error's, and may
	// be "". New texts come without notice: do not branch on it.
	Detail string
}

// Retryable reports whether a call with the given verb may be repeated after
// this failure: the failure has to be a passing one, and the repetition must not
// be able to do harm.
//
//   - Nothing executed: every verb may be repeated. Of a deletecollection, a failure
//     such as that of a webhook is about one object, and others may be gone: it stops.
//   - Outcome unknown: reads, updates, patches, applies and deletes may be
//     repeated, and calls with [VerbUnspecified]. A create could make a second object, a
//     deletecollection could take objects created since: both stop.
//   - Executed, answer not readable: only reads and [VerbUnspecified].
func (v Verdict) Retryable(verb Verb) bool { return v.retryable(verb) }

func (v *Verdict) retryable(verb Verb) bool {
	if !v.Class.transient() {
		return false
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

// transient reports whether failures of this class pass by themselves.
func (c Class) transient() bool {
	switch c {
	case ClassServer, ClassTimeout, ClassThrottled, ClassRefused, ClassConnection, ClassDisruptionBudget, ClassBadResponse:
		return true
	}
	return false
}
