// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// loopback returns a client and the faults in front of a server on the loopback
// interface, and the number of connections to it.
func loopback(t *testing.T, serve http.HandlerFunc) (*kubernetes.Clientset, *k8sretrytest.Faults, *atomic.Int32) {
	t.Helper()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(serve)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	transport := &http.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	faults := new(k8sretrytest.Faults)
	cfg := &rest.Config{Host: server.URL, Transport: transport, QPS: -1}
	cfg.Wrap(faults.Transport)
	cs, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return cs, faults, &connections
}

func TestALostResponseKeepsItsConnection(t *testing.T) {
	stored := 0
	cs, faults, connections := loopback(t, func(w http.ResponseWriter, _ *http.Request) {
		stored++
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"a":"`+strings.Repeat("x", 100_000)+`"}}`)
	})
	faults.LoseResponses(50, "create", "configmaps", k8sretrytest.Status(504))
	for range 50 {
		_, err := cs.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.True(t, apierrors.IsTimeout(err), "%v", err)
	}
	assert.Equal(t, 50, stored, "all requests are processed")
	assert.EqualValues(t, 1, connections.Load())
}

func TestALostWatchIsClosed(t *testing.T) {
	var gone sync.WaitGroup
	gone.Add(1)
	cs, faults, _ := loopback(t, func(w http.ResponseWriter, req *http.Request) {
		defer gone.Done()
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	})
	faults.LoseResponses(1, "watch", "configmaps", k8sretrytest.Status(503))
	_, err := cs.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
	assert.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	gone.Wait() // the server notices that the client has closed the stream
}

type closing struct {
	io.Reader
	closed *int
}

func (c closing) Close() error { *c.closed++; return nil }

func TestBodiesAreClosed(t *testing.T) {
	var requests, responses int
	var faults k8sretrytest.Faults
	transport := faults.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
		_ = req.Body.Close()
		return &http.Response{StatusCode: 200, Body: closing{strings.NewReader("{}"), &responses}, Request: req}, nil
	}))
	send := func() {
		req, err := http.NewRequest("POST", "http://in.memory/api/v1/pods", closing{strings.NewReader("{}"), &requests})
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	faults.FailNext(1, "*", "*", k8sretrytest.ConnectionReset())
	send()
	assert.Equal(t, 1, requests, "closed without having been read")
	faults.LoseResponses(1, "*", "*", k8sretrytest.ConnectionReset())
	send()
	assert.Equal(t, []int{2, 1}, []int{requests, responses})
}

func TestAConnectionErrorReplacesALostResponse(t *testing.T) {
	var faults k8sretrytest.Faults
	down := errors.New("down")
	transport := faults.Transport(roundTrip(func(*http.Request) (*http.Response, error) { return nil, down }))
	faults.LoseResponses(1, "*", "*", k8sretrytest.ConnectionClosed())
	_, err := transport.RoundTrip(httptest.NewRequest("GET", "/api/v1/pods", nil))
	assert.ErrorIs(t, err, down)
}

type idle struct {
	roundTrip
	closed *bool
}

func (i idle) CloseIdleConnections() { *i.closed = true }

func TestATransportForwardsToNext(t *testing.T) {
	var faults k8sretrytest.Faults
	closed := false
	inner := idle{closed: &closed}
	transport := faults.Transport(inner)
	wrapper, ok := transport.(utilnet.RoundTripperWrapper)
	require.True(t, ok)
	assert.Equal(t, inner.closed, wrapper.WrappedRoundTripper().(idle).closed)
	utilnet.CloseIdleConnectionsFor(transport)
	assert.True(t, closed)
	assert.Equal(t, http.DefaultTransport, faults.Transport(nil).(utilnet.RoundTripperWrapper).WrappedRoundTripper())
}

// A caller sees a 429 with a Retry-After only after 11 requests.
func TestClientGoItselfRetriesResponsesWithRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cs, faults := inMemory(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}`)
		})
		get := func() error {
			_, err := cs.CoreV1().ConfigMaps("default").Get(t.Context(), "a", metav1.GetOptions{})
			return err
		}
		start := time.Now()
		faults.FailNext(10, "get", "configmaps", k8sretrytest.TooManyRequests(time.Second))
		require.NoError(t, get())
		assert.Equal(t, 10*time.Second, time.Since(start))
		assert.Equal(t, 11, faults.Calls("get", "configmaps"))

		faults.FailNext(11, "get", "configmaps", k8sretrytest.TooManyRequests(time.Second))
		assert.True(t, apierrors.IsTooManyRequests(get()))
		faults.FailNext(10, "get", "configmaps", k8sretrytest.ConnectionClosed())
		require.NoError(t, get(), "client-go also retries reads after a lost connection")
	})
}

func TestARealClientIsRetried(t *testing.T) {
	stored := 0
	cs, faults, _ := loopback(t, func(w http.ResponseWriter, _ *http.Request) {
		stored++
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}`)
	})
	var recorder k8sretrytest.Recorder
	faults.FailNext(1, "update", "configmaps", k8sretrytest.Status(503))
	faults.LoseResponses(1, "update", "configmaps", k8sretrytest.TruncatedBody())
	err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
		_, err := cs.CoreV1().ConfigMaps("default").Update(ctx, configMap("a"), metav1.UpdateOptions{})
		return err
	}, quick, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithObserver(&recorder))
	require.NoError(t, err)
	recorder.AssertRetried(t, 2)
	assert.Equal(t, 2, stored)
	assert.Equal(t, 3, faults.Calls("update", "configmaps"))
}
