package k8sretry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
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

// IsRetryableK8sError reports whether err holds an API status whose code is 408,
// 429, 500, 502, 503 or 504. It looks at the code and at nothing else.
//
// The status may be anywhere in the chain: wrapped, joined by errors.Join or by
// several %w, or in an Aggregate of k8s.io/apimachinery/pkg/util/errors, into which
// the predicates of apierrors do not look. Of several statuses the first in
// depth-first order decides, as it does for those predicates. A nil error, an error
// without a status and a nil *StatusError give false; nothing panics.
//
// [Do] does not ask this function but the finer [Classify]: a 500 can be a lasting
// failure (an object too large for etcd), a 409 a passing one (a race for a quota's
// status), and after a 504 the call may have been carried out.
func IsRetryableK8sError(err error) bool {
	w := walk{left: errchain.MaxNodes}
	switch code, _ := w.firstCode(err); code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// IsRetryableConnectionError reports whether err says that the connection failed
// in a way that may pass: refused, no route, reset, broken pipe, EOF, a cut body, a
// lost HTTP/2 connection or stream, a name server that did not answer, a proxy that
// refused for now, and timeouts of dialling, of the TLS handshake and of the client.
//
// It is false for
//
//   - anything that holds an API status, whatever its message quotes: the server has answered;
//   - certificates and TLS alerts, which fail the same way again;
//   - a name that does not exist: it is mistyped more often than late. [Classify]
//     gives it [ClassBlocked], so that a caller who waits for the name may retry it;
//   - [context.Canceled], and errors of the wire that this package does not know.
//
// It cannot see the caller's context. A [context.DeadlineExceeded] gives true,
// because the timeout of rest.Config and those of net look just like it while the
// caller's context is alive: ask ctx.Err() first, as Do does.
func IsRetryableConnectionError(err error) bool {
	if refused(err) {
		return true
	}
	w := walk{left: errchain.MaxNodes}
	w.judge(err, trail{})
	if w.worst == nil || w.status || w.worst == &meansUnknownWire || w.worst == &meansPluginFailed {
		return false
	}
	switch w.worst.class {
	case ClassRefused, ClassConnection, ClassTimeout:
		return true
	}
	return false
}

// Classify says what err means: whether it passes, what the server did, and how
// long it asked to wait. It is what [Do] decides by. Nil gives the zero Verdict.
//
// It knows the statuses of kube-apiserver, of admission webhooks, etcd, aggregated
// servers and proxies, and the errors of net/http, golang.org/x/net/http2,
// crypto/tls, net and context, anywhere in the chain. An API status goes before
// what is wrapped around it. Where errors are joined, each one that means something
// is judged and the least safe answer stands: a failure that lasts before one that
// passes, the higher [Outcome], the longer RetryAfter. An [*Error] of this package is
// judged by the last error of the API in it; one without, which a [Limiter] held back, is
// [ClassThrottled].
//
// Some answers worth knowing:
//
//   - 401, a missing namespace, a quota, an API that is not served and a host name
//     that does not exist are [ClassBlocked]: retried only if the caller asks for it.
//   - AlreadyExists is [ClassPermanent]. Sent as plain text it is no proof of
//     anything (client-go makes it of every such 409 to a POST), and the outcome is
//     unknown.
//   - [context.DeadlineExceeded] is [ClassTimeout]: Classify cannot see whose it is.
//   - An error that nobody knows is [ClassConnection] with an unknown outcome if it
//     came from the wire (in a *url.Error), else [ClassPermanent] and not executed:
//     it is the caller's own.
//   - A chain without end is [ClassPermanent] with an unknown outcome.
func Classify(err error) (v Verdict) {
	classify(err, &v) // inlined: five fields in registers cost more than this
	return v
}

func (v *Verdict) set(m *meaning) { v.Class, v.Outcome, v.Detail = m.class, m.outcome, m.detail }

func classifyChain(err error, v *Verdict) (inner *Error) {
	if err == nil {
		return nil
	}
	w := walk{left: errchain.MaxNodes}
	var t trail
	status, members, end := w.down(err, &t)
	switch {
	case status != nil: // no need to weigh one meaning against others
		v.set(judgeStatus(status))
		v.StatusCode, v.RetryAfter = int(status.Code), retryAfter(status)
	case members == nil: // nor here
		m := judgeNetwork(end, &t)
		if m == nil {
			m = &meansUnknown
		}
		v.Class, v.Outcome, v.Detail = m.class, t.limit(m.outcome), m.detail
	default:
		w.weigh(nil, members, end, &t)
		if w.worst == nil {
			w.add(&meansUnknown, meansUnknown.outcome, 0)
		}
		v.Class, v.Outcome, v.StatusCode, v.RetryAfter, v.Detail = w.worst.class, w.outcome, w.code, w.retryAfter, w.worst.detail
	}
	if inner := w.inner; inner != nil && inner.Attempts == 0 && (inner.StopReason == StopBreakerOpen || inner.StopReason == StopQueueTimeout) {
		v.Outcome, v.RetryAfter = OutcomeNotExecuted, max(v.RetryAfter, inner.RetryAfter) // nothing was sent; the error is another call's
	}
	return w.inner
}

// meaning is what one member of an error can mean. All meanings are variables, and
// the judges return pointers to them: handing Verdicts up from function to function
// costs more time than all the rest.
type meaning struct {
	class   Class
	outcome Outcome
	detail  string
}

var (
	meansUnknown = meaning{ClassPermanent, OutcomeNotExecuted, "unknown error"}
	meansTooLong = meaning{ClassPermanent, OutcomeUnknown, "error chain too long"}
	meansBadURL  = meaning{ClassPermanent, OutcomeNotExecuted, "malformed URL"}
)

// quote is a text that decides, and what it means.
type quote struct {
	text  string
	means *meaning
}

// begun returns the meaning of the first quote that text begins with, nil if there
// is none.
func begun(quotes []quote, text string) *meaning {
	for i := range quotes {
		if q := &quotes[i]; len(text) >= len(q.text) && text[0] == q.text[0] && text[:len(q.text)] == q.text {
			return q.means
		}
	}
	return nil
}

// walk is the state of one walk through an error, and what it has found.
type walk struct {
	left       int           // nodes that may still be visited
	inner      *Error        // the first of an inner call
	status     bool          // there is an API status
	worst      *meaning      // the least safe of the meanings, nil if there is none
	code       int           // the code of its status, else of another
	outcome    Outcome       // the highest of all
	retryAfter time.Duration // the longest of all
}

// trail is what a walk passed on its way down to a member.
type trail struct {
	badURL bool  // a *url.Error of url.Parse
	wire   bool  // a *url.Error: the error came out of an HTTP client
	setup  bool  // the connection was still being made: nothing was sent
	stream bool  // the connection was being read or written
	alert  bool  // a TLS alert: the peer, or this side, refused the other
	local  bool  // the alert is of this side
	parent error // what wraps an end of a type that down does not know, nil if nothing does
}

// down follows err down to an API status, to the members of a joined error, or to
// an error that wraps nothing more; a nil end is a nil pointer on the way. It is the
// only place that unwraps errors: errors.As walks a chain once per question,
// allocates, does not look into an Aggregate, and panics on a nil *StatusError.
func (w *walk) down(err error, t *trail) (status *metav1.Status, members []error, end error) {
	var parent error
	for ; w.left > 0; w.left-- {
		next := error(nil)
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
				t.badURL = true
				return nil, nil, nil
			}
			t.wire, next = true, e.Err
		case *net.OpError:
			if e == nil {
				return nil, nil, nil
			}
			t.enter(e.Op)
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
		case *clientgo.HiddenError: // hidden from client-go only
			if e == nil {
				return nil, nil, nil
			}
			next = e.Hidden()
		case nil, syscall.Errno, *net.DNSError, *tls.CertificateVerificationError, x509.SystemRootsError:
			return nil, nil, err

		// Foreign types. A nil pointer of one is never asked anything.
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
			next = e.Unwrap()
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
			t.parent = parent
			return nil, nil, err
		}
		parent, err = err, next
	}
	return nil, nil, errTooLong
}

