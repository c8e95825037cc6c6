// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

const serverName = "worlds.example.com"

// certificate is that of all servers. It is made before the first world: the clocks of worlds
// begin in the year 2000.
var certificate, certificatePEM = func() (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}()

// serve serves a front until the returned function is called.
func serve(front *faults.Front, useHTTP2 bool) (stop func()) {
	server := &http.Server{Handler: front, ConnContext: front.ConnContext, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if useHTTP2 {
			server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
			_ = server.ServeTLS(front.Network, "", "")
		} else {
			_ = server.Serve(front.Network)
		}
	}()
	return func() {
		front.Stop()
		_ = server.Close()
		<-done
	}
}

// program is a process that calls the API: one field manager, clients with connections of their
// own.
type program struct {
	name    string
	world   *World
	front   *faults.Front
	mu      sync.Mutex
	active  map[int]bool
	clients map[clientKey]*ways.Clients
	limiter *k8sretry.Limiter
	pauses  pauses
}

type clientKey struct{ transport, limiter bool }

func (p *program) begin(op int) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active[op] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.active, op)
	}
}

func (p *program) calls() (ops []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for op := range p.active {
		ops = append(ops, op)
	}
	return ops
}

// options are those of all calls of the program.
func (p *program) options(limiter bool) []k8sretry.Option {
	w := p.world
	options := []k8sretry.Option{
		k8sretry.WithMaxRetries(w.retries), k8sretry.WithInitialDelay(w.delay), k8sretry.WithMaxDelay(5 * time.Second), k8sretry.WithLogger(nil),
	}
	if w.attempt > 0 {
		options = append(options, k8sretry.WithAttemptTimeout(w.attempt))
	}
	if limiter {
		options = append(options, k8sretry.WithLimiter(p.limiter))
	}
	return options
}

// clientsFor returns the clients for a way of use.
func (p *program) clientsFor(w *ways.Way) *ways.Clients {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := clientKey{w.Transport, w.Limiter}
	if c := p.clients[key]; c != nil {
		return c
	}
	c, err := ways.NewClients(p.config(key.transport, key.limiter), p.options(key.limiter)...)
	if err != nil {
		panic(err)
	}
	p.clients[key] = c
	return c
}

func (p *program) config(transport, limiter bool) *rest.Config {
	cfg := &rest.Config{
		Host: "http://" + serverName, Dial: p.front.Dialer(p.calls), Proxy: noProxy, QPS: -1, UserAgent: p.name + "/1.0 (worlds)",
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
	}
	if p.world.http2 {
		cfg.Host = "https://" + serverName
		cfg.TLSClientConfig = rest.TLSClientConfig{CAData: certificatePEM}
	}
	if p.world.inner {
		cfg.Wrap(p.front.InnerLayer)
	}
	if p.world.pauses { // a RoundTripper below a Transport hides its connections
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &pausing{next, &p.pauses} })
	}
	if transport {
		cfg.Wrap(k8sretry.Transport(p.options(limiter)...))
	}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &tagging{next, p.name} })
	return cfg
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func (p *program) close() {
	for _, c := range p.clients {
		c.HTTP.CloseIdleConnections()
	}
}

// tagging adds the number of the call to each request, so that what happens to it is a function
// of the seed and of nothing else.
type tagging struct {
	next http.RoundTripper
	name string
}

func (t *tagging) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if op := faults.OpOf(req.Context()); op > 0 {
		req.Header.Set(faults.OpHeader, strconv.Itoa(op))
	} else {
		req.Header.Set(faults.ActorHeader, t.name)
	}
	return t.next.RoundTrip(req)
}

// WrappedRoundTripper lets the clients close their idle connections.
func (t *tagging) WrappedRoundTripper() http.RoundTripper { return t.next }

// CloseIdleConnections closes those of the next RoundTripper that has any.
func (t *tagging) CloseIdleConnections() {
	for next := t.next; next != nil; {
		switch rt := next.(type) {
		case interface{ CloseIdleConnections() }:
			rt.CloseIdleConnections()
			return
		case interface{ WrappedRoundTripper() http.RoundTripper }:
			next = rt.WrappedRoundTripper()
		default:
			return
		}
	}
}

func newProgram(w *World, front *faults.Front, name string) *program {
	return &program{
		name: name, world: w, front: front, active: make(map[int]bool), clients: make(map[clientKey]*ways.Clients), limiter: k8sretry.NewLimiter(),
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
