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

// reach waits until the API server can be reached: when a pod starts, its network, a
// sidecar proxy or the server may not be available yet. Any answer of the server ends the
// wait: a program that lacks a permission must fail instead of waiting.
func reach(ctx context.Context, clientset kubernetes.Interface) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error {
		return clientset.CoreV1().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	}, k8sretry.ForConnection(), k8sretry.WithAttemptTimeout(5*time.Second), k8sretry.WithName("reach"))
}

func TestReach(t *testing.T) {
	version := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"gitVersion":"v1.37.2"}`)
	}
	says := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		away  time.Duration
		serve http.HandlerFunc
		took  time.Duration // at most
		check func(t *testing.T, err error)
	}{
		"it is there":           {0, version, 0, func(t *testing.T, err error) { assert.NoError(t, err) }},
		"it comes after 5 s":    {5 * time.Second, version, 10 * time.Second, func(t *testing.T, err error) { assert.NoError(t, err) }},
		"it does not come":      {time.Hour, version, 10 * time.Second, func(t *testing.T, err error) { assert.ErrorIs(t, err, k8sretry.ErrMaxRetries) }},
		"it lets nobody in":     {0, says(403), 0, func(t *testing.T, err error) { assert.True(t, apierrors.IsForbidden(err)) }},
		"it is there, and busy": {0, says(503), 0, func(t *testing.T, err error) { assert.True(t, apierrors.IsServiceUnavailable(err)) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				config := inMemory(new(k8sretrytest.Faults), c.serve)
				config.Wrap(func(next http.RoundTripper) http.RoundTripper { return absent{start.Add(c.away), next} })
				clientset, err := kubernetes.NewForConfig(config)
				require.NoError(t, err)
				c.check(t, reach(t.Context(), clientset))
				assert.LessOrEqual(t, time.Since(start), c.took)
			})
		})
	}
}

// absent refuses connections for some time.
type absent struct {
	until time.Time
	http.RoundTripper
}

func (a absent) RoundTrip(req *http.Request) (*http.Response, error) {
	if time.Now().Before(a.until) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return a.RoundTripper.RoundTrip(req)
}
