// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"context"
	"net/http"
)

// Send is one request that reached the proxy.
type Send struct {
	Call   string // the id of [WithCall], or ""
	Method string
	Path   string
	Query  string
	Proto  string // "HTTP/2.0" or "HTTP/1.1"
	Nth    int    // number of earlier requests with the same call, method and path
	Fault  string // the [Fault.String] of its fault
	Status int    // status code of the server's answer, or 0 if there is none yet
}

// Committed reports whether the server has carried out the request. For a write it is valid
// as soon as the server has answered, even if the client has disconnected.
func (s Send) Committed() bool { return s.Status >= 200 && s.Status < 300 }

type sendKey struct{ call, method, path string }

type nthKey struct{}

// Nth returns the number of earlier requests with the same call, method and path. It is for
// use in a [Rule].
func Nth(r *http.Request) int {
	n, _ := r.Context().Value(nthKey{}).(int)
	return n
}

// Sends returns the requests so far, in order of arrival.
func (p *Proxy) Sends() []Send {
	p.mu.Lock()
	defer p.mu.Unlock()
	sends := make([]Send, len(p.sends))
	for i, s := range p.sends {
		sends[i] = *s
	}
	return sends
}

// Count returns the number of matching requests so far.
func (p *Proxy) Count(match func(Send) bool) int {
	n := 0
	for _, s := range p.Sends() {
		if match(s) {
			n++
		}
	}
	return n
}

// ClearSends removes all recorded requests.
func (p *Proxy) ClearSends() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sends, p.seen = nil, map[sendKey]int{}
}

// record records a request and returns the request for rules.
func (p *Proxy) record(r *http.Request) (*Send, *http.Request) {
	key := sendKey{r.Header.Get(callHeader), r.Method, r.URL.Path}
	p.mu.Lock()
	n := p.seen[key]
	p.seen[key]++
	s := &Send{Call: key.call, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Proto: r.Proto, Nth: n}
	p.sends = append(p.sends, s)
	p.mu.Unlock()
	return s, r.WithContext(context.WithValue(r.Context(), nthKey{}, n))
}

// update changes recorded requests.
func (p *Proxy) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// callHeader contains the id of a call. The proxy removes it.
const callHeader = "X-Faultproxy-Call"

type callKey struct{}

// WithCall returns a context whose requests have the given id in [Send]. Clients made from
// [Proxy.Config] send the id.
func WithCall(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callKey{}, id)
}

// TagCalls wraps a transport and sends the id of [WithCall] to the proxy.
func TagCalls(next http.RoundTripper) http.RoundTripper { return tagger{next} }

type tagger struct{ next http.RoundTripper }

func (t tagger) RoundTrip(r *http.Request) (*http.Response, error) {
	if id, ok := r.Context().Value(callKey{}).(string); ok {
		r = r.Clone(r.Context())
		r.Header.Set(callHeader, id)
	}
	return t.next.RoundTrip(r)
}

// WrappedRoundTripper returns the wrapped transport, for client-go.
func (t tagger) WrappedRoundTripper() http.RoundTripper { return t.next }
