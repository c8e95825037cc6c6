// SPDX-License-Identifier: Apache-2.0

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

// The settings of all contenders, as far as their library has them.
const (
	maxRetries = 3
	maxDelay   = 30 * time.Second
	multiplier = 2
	jitter     = 0.2
)

// call is the retried function. It has the signature of a read with a typed client.
type call = func(context.Context) (*corev1.ConfigMap, error)

// runner makes n calls, one after the other, and returns the results of the last one.
// The loop is in the runner, so that the library is called directly, as in a service.
// A call through a function value would add the same nanosecond to all contenders and
// so improve their ratios.
type runner func(ctx context.Context, n int, fn call) (*corev1.ConfigMap, error)

// contender is one way to retry a call.
type contender struct {
	name string
	// prepare creates what all calls and goroutines can share, with the given
	// initial delay. What only the calls of one goroutine can share is created by
	// the runner before its loop.
	prepare func(initial time.Duration) runner
	// unlimited is set if the library has no limit of attempts in this form.
	unlimited bool
	// ignoresContext is set if a waiting call does not return when its context ends.
	ignoresContext bool
}

// contenders lists the contenders in the order of the tables.
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
	{name: "onerror-best", prepare: onErrorBest, ignoresContext: true},
	{name: "onerror-usual", prepare: onErrorUsual, ignoresContext: true},
}

// plain makes the call without retries.
func plain(time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = fn(ctx)
		}
		return v, err
	}
}

// predicates recognizes transient failures with the predicates of apimachinery,
// combined as in many controllers.
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

// transient is the check of the hand-written loop: by status code for answers of the
// server, by cause for connection errors.
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

// The results of the calls.
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

// failsTwice returns a function that fails in two of three calls. It is for use by one
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
