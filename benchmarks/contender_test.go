package benchmarks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// The settings all contenders share, as far as their library has them.
const (
	maxRetries = 3
	maxDelay   = 30 * time.Second
	multiplier = 2
	jitter     = 0.2
)

// call is what is retried: the shape of a read through a typed client.
type call = func(context.Context) (*corev1.ConfigMap, error)

// runner makes n calls, one after the other, and returns what the last one
// returned. It holds the loop, so that the library is called directly, as in a
// service: a call through a function value would cost each contender the same
// nanosecond and make the ratios look better than they are.
type runner func(ctx context.Context, n int, fn call) (*corev1.ConfigMap, error)

// contender is one way to retry a call.
type contender struct {
	name string
	// prepare makes what may be shared by all calls and goroutines, with the
	// given first delay. What may only be shared by the calls of one goroutine
	// is made by the runner before its loop.
	prepare func(initial time.Duration) runner
	// unlimited: the library has no limit of attempts in this form.
	unlimited bool
	// deaf: a waiting call does not notice that its context has ended.
	deaf bool
}

// contenders lists everybody, in the order of the tables.
var contenders = []contender{
	{name: "plain", prepare: plain},
	{name: "hand", prepare: handWritten},
	{name: "k8sretry-prepared", prepare: oursPrepared},
	{name: "k8sretry-options", prepare: oursOptions},
	{name: "cenkalti-best", prepare: cenkaltiBest},
	{name: "cenkalti-usual", prepare: cenkaltiUsual},
	{name: "avast-best", prepare: avastBest},
	{name: "avast-usual", prepare: avastUsual},
	{name: "sethvargo-best", prepare: sethvargoBest},
	{name: "sethvargo-usual", prepare: sethvargoUsual},
	{name: "failsafe-best", prepare: failsafeBest},
	{name: "failsafe-usual", prepare: failsafeUsual},
	{name: "gax-best", prepare: gaxBest},
	{name: "gax-usual", prepare: gaxUsual, unlimited: true},
	{name: "wait-best", prepare: waitBest},
	{name: "wait-usual", prepare: waitUsual},
	{name: "onerror-best", prepare: onErrorBest, deaf: true},
	{name: "onerror-usual", prepare: onErrorUsual, deaf: true},
}

// plain makes the call and nothing else.
func plain(time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = fn(ctx)
		}
		return v, err
	}
}

// predicates tells transient failures apart with the predicates that
// apimachinery offers, joined as they are in many controllers.
func predicates(err error) bool {
	return apierrors.IsServerTimeout(err) ||
		apierrors.IsTimeout(err) ||
		apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) ||
		apierrors.IsInternalError(err) ||
		utilnet.IsConnectionRefused(err) ||
		utilnet.IsConnectionReset(err) ||
		utilnet.IsHTTP2ConnectionLost(err) ||
		utilnet.IsProbableEOF(err)
}

// transient is the check of the hand-written loop: by code for answers of the
// server, by cause for lost connections.
func transient(err error) bool {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		switch status.ErrStatus.Code {
		case 408, 429, 500, 502, 503, 504:
			return true
		}
		return false
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno == syscall.ECONNREFUSED || errno == syscall.ECONNRESET
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// What the calls return.
var (
	configMap = &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"},
		Data:       map[string]string{"colour": "blue"},
	}
	errUnavailable error = apierrors.NewServiceUnavailable("the server is currently unable to handle the request")
	errNotFound    error = apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "settings")
	errRefused     error = &url.Error{
		Op:  "Get",
		URL: "https://10.96.0.1:443/api/v1/namespaces/default/configmaps/settings",
		Err: &net.OpError{
			Op:   "dial",
			Net:  "tcp",
			Addr: &net.TCPAddr{IP: net.IPv4(10, 96, 0, 1), Port: 443},
			Err:  os.NewSyscallError("connect", syscall.ECONNREFUSED),
		},
	}
)

func succeeds(context.Context) (*corev1.ConfigMap, error) { return configMap, nil }

func notFound(context.Context) (*corev1.ConfigMap, error) { return nil, errNotFound }

// failsTwice returns a function that fails at two calls of three. It is for one
// goroutine.
func failsTwice() call {
	n := 0
	return func(context.Context) (*corev1.ConfigMap, error) {
		if n++; n%3 != 0 {
			return nil, errUnavailable
		}
		return configMap, nil
	}
}
