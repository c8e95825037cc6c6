package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// consistent fails if a Verdict is invalid, or if the three functions contradict each
// other.
func consistent(t *testing.T, err error) k8sretry.Verdict {
	t.Helper()
	v := k8sretry.Classify(err)
	if v.Class == k8sretry.ClassNone || v.Class > k8sretry.ClassCanceled || v.Outcome > k8sretry.OutcomeExecuted ||
		v.RetryAfter < 0 || v.RetryAfter%time.Second != 0 || v.Detail == "" {
		t.Errorf("invalid verdict: %+v of %v", v, err)
	}
	if v.Class.String() == "invalid" || v.Outcome.String() == "invalid" {
		t.Errorf("verdict without a name: %+v", v)
	}
	if k8sretry.IsRetryableConnectionError(err) {
		if !v.Retryable(k8sretry.VerbGet) || v.StatusCode != 0 {
			t.Errorf("a connection error that is not retryable: %+v of %v", v, err)
		}
		if k8sretry.IsRetryableK8sError(err) {
			t.Errorf("a connection error with a status: %v", err)
		}
	}
	return v
}

func retryableCode(code int32) bool {
	return slices.Contains([]int32{408, 429, 500, 502, 503, 504}, code)
}

func FuzzClassifyStatus(f *testing.F) {
	f.Add(int32(503), "ServiceUnavailable", "apiserver is shutting down", "", "", "", int32(1))
	f.Add(int32(429), "TooManyRequests", "Cannot evict pod", "pods", "DisruptionBudget", "x", int32(0))
	f.Add(int32(409), "Conflict", `Operation cannot be fulfilled on pods/binding "a": etcdserver: request timed out`, "pods/binding", "", "", int32(-5))
	f.Add(int32(404), "NotFound", "", "", "UnexpectedServerResponse", "404 page not found", int32(1<<31-1))
	f.Add(int32(400), "", `admission webhook "x" denied the request: no`, "resourcequotas", "NamespaceTerminating", "", int32(0))
	f.Add(int32(500), "InternalError", "Internal error occurred: failed calling webhook", "", "FieldManagerConflict", "", int32(0))
	f.Add(int32(0), "", "", "", "", "", int32(0))
	// A little beside the most frequent statuses.
	f.Add(int32(503), "ServiceUnavailable", "the server is currently unable to handle the request", "", "", "", int32(0))
	f.Add(int32(503), "ServiceUnavailable", "the request has been made before all known HTTP paths have been installed", "", "", "", int32(0))
	f.Add(int32(503), "", "the server is currently unable to handle the request", "", "", "", int32(0))
	f.Add(int32(503), "InternalError", "the server is currently unable to handle the request", "", "", "", int32(0))
	f.Add(int32(503), "ServiceUnavailable", "the server could not", "", "UnexpectedServerResponse", "service unavailable", int32(0))
	f.Add(int32(404), "NotFound", `namespaces "a" not found`, "namespaces", "", "", int32(0))
	f.Add(int32(404), "", `pods "a" not found`, "pods", "", "", int32(0))
	f.Add(int32(404), "Expired", "", "", "", "", int32(0))
	f.Add(int32(409), "AlreadyExists", "the server reported a conflict", "pods", "UnexpectedServerResponse", "", int32(0))
	f.Add(int32(409), "AlreadyExists", `admission webhook "x" denied the request: no`, "pods", "", "", int32(0))
	f.Add(int32(429), "TooManyRequests", `admission webhook "x" denied the request: no`, "", "", "", int32(1))
	f.Add(int32(404), "NotFound", `admission webhook "x" denied the request: no`, "pods", "", "", int32(0))
	f.Add(int32(504), "Timeout", `admission webhook "x" denied the request: no`, "pods", "", "", int32(0))
	f.Add(int32(504), "Timeout", "", "", "ResourceVersionTooLarge", "", int32(1))
	f.Add(int32(504), "NotFound", "", "", "", "", int32(1))
	f.Fuzz(func(t *testing.T, code int32, reason, message, kind, cause, causeMessage string, seconds int32) {
		status := metav1.Status{Code: code, Reason: metav1.StatusReason(reason), Message: message}
		if kind != "" || cause != "" || seconds != 0 {
			status.Details = &metav1.StatusDetails{Kind: kind, RetryAfterSeconds: seconds}
		}
		if cause != "" {
			status.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseType(cause), Message: causeMessage}}
		}
		err := &apierrors.StatusError{ErrStatus: status}
		v := consistent(t, err)
		if v.StatusCode != int(code) {
			t.Errorf("code %d became %d", code, v.StatusCode)
		}
		if want := time.Duration(max(0, seconds)) * time.Second; v.RetryAfter != want {
			t.Errorf("delay %v instead of %v", v.RetryAfter, want)
		}
		if k8sretry.IsRetryableK8sError(err) != retryableCode(code) {
			t.Errorf("IsRetryableK8sError does not depend on the code %d", code)
		}
		if k8sretry.IsRetryableConnectionError(err) {
			t.Error("a status is no connection error")
		}
		if w := k8sretry.Classify(fmt.Errorf("x: %w", err)); w != v {
			t.Errorf("wrapping changes %+v to %+v", v, w)
		}
		if w := k8sretry.Classify(embedding{err, 1}); w != v {
			t.Errorf("embedding changes %+v to %+v", v, w)
		}
	})
}

