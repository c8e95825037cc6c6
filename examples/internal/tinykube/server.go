// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Server is an API server. Its methods are safe for concurrent use.
type Server struct {
	Failures // the failures to inject; initially none

	resources []Resource
	store     *store
	address   string

	mu      sync.Mutex // guards address, running and stopped
	running *listening
	stopped bool

	logMu sync.Mutex
	log   []Record
}

// listening is the state between an Up and a Down. All handlers have returned
// before Down returns, so that nothing is written while the server is down.
type listening struct {
	http   *http.Server
	cancel context.CancelFunc
	served chan struct{}

	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup
}

// Record is one request and its result.
type Record struct {
	Request
	Code int // HTTP status, or 0 if the connection was closed without an answer
}

// Start starts a server on a free loopback port. It serves ConfigMaps, Namespaces,
// Pods and the given resources, and has the namespaces default and kube-system.
func Start(resources ...Resource) (*Server, error) {
	s := &Server{resources: slices.Concat(core, resources), store: newStore(), address: "127.0.0.1:0"}
	for _, name := range []string{"default", "kube-system"} {
		body := fmt.Sprintf(`{"metadata":{"name":%q}}`, name)
		c := call{target: target{Request: Request{Verb: "create"}, resource: s.find("", "v1", "namespaces")}, body: []byte(body)}
		if _, _, err := s.store.do(c); err != nil {
			return nil, err
		}
	}
	return s, s.Up()
}

// URL returns the URL of the server, http://127.0.0.1:port. Down and Up do not
// change it.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "http://" + s.address
}

// Config returns a new client configuration for the server, without client-side
// rate limit.
func (s *Server) Config() *rest.Config {
	return &rest.Config{Host: s.URL(), QPS: -1}
}

// WriteKubeconfig writes a kubeconfig file for the server.
func (s *Server) WriteKubeconfig(path string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["tinykube"] = &clientcmdapi.Cluster{Server: s.URL()}
	config.AuthInfos["tinykube"] = &clientcmdapi.AuthInfo{}
	config.Contexts["tinykube"] = &clientcmdapi.Context{Cluster: "tinykube", AuthInfo: "tinykube", Namespace: "default"}
	config.CurrentContext = "tinykube"
	return clientcmd.WriteToFile(*config, path)
}

// Up makes the server reachable again, at the same port and with its objects. It
// does nothing if the server is up. It fails if the server was stopped or the port
// is in use.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("tinykube: the server was stopped")
	}
	if s.running != nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("tinykube: %w", err)
	}
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	run := &listening{cancel: cancel, served: make(chan struct{})}
	run.http = &http.Server{
		Handler:           run.guard(s),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	go func() {
		defer close(run.served)
		_ = run.http.Serve(listener)
	}()
	s.running = run
	return nil
}

// Down closes the port and all connections. Requests in flight fail, later ones
// get connection refused. Objects, scripts and records are kept. Down returns when
// the last handler has returned.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	s.running.close()
	s.running = nil
}

// Stop stops the server for good. No goroutine of the server is left when it returns.
func (s *Server) Stop() {
	s.Down()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

func (run *listening) close() {
	run.mu.Lock()
	run.closed = true
	run.mu.Unlock()
	run.cancel()
	_ = run.http.Close()
	<-run.served
	run.handlers.Wait()
}

// guard counts the requests in flight, and aborts those that arrive on a
// connection that is about to be closed.
func (run *listening) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		run.mu.Lock()
		if run.closed {
			run.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		run.handlers.Add(1)
		run.mu.Unlock()
		defer run.handlers.Done()
		next.ServeHTTP(w, r)
	})
}
