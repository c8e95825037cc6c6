// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// The reasons why a call ends. They are in the chain of the [*Error] that the call
// returns, behind the last error of the API, so errors.Is finds them.
var (
	// ErrMaxRetries: every retry that the policy allows has been made.
	ErrMaxRetries = errors.New("max retries reached")
	// ErrMaxElapsed: the next retry would start after the time of WithMaxElapsed.
	ErrMaxElapsed = errors.New("max elapsed time reached")
	// ErrDeadline: the deadline of the caller's context has passed, or the next wait would
	// pass it. In the second case the call returns while there is still time, and the
	// error is not a context.DeadlineExceeded.
	ErrDeadline = errors.New("no time left before the deadline")
	// ErrRetryAfterTooLong: the server asked for a longer wait than WithMaxRetryAfter
	// allows. Error.RetryAfter holds what it asked for.
	ErrRetryAfterTooLong = errors.New("retry-after too long")
	// ErrBudgetExhausted: the Budget allows no further retry.
	ErrBudgetExhausted = errors.New("retry budget exhausted")
	// ErrBreakerOpen: the Breaker is open. The attempt was not made.
	ErrBreakerOpen = errors.New("circuit breaker open")
	// ErrQueueTimeout: the call queued at its Limiter for too long. The attempt was not
	// made, and nothing was sent.
	ErrQueueTimeout = errors.New("queue timeout")
	// ErrOutcomeUnknown: the call failed, and the server may have carried it out all the
	// same in one of its attempts. A call that is known to be a read (WithVerb, ReadOnly,
	// ForRead) never has it. It may be in the chain beside each of the others; Error.Outcome
	// says whether the server is known to have carried it out.
	ErrOutcomeUnknown = errors.New("the server may have carried out the call")
)

// Permanent marks an error that ends the call: Do stops, whatever the error means, and
// neither [WithRetryIf] nor [WithClassifier] overrides it. It is for a fn that knows more
// than the error says:
//
//	if pod.Status.Phase == corev1.PodFailed {
//		return nil, k8sretry.Permanent(fmt.Errorf("pod %s has failed", pod.Name))
//	}
//
// Do returns err itself, without the mark, if fn returned what Permanent returned; if fn
// wrapped it further, the wrapper is returned as it is. errors.Is and errors.As see
// through the mark, and so do the predicates of apierrors. The mark ends one call; a
// Do around it classifies err again. If the verb writes and err leaves open whether the
// server carried out the call, Do returns an [*Error] with [ErrOutcomeUnknown], as for every
// such error. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// withoutMark returns the error that was marked, if err is a mark.
func withoutMark(err error) error {
	for {
		e, ok := err.(*permanentError)
		if !ok {
			return err
		}
		err = e.err
	}
}

// StopReason says why a call ended without success.
type StopReason uint8

// The reasons.
const (
	StopNone              StopReason = iota // the call has not ended without success
	StopNonRetryable                        // the error is permanent
	StopMaxRetries                          // ErrMaxRetries
	StopMaxElapsed                          // ErrMaxElapsed
	StopDeadline                            // ErrDeadline
	StopRetryAfterTooLong                   // ErrRetryAfterTooLong
	StopBudgetExhausted                     // ErrBudgetExhausted
	StopBreakerOpen                         // ErrBreakerOpen
	StopQueueTimeout                        // ErrQueueTimeout
	StopOutcomeUnknown                      // the failure is transient, but a repetition could do the work twice
	StopCanceled                            // the caller's context was cancelled
)

// stops holds the end of the log event and the error in the chain of each StopReason.
var stops = [...]struct {
	name string
	err  error
}{
	StopNone:              {"", nil},
	StopNonRetryable:      {"non_retryable", nil},
	StopMaxRetries:        {"max_retries", ErrMaxRetries},
	StopMaxElapsed:        {"max_elapsed", ErrMaxElapsed},
	StopDeadline:          {"deadline", ErrDeadline},
	StopRetryAfterTooLong: {"retry_after_too_long", ErrRetryAfterTooLong},
	StopBudgetExhausted:   {"budget_exhausted", ErrBudgetExhausted},
	StopBreakerOpen:       {"breaker_open", ErrBreakerOpen},
	StopQueueTimeout:      {"queue_timeout", ErrQueueTimeout},
	StopOutcomeUnknown:    {"outcome_unknown", nil}, // ErrOutcomeUnknown comes by Error.Outcome
	StopCanceled:          {"canceled", nil},
}

// String returns the reason as log events and metrics name it, such as "max_retries".
func (s StopReason) String() string {
	if int(s) < len(stops) {
		return stops[s].name
	}
	return "invalid"
}

