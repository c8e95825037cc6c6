// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	goruntime "runtime"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

// Server serves the objects of a fake clientset to real clients of client-go, over HTTP/2 or
// HTTP/1.1 and TLS, but without a network. So what client-go and net/http do by themselves
// can be tested: repetitions, redirects, connections that break. It runs in bubbles of
// testing/synctest, too, if it is made and closed in the bubble.
//
//	fake := fake.NewClientset()
//	k8sretrytest.EmulateServer(&fake.Fake)
//	server := k8sretrytest.NewServer(&fake.Fake, scheme.Scheme)
//	defer server.Close()
//	var faults k8sretrytest.Faults
//	cfg := server.Config()
//	cfg.Wrap(faults.Transport)
//	clientset, err := kubernetes.NewForConfig(cfg)
//
// Reads, writes, watches, evictions and the status of objects are served, with selectors of
// labels and of metadata.name. Responses are in JSON. There is no discovery, no authentication, no
// other subresource and no pagination. Errors of the fake's reactors become responses, or
// break the connection if they have no API status.
//
// A Server is safe for concurrent use.
type Server struct {
	fake    *clienttesting.Fake
	scheme  *runtime.Scheme
	kinds   kinds
	network *network
	handler http.Handler
	http    *httptest.Server
	ctx     context.Context // ends with the server
	cancel  context.CancelFunc
}

// NewServer returns a server for the objects of a fake clientset, such as &clientset.Fake.
// scheme knows their types: that of k8s.io/client-go/kubernetes/scheme for a clientset of
// client-go. Close it at the end of the test.
func NewServer(fake *clienttesting.Fake, scheme *runtime.Scheme) *Server {
	s := &Server{fake: fake, scheme: scheme, kinds: kindsOf(scheme), network: newNetwork()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.handler = http.HandlerFunc(s.serve)
	s.http = &httptest.Server{
		Listener: s.network, EnableHTTP2: true,
		Config: &http.Server{
			Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }),
			BaseContext: func(net.Listener) context.Context { return s.ctx },
			ErrorLog:    log.New(io.Discard, "", 0), // broken connections are expected
		},
	}
	forgetBubbles()
	s.http.StartTLS()
	return s
}

// Close closes all connections and ends all requests.
func (s *Server) Close() {
	s.cancel()
	_ = s.network.Close()
	s.network.each(func(c *conn) { _ = c.end() })
	s.http.Close()
	forgetBubbles()
}

// forgetBubbles empties the sync.Pool from which the HTTP/2 servers of Go 1.25 take
// channels: one that was made in a bubble of testing/synctest must not be used outside of
// it. A server also begins with it, because goroutines of a bubble may use the pool after
// Close, until the bubble ends. Two collections empty a pool.
func forgetBubbles() {
	if strings.HasPrefix(goruntime.Version(), "go1.25") {
		goruntime.GC()
		goruntime.GC()
	}
}

// Config returns the configuration of a client, which gets connections of its own. The
// client uses HTTP/2. Set NextProtos to "http/1.1" for HTTP/1.1.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host:            "https://example.com", // a name in the certificate
		Dial:            s.network.dial,
		Proxy:           http.ProxyURL(nil), // whatever the environment says
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})},
	}
}

// Wrap puts a handler in front of the one that serves the objects: a server that is slow,
// that has no room for some requests, or that gives answers of its own. The handler may leave
// a request to next or not, and runs outside of the lock of the fake. The wrapper of a later
// Wrap sees requests first. Call Wrap before the first request.
func (s *Server) Wrap(wrapper func(next http.Handler) http.Handler) { s.handler = wrapper(s.handler) }

// Connections returns how many connections clients have made or tried to make so far.
func (s *Server) Connections() int {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	return s.network.dialed
}

// KillConnections makes all open connections swallow what clients send and never answer, as
// after a failover that has taken the server away without closing them. New connections
// work. The requests in flight are carried out, if they have reached the server.
func (s *Server) KillConnections() { s.network.each((*conn).die) }

// SwallowConnections makes the next n connections accept all that clients send and never
// answer, not even to the TLS handshake, as a load balancer without a backend does.
func (s *Server) SwallowConnections(n int) {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	s.network.swallow = n
}

// FailConnections makes the next n attempts to connect fail with err, in a *net.OpError with
// Op "dial".
func (s *Server) FailConnections(n int, err error) {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	s.network.failing, s.network.dialErr = n, err
}

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: server, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// abort breaks the connection or the HTTP/2 stream of a request.
func abort() { panic(http.ErrAbortHandler) }
