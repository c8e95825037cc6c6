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

// Server is a running API server. All its methods are safe for concurrent use.
type Server struct {
	Failures // what goes wrong; nothing to begin with

	resources []Resource
	store     *store
	address   string

	life    sync.Mutex // held while the listener comes and goes
	running *incarnation
	stopped bool

	logs sync.Mutex
	log  []Record
}

// incarnation is the server between an Up and a Down. Its handlers all end
// before Down returns, so that no write lands on a server that is away.
type incarnation struct {
	http   *http.Server
	cancel context.CancelFunc
	served chan struct{}

	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup
}

// Record is one request and what became of it.
type Record struct {
	Request
	Code int // HTTP status, 0 when the connection was closed without an answer
}

// Start begins to serve on a free loopback port: ConfigMaps, Namespaces, Pods,
// the resources given, and the namespaces default and kube-system.
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

// URL is where the server listens: http://127.0.0.1:port. The port stays the
// same over Down and Up.
func (s *Server) URL() string {
	s.life.Lock()
	defer s.life.Unlock()
	return "http://" + s.address
}

// Config is a new client configuration for the server, without client-side
// rate limits.
func (s *Server) Config() *rest.Config {
	return &rest.Config{Host: s.URL(), QPS: -1}
}

// WriteKubeconfig writes a kubeconfig file that leads to the server.
func (s *Server) WriteKubeconfig(path string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["tinykube"] = &clientcmdapi.Cluster{Server: s.URL()}
	config.AuthInfos["tinykube"] = &clientcmdapi.AuthInfo{}
	config.Contexts["tinykube"] = &clientcmdapi.Context{Cluster: "tinykube", AuthInfo: "tinykube", Namespace: "default"}
	config.CurrentContext = "tinykube"
	return clientcmd.WriteToFile(*config, path)
}

// Up makes the server reachable, again at the same port with all it held. It
// does nothing when the server is up, and fails when the server was stopped or
// somebody else took the port meanwhile.
func (s *Server) Up() error {
	s.life.Lock()
	defer s.life.Unlock()
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
	run := &incarnation{cancel: cancel, served: make(chan struct{})}
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

// Down closes the port and every connection: clients see what they had under
// way cut, and then connection refused. Objects, scripts and records stay. It
// returns when the last request has ended.
func (s *Server) Down() {
	s.life.Lock()
	defer s.life.Unlock()
	if s.running == nil {
		return
	}
	s.running.end()
	s.running = nil
}

// Stop is Down for good. No goroutine of the server is left when it returns.
func (s *Server) Stop() {
	s.Down()
	s.life.Lock()
	defer s.life.Unlock()
	s.stopped = true
}

func (run *incarnation) end() {
	run.mu.Lock()
	run.closed = true
	run.mu.Unlock()
	run.cancel()
	_ = run.http.Close()
	<-run.served
	run.handlers.Wait()
}

// guard counts the requests under way, and turns away what arrives on a
// connection that is about to be closed.
func (run *incarnation) guard(next http.Handler) http.Handler {
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
