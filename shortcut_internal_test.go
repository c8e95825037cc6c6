package k8sretry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestIsUnavailable(t *testing.T) {
	for _, reason := range []metav1.StatusReason{
		"", "le", "ServiceUnavailab", "ServiceUnavailabl", "ServiceUnavailablE", "serviceUnavailable", "ServiceUnavailable ",
		metav1.StatusReasonServiceUnavailable, metav1.StatusReasonServerTimeout, metav1.StatusReasonTooManyRequests,
	} {
		assert.Equal(t, reason == metav1.StatusReasonServiceUnavailable, isUnavailable(reason), reason)
	}
}

// A call judges each of its failures into the same Verdict: nothing of the last is left.
func TestVerdictIsUsedAgain(t *testing.T) {
	used := Classify(apierrors.NewTooManyRequests("later", 7))
	for _, err := range []error{
		apierrors.NewServiceUnavailable("the server is currently unable to handle the request"),
		fmt.Errorf("get: %w", apierrors.NewServiceUnavailable("")),
		&url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}},
		&url.Error{Op: "Get", Err: io.EOF},
		fmt.Errorf("get: %w", io.EOF),
		errors.New("the caller's own"),
		context.Canceled,
		(*apierrors.StatusError)(nil),
		nil,
	} {
		v := used
		classify(err, &v)
		assert.Equal(t, Classify(err), v, "%v", err)
	}
}
