// SPDX-License-Identifier: Apache-2.0

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

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/record"
	"github.com/k8sretry/k8sretry/internal/redial"
)

// send is one send, and the context of its request. It counts and bounds the repetitions
// that net/http makes by itself.
type send struct {
	context.Context
	record  *callRecord
	counts  bool // report connections to the record, which has no hooks of its own
	reads   bool
	url     url.URL // the send's own
	opaque  string
	t       *transport
	use     redial.Use // of the connection
	trace   httptrace.ClientTrace
	tries   atomic.Int32 // connections that net/http has chosen for it
	answers atomic.Int32 // that net/http has got for it, if it writes
	stopped atomic.Bool
}

// sendKey is the key of the send of a Transport above.
type sendKey struct{}

func (s *send) Value(key any) any {
	if key == (sendKey{}) {
		return s
	}
	return s.Context.Value(key)
}

func (s *send) hooks() *httptrace.ClientTrace {
	s.trace.GotConn = s.gotConn
	if !s.reads {
		s.trace.GotFirstResponseByte = s.gotAnswer
	}
	if s.counts {
		s.trace.GetConn = s.record.GetConn
	}
	return &s.trace
}

// gotAnswer counts answers. net/http repeats a write only if it got none, so that a second answer
// shows that a RoundTripper below the Transport has repeated it.
func (s *send) gotAnswer() { s.answers.Add(1) }

// repeated reports whether that has happened: there was a second answer, or an error after one.
func (s *send) repeated(err error) bool {
	n := s.answers.Load()
	return n > 1 || n == 1 && err != nil
}

// gotConn is called for each try of net/http. Over HTTP/2 net/http repeats a request up to
// seven times within a minute after REFUSED_STREAM, and without limit after a graceful
// GOAWAY (roundTripViaPool in golang.org/x/net/http2). Over HTTP/1.1 it repeats a request
// whose kept connection broke (shouldRetryRequest in net/http/transport.go).
func (s *send) gotConn(info httptrace.GotConnInfo) {
	s.t.conns.GotConn(&s.use, info)
	s.record.Carried() // hooks of the record itself run after this one
	if s.counts {
		s.record.GotConn(info)
	}
	switch n := s.tries.Add(1); {
	case n == 1:
	case !overHTTP2(info.Conn):
		if n == 2 {
			s.record.RepeatedAnyway()
		}
		// For a read net/http tries one kept connection after the other. Nothing is
		// written to those after the first: the second try that reaches the server is
		// the last one, on a new connection.
		switch {
		case !s.reads:
		case info.Reused:
			s.url.Opaque = "\x00"
			s.t.CloseIdleConnections()
		default:
			s.url.Opaque = s.opaque
		}
	case s.record.Repeated():
	default:
		// Only a request that cannot be written stops HTTP/2. The URL belongs to this
		// send, and the try before has ended.
		s.stopped.Store(true)
		s.url.Opaque = "\x00"
	}
}

func overHTTP2(conn net.Conn) bool {
	c, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}

// transmit sends a request once and records what became of it.
func (x *exchange) transmit(ctx context.Context, r *callRecord, req *http.Request, request *apirequest.Request) (*http.Response, error) {
	s := &send{record: r, url: *req.URL, opaque: req.URL.Opaque, reads: request.Verb.Reads(), t: x.t}
	s.counts = r.trace == nil && !s.reads
	s.Context = httptrace.WithClientTrace(ctx, s.hooks())
	req = req.WithContext(s)
	req.URL = &s.url
	resp, err := x.t.conns.Choose(&s.use).RoundTrip(req)
	x.t.conns.Done(ctx, &s.use, err)
	switch {
	case err != nil && s.stopped.Load() && s.answers.Load() == 0:
		err = errNotTaken
	case resp == nil && err == nil:
		err = errNoResponse
	case resp != nil:
		resp.Request = x.req
	}
	if err == nil {
		if err = notAnswered(request, resp); err != nil {
			clientgo.Discard(resp)
			resp = nil
		}
	}
	x.note(s, request, resp, err)
	return resp, err
}

// note records what became of a send.
func (x *exchange) note(sent *send, request *apirequest.Request, resp *http.Response, err error) {
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		request.StoresNothing = request.StoresNothing || request.DryRunInBody(x.req)
	}
	s := record.Send{Request: request, HTTP: x.req, NotTaken: errors.Is(err, errNotTaken), Repeated: sent.repeated(err)}
	if err != nil {
		s.Ambiguous = !s.NotTaken && Classify(&url.Error{Op: x.req.Method, Err: err}).Outcome != OutcomeNotExecuted
	} else if s.Code = resp.StatusCode; s.Code >= http.StatusBadRequest {
		s.Ambiguous = s.Code >= http.StatusInternalServerError || s.Code == http.StatusRequestTimeout
		s.RetryAfter = clientgo.RetryAfter(resp.Header)
	}
	sent.record.Sent(s)
	if l := x.t.policy.limiter; l != nil && resp != nil {
		if level := resp.Header.Get(levelHeader); level != "" {
			l.learn(x.server(), x.kind(), level)
		}
	}
}

// levelHeader is in every answer that has passed API Priority and Fairness
// (k8s.io/apiserver/pkg/util/flowcontrol).
const levelHeader = "X-Kubernetes-Pf-Prioritylevel-Uid"
