// SPDX-License-Identifier: Apache-2.0

// Package redial lets requests avoid a kept connection that has gone silent.
//
// After a failover, or when a load balancer forgets its connections, an open connection may
// swallow whatever is written to it, while a new one would work. Over HTTP/2 net/http uses such
// a connection for all requests until a ping fails, which takes client-go 45 seconds, and it
// cannot be told to use another one: a connection with other requests on it, such as watches,
// is not idle and cannot be closed, and Request.Close has an effect only once the request has a
// stream on it. So the requests after a timeout go through a copy of the http.Transport,
// which has no connections yet. The requests on the old connection are left alone, and no
// request is sent to find out whether a connection works.
package redial

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// copyLifetime is how long a copy is used. By then client-go has closed a connection that does
// not answer pings. Then the original is used again, because it may reload its certificates.
const copyLifetime = time.Minute

// Connections are those of one RoundTripper. Use [New] to create them. They are safe for
// concurrent use if the RoundTripper is.
type Connections struct {
	next   http.RoundTripper
	copies bool // there is an http.Transport to copy

	current atomic.Pointer[transportCopy] // nil: next itself is in use
	answers atomic.Int64

	mu    sync.Mutex
	heard [4]answer // the last answers of the connections in use
	slot  int
}

// transportCopy is a copy of an http.Transport.
type transportCopy struct {
	*http.Transport
	until time.Time
}

type answer struct {
	conn   net.Conn
	number int64
}

// New returns the connections of next. Unless next is an http.Transport, or client-go's own
// wrapper of one, they are always those that next chooses.
func New(next http.RoundTripper) *Connections {
	return &Connections{next: next, copies: original(next) != nil}
}

// Use is how one request uses a connection. The zero value is ready for use.
type Use struct {
	through *transportCopy

	mu      sync.Mutex // hooks may run on other goroutines
	conn    net.Conn
	kept    bool
	answers int64 // before the request was sent
}

// Choose returns the RoundTripper for a request. The caller calls GotConn from the hook of that
// name, and Done when RoundTrip has returned.
func (c *Connections) Choose(u *Use) http.RoundTripper {
	current := c.current.Load()
	if current == nil {
		return c.next
	}
	if !time.Now().Before(current.until) {
		if c.current.CompareAndSwap(current, nil) {
			current.CloseIdleConnections()
		}
		return c.next
	}
	u.through = current
	return current
}

// GotConn records the connection of the request, the last one if net/http repeats it.
func (c *Connections) GotConn(u *Use, info httptrace.GotConnInfo) {
	if !c.copies {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conn, u.kept, u.answers = info.Conn, info.Reused, c.answers.Load()
}

// Done records how a request has ended whose context is ctx. If it has run into its deadline on
// a kept connection, and no request has got an answer on that connection since it was sent,
// the next requests use new connections.
func (c *Connections) Done(ctx context.Context, u *Use, err error) {
	if !c.copies {
		return
	}
	u.mu.Lock()
	conn, kept, answers := u.conn, u.kept, u.answers
	u.mu.Unlock()
	switch {
	case conn == nil:
	case err == nil:
		c.answered(conn)
	case kept && timedOut(ctx) && !c.answeredSince(conn, answers):
		c.abandon(u.through)
	}
}

// timedOut reports whether the deadline of ctx has passed. The Timeout of an http.Client ends a
// request through Request.Cancel, too, which may come before the context has ended.
func timedOut(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || ok && !time.Now().Before(deadline)
}

func (c *Connections) answered(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := answer{conn, c.answers.Add(1)}
	for i := range c.heard {
		if c.heard[i].conn == conn {
			c.heard[i] = a
			return
		}
	}
	c.heard[c.slot] = a
	c.slot = (c.slot + 1) % len(c.heard)
}

func (c *Connections) answeredSince(conn net.Conn, number int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.heard {
		if a.conn == conn {
			return a.number > number
		}
	}
	return false
}

// abandon replaces what is in use by a new copy, unless another request has done so.
func (c *Connections) abandon(through *transportCopy) {
	t := original(c.next)
	if t == nil || c.current.Load() != through {
		return
	}
	replaced := t
	if through != nil {
		replaced = through.Transport
	}
	next := &transportCopy{copyOf(t), time.Now().Add(copyLifetime)}
	if c.current.CompareAndSwap(through, next) {
		replaced.CloseIdleConnections()
	}
}

// CloseIdleConnections closes those of the copy.
func (c *Connections) CloseIdleConnections() {
	if current := c.current.Load(); current != nil {
		current.CloseIdleConnections()
	}
}

// RoundTrip sends a request of a caller without hooks.
func (c *Connections) RoundTrip(req *http.Request) (*http.Response, error) {
	if !c.copies {
		return c.next.RoundTrip(req)
	}
	u := new(Use)
	ctx := req.Context()
	resp, err := c.Choose(u).RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { c.GotConn(u, info) },
	})))
	c.Done(ctx, u, err)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// original returns the http.Transport that rt is, or that client-go has wrapped in a type which
// adds nothing to its requests (transport/cache.go and ca_rotation.go in k8s.io/client-go). It
// returns nil for other types: a copy must not bypass them.
func original(rt http.RoundTripper) *http.Transport {
	for {
		if t, ok := rt.(*http.Transport); ok {
			return t
		}
		wrapper, ok := rt.(utilnet.RoundTripperWrapper)
		if !ok {
			return nil
		}
		t := reflect.TypeOf(rt)
		if t.Kind() != reflect.Pointer || t.Elem().PkgPath() != "k8s.io/client-go/transport" {
			return nil
		}
		if name := t.Elem().Name(); name != "trackedTransport" && name != "atomicTransportHolder" {
			return nil
		}
		rt = wrapper.WrappedRoundTripper()
	}
}

// copyOf returns a copy of t that shares no connections with it.
func copyOf(t *http.Transport) *http.Transport {
	c := t.Clone()
	if _, ok := c.TLSNextProto["h2"]; ok {
		// HTTP/2 was configured by golang.org/x/net/http2, and what Clone has copied would add
		// connections to the pool of t. As client-go does it, configure it again, but change
		// nothing else.
		proxy, dial, timeout, idle := c.Proxy, c.DialContext, c.TLSHandshakeTimeout, c.IdleConnTimeout
		utilnet.SetTransportDefaults(c)
		c.Proxy, c.DialContext, c.TLSHandshakeTimeout, c.IdleConnTimeout = proxy, dial, timeout, idle
	}
	if c.IdleConnTimeout == 0 {
		c.IdleConnTimeout = copyLifetime // the connections of a copy end after it
	}
	return c
}