// errTooLong stands for what a walk did not come to see.
var errTooLong = errors.New("error chain too long")

// firstCode is the code of the first API status in err, depth first.
func (w *walk) firstCode(err error) (code int32, ok bool) {
	var t trail
	status, members, _ := w.down(err, &t)
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

// judge adds what err means to what was found before.
func (w *walk) judge(err error, t trail) {
	status, members, end := w.down(err, &t)
	w.weigh(status, members, end, &t)
}

// weigh adds what a walk down came to.
func (w *walk) weigh(status *metav1.Status, members []error, end error, t *trail) {
	switch {
	case status != nil:
		m := judgeStatus(status)
		w.add(m, m.outcome, int(status.Code))
		w.retryAfter = max(w.retryAfter, retryAfter(status))
		w.status = true
	case members == nil || discovery(end) != nil:
		if m := judgeNetwork(end, t); m != nil {
			w.add(m, t.limit(m.outcome), 0)
		}
	default:
		for _, member := range members {
			if w.left--; w.left <= 0 {
				w.add(&meansTooLong, meansTooLong.outcome, 0)
				return
			}
			if member != nil {
				w.judge(member, *t)
			}
		}
	}
}

// add weighs a meaning against what was found before. Of two that are alike the
// first stands.
func (w *walk) add(m *meaning, o Outcome, code int) {
	if w.worst == nil {
		w.worst, w.outcome, w.code = m, o, code
		return
	}
	was, is := w.worst.class.severity(), m.class.severity()
	stands := is > was || is == 0 && was == 0 && o > w.outcome
	if stands {
		w.worst = m
	}
	if stands && code != 0 || w.code == 0 {
		w.code = code
	}
	w.outcome = max(w.outcome, o)
}

// severity orders the classes by how firmly they forbid another attempt.
func (c Class) severity() int {
	switch c {
	case ClassBlocked:
		return 1
	case ClassConflict:
		return 2
	case ClassPermanent:
		return 3
	case ClassCanceled:
		return 4
	}
	return 0
}

// statusOf asks a foreign type for its status, nil if it has none. The usual one
// embeds a *StatusError, and its method panics if that is nil.
func statusOf(s apierrors.APIStatus) (status *metav1.Status) {
	defer func() {
		if recover() != nil {
			status = nil
		}
	}()
	st := s.Status()
	return &st
}

// wrapError is the type behind a single %w, the most common wrapper of all. It is
// never a nil pointer: asking would only cost time.
var wrapError = reflect.TypeOf(fmt.Errorf("%w", errTooLong))
