package faultproxy

import (
	"context"
	"net/http"
)

// Send is one request that reached the proxy.
type Send struct {
	Call   string // the id given with [WithCall], "" without
	Method string
	Path   string
	Query  string
	Proto  string // "HTTP/2.0" or "HTTP/1.1"
	Nth    int    // how many with the same call, method and path came before
	Fault  string // what happened to it, as [Fault.String] names it
	Status int    // what the server answered; 0 while or if it did not
}

// Committed reports whether the server carried the request out. For a write it is
// the truth as soon as the server has answered, whether its client waits or not.
func (s Send) Committed() bool { return s.Status >= 200 && s.Status < 300 }

type sendKey struct{ call, method, path string }

type nthKey struct{}

// Nth is how many requests with the same call, method and path came before: 0 for
// the first. For use in a [Rule].
func Nth(r *http.Request) int {
	n, _ := r.Context().Value(nthKey{}).(int)
	return n
}

// Sends returns what has reached the proxy so far, in order of arrival.
func (p *Proxy) Sends() []Send {
	p.mu.Lock()
	defer p.mu.Unlock()
	sends := make([]Send, len(p.sends))
	for i, s := range p.sends {
		sends[i] = *s
	}
	return sends
}

// Count returns how many of the requests so far match.
func (p *Proxy) Count(match func(Send) bool) int {
	n := 0
	for _, s := range p.Sends() {
		if match(s) {
			n++
		}
	}
	return n
}

// Forget drops what [Proxy.Sends] has gathered.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sends, p.seen = nil, map[sendKey]int{}
}

// record notes an arrival and returns the request as rules may see it.
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

func (p *Proxy) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// callHeader carries the call's id to the proxy, which takes it off.
const callHeader = "X-Faultproxy-Call"

type callKey struct{}

// WithCall gives all requests made under the context an id of the test's own, by
// which [Send] tells them apart. Clients made from [Proxy.Config] send it.
func WithCall(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callKey{}, id)
}

// TagCalls is a transport wrapper that sends the id of [WithCall] to the proxy.
func TagCalls(next http.RoundTripper) http.RoundTripper { return tagger{next} }

type tagger struct{ next http.RoundTripper }

func (t tagger) RoundTrip(r *http.Request) (*http.Response, error) {
	if id, ok := r.Context().Value(callKey{}).(string); ok {
		r = r.Clone(r.Context())
		r.Header.Set(callHeader, id)
	}
	return t.next.RoundTrip(r)
}

// WrappedRoundTripper is how client-go finds the transport below.
func (t tagger) WrappedRoundTripper() http.RoundTripper { return t.next }
