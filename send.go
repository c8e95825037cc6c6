package k8sretry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/k8sretry/k8sretry/internal/attemptctx"
)

// send is one send: what the copy of the request that goes down is made of, and how
// often net/http makes another of it. It is the context of that copy, with hooks on top
// of those that are there: httptrace.WithClientTrace would cost five allocations more,
// because client-go has hooks of its own.
type send struct {
	context.Context
	before  *httptrace.ClientTrace // nil if there were no hooks
	record  *wire
	hooked  bool // the record has hooks of its own, or needs none
	url     url.URL
	trace   httptrace.ClientTrace
	tries   atomic.Int32 // connections that net/http has chosen for it
	stopped atomic.Bool
	reads   bool
	opaque  string
	t       *transport
}

// errNotTaken takes the place of what HTTP/2 says after its last try.
var errNotTaken = errors.New("the server takes no request on this connection (HTTP/2 REFUSED_STREAM or GOAWAY)")

// errNoResponse is what a RoundTripper below must not do.
var errNoResponse = errors.New("k8sretry: the wrapped RoundTripper returned neither a response nor an error")

// send sends the request once, and notes in the record what became of it.
func (x *exchange) send(ctx context.Context, record *wire) (*http.Response, error) {
	s := &x.first
	if _, bounded := ctx.(*attemptctx.Context); bounded || x.sends > 0 {
		// Goroutines of the send before may still read theirs. And the caller's context,
		// which may live for ever, holds the record, and with it the exchange: a send in
		// it would hold the attempt's context, which is then never collected.
		s = new(send)
	}
	s.Context, s.record, s.hooked, s.url = ctx, record, record.trace != nil || x.kind.Verb.Reads(), *x.req.URL
	s.reads, s.opaque, s.t = x.kind.Verb.Reads(), x.req.URL.Opaque, x.t
	if s.before = httptrace.ContextClientTrace(ctx); s.before != nil {
		s.trace = *s.before
	}
	s.trace.GotConn = s.gotConn
	if !s.hooked {
		s.trace.GetConn = s.getConn
	}
	req := x.req.WithContext(s)
	req.URL = &s.url
	if x.sends > 0 && req.Body != nil && req.Body != http.NoBody {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	x.sends++
	resp, err := x.t.next.RoundTrip(req)
	if resp == nil && err == nil {
		err = errNoResponse // net/http says the same of a RoundTripper
	}
	if err != nil && s.stopped.Load() {
		err = errNotTaken
	}
	if resp != nil {
		resp.Request = x.req
	}
	record.note(&x.kind, x.req, resp, err)
	return resp, err
}

// traceKey is the key under which net/http looks for hooks. It is not exported, but
// whoever looks tells it.
var traceKey = func() any {
	var l listener
	httptrace.ContextClientTrace(&l)
	return l.heard
}()

// listener is a context that hears what it is asked for.
type listener struct {
	context.Context
	heard any
}

func (l *listener) Value(key any) any {
	l.heard = key
	return nil
}

// sendKey finds the send of a Transport above.
type sendKey struct{}

func (s *send) Value(key any) any {
	if key == (sendKey{}) {
		return s
	}
	if key == traceKey {
		return &s.trace
	}
	return s.Context.Value(key)
}

func (s *send) getConn(address string) {
	if s.before != nil && s.before.GetConn != nil {
		s.before.GetConn(address)
	}
	s.record.getConn(address)
}

// gotConn counts what net/http does by itself. HTTP/2 repeats a request up to seven
// times, and for a minute, on REFUSED_STREAM, and without end on a graceful GOAWAY;
// HTTP/1.1 repeats one that a kept connection has lost.
func (s *send) gotConn(info httptrace.GotConnInfo) {
	s.record.carried.Add(1) // before it is counted as connected
	if s.before != nil && s.before.GotConn != nil {
		s.before.GotConn(info)
	}
	if !s.hooked {
		s.record.connected.Add(1)
	}
	switch n := s.tries.Add(1); {
	case n == 1:
	case !overHTTP2(info.Conn):
		if n == 2 {
			s.record.extra.Add(1)
			s.record.spare.Add(-1)
		}
		// net/http takes one kept connection after the other for a read, whether they
		// were dead or the server has broken them. The second send is the last one: it
		// goes out on a connection of its own, and on the others nothing is written.
		switch {
		case !s.reads:
		case info.Reused:
			s.url.Opaque = "\x00"
			s.t.CloseIdleConnections()
		default:
			s.url.Opaque = s.opaque
		}
	case s.record.spare.Add(-1) >= 0:
		s.record.extra.Add(1)
	default:
		// There is no way to tell HTTP/2 to stop but a request that cannot be
		// written. The URL is the send's own, and the try before is over.
		s.stopped.Store(true)
		s.url.Opaque = "\x00"
	}
}

func overHTTP2(conn net.Conn) bool {
	c, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}
