// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// waitForServer waits until the API server is reachable. When a pod starts, its network,
// a sidecar proxy or the server may not be ready. Any answer of the server ends the wait:
// a program without permission must fail instead of waiting.
func waitForServer(ctx context.Context, clientset kubernetes.Interface) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error {
		return clientset.CoreV1().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	}, k8sretry.ForConnection(), k8sretry.WithAttemptTimeout(5*time.Second), k8sretry.WithName("wait_for_server"))
}

func TestWaitForServer(t *testing.T) {
	version := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"gitVersion":"v1.37.2"}`)
	}
	answer := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		down  time.Duration
		serve http.HandlerFunc
		took  time.Duration // at most
		check func(t *testing.T, err error)
	}{
		"server is up":           {0, version, 0, func(t *testing.T, err error) { assert.NoError(t, err) }},
		"server is down for 5 s": {5 * time.Second, version, 10 * time.Second, func(t *testing.T, err error) { assert.NoError(t, err) }},
		"server stays down":      {time.Hour, version, 10 * time.Second, func(t *testing.T, err error) { assert.ErrorIs(t, err, k8sretry.ErrMaxRetries) }},
		"server answers 403":     {0, answer(403), 0, func(t *testing.T, err error) { assert.True(t, apierrors.IsForbidden(err)) }},
		"server answers 503":     {0, answer(503), 0, func(t *testing.T, err error) { assert.True(t, apierrors.IsServiceUnavailable(err)) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				config := inMemory(new(k8sretrytest.Faults), c.serve)
				config.Wrap(func(next http.RoundTripper) http.RoundTripper { return unreachable{start.Add(c.down), next} })
				clientset, err := kubernetes.NewForConfig(config)
				require.NoError(t, err)
				c.check(t, waitForServer(t.Context(), clientset))
				assert.LessOrEqual(t, time.Since(start), c.took)
			})
		})
	}
}

// unreachable refuses connections until a given time.
type unreachable struct {
	until time.Time
	http.RoundTripper
}

func (u unreachable) RoundTrip(req *http.Request) (*http.Response, error) {
	if time.Now().Before(u.until) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return u.RoundTripper.RoundTrip(req)
}
