// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"time"
)

// commitLimit is the timeout of a committed request, which continues without its client.
const commitLimit = 2 * time.Minute

// exchange is one request and its answer.
type exchange struct {
	*Proxy
	w      http.ResponseWriter
	r      *http.Request
	body   []byte
	send   *Send
	fault  Fault
	conn   *conn
	h2     *h2conn // nil over HTTP/1.1
	stream uint32
}

// abort ends the request without an answer, or without its rest: HTTP/1.1 closes the
// connection, HTTP/2 resets the stream with INTERNAL_ERROR.
func abort() { panic(http.ErrAbortHandler) }

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		abort()
	}
	p.active.Add(1)
	p.mu.Unlock()
	defer p.active.Done()

	x := &exchange{Proxy: p, w: w, conn: connOf(r.Context())}
	if r.ProtoMajor == 2 {
		x.h2 = x.conn.h2.Load()
		id, err := strconv.ParseUint(r.Header.Get(streamHeader), 10, 32)
		if err != nil {
			abort()
		}
		x.stream = uint32(id)
	}
	// The whole body is read first, because a client that is still sending gets other
	// errors than one that waits.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		abort()
	}
	x.body = body
	x.send, x.r = p.record(r)
	x.r.Body = io.NopCloser(bytes.NewReader(body))

	p.mu.Lock()
	rule := p.rule
	p.mu.Unlock()
	if rule != nil {
		x.fault = rule(x.r)
	}
	p.update(func() { x.send.Fault = x.fault.String() })
	if x.fault.wait > 0 {
		x.pause(x.fault.wait)
	}
	if x.fault.committed || x.fault.act == actPass || x.fault.act == actDrain || x.fault.act == actCut {
		x.forward()
		return
	}
	x.inject()
}

// pause waits. It aborts if the client disconnects or the proxy is closed.
func (x *exchange) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.r.Context().Done():
		abort()
	case <-x.ctx.Done():
		abort()
	}
}

// inject applies the fault instead of an answer.
func (x *exchange) inject() {
	switch f := x.fault; f.act {
	case actAnswer:
		h := x.w.Header()
		h.Set("Content-Type", f.contentType)
		if f.retryAfter != "" {
			h.Set("Retry-After", f.retryAfter)
		}
		x.w.WriteHeader(f.status)
		_, _ = io.WriteString(x.w, f.body)
		return
	case actReset:
		x.conn.reset()
	case actHang:
		select {
		case <-x.r.Context().Done():
		case <-x.ctx.Done():
		}
	case actResetStream:
		if x.h2 != nil {
			x.h2.resetStream(x.stream, f.code)
			abort()
		}
		x.conn.hangUp()
	case actGoAway:
		if x.h2 != nil {
			x.h2.goAway(x.stream, f.committed, f.code)
			if !f.committed {
				abort()
			}
		}
		x.conn.hangUp()
	default:
		x.conn.hangUp()
	}
	abort()
}

// forward sends the request to the server, and returns the answer as far as the fault
// allows.
func (x *exchange) forward() {
	if x.h2 != nil && !x.h2.admit(x.stream) {
		abort() // a GOAWAY has reported it as unprocessed
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	if x.fault.committed || x.r.Method != http.MethodGet {
		// A write continues without its client, so that its result is known.
		cancel()
		ctx, cancel = context.WithTimeout(context.WithoutCancel(x.r.Context()), commitLimit)
	}
	defer cancel()
	defer context.AfterFunc(x.ctx, cancel)()
	resp, err := x.upstream.RoundTrip(x.outgoing(ctx))
	if err != nil {
		abort()
	}
	defer resp.Body.Close()
	x.update(func() { x.send.Status = resp.StatusCode })
	switch {
	case x.fault.act == actTruncate:
		x.truncate(resp)
	case x.fault.committed:
		// The whole answer is read, so that the server has finished.
		_, _ = io.Copy(io.Discard, resp.Body)
		x.inject()
	default:
		x.answer(ctx, resp, cancel)
	}
}

func (x *exchange) outgoing(ctx context.Context) *http.Request {
	// The trace in the client's context is not for this request.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{})
	u := *x.r.URL
	u.Scheme, u.Host = x.target.Scheme, x.target.Host
	out, err := http.NewRequestWithContext(ctx, x.r.Method, u.String(), bytes.NewReader(x.body))
	if err != nil {
		abort()
	}
	out.Header = x.r.Header.Clone()
	for _, h := range []string{"Connection", "Te", "Transfer-Encoding", "Upgrade", "Keep-Alive", "Proxy-Connection", callHeader, streamHeader} {
		out.Header.Del(h)
	}
	return out
}

func (x *exchange) header(resp *http.Response) http.Header {
	h := x.w.Header()
	for name, values := range resp.Header {
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer":
		default:
			h[name] = values
		}
	}
	return h
}

// answer streams the server's answer to the client.
func (x *exchange) answer(ctx context.Context, resp *http.Response, cancel func()) {
	h := x.header(resp)
	if x.fault.act == actDrain {
		h.Set("Connection", "close") // the HTTP/2 server sends a GOAWAY for it
	}
	x.w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(x.w)
	_ = flush.Flush()

	f := x.fault
	limit := int64(math.MaxInt64)
	if f.act == actCut && f.cutBytes > 0 {
		limit = f.cutBytes
	}
	if f.act == actCut && f.cutAfter > 0 {
		defer time.AfterFunc(f.cutAfter, cancel).Stop()
	}
	src := &io.LimitedReader{R: resp.Body, N: limit}
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := x.w.Write(buf[:n]); err != nil {
				abort()
			}
			_ = flush.Flush()
		}
		if err == nil {
			continue
		}
		// The body of a canceled request also ends with EOF.
		whole := err == io.EOF && src.N > 0 && ctx.Err() == nil
		if whole || f.act == actCut && f.cutClean {
			return
		}
		abort()
	}
}

// truncate sends the header of the whole answer and half of its body.
func (x *exchange) truncate(resp *http.Response) {
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) == 0 {
		x.conn.hangUp()
		abort()
	}
	h := x.header(resp)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(resp.StatusCode)
	_, _ = x.w.Write(body[:len(body)/2])
	_ = http.NewResponseController(x.w).Flush()
	abort()
}
