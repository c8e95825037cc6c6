//lint:file-ignore SA1019 net/http serves HTTP/2 on connections of its own only, not on h2conn.

package faultproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"k8s.io/client-go/rest"
)

// Options say what is special about a proxy. The zero value is a good one.
type Options struct {
	// HTTP1 makes the proxy speak HTTP/1.1 only. The default is HTTP/2 with
	// clients that can.
	HTTP1 bool
}

// Proxy is a fault proxy that is listening on 127.0.0.1.
type Proxy struct {
	http1    bool
	target   *url.URL
	ca       []byte
	front    *front
	server   *http.Server
	upstream *http.Transport

	ctx    context.Context // over when the proxy is closed
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	rule   Rule
	active sync.WaitGroup // handlers
	sends  []*Send
	seen   map[sendKey]int
}

// Start returns a proxy that ends with the test. See [New].
func Start(tb testing.TB, target string, ca []byte, o Options) *Proxy {
	tb.Helper()
	p, err := New(target, ca, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// New returns a proxy for the server at the target, an https URL without a path,
// whose certificate is signed by the authority in ca, in PEM. It passes everything
// on until it is given a rule.
func New(target string, ca []byte, o Options) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("faultproxy: no certificate authority for the server")
	}
	own, leaf, err := newCertificate()
	if err != nil {
		return nil, err
	}
	f, err := newFront()
	if err != nil {
		return nil, err
	}
	p := &Proxy{http1: o.HTTP1, target: to, ca: own, front: f, seen: map[sendKey]int{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	// HTTP/1.1 towards the server: one request on a connection, so that no fault
	// there can touch a second one.
	p.upstream = &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}},
		DisableCompression:  true, // bodies pass as they are
		MaxIdleConnsPerHost: 64,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	p.server = p.newServer(leaf)
	p.wait.Go(func() { _ = p.server.ServeTLS(f, "", "") })
	return p, nil
}

func (p *Proxy) newServer(leaf tls.Certificate) *http.Server {
	server := &http.Server{
		Handler:   http.HandlerFunc(p.serve),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"http/1.1"}},
		ErrorLog:  log.New(io.Discard, "", 0), // broken connections are its trade
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c.(*tls.Conn).NetConn().(*conn))
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if p.http1 {
		return server
	}
	h2 := &http2.Server{MaxConcurrentStreams: 1000}
	server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	server.TLSNextProto["h2"] = func(s *http.Server, t *tls.Conn, handler http.Handler) {
		base := handler.(interface{ BaseContext() context.Context }).BaseContext()
		c := connOf(base)
		h := newH2Conn(t, c)
		c.h2.Store(h)
		h2.ServeConn(h, &http2.ServeConnOpts{Context: base, BaseConfig: s, Handler: s.Handler})
	}
	return server
}

// Close ends all connections and requests, and waits for them.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	_ = p.front.Close()
	_ = p.server.Close()
	p.wait.Wait()
	p.active.Wait()
	p.upstream.CloseIdleConnections()
}

// URL is the proxy's address. It stays the same.
func (p *Proxy) URL() string { return "https://" + p.front.Addr().String() }

// CA is the proxy's certificate authority, in PEM.
func (p *Proxy) CA() []byte { return p.ca }

// Config returns a copy of a client's configuration that goes through the proxy,
// in the protocol that the proxy speaks, and tags calls: see [WithCall].
func (p *Proxy) Config(base *rest.Config) *rest.Config {
	c := rest.CopyConfig(base)
	c.Host = p.URL()
	c.TLSClientConfig = rest.TLSClientConfig{CAData: p.ca}
	if p.http1 {
		c.NextProtos = []string{"http/1.1"}
	}
	c.Wrap(TagCalls)
	return c
}

// SetRule sets what happens to requests from now on. Nil passes everything.
func (p *Proxy) SetRule(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// SetConnRule sets what happens to new connections: the rule is given the number
// of each, 1 for the first since the proxy was started. Nil passes all.
func (p *Proxy) SetConnRule(rule func(n int) ConnFault) {
	p.front.mu.Lock()
	defer p.front.mu.Unlock()
	p.front.rule = rule
}

// Refuse closes the port: new connections are refused until [Proxy.Listen]. Open
// ones go on.
func (p *Proxy) Refuse() { p.front.refuse() }

// Listen opens the port again.
func (p *Proxy) Listen() error { return p.front.listen() }

// CloseConns closes all open connections (FIN), in the middle of whatever they do.
func (p *Proxy) CloseConns() { p.front.breakAll((*conn).hangUp) }

// ResetConns resets all open connections (RST), in the middle of whatever they do.
func (p *Proxy) ResetConns() { p.front.breakAll((*conn).reset) }

// Conns returns how many connections clients have made so far.
func (p *Proxy) Conns() int {
	p.front.mu.Lock()
	defer p.front.mu.Unlock()
	return p.front.accepted
}

// OpenConns returns how many connections are open.
func (p *Proxy) OpenConns() int {
	p.front.mu.Lock()
	defer p.front.mu.Unlock()
	return len(p.front.conns)
}

// String names the proxy in messages.
func (p *Proxy) String() string {
	return fmt.Sprintf("faultproxy %s for %s", strings.TrimPrefix(p.URL(), "https://"), p.target.Host)
}
