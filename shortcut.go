package k8sretry

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// settled reports whether a first failure that nobody was asked to judge or to log
// otherwise ends the call without another word: it is a lasting one, and nobody listens.
// It may well say no: the loop serves every call.
func settled(ctx context.Context, err error) bool {
	if e, ok := err.(*apierrors.StatusError); ok && e != nil {
		switch s := &e.ErrStatus; {
		case s.Code >= http.StatusInternalServerError: // most pass
			return false
		case s.Code == http.StatusNotFound && s.Reason == metav1.StatusReasonNotFound && (s.Details == nil || len(s.Details.Causes) == 0):
			return defaultLoggerSilent() // a Get that finds nothing is the commonest by far
		}
	}
	return settledOtherwise(ctx, err)
}

func settledOtherwise(ctx context.Context, err error) bool {
	if m, s := shortcut(err); s != nil {
		return !m.class.transient() && defaultLoggerSilent()
	}
	v := Classify(err)
	return !v.Class.transient() && v.Class != ClassCanceled && ctx.Err() == nil && defaultLoggerSilent()
}

// shortcut is Classify for the commonest failures, in a fraction of the time: an API
// status with nothing or a single %w around it, and a refused connection as client-go
// returns it. The status is nil for the latter, the meaning for all others. What it says
// is what the walk would find. Of statuses it knows those that are seen most, where code
// and reason leave no question, and asks judgeStatus about the others.
func shortcut(err error) (*meaning, *metav1.Status) {
	e := asStatus(err)
	if e == nil {
		if reflect.TypeOf(err) != wrapError {
			if refused(err) {
				return &meansConnectionRefused, nil
			}
			return nil, nil
		}
		if e = asStatus(err.(interface{ Unwrap() error }).Unwrap()); e == nil {
			return nil, nil
		}
	}
	s := &e.ErrStatus
	if s.Details != nil && len(s.Details.Causes) > 0 || len(s.Message) > 0 && s.Message[0] == 'a' {
		return judgeStatus(s), s // causes and some texts tell more: "admission webhook", "apiserver is shutting down"
	}
	switch s.Code {
	case http.StatusServiceUnavailable:
		if isUnavailable(s.Reason) && (s.Message == "" || len(s.Message) > 11 && s.Message[:11] == "the server ") {
			return &meansUnavailable, s
		}
	case http.StatusNotFound:
		if s.Reason == metav1.StatusReasonNotFound && (s.Details == nil || s.Details.Kind != "namespaces") {
			return &meansNotFound, s
		}
	case http.StatusTooManyRequests:
		return &meansTooManyRequests, s
	case http.StatusConflict:
		if s.Reason == metav1.StatusReasonAlreadyExists {
			return &meansAlreadyExists, s
		}
	case http.StatusGatewayTimeout:
		if s.Reason == metav1.StatusReasonTimeout {
			return &meansServerTimedOut, s
		}
	}
	return judgeStatus(s), s
}

// asStatus is err if that is a *StatusError, and nil otherwise. One comparison and no
// variable that says how it ended: the compiler makes fewer branches of it.
func asStatus(err error) *apierrors.StatusError {
	if _, ok := err.(*apierrors.StatusError); ok {
		return err.(*apierrors.StatusError)
	}
	return nil
}

// isUnavailable reports whether r is metav1.StatusReasonServiceUnavailable. Two short
// comparisons take no call, one long one does.
func isUnavailable(r metav1.StatusReason) bool {
	return len(r) == 18 && r[:16] == "ServiceUnavailab" && r[16:] == "le"
}

// refused reports whether err is the refusal of a dial below an HTTP client.
func refused(err error) bool {
	u, ok := err.(*url.Error)
	if !ok || u == nil || u.Op == "parse" {
		return false
	}
	op, ok := u.Err.(*net.OpError)
	if !ok || op == nil || op.Op != "dial" {
		return false
	}
	call, ok := op.Err.(*os.SyscallError)
	if !ok || call == nil {
		return false
	}
	errno, ok := call.Err.(syscall.Errno)
	return ok && errno == syscall.ECONNREFUSED
}
