// SPDX-License-Identifier: Apache-2.0

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

// Options configure a proxy. The zero value is valid.
type Options struct {
	// HTTP1 restricts the proxy to HTTP/1.1. By default it uses HTTP/2 with clients that
	// support it.
	HTTP1 bool
}

// Proxy is a fault proxy on 127.0.0.1.
type Proxy struct {
	http1    bool
	target   *url.URL
	ca       []byte
	front    *front
	server   *http.Server
	upstream *http.Transport

	ctx    context.Context // ends when the proxy is closed
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	rule   Rule
	active sync.WaitGroup // handlers
	sends  []*Send
	seen   map[sendKey]int
}

// Start returns a proxy that is closed at the end of the test. See [New].
func Start(tb testing.TB, target string, ca []byte, o Options) *Proxy {
	tb.Helper()
	p, err := New(target, ca, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// New returns a proxy for the server at target, an https URL without a path. The
// certificate of the server must be signed by the authority in ca, in PEM. The proxy
// forwards all requests until SetRule is called.
func New(target string, ca []byte, o Options) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("faultproxy: invalid certificate authority of the server")
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
	// The proxy uses HTTP/1.1 with the server, so that a failing connection affects only
	// one request.
	p.upstream = &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}},
		DisableCompression:  true, // bodies are forwarded unchanged
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
		ErrorLog:  log.New(io.Discard, "", 0), // broken connections are expected
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

// Close closes all connections and waits until all requests have ended.
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

// URL returns the address of the proxy. It does not change.
func (p *Proxy) URL() string { return "https://" + p.front.Addr().String() }

// CA returns the certificate authority of the proxy in PEM.
func (p *Proxy) CA() []byte { return p.ca }

// Config returns a copy of a client configuration that uses the proxy and its protocol, and
// that sends the ids of calls: see [WithCall].
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

// SetRule sets the rule for future requests. With nil all requests are forwarded.
func (p *Proxy) SetRule(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// SetConnRule sets the rule for future connections. Its argument is the number of the
// connection, starting at 1. With nil no connection has a fault.
func (p *Proxy) SetConnRule(rule func(n int) ConnFault) {
	p.front.mu.Lock()
	defer p.front.mu.Unlock()
	p.front.rule = rule
}

// Refuse closes the port: new connections are refused until [Proxy.Listen]. Open connections
// stay open.
func (p *Proxy) Refuse() { p.front.refuse() }

// Listen opens the port again.
func (p *Proxy) Listen() error { return p.front.listen() }

// CloseConns closes all open connections (FIN), including those with requests in flight.
func (p *Proxy) CloseConns() { p.front.breakAll((*conn).hangUp) }

// ResetConns resets all open connections (RST), including those with requests in flight.
func (p *Proxy) ResetConns() { p.front.breakAll((*conn).reset) }

// Conns returns the number of connections that clients have made so far.
func (p *Proxy) Conns() int {
	p.front.mu.Lock()
	defer p.front.mu.Unlock()
	return p.front.accepted
}

// OpenConns returns the number of open connections.
func (p *Proxy) OpenConns() int {
	p.front.mu.Lock()
	defer p.front.mu.Unlock()
	return len(p.front.conns)
}

// String describes the proxy.
func (p *Proxy) String() string {
	return fmt.Sprintf("faultproxy %s for %s", strings.TrimPrefix(p.URL(), "https://"), p.target.Host)
}
