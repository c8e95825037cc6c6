package k8sretryctrl

import (
	"net/http"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/k8sretry/k8sretry"
)

// How long to wait before an object is reconciled again, if the server does not say. Both
// are spread upwards by up to a fifth, and so is the server's wish, so that those who
// failed together do not come back together.
const (
	whilePassing = 15 * time.Second // all retries have failed: the outage is a long one
	untilRead    = time.Second      // for the cache to learn what has changed
)

// Result turns an error of a client of [NewClient], or of any call of k8sretry, into what
// a Reconcile returns:
//
//	return k8sretryctrl.Result(r.sync(ctx, object))
//
// What becomes of an error:
//
//	nil                                                  done
//	*k8sretry.Error: it gave up on a failure that        RequeueAfter: the server's
//	  passes, or cannot tell what became of a write        Retry-After, or 15 s
//	the same, on a refusal (NotFound, Conflict, ...)     RequeueAfter: 1 s
//	Conflict (409)                                       RequeueAfter: 1 s
//	400, 405, 406, 413, 415, 422                         TerminalError: the request itself is wrong
//	other answers of the API: NotFound, AlreadyExists,   unchanged, so that the queue repeats them
//	  Forbidden, denials of webhooks, quota, 401,          with its growing delays: others may
//	  ownership of fields, 410, ...                        change the world
//	a TerminalError, and errors of other sources         unchanged
//	several errors                                       by their members if these agree (the
//	                                                       longest wait), else unchanged
//
// A wait is spread upwards by up to a fifth. With RequeueAfter there is no error:
// controller-runtime logs and counts none, and k8sretry has logged the failure. A
// TerminalError is logged, counted and not repeated until the object changes.
//
// An answer that lasts comes from the client as the server gave it, so that those of
// other clients are judged, too. Result is safe for concurrent use.
func Result(err error) (reconcile.Result, error) {
	left := mostErrors
	switch v := judge(err, &left); v.fate {
	case passing:
		return reconcile.Result{RequeueAfter: spread(v.after)}, nil
	case hopeless:
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	return reconcile.Result{}, err
}

// spread is d and up to a fifth more.
func spread(d time.Duration) time.Duration {
	return k8sretry.Exponential{Initial: d, Max: 2 * d}.Delay(1)
}

// fate is what shall become of an error.
type fate uint8

const (
	foreign  fate = iota // not ours to decide
	passing              // reconcile again after a while
	hopeless             // do not reconcile again
)

type verdict struct {
	fate  fate
	after time.Duration
}

// mostErrors bounds how much of an error is looked at: chains can be cyclic.
const mostErrors = 1000

// terminal is the type of a TerminalError.
var terminal = reflect.TypeOf(reconcile.TerminalError(nil))

// judge looks for what decides. It uses neither errors.Is nor errors.As, which never come
// back from a chain without an end.
func judge(err error, left *int) verdict {
	for ; err != nil && *left > 0; *left-- {
		if missing(err) || reflect.TypeOf(err) == terminal {
			return verdict{}
		}
		switch e := err.(type) {
		case *k8sretry.Error: // before others: it has several errors in it
			return judgeError(e)
		case apierrors.APIStatus:
			return judgeAnswer(err)
		case interface{ Unwrap() []error }:
			return judgeAll(e.Unwrap(), left)
		case interface{ Errors() []error }: // an Aggregate of apimachinery
			return judgeAll(e.Errors(), left)
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return verdict{}
		}
	}
	return verdict{}
}

// judgeAll judges several errors. If one must not be hidden or dropped, none is.
func judgeAll(errs []error, left *int) (all verdict) {
	first := true
	for _, err := range errs {
		if *left--; *left <= 0 {
			return verdict{}
		}
		if err == nil {
			continue
		}
		v := judge(err, left)
		if !first && v.fate != all.fate {
			return verdict{}
		}
		first = false
		all = verdict{v.fate, max(all.after, v.after)}
	}
	return all
}

func judgeError(e *k8sretry.Error) verdict {
	switch {
	case e.RetryAfter > 0:
		return verdict{passing, e.RetryAfter}
	case e.StopReason == k8sretry.StopNonRetryable:
		return verdict{passing, untilRead}
	}
	return verdict{passing, whilePassing}
}

func judgeAnswer(err error) verdict {
	v := k8sretry.Classify(err)
	if v.Class == k8sretry.ClassConflict {
		return verdict{passing, max(untilRead, v.RetryAfter)}
	}
	if v.Class != k8sretry.ClassPermanent || strings.HasPrefix(err.Error(), `admission webhook "`) {
		return verdict{} // a webhook denies with any code it likes
	}
	switch v.StatusCode {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return verdict{fate: hopeless}
	}
	return verdict{}
}
