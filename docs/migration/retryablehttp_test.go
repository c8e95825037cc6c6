// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// inMemory returns a real clientset whose requests are served by a handler without a
// network, so that it works in virtual time.
func inMemory(t *testing.T, build func(*rest.Config) (kubernetes.Interface, error), serve http.HandlerFunc) (kubernetes.Interface, *k8sretrytest.Faults) {
	t.Helper()
	var faults k8sretrytest.Faults
	config := &rest.Config{Host: "http://in.memory", Transport: memory{serve}, QPS: -1}
	config.Wrap(faults.Transport)
	clientset, err := build(config)
	require.NoError(t, err)
	return clientset, &faults
}

type memory struct{ http.Handler }

func (memory) CloseIdleConnections() {} // without it client-go logs a warning

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, req)
	return w.Result(), nil
}

func servePod(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0","namespace":"default","uid":"1"}}`)
}

func TestTransportsBehaveAlikeBeforeAndAfter(t *testing.T) {
	for name, build := range map[string]func(*rest.Config) (kubernetes.Interface, error){"before": retryablehttpBefore, "after": retryablehttpAfter} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := inMemory(t, build, servePod)
				pods := clientset.CoreV1().Pods("default")
				faults.FailNext(2, "get", "pods", k8sretrytest.Status(503))
				got, err := pods.Get(t.Context(), "web-0", metav1.GetOptions{})
				require.NoError(t, err)
				assert.Equal(t, "web-0", got.Name, "two failures are retried")
				assert.Equal(t, 3, faults.Calls("get", "pods"))

				faults.FailNext(1, "get", "pods", k8sretrytest.Status(403))
				_, err = pods.Get(t.Context(), "web-0", metav1.GetOptions{})
				assert.True(t, apierrors.IsForbidden(err), "403 is not retried")

				faults.FailNext(4, "get", "pods", k8sretrytest.Status(503))
				_, err = pods.Get(t.Context(), "web-0", metav1.GetOptions{})
				assert.True(t, apierrors.IsServiceUnavailable(err), "three retries: %v", err)
				assert.Equal(t, 8, faults.Calls("get", "pods"))
			})
		})
	}
}

// go-retryablehttp repeats a create whose outcome is unknown.
func TestCreateWithLostAnswerIsNotRepeated(t *testing.T) {
	for name, want := range map[string]struct {
		build    func(*rest.Config) (kubernetes.Interface, error)
		requests int
	}{"before": {retryablehttpBefore, 2}, "after": {retryablehttpAfter, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := inMemory(t, want.build, servePod)
				faults.LoseResponses(1, "create", "pods", k8sretrytest.ConnectionClosed())
				_, err := clientset.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"}}, metav1.CreateOptions{})
				assert.Equal(t, want.requests, faults.Calls("create", "pods"))
				if name == "before" {
					assert.NoError(t, err, "two pods are created without an error")
					return
				}
				assert.NotErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			})
		})
	}
}

// client-go's own loop repeats the loop of go-retryablehttp.
func TestRetryLoopsMultiply(t *testing.T) {
	for name, want := range map[string]struct {
		build    func(*rest.Config) (kubernetes.Interface, error)
		requests int
		took     time.Duration
	}{"before": {retryablehttpBefore, 44, 43 * time.Second}, "after": {retryablehttpAfter, 4, 7 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := inMemory(t, want.build, servePod)
				faults.FailNext(99, "get", "pods", k8sretrytest.TooManyRequests(time.Second))
				start := time.Now()
				_, err := clientset.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
				assert.True(t, apierrors.IsTooManyRequests(err))
				assert.Equal(t, want.requests, faults.Calls("get", "pods"))
				assert.InDelta(t, want.took.Seconds(), time.Since(start).Seconds(), 3)
			})
		})
	}
}

// A server or a misconfigured proxy asks for a day.
func TestRetryAfterIsLimited(t *testing.T) {
	for name, want := range map[string]struct {
		build func(*rest.Config) (kubernetes.Interface, error)
		took  time.Duration
	}{"before": {retryablehttpBefore, 24 * time.Hour}, "after": {retryablehttpAfter, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := inMemory(t, want.build, servePod)
				faults.FailNext(1, "get", "pods", k8sretrytest.TooManyRequests(24*time.Hour))
				start := time.Now()
				_, _ = clientset.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
				assert.Equal(t, want.took, time.Since(start))
			})
		})
	}
}

// By default go-retryablehttp replaces the last answer by an error text.
func TestWithoutErrorHandlerTheAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := inMemory(t, func(config *rest.Config) (kubernetes.Interface, error) {
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				client := retryablehttp.NewClient()
				client.HTTPClient, client.Logger = &http.Client{Transport: next}, nil
				return &retryablehttp.RoundTripper{Client: client}
			})
			return kubernetes.NewForConfig(config)
		}, servePod)
		faults.FailNext(99, "get", "pods", k8sretrytest.Status(503))
		_, err := clientset.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
		assert.ErrorContains(t, err, "giving up after 5 attempt(s)")
		assert.False(t, apierrors.IsServiceUnavailable(err))
	})
}

// The caller of a watch restarts it, because only the caller knows where to resume.
func TestWatchesAreNotRetried(t *testing.T) {
	for name, want := range map[string]struct {
		build    func(*rest.Config) (kubernetes.Interface, error)
		requests int
	}{"before": {retryablehttpBefore, 4}, "after": {retryablehttpAfter, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := inMemory(t, want.build, servePod)
				faults.FailNext(99, "watch", "pods", k8sretrytest.Status(503))
				_, err := clientset.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{})
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, want.requests, faults.Calls("watch", "pods"))
			})
		})
	}
}
