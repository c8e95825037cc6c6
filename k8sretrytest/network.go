// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// network is a listener with connections in memory, so that servers and clients on it can
// run on virtual time.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	open    map[*conn]bool
	dialed  int
	swallow int // how many of the next connections swallow everything
	failing int // how many of the next dials fail with dialErr
	dialErr error
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), closed: make(chan struct{}), open: make(map[*conn]bool)}
}

// dial connects a client.
func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	c := &conn{Conn: server, network: n}
	n.mu.Lock()
	n.dialed++
	if n.failing > 0 {
		n.failing--
		err := n.dialErr
		n.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: server.LocalAddr(), Err: err}
	}
	n.open[c] = true
	if n.swallow > 0 {
		n.swallow--
		n.mu.Unlock()
		c.die()
		return client, nil // accepted by the system, not by the server
	}
	n.mu.Unlock()
	select {
	case n.conns <- c:
		return client, nil
	case <-n.closed:
		_ = c.end()
		return nil, refused()
	case <-ctx.Done():
		_ = c.end()
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr implement net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.swallow = 0 // all connections are refused
	return nil
}

func (n *network) Addr() net.Addr { return server }

// each calls f for each open connection.
func (n *network) each(f func(*conn)) {
	n.mu.Lock()
	open := make([]*conn, 0, len(n.open))
	for c := range n.open {
		open = append(open, c)
	}
	n.mu.Unlock()
	for _, c := range open {
		f(c)
	}
}

// conn is the server's end of a connection.
type conn struct {
	net.Conn
	network *network
	dead    atomic.Bool
}

// die makes the connection accept all that the client sends and never send anything.
func (c *conn) die() {
	if !c.dead.Swap(true) {
		go func() { _, _ = io.Copy(io.Discard, c.Conn) }() // ends when the client or Server.Close closes the connection
	}
}

// Read returns only an error once the connection is dead.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for c.dead.Load() && err == nil {
		n, err = c.Conn.Read(p)
	}
	return n, err
}

// Write discards what the server writes once the connection is dead.
func (c *conn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close ends the connection. A dead one stays open for the client, until the server is
// closed.
func (c *conn) Close() error {
	if c.dead.Load() {
		return nil
	}
	return c.end()
}

func (c *conn) end() error {
	c.network.mu.Lock()
	delete(c.network.open, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}
