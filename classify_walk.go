// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/errchain"
)

// walk is the state of one walk through an error, and what it has found so far.
type walk struct {
	left          int           // errors that may still be visited
	inner         *Error        // the first Error of this package
	permanent     bool          // something was marked with Permanent
	status        bool          // an API status was found
	canceled      bool          // a cancellation was found
	objectsBefore bool          // an API status without beforeObjects was found
	worst         *meaning      // the least safe meaning, nil if nothing was found
	code          int           // the code of its status, else of another one
	outcome       Outcome       // the highest of all
	retryAfter    time.Duration // the longest of all
}

// errorPath is what a walk passed on the way to an error at the end of a chain.
type errorPath struct {
	badURL bool  // a *url.Error of url.Parse
	client bool  // another *url.Error: the error came from an HTTP client
	setup  bool  // an operation that establishes a connection: nothing was sent
	stream bool  // an operation that reads or writes
	alert  bool  // a TLS alert
	local  bool  // the alert was sent by this side
	parent error // what wraps the end, if follow does not know its type
}

// follow unwraps err down to an API status, the members of a joined error, or an error
// that wraps nothing. A nil end stands for a nil pointer on the way.
//
// It is the only place that unwraps errors: errors.As walks the chain once per question,
// allocates, does not look into an Aggregate, and panics on a nil *StatusError.
func (w *walk) follow(err error, p *errorPath) (status *metav1.Status, members []error, end error) {
	var parent error
	for ; w.left > 0; w.left-- {
		var next error
		switch e := err.(type) {
		case *apierrors.StatusError:
			if e == nil {
				return nil, nil, nil
			}
			return &e.ErrStatus, nil, nil
		case *url.Error:
			switch {
			case e == nil:
				return nil, nil, nil
			case e.Op == "parse":
				p.badURL = true
				return nil, nil, nil
			}
			p.client, next = true, e.Err
		case *net.OpError:
			if e == nil {
				return nil, nil, nil
			}
			p.operation(e.Op)
			next = e.Err
		case *os.SyscallError:
			if e == nil {
				return nil, nil, nil
			}
			next = e.Err
		case *Error:
			if e == nil {
				return nil, nil, nil
			}
			if w.inner == nil {
				w.inner = e
			}
			if next = e.Err; next == nil && e.StopReason == StopQueueTimeout {
				next = ErrQueueTimeout
			}
		case *permanentError:
			w.permanent = true
			next = e.err
		case *clientgo.HiddenError: // hides the error from client-go only
			if e == nil {
				return nil, nil, nil
			}
			next = e.Hidden()
		case nil, syscall.Errno, *net.DNSError, *tls.CertificateVerificationError, x509.SystemRootsError:
			return nil, nil, err
		case *json.UnmarshalTypeError: // what it wraps, since Go 1.27, says less
			return nil, nil, err

		// Types of other packages. Their methods are not called on a nil pointer.
		case apierrors.APIStatus:
			return statusOf(e), nil, nil
		case interface{ WrappedErrors() []error }: // github.com/hashicorp/go-multierror
			if errchain.IsNil(err) {
				return nil, nil, nil
			}
			return nil, e.WrappedErrors(), err
		case interface{ Unwrap() error }:
			if reflect.TypeOf(err) != wrapError && errchain.IsNil(err) {
				return nil, nil, nil
			}
			if next = e.Unwrap(); next == nil { // it wraps nothing
				p.parent = parent
				return nil, nil, err
			}
			if isGroupsWrapper(err) {
				return nil, []error{next}, err
			}
		case interface{ Unwrap() []error }:
			if errchain.IsNil(err) {
				return nil, nil, nil
			}
			return nil, e.Unwrap(), err
		case interface{ Errors() []error }: // an Aggregate
			if errchain.IsNil(err) {
				return nil, nil, nil
			}
			return nil, e.Errors(), err
		default:
			p.parent = parent
			return nil, nil, err
		}
		parent, err = err, next
	}
	return nil, nil, errTooLong
}

// errTooLong stands for the errors that a walk did not visit.
var errTooLong = errors.New("error chain too long")

// firstCode returns the code of the first API status in err, depth first.
func (w *walk) firstCode(err error) (code int32, ok bool) {
	var p errorPath
	status, members, _ := w.follow(err, &p)
	if status != nil {
		return status.Code, true
	}
	for _, member := range members {
		if w.left--; w.left <= 0 {
			break
		}
		if code, ok = w.firstCode(member); ok {
			return code, true
		}
	}
	return 0, false
}

// visit adds the meaning of err, which was reached by p.
func (w *walk) visit(err error, p errorPath) {
	status, members, end := w.follow(err, &p)
	switch {
	case status != nil:
		m := statusMeaning(status)
		w.add(m, m.outcome, int(status.Code))
		w.retryAfter = max(w.retryAfter, retryAfter(status))
		w.status = true
		w.objectsBefore = w.objectsBefore || m.flags&beforeObjects == 0
	case isFailedDiscovery(end):
		w.visitDiscovery(end, members)
	case members == nil:
		if m := networkMeaning(end, &p); m != nil {
			w.add(m, p.outcome(m.outcome), 0)
		}
	default:
		for _, member := range members {
			if w.left--; w.left <= 0 {
				w.add(&meansTooLong, meansTooLong.outcome, 0)
				return
			}
			if member != nil {
				w.visit(member, p)
			}
		}
	}
}

// add combines m with the meanings found before. Of two that are equally safe, the first
// remains.
func (w *walk) add(m *meaning, o Outcome, code int) {
	w.canceled = w.canceled || m.class == ClassCanceled
	if w.worst == nil {
		w.worst, w.outcome, w.code = m, o, code
		return
	}
	was, is := w.worst.class.severity(), m.class.severity()
	worse := is > was || is == 0 && was == 0 && o > w.outcome
	if worse {
		w.worst = m
	}
	if worse && code != 0 || w.code == 0 {
		w.code = code
	}
	w.outcome = max(w.outcome, o)
}

// severity orders the classes by how clearly they rule out another attempt. A canceled
// request is often one that was given up because another one had failed, so that any other
// failure says more.
func (c Class) severity() int {
	switch c {
	case ClassBlocked:
		return 1
	case ClassConflict:
		return 2
	case ClassPermanent:
		return 3
	case ClassCanceled:
		return -1
	default:
		return 0
	}
}

// verdict stores the result of the walk in v.
func (w *walk) verdict(v *Verdict) {
	m := w.worst
	if m == nil {
		m = &meansUnknown
	}
	flags := m.flags &^ beforeObjects
	if w.status {
		flags |= answered
		if !w.objectsBefore {
			flags |= beforeObjects
		}
	}
	*v = Verdict{Class: m.class, Outcome: w.outcome, flags: flags, StatusCode: w.code, RetryAfter: w.retryAfter, Detail: m.detail}
}

// statusOf returns the status of an error of another package, nil if it has none. The
// usual one embeds a *StatusError, whose method panics if that pointer is nil.
func statusOf(s apierrors.APIStatus) (status *metav1.Status) {
	defer func() { _ = recover() }() // the status remains nil
	st := s.Status()
	return &st
}

// wrapError is the type of an error with a single %w, the most frequent wrapper. It is
// never a nil pointer.
var wrapError = reflect.TypeOf(fmt.Errorf("%w", errTooLong))
