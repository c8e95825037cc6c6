// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/e2e/internal/loopback"
)

// ConnFault is the fault of an accepted connection.
type ConnFault uint8

// The faults of connections. The zero value is no fault.
const (
	ConnPass      ConnFault = iota
	ConnClose               // closed at once (FIN): EOF in the TLS handshake
	ConnReset               // reset at once (RST)
	ConnBlackhole           // stays open; nothing is read or answered
)

// conn is one accepted connection below TLS.
type conn struct {
	*net.TCPConn
	forget func()
	h2     atomic.Pointer[h2conn] // set before the first request for HTTP/2
	hungUp atomic.Bool
}

// hangUpLimit is how long the connection waits for the client after hangUp.
const hangUpLimit = time.Second

// hangUp closes the write side of the connection (FIN). The read side stays open until the
// client closes the connection, because the kernel resets a connection that is closed with
// unread data.
func (c *conn) hangUp() {
	if !c.hungUp.Swap(true) {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(hangUpLimit))
	}
}

// Write discards data after hangUp.
func (c *conn) Write(p []byte) (int, error) {
	if c.hungUp.Load() {
		return len(p), nil
	}
	return c.TCPConn.Write(p)
}

func (c *conn) Close() error {
	c.forget()
	return c.TCPConn.Close()
}

// reset resets the connection (RST). Unsent data is discarded.
func (c *conn) reset() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// front is the listener of the HTTP server. It stays open for the server while the port is
// closed.
type front struct {
	port  int
	fresh chan net.Conn
	done  chan struct{}

	mu       sync.Mutex
	closed   bool
	listener net.Listener // nil while connections are refused
	rule     func(n int) ConnFault
	conns    map[*conn]struct{}
	accepted int
	wait     sync.WaitGroup
}

func newFront() (*front, error) {
	l, err := loopback.Listen()
	if err != nil {
		return nil, err
	}
	f := &front{port: loopback.Port(l), fresh: make(chan net.Conn), done: make(chan struct{}), conns: map[*conn]struct{}{}}
	f.open(l)
	return f, nil
}

// open starts to accept connections. The caller must hold f.mu, except in newFront.
func (f *front) open(l net.Listener) {
	f.listener = l
	f.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.take(c.(*net.TCPConn))
		}
	})
}

func (f *front) take(tcp *net.TCPConn) {
	c := &conn{TCPConn: tcp}
	c.forget = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, c)
	}
	f.mu.Lock()
	f.accepted++
	n, rule, closed := f.accepted, f.rule, f.closed
	f.conns[c] = struct{}{}
	f.mu.Unlock()

	fault := ConnPass
	if rule != nil {
		fault = rule(n)
	}
	switch {
	case closed:
		_ = c.Close()
	case fault == ConnClose:
		c.hangUp()
		f.wait.Go(func() {
			_, _ = io.Copy(io.Discard, c.TCPConn)
			_ = c.Close()
		})
	case fault == ConnReset:
		c.reset()
	case fault == ConnBlackhole: // stays open in f.conns
	default:
		select {
		case f.fresh <- c:
		case <-f.done:
			_ = c.Close()
		}
	}
}

func (f *front) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
	}
}

func (f *front) listen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil || f.closed {
		return nil
	}
	l, err := loopback.ListenPort(f.port)
	if err == nil {
		f.open(l)
	}
	return err
}

// breakAll calls end for all open connections.
func (f *front) breakAll(end func(*conn)) {
	f.mu.Lock()
	conns := make([]*conn, 0, len(f.conns))
	for c := range f.conns {
		conns = append(conns, c)
	}
	f.mu.Unlock()
	for _, c := range conns {
		end(c)
	}
}

// Accept, Close and Addr implement net.Listener.

func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.fresh:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *front) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	close(f.done)
	f.refuse()
	f.breakAll(func(c *conn) { _ = c.Close() })
	f.wait.Wait()
	return nil
}

func (f *front) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: f.port} }
