package k8sretry

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// classify is Classify, into a Verdict. It returns the Error of an inner call of this
// package in err, nil if there is none.
//
// The commonest failures take a fraction of the time: an API status with nothing or a
// single %w around it, and a refused connection as client-go returns it. What is said of
// them is what the walk would find. Of statuses it knows those that are seen most, where
// code and reason leave no question, and asks judgeStatus about the others.
func classify(err error, v *Verdict) (inner *Error) {
	var e *apierrors.StatusError
	switch {
	case isStatus(err):
		e = err.(*apierrors.StatusError)
	case reflect.TypeOf(err) == wrapError:
		if err := err.(interface{ Unwrap() error }).Unwrap(); isStatus(err) {
			e = err.(*apierrors.StatusError)
		}
	case refused(err):
		v.set(&meansConnectionRefused)
		v.StatusCode, v.RetryAfter = 0, 0
		return nil
	}
	if e == nil {
		*v = Verdict{}
		return classifyChain(err, v)
	}
	s := &e.ErrStatus
	v.StatusCode, v.RetryAfter = int(s.Code), retryAfter(s)
	var m *meaning
	if s.Details == nil || len(s.Details.Causes) == 0 { // causes tell more
		switch s.Code {
		case http.StatusServiceUnavailable:
			if isUnavailable(s.Reason) && (s.Message == "" || len(s.Message) > 11 && s.Message[:11] == "the server ") {
				m = &meansUnavailable
			}
		case http.StatusNotFound:
			if s.Reason == metav1.StatusReasonNotFound && (s.Details == nil || s.Details.Kind != "namespaces") && !tellsMore(s.Message) {
				m = &meansNotFound
			}
		case http.StatusTooManyRequests:
			if !tellsMore(s.Message) {
				m = &meansTooManyRequests
			}
		case http.StatusConflict:
			if s.Reason == metav1.StatusReasonAlreadyExists && !tellsMore(s.Message) {
				m = &meansAlreadyExists
			}
		case http.StatusGatewayTimeout:
			if s.Reason == metav1.StatusReasonTimeout && !tellsMore(s.Message) {
				m = &meansServerTimedOut
			}
		}
	}
	if m == nil {
		m = judgeStatus(s)
	}
	v.set(m)
	return nil
}

// isStatus reports whether err is a *StatusError, nil or not. Asked like this and converted
// later it is one comparison; with "e, ok :=" the compiler makes branches of ok, too.
func isStatus(err error) bool {
	_, ok := err.(*apierrors.StatusError)
	return ok
}

// tellsMore reports whether a message may say more than the code and the reason:
// "admission webhook", "apiserver is shutting down".
func tellsMore(message string) bool { return len(message) > 0 && message[0] == 'a' }

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
