package k8sretry_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
)

// commonErrors are the shapes that most failed calls have.
func commonErrors() []struct {
	name string
	err  error
} {
	pods := schema.GroupResource{Resource: "pods"}
	notFound := apierrors.NewNotFound(pods, "web-0")
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	return []struct {
		name string
		err  error
	}{
		{"404", notFound},
		{"409", apierrors.NewConflict(pods, "web-0", errors.New("the object has been modified"))},
		{"429", apierrors.NewTooManyRequests("slow down", 1)},
		{"503", apierrors.NewServiceUnavailable("apiserver not ready")},
		{"503_generic", apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, http.MethodGet, pods, "web-0", "no healthy upstream", 0, true)},
		{"404_wrapped", fmt.Errorf("reading pod web-0: %w", notFound)},
		{"404_wrapped_twice", fmt.Errorf("reconciling: %w", fmt.Errorf("reading pod web-0: %w", notFound))},
		{"refused", &url.Error{Op: "Get", URL: "https://10.0.0.1", Err: refused}},
	}
}

func TestCommonErrorsAreClassifiedWithoutAllocation(t *testing.T) {
	for _, c := range commonErrors() {
		t.Run(c.name, func(t *testing.T) {
			assert.Zero(t, testing.AllocsPerRun(100, func() { k8sretry.Classify(c.err) }), "Classify")
			assert.Zero(t, testing.AllocsPerRun(100, func() { k8sretry.IsRetryableK8sError(c.err) }), "IsRetryableK8sError")
			assert.Zero(t, testing.AllocsPerRun(100, func() { k8sretry.IsRetryableConnectionError(c.err) }), "IsRetryableConnectionError")
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, c := range commonErrors() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k8sretry.Classify(c.err)
			}
		})
	}
}

func BenchmarkIsRetryableK8sError(b *testing.B) {
	for _, c := range commonErrors() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k8sretry.IsRetryableK8sError(c.err)
			}
		})
	}
}