// Error is the error of a call that gave up on a transient failure, or that cannot tell
// whether the server carried it out. Permanent errors are returned unchanged.
//
// The last error of the API is the first in its chain: apierrors.IsNotFound and its
// siblings, errors.Is and errors.As answer for it. Behind it are the reason (ErrMaxRetries,
// ...), ErrOutcomeUnknown where it applies, and the error and cause of the context if the
// context ended the call.
//
// An Error is not changed after the call has returned it.
type Error struct {
	// Function is what was called: the name given by WithName, the wrapped function, the verb
	// and the resource of a safe write ("create deployments.apps"), or the function that
	// called Do.
	Function string
	// Verb is the verb given by WithVerb, VerbUnspecified if there was none.
	Verb Verb
	// Attempts is how often the function was called. Over a Transport, repetitions that
	// net/http made by itself on a new connection count, too.
	Attempts int
	// Elapsed is the time since the first attempt ended: that of the waits and the further
	// attempts. It does not include the first attempt, because a call that succeeds at once
	// reads no clock.
	Elapsed time.Duration
	// StopReason says why the call ended.
	StopReason StopReason
	// Scope is to what the limits applied for which the call waited, if it ended in the queue
	// of its Limiter.
	Scope LimiterScope
	// RetryAfter is how long the server asked to wait in the last error, 0 if it did not
	// ask. See WithMaxRetryAfter. With ErrBreakerOpen it is how long the Breaker will let
	// no attempt through, with ErrQueueTimeout and no attempt the rest of the pause.
	RetryAfter time.Duration
	// Outcome is what the server did with the call, over all attempts. It is
	// OutcomeNotExecuted for a call that is known to be a read.
	Outcome Outcome
	// Err is the last error of the API or the network that fn returned. With
	// ErrBreakerOpen and no attempt it is the error of the call that kept the Breaker open;
	// with ErrQueueTimeout and no attempt it is that of the last call that was a sign of
	// overload in the scope, nil if there is none.
	Err error

	// ended holds the error and the cause of the context if it ended the call, and the
	// error of an attempt that only repeats them.
	ended   []error
	history []error // see History
}

// Error returns the reason and the last error of the API in one line:
//
//	PodInterface.Get: max retries reached after 4 attempts in 7.2s: the server is currently unable to handle the request
func (e *Error) Error() string {
	if e == nil {
		return "<nil>"
	}
	var b strings.Builder
	if e.Function != "" {
		b.WriteString(e.Function)
		b.WriteString(": ")
	}
	b.WriteString(e.reason())
	notSent := e.Attempts == 0 && (e.endedInQueue() || e.StopReason == StopBreakerOpen)
	if notSent {
		b.WriteString(", request not sent")
	} else {
		fmt.Fprintf(&b, " after %d attempt", e.Attempts)
		if e.Attempts != 1 {
			b.WriteByte('s')
		}
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " in %v", readable(e.Elapsed))
	}
	if e.Outcome != OutcomeNotExecuted {
		b.WriteString("; ")
		b.WriteString(ErrOutcomeUnknown.Error())
	}
	if e.Err != nil || !notSent {
		b.WriteString(": ")
		b.WriteString(fmt.Sprint(e.Err))
	}
	return b.String()
}

// reason is the reason for the end of the call as a text.
func (e *Error) reason() string {
	text := "gave up"
	switch {
	case e.StopReason == StopNonRetryable:
		text = "permanent error"
	case e.StopReason == StopMaxRetries && e.Attempts == 1:
		text = "no retries allowed, gave up"
	case e.StopReason == StopOutcomeUnknown:
		text = "not repeated"
	case e.StopReason == StopCanceled:
		text = "canceled"
		if cause := e.cause(); cause != nil {
			text = fmt.Sprintf("canceled (%v)", cause)
		}
	case int(e.StopReason) < len(stops) && stops[e.StopReason].err != nil:
		text = stops[e.StopReason].err.Error()
	}
	switch {
	case e.StopReason == StopRetryAfterTooLong:
		text += fmt.Sprintf(" (%v)", e.RetryAfter)
	case e.StopReason == StopBreakerOpen && e.RetryAfter > 0:
		text += fmt.Sprintf(" for another %v", readable(e.RetryAfter))
	case e.StopReason != StopQueueTimeout && e.endedInQueue():
		text += " while queued"
	}
	if e.Scope != ScopeNone {
		text += " (" + e.Scope.String() + " limited)"
	}
	return text
}

// endedInQueue reports whether the call ended in the queue of its Limiter.
func (e *Error) endedInQueue() bool {
	return e.StopReason == StopQueueTimeout || len(e.ended) > 0 && e.ended[len(e.ended)-1] == ErrQueueTimeout
}

// cause is the cause that the caller gave for the end of the context, nil if it gave none.
func (e *Error) cause() error {
	if len(e.ended) > 1 && !errchain.Is(e.ended[0], e.ended[1]) {
		return e.ended[1]
	}
	return nil
}

// Timeout reports whether the call ended because of a timeout: at the deadline of the
// caller's context, or with a last error whose own Timeout method says so. With it,
// os.IsTimeout and the Timeout method of a url.Error answer over a [Transport] as without.
func (e *Error) Timeout() bool {
	return e.saysSo(func(err error) bool {
		t, ok := err.(interface{ Timeout() bool })
		return ok && t.Timeout()
	})
}

// Temporary is as [Error.Timeout], for the Temporary method of net.Error. The package does
// not use it.
func (e *Error) Temporary() bool {
	return e.saysSo(func(err error) bool {
		t, ok := err.(interface{ Temporary() bool })
		return ok && t.Temporary()
	})
}

func (e *Error) saysSo(says func(error) bool) bool {
	return e != nil && (e.StopReason == StopDeadline || errchain.Find(e.Err, says) != nil)
}

// readable rounds a duration for a text: 7.213s, not 7.213448017s.
func readable(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// Unwrap returns the chain: the last API error first.
func (e *Error) Unwrap() []error {
	if e == nil {
		return nil
	}
	chain := make([]error, 0, 6)
	if e.Err != nil {
		chain = append(chain, e.Err)
	}
	if int(e.StopReason) < len(stops) && stops[e.StopReason].err != nil {
		chain = append(chain, stops[e.StopReason].err)
	}
	if e.Outcome != OutcomeNotExecuted {
		chain = append(chain, ErrOutcomeUnknown)
	}
	return append(chain, e.ended...)
}
