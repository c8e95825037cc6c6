// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a running service.
type running struct {
	url  string
	stop context.CancelFunc
	done chan error
	log  *lockedBuffer
}

func startService(t *testing.T, o options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{stop: cancel, done: make(chan error, 1), log: &lockedBuffer{}}
	started := make(chan net.Addr, 1)
	o.listen = "127.0.0.1:0"
	go func() { r.done <- run(ctx, newLogger(r.log), o, started) }()
	select {
	case address := <-started:
		r.url = "http://" + address.String()
	case err := <-r.done:
		require.FailNow(t, "the service did not start", "%v", err)
	}
	t.Cleanup(func() {
		cancel()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return r
}

func (r *running) request(method, path, body string) (code int, answer map[string]any, err error) {
	request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	return response.StatusCode, answer, json.NewDecoder(response.Body).Decode(&answer)
}

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

const orders = `{"name":"orders","engine":"postgres","version":"16","storage":"10Gi"}`

func TestServiceWithServerInMemory(t *testing.T) {
	r := startService(t, options{namespace: "team", requestTimeout: time.Minute, shutdownTimeout: time.Minute})
	code, answer, err := r.request("POST", "/api/v1/databases", orders)
	require.NoError(t, err)
	assert.Equal(t, 201, code, "%v", answer)
	assert.Eventually(t, func() bool {
		_, answer, err := r.request("GET", "/api/v1/databases/orders", "")
		return err == nil && answer["phase"] == "Ready"
	}, 10*time.Second, 10*time.Millisecond, "the fake operator provisions the database")
	code, answer, err = r.request("GET", "/api/v1/opsrequests/orders-provision", "")
	require.NoError(t, err)
	assert.Equal(t, 200, code)
	assert.Equal(t, "Succeeded", answer["phase"])
	code, _, err = r.request("DELETE", "/api/v1/databases/orders", "")
	require.NoError(t, err)
	assert.Equal(t, 202, code)
	code, _, err = r.request("GET", "/api/v1/databases/orders", "")
	require.NoError(t, err)
	assert.Equal(t, 404, code)

	r.stop()
	require.NoError(t, <-r.done)
	for line := range strings.Lines(r.log.String()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		assert.NotEmpty(t, entry["event"])
	}
	assert.Contains(t, r.log.String(), `"service_stopped"`)
}

// withCluster starts the service and a server whose failures the test can script.
func withCluster(t *testing.T, o options) (*tinykube.Server, *running) {
	t.Helper()
	server, err := tinykube.Start(resources()...)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	o.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, server.WriteKubeconfig(o.kubeconfig))
	o.namespace = "default"
	return server, startService(t, o)
}

type result struct {
	code   int
	answer map[string]any
	err    error
}

// post sends a request in the background, and returns after the server has answered
// the first attempt.
func post(t *testing.T, server *tinykube.Server, r *running) <-chan result {
	t.Helper()
	results := make(chan result, 1)
	go func() {
		code, answer, err := r.request("POST", "/api/v1/databases", orders)
		results <- result{code, answer, err}
	}()
	require.Eventually(t, func() bool { return server.Count(tinykube.Match{Verb: "create"}) == 1 }, 10*time.Second, time.Millisecond)
	return results
}

func TestAttemptTimeoutDetectsAServerThatNeverAnswers(t *testing.T) {
	server, r := withCluster(t, options{requestTimeout: time.Minute, attemptTimeout: 100 * time.Millisecond, initialDelay: 10 * time.Millisecond})
	server.FailNext(1, tinykube.Match{Verb: "create"}, tinykube.Hang)
	code, answer, err := r.request("POST", "/api/v1/databases", orders)
	require.NoError(t, err)
	assert.Equal(t, 201, code, "%v", answer)
	r.stop()
	require.NoError(t, <-r.done)
}

func TestShutdownFinishesRequestsInFlight(t *testing.T) {
	server, r := withCluster(t, options{requestTimeout: time.Minute, shutdownTimeout: time.Minute})
	server.FailNext(1, tinykube.Match{Verb: "create"}, tinykube.Fail(503)) // retried after 2 s
	results := post(t, server, r)
	r.stop()
	got := <-results
	require.NoError(t, got.err)
	assert.Equal(t, 201, got.code, "%v", got.answer)
	require.NoError(t, <-r.done)
	_, _, err := r.request("GET", "/healthz", "")
	assert.Error(t, err, "the port is closed")
}

func TestShutdownTimeoutEndsRequestsInFlight(t *testing.T) {
	server, r := withCluster(t, options{requestTimeout: time.Minute, shutdownTimeout: 10 * time.Millisecond})
	server.FailNext(9, tinykube.Match{Verb: "create"}, tinykube.Fail(503))
	results := post(t, server, r)
	r.stop()
	got := <-results
	require.NoError(t, got.err, "the request is answered")
	assert.Equal(t, 503, got.code)
	assert.Equal(t, "stopping", got.answer["error"])
	assert.Equal(t, "unknown", got.answer["outcome"])
	require.NoError(t, <-r.done)
	assert.Contains(t, r.log.String(), `"service_stopped_early"`)
}

func TestRunFailsWithoutClusterOrPort(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	logger := newLogger(io.Discard)
	assert.Error(t, run(t.Context(), logger, options{kubeconfig: "/nowhere"}, nil))
	assert.Error(t, run(t.Context(), logger, options{namespace: "default", listen: busy.Addr().String()}, nil))
}
