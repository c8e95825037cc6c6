// SPDX-License-Identifier: Apache-2.0

package seam

import (
	"bytes"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// fault is one kind of what happens to a request.
type fault struct {
	name   string
	served bool // the server carries the request out; its answer is lost
	make   func(r *http.Request, served *http.Response) (*http.Response, error)
}

// faults are as likely as each other.
var faults = []fault{
	{"429", false, answer(http.StatusTooManyRequests, "1")},
	{"503", false, answer(http.StatusServiceUnavailable, "")},
	{"reset", false, reset},
	{"504 after commit", true, answer(http.StatusGatewayTimeout, "")},
	{"reset after commit", true, reset},
	{"truncated", true, truncated},
}

// faulty answers a share of the requests with faults. The fault of a request depends on the
// seed, its method and path and how often both were sent before.
type faulty struct {
	next  http.RoundTripper
	share float64
	seed  uint64
}

func (f *faulty) WrappedRoundTripper() http.RoundTripper { return f.next }

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, ok := f.pick(r)
	if !ok {
		return f.next.RoundTrip(r)
	}
	count("fault " + kind.name + ": " + r.Method + " " + r.URL.Path + "\n")
	if !kind.served || streams(r) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return kind.make(r, nil)
	}
	resp, err := f.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return kind.make(r, resp)
}

func (f *faulty) pick(r *http.Request) (fault, bool) {
	// Above its own handshake client-go has only the protocols of an upgrade in the headers.
	upgrade := r.Header.Get("Upgrade") + r.Header.Get("Sec-Websocket-Protocol") + r.Header.Get("X-Stream-Protocol-Version")
	if !begun.Load() || upgrade != "" {
		return fault{}, false
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, r.Method+" "+r.URL.Path+" "+strconv.Itoa(nth(r.Method+" "+r.URL.Path)))
	random := rand.New(rand.NewPCG(f.seed, h.Sum64()))
	if random.Float64() >= f.share {
		return fault{}, false
	}
	return faults[random.IntN(len(faults))], true
}

// streams reports whether the answer to a request does not end by itself.
func streams(r *http.Request) bool {
	q := r.URL.Query()
	return q.Get("watch") != "" && q.Get("watch") != "false" || q.Get("follow") == "true"
}

var (
	mu   sync.Mutex
	seen = map[string]int{}
)

// nth returns how often it was called before with the text.
func nth(text string) int {
	mu.Lock()
	defer mu.Unlock()
	seen[text]++
	return seen[text] - 1
}

// answer is what a filter of the API server or a load balancer says.
func answer(status int, retryAfter string) func(*http.Request, *http.Response) (*http.Response, error) {
	return func(r *http.Request, _ *http.Response) (*http.Response, error) {
		text := http.StatusText(status) + "\n"
		resp := &http.Response{
			Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
			Proto: "HTTP/2.0", ProtoMajor: 2,
			Header:  http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
			Body:    io.NopCloser(strings.NewReader(text)),
			Request: r, ContentLength: int64(len(text)),
		}
		if retryAfter != "" {
			resp.Header.Set("Retry-After", retryAfter)
		}
		return resp, nil
	}
}

// reset is the error of a connection that the other side has reset.
func reset(*http.Request, *http.Response) (*http.Response, error) {
	return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

// truncated is an answer whose connection breaks in the middle of the body.
func truncated(r *http.Request, served *http.Response) (*http.Response, error) {
	if served == nil {
		return reset(r, nil)
	}
	body, _ := io.ReadAll(served.Body)
	if len(body) == 0 {
		return reset(r, nil)
	}
	served.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), failing{}))
	return served, nil
}

// failing is the end of a body that is not whole.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
