// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestNetworkErrorsEqualThoseOfRealConnections(t *testing.T) {
	cases := map[string]struct {
		serve http.HandlerFunc
		want  error
	}{
		"reset": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if assert.NoError(t, err) {
				_ = conn.(*net.TCPConn).SetLinger(0) // Close resets the connection
				_ = conn.Close()
			}
		}, k8sretrytest.ConnectionReset()},
		"closed": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, k8sretrytest.ConnectionClosed()},
		"truncated": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"kind":`)
		}, k8sretrytest.TruncatedBody()},
		"no response": {func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body) // the server notices the client's close only after the body
			<-req.Context().Done()
		}, k8sretrytest.ClientTimeout()},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.serve)
			defer server.Close()
			cfg := &rest.Config{Host: server.URL, QPS: -1}
			if name == "no response" {
				cfg.Timeout = 50 * time.Millisecond
			}
			real := post(t, cfg)
			if name == "no response" && len(types(real)) == 2 && types(real)[1] == "context.deadlineExceededError" {
				return // http.Client has a race between its two timeout errors
			}
			assert.Equal(t, types(c.want), types(real), "%v", real)
			assert.Equal(t, k8sretry.Classify(c.want), k8sretry.Classify(real))
			if name != "no response" {
				assert.Equal(t, lastText(c.want), lastText(real))
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		real, want := post(t, &rest.Config{Host: server.URL, QPS: -1}), k8sretrytest.ConnectionRefused()
		assert.Equal(t, types(want), types(real), "%v", real)
		assert.Equal(t, k8sretry.Classify(want), k8sretry.Classify(real))
		assert.Equal(t, lastText(want), lastText(real))
	})
}

func post(t *testing.T, cfg *rest.Config) error {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	cfg.Transport = transport
	cs, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	ctx := context.Background()
	_, err = cs.CoreV1().ConfigMaps("default").Create(ctx, configMap("a"), metav1.CreateOptions{})
	require.Error(t, err)
	return err
}

// lastText returns the text of the innermost error. The outer ones contain addresses.
func lastText(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}
