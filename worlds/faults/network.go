// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// Network is a listener with connections in memory, so that servers and clients on it run on
// virtual time.
type Network struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}

	mu   sync.Mutex
	open map[*conn]bool
	down bool // connections are refused
}

// NewNetwork returns a network without connections.
func NewNetwork() *Network {
	return &Network{conns: make(chan net.Conn), done: make(chan struct{}), open: make(map[*conn]bool)}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

const serverAddress = address("192.0.2.1:443")

func dialError(err syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: serverAddress, Err: os.NewSyscallError("connect", err)}
}

// dial connects a client to a replica. A connection that hangs is accepted, but never answered.
// lost is called when the connection swallows or loses something.
func (n *Network) dial(ctx context.Context, replica int, hangs bool, lost func()) (net.Conn, error) {
	n.mu.Lock()
	if n.down {
		n.mu.Unlock()
		return nil, dialError(syscall.ECONNREFUSED)
	}
	inner, outer := net.Pipe()
	c := &conn{Conn: outer, network: n, replica: replica}
	client := &clientConn{Conn: inner, of: c, lost: lost}
	n.open[c] = true
	n.mu.Unlock()
	if hangs {
		c.die()
		return client, nil
	}
	select {
	case n.conns <- c:
		return client, nil
	case <-n.done:
		c.end()
		return nil, dialError(syscall.ECONNREFUSED)
	case <-ctx.Done():
		c.end()
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *Network) Close() error {
	n.once.Do(func() { close(n.done) })
	n.setDown(true)
	return nil
}

// Addr implements net.Listener.
func (n *Network) Addr() net.Addr { return serverAddress }

func (n *Network) setDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// resetAll resets all connections to a replica, or to any for -1.
func (n *Network) resetAll(replica int) {
	n.mu.Lock()
	open := make([]*conn, 0, len(n.open))
	for c := range n.open {
		if replica < 0 || c.replica == replica {
			open = append(open, c)
		}
	}
	n.mu.Unlock()
	for _, c := range open {
		c.reset()
	}
}

// Open returns how many connections the network has.
func (n *Network) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open)
}

// conn is the server's end of a connection.
type conn struct {
	net.Conn
	network *Network
	replica int
	dead    atomic.Bool
	broken  atomic.Bool
}

// die makes the connection accept all that the client sends and never send anything, as after
// a failover that has taken the server away without closing its connections.
func (c *conn) die() {
	if !c.dead.Swap(true) {
		go func() { // ends when the client or the world closes the connection
			_, _ = io.Copy(io.Discard, c.Conn)
			c.end()
		}()
	}
}

// reset breaks the connection: the client sees a reset.
func (c *conn) reset() {
	c.broken.Store(true)
	c.end()
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for c.dead.Load() && err == nil {
		n, err = c.Conn.Read(p)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close leaves a dead connection open for the client.
func (c *conn) Close() error {
	if !c.dead.Load() {
		c.end()
	}
	return nil
}

func (c *conn) end() {
	c.network.mu.Lock()
	delete(c.network.open, c)
	c.network.mu.Unlock()
	_ = c.Conn.Close()
}

// clientConn is the client's end of a connection.
type clientConn struct {
	net.Conn
	of   *conn
	lost func()
}

func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.of.broken.Load() {
		c.lost()
		err = &net.OpError{Op: "read", Net: "tcp", Addr: serverAddress, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	return n, err
}

func (c *clientConn) Write(p []byte) (int, error) {
	if c.of.dead.Load() {
		c.lost()
	}
	n, err := c.Conn.Write(p)
	if err != nil && c.of.broken.Load() {
		c.lost()
		err = &net.OpError{Op: "write", Net: "tcp", Addr: serverAddress, Err: os.NewSyscallError("write", syscall.EPIPE)}
	}
	return n, err
}

// Close closes both ends, so that a dead connection does not stay.
func (c *clientConn) Close() error {
	c.of.end()
	return c.Conn.Close()
}

func (c *clientConn) RemoteAddr() net.Addr { return serverAddress }