// build makes an error from bytes: one byte selects an error or a wrapper, the rest makes
// what it wraps. It also returns the code of the first status, -1 if there is none.
func build(b []byte) (code int32, rest []byte, err error) {
	if len(b) == 0 {
		return -1, nil, io.EOF
	}
	head, b := b[0], b[1:]
	leaf := func(err error) (int32, []byte, error) { return -1, b, err }
	next := func() int32 {
		if len(b) == 0 {
			return 0
		}
		n := int32(b[0])
		b = b[1:]
		return n
	}
	wrap := func(w func(error) error) (int32, []byte, error) {
		code, rest, inner := build(b)
		return code, rest, w(inner)
	}
	join := func(j func(...error) error) (int32, []byte, error) {
		first, rest, x := build(b)
		second, rest, y := build(rest)
		if first == -1 {
			first = second
		}
		return first, rest, j(x, y)
	}
	switch head % 32 {
	case 0:
		return leaf(errors.New("plain"))
	case 1:
		return leaf(context.Canceled)
	case 2:
		return leaf(context.DeadlineExceeded)
	case 3:
		return leaf(syscall.Errno(next()))
	case 4:
		n := next()
		return leaf(&net.DNSError{IsNotFound: n&1 != 0, IsTemporary: n&2 != 0, IsTimeout: n&4 != 0})
	case 5:
		return leaf(http2.StreamError{Code: http2.ErrCode(next())})
	case 6:
		return leaf(http2.ConnectionError(next()))
	case 7:
		n := int(next())
		return leaf(errors.New(string(b[:min(len(b), n)])))
	case 8:
		return leaf((*apierrors.StatusError)(nil))
	case 9:
		return leaf((*single)(nil))
	case 10:
		return leaf((*several)(nil))
	case 11:
		return leaf(embedding{})
	case 12:
		return leaf(&slow{"slow"})
	case 13:
		return leaf(&loop{})
	case 14:
		return leaf(&plain{"plain"})
	case 15:
		return leaf(errors.New("rate: Wait(n=1) would exceed context deadline"))
	case 16:
		return wrap(func(err error) error { return fmt.Errorf("a: %w", err) })
	case 17:
		return wrap(func(err error) error { return &url.Error{Op: "Get", Err: err} })
	case 18:
		ops := []string{"dial", "read", "write", "proxyconnect", "remote error", "local error"}
		o := ops[int(next())%len(ops)]
		return wrap(func(err error) error { return &net.OpError{Op: o, Err: err} })
	case 19:
		return wrap(func(err error) error { return os.NewSyscallError("read", err) })
	case 20:
		return wrap(func(err error) error { return &single{err} })
	case 21:
		return wrap(func(err error) error { return aggregate(err) })
	case 22:
		return wrap(func(err error) error { return &k8sretry.Error{Err: err} })
	case 23:
		return join(errors.Join)
	case 24:
		return join(aggregate)
	case 25:
		return join(func(errs ...error) error { return fmt.Errorf("%w, %w", errs[0], errs[1]) })
	case 26:
		return join(func(errs ...error) error { return &multierror{errs} })
	default:
		code := 100 + 2*next() + int32(head&1)
		s := failure(code, metav1.StatusReason([]string{"", "Conflict", "Timeout", "InternalError"}[next()%4]), "message")
		err := delayed(s, next())
		return code, b, err
	}
}

func FuzzClassifyChain(f *testing.F) {
	f.Add([]byte{17, 18, 0, 19, 3, 111})
	f.Add([]byte{23, 8, 23, 11, 27, 200, 0, 1})
	f.Add([]byte{22, 24, 17, 1, 28, 150, 1, 9})
	f.Add([]byte{20, 25, 9, 26, 13, 27, 205, 3, 0})
	f.Add([]byte{17, 18, 4, 0})
	f.Add([]byte{17, 18, 1, 19, 3, 111})
	f.Add([]byte{18, 0, 19, 3, 111})
	f.Add([]byte{17, 18, 4, 19, 3, 111})
	f.Add([]byte{17, 18, 0, 19, 3, 104})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1000 {
			return
		}
		code, _, err := build(b)
		v := consistent(t, err)
		endless := v.Detail == "error chain too long" || slices.ContainsFunc(b, func(c byte) bool { return c%32 == 13 })
		if !endless && k8sretry.IsRetryableK8sError(err) != retryableCode(code) {
			t.Errorf("IsRetryableK8sError does not depend on the first code, %d, of %v", code, v)
		}
		if !endless && (code == -1) != (v.StatusCode == 0) {
			t.Errorf("the first code is %d, the code of the verdict %d", code, v.StatusCode)
		}
		for name, wrapped := range map[string]error{
			"%w": fmt.Errorf("a: %w", err), "join": errors.Join(err), "aggregate": aggregate(err), "Error": &k8sretry.Error{Err: err},
			"sentinel": fmt.Errorf("%w: %w", errors.New("sentinel"), err),
		} {
			if w := k8sretry.Classify(wrapped); w != v && !endless {
				t.Errorf("%s changes %+v to %+v", name, v, w)
			}
			if k8sretry.IsRetryableConnectionError(wrapped) != k8sretry.IsRetryableConnectionError(err) && !endless {
				t.Errorf("%s changes IsRetryableConnectionError", name)
			}
		}
	})
}
