// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"net/http"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/k8sretry/k8sretry"
)

// The delays before an object is reconciled again without a Retry-After. All delays are
// increased at random by up to a fifth, so that calls that failed at the same time are not
// retried at the same time.
const (
	delayAfterOutage  = 15 * time.Second // all retries have failed, so the outage is not short
	delayAfterRefusal = time.Second      // for the cache to receive the change
)

// Result converts an error of a client of [NewClient], or of any call of k8sretry, into the
// result of a Reconcile:
//
//	return k8sretryctrl.Result(r.sync(ctx, object))
//
// It converts these errors:
//
//	nil                                                  no requeue
//	*k8sretry.Error after a transient failure, or        RequeueAfter: the server's
//	  with an unknown outcome                              Retry-After, or 15 s
//	*k8sretry.Error with StopNonRetryable (a NotFound    RequeueAfter: 1 s
//	  or Conflict after an unknown outcome)
//	Conflict (409)                                       RequeueAfter: 1 s
//	400, 405, 406, 413, 415 of kube-apiserver            TerminalError: the request is malformed
//	other API errors: NotFound, AlreadyExists,           unchanged: the workqueue retries them
//	  Forbidden, Invalid (422), denied by a webhook        with increasing delays, because they
//	  or a policy, quota, 401, field ownership, 410,       may depend on other objects, or on what
//	  an unknown field (400), a container that has no      the server knows
//	  logs yet (400), a rejection by a gateway, ...
//	TerminalError, errors of other sources               unchanged
//	several errors                                       the result of each error if they agree
//	                                                       (with the longest delay), else unchanged
//
// Delays are increased at random by up to a fifth. With RequeueAfter the error is nil:
// controller-runtime does not log or count it, but k8sretry has logged the failure.
// controller-runtime logs and counts a TerminalError, and does not reconcile the object
// until it changes.
//
// API errors of other clients are converted in the same way. Result is safe for concurrent
// use.
func Result(err error) (reconcile.Result, error) {
	left := maxErrors
	switch d := decide(err, &left); d.action {
	case requeue:
		return reconcile.Result{RequeueAfter: spread(d.after)}, nil
	case terminate:
		return reconcile.Result{}, reconcile.TerminalError(err)
	default:
		return reconcile.Result{}, err
	}
}

// spread returns d, increased at random by up to a fifth.
func spread(d time.Duration) time.Duration {
	return k8sretry.Exponential{Initial: d, Max: 2 * d}.Delay(1)
}

// action is how Result handles an error.
type action uint8

const (
	keep      action = iota // return the error
	requeue                 // reconcile the object after a delay
	terminate               // do not reconcile the object until it changes
)

type decision struct {
	action action
	after  time.Duration
}

// maxErrors limits the number of errors to visit, because chains can be cyclic.
const maxErrors = 1000

var terminalErrorType = reflect.TypeOf(reconcile.TerminalError(nil))

// decide visits up to left errors of a tree. It does not use errors.Is and errors.As, which
// do not return from a cyclic chain.
func decide(err error, left *int) decision {
	for ; err != nil && *left > 0; *left-- {
		if isNil(err) || reflect.TypeOf(err) == terminalErrorType {
			return decision{}
		}
		switch e := err.(type) { //nolint:errorlint // the loop visits each error of the chain
		case *k8sretry.Error: // first, because it wraps several errors
			return decideError(e)
		case apierrors.APIStatus:
			return decideAPIError(err)
		case interface{ Unwrap() []error }:
			return decideAll(e.Unwrap(), left)
		case interface{ Errors() []error }: // Aggregate of apimachinery
			return decideAll(e.Errors(), left)
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return decision{}
		}
	}
	return decision{}
}

// decideAll returns the common decision of several errors, or keep if they differ.
func decideAll(errs []error, left *int) (all decision) {
	first := true
	for _, err := range errs {
		if *left--; *left <= 0 {
			return decision{}
		}
		if err == nil {
			continue
		}
		d := decide(err, left)
		if !first && d.action != all.action {
			return decision{}
		}
		first = false
		all = decision{d.action, max(all.after, d.after)}
	}
	return all
}

func decideError(e *k8sretry.Error) decision {
	switch {
	case e.RetryAfter > 0:
		return decision{requeue, e.RetryAfter}
	case e.StopReason == k8sretry.StopNonRetryable:
		return decision{requeue, delayAfterRefusal}
	}
	return decision{requeue, delayAfterOutage}
}

func decideAPIError(err error) decision {
	v := k8sretry.Classify(err)
	if v.Class == k8sretry.ClassConflict {
		return decision{requeue, max(delayAfterRefusal, v.RetryAfter)}
	}
	if v.Class != k8sretry.ClassPermanent || mayBeLifted(err) {
		return decision{}
	}
	switch v.StatusCode {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType:
		return decision{action: terminate}
	}
	return decision{}
}

// mayBeLifted reports whether a rejection may end although the object does not change: that of a
// webhook or a policy, which may use any of these codes, of a gateway, or about something that is not
// there yet, such as a field that a newer CustomResourceDefinition has.
func mayBeLifted(err error) bool {
	text := err.Error()
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) ||
		strings.HasPrefix(text, `admission webhook "`) || strings.Contains(text, "ValidatingAdmissionPolicy '") ||
		strings.Contains(text, "strict decoding error: ") ||
		strings.Contains(text, " is waiting to start: ") || strings.HasSuffix(text, " does not have a host assigned") // of logs
}
