package k8sretry_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

func TestCodeDecidesIsRetryableK8sError(t *testing.T) {
	retryable := map[int32]bool{408: true, 429: true, 500: true, 502: true, 503: true, 504: true}
	for code := int32(-1); code < 700; code++ {
		for _, reason := range []metav1.StatusReason{"", metav1.StatusReasonConflict, metav1.StatusReasonTooManyRequests} {
			assert.Equal(t, retryable[code], k8sretry.IsRetryableK8sError(failure(code, reason, "")), "%d %q", code, reason)
		}
	}
}

func TestIsRetryableK8sErrorSearchesTheChain(t *testing.T) {
	for name, err := range chains(failure(503, metav1.StatusReasonServiceUnavailable, "")) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "503 %s", name)
	}
	for name, err := range chains(failure(404, metav1.StatusReasonNotFound, "")) {
		assert.False(t, k8sretry.IsRetryableK8sError(err), "404 %s", name)
	}
	for name, err := range chains(embedding{failure(502, "", ""), 1}) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "embedded 502 %s", name)
	}
	for name, err := range chains(&carrier{504}) {
		assert.True(t, k8sretry.IsRetryableK8sError(err), "504 of another type %s", name)
	}
}

func TestFirstStatusDecidesIsRetryableK8sError(t *testing.T) {
	notFound, unavailable, empty := failure(404, "", ""), failure(503, "", ""), failure(0, "", "")
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"404 before 503", errors.Join(notFound, unavailable), false},
		{"503 before 404", errors.Join(unavailable, notFound), true},
		{"depth first", errors.Join(fmt.Errorf("a: %w", errors.Join(io.EOF, notFound)), unavailable), false},
		{"a status without a code decides", errors.Join(empty, unavailable), false},
		{"an aggregate before a status", errors.Join(aggregate(unavailable), notFound), true},
		{"an Error of this package", errors.Join(&k8sretry.Error{Err: notFound}, unavailable), false},
	} {
		assert.Equal(t, c.want, k8sretry.IsRetryableK8sError(c.err), c.name)
	}
	// The predicates of apierrors use the same order.
	assert.True(t, apierrors.IsNotFound(errors.Join(fmt.Errorf("a: %w", apierrors.NewNotFound(pods, "a")), unavailable)))
}

func TestErrorWithoutStatusIsNoRetryableK8sError(t *testing.T) {
	for _, err := range []error{nil, io.EOF, context.DeadlineExceeded, errors.New("503"), errors.Join(io.EOF), &k8sretry.Error{}} {
		assert.False(t, k8sretry.IsRetryableK8sError(err), "%v", err)
	}
}

func TestStatusOrCancellationIsNoConnectionError(t *testing.T) {
	reset := call("read", "read", syscall.ECONNRESET)
	for name, err := range map[string]error{
		"a status":                    errors.Join(reset, failure(503, "", "")),
		"a status with another class": errors.Join(reset, failure(429, "", "")),
		"a cancellation":              errors.Join(reset, context.Canceled),
		"a certificate":               errors.Join(reset, x509.UnknownAuthorityError{}),
	} {
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
	assert.True(t, k8sretry.IsRetryableConnectionError(errors.Join(errors.New("caller"), reset)))

}

func TestNilIsNoFailure(t *testing.T) {
	assert.Zero(t, k8sretry.Classify(nil))
	assert.False(t, k8sretry.IsRetryableK8sError(nil))
	assert.False(t, k8sretry.IsRetryableConnectionError(nil))
}

// A call stores the verdict on each of its failures in the same Verdict.
func TestNothingRemainsOfThePreviousFailure(t *testing.T) {
	refusal := &url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	for _, err := range []error{
		unavailable(), fmt.Errorf("get: %w", unavailable()), refusal, &url.Error{Op: "Get", Err: io.EOF},
		fmt.Errorf("get: %w", io.EOF), errors.New("caller"), (*apierrors.StatusError)(nil),
	} {
		synctest.Test(t, func(t *testing.T) {
			var seen recorder
			_, _ = k8sretry.Do(t.Context(), fails(tooMany(7), err).get, k8sretry.WithMaxRetries(1), k8sretry.WithObserver(&seen))
			e, v := seen.events[1], k8sretry.Classify(err)
			assert.Equal(t, k8sretry.Verdict{Class: e.Class, Outcome: e.Outcome, StatusCode: e.StatusCode, RetryAfter: e.RetryAfter, Detail: e.Detail}, exported(v), "%v", err)
		})
	}
}
