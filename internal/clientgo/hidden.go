// SPDX-License-Identifier: Apache-2.0

package clientgo

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/errchain"
)

// HiddenError is a connection error that client-go does not recognize. errors.Is and
// errors.As find everything in it but what client-go looks for.
type HiddenError struct {
	err      error
	watch    bool        // from the start of a watch, after which client-go recognizes timeouts, too
	revealed atomic.Bool // RevealError was called
}

// HideError returns err so that client-go does not repeat the request after it. It returns
// err itself if client-go would not.
func HideError(err error, r *apirequest.Request, method string) error {
	if err == nil || method != http.MethodGet || !recognized(err, r.Watch) {
		return err
	}
	return &HiddenError{err: err, watch: r.Watch}
}

// RevealError undoes HideError for an error that client-go has returned.
func RevealError(err error) error {
	// net/http wraps the error of a RoundTripper in a *url.Error. It is copied, because
	// another goroutine may be using it.
	if u, ok := err.(*url.Error); ok && u != nil {
		if h, ok := u.Err.(*HiddenError); ok {
			return &url.Error{Op: u.Op, URL: u.URL, Err: h.err}
		}
	}
	found := errchain.Find(err, func(e error) bool { _, ok := e.(*HiddenError); return ok })
	if h, ok := found.(*HiddenError); ok {
		h.revealed.Store(true)
	}
	return err
}

// recognized reports whether client-go would repeat a GET after err. The rules are those
// of IsConnectionReset, IsProbableEOF, IsHTTP2ConnectionLost and IsTimeout in
// k8s.io/apimachinery/pkg/util/net.
func recognized(err error, watch bool) bool {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return true
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && errno == syscall.ECONNRESET {
		return true
	}
	if watch && isTimeout(err) {
		return true
	}
	text := strings.ToLower(err.Error())
	for _, t := range texts {
		if strings.Contains(text, strings.ToLower(t.recognized)) {
			return true
		}
	}
	return false
}

// texts are the texts that client-go looks for in errors, and what a HiddenError says
// instead.
var texts = []struct{ recognized, hidden string }{
	{"connection reset by peer", "connection reset by the peer"},
	{"use of closed network connection", "use of a closed network connection"},
	{"http2: server sent GOAWAY and closed the connection", "http2: the server sent GOAWAY and closed the connection"},
	{"http2: client connection lost", "http2: the client connection was lost"},
	{"http: can't write HTTP request on broken connection", "http: cannot write HTTP request on broken connection"},
}

var hideTexts = func() *strings.Replacer {
	var pairs []string
	for _, t := range texts {
		pairs = append(pairs, t.recognized, t.hidden)
	}
	return strings.NewReplacer(append(pairs, "Use of closed network connection", "Use of a closed network connection")...)
}()

// Hidden returns the error that h hides.
func (h *HiddenError) Hidden() error { return h.err }

// Error returns the text of the hidden error, reworded so that client-go does not
// recognize it.
func (h *HiddenError) Error() string {
	if h.revealed.Load() {
		return h.err.Error()
	}
	return hideTexts.Replace(h.err.Error())
}

// Unwrap returns nil unless the error was revealed, because errors.As would find in the
// hidden error what client-go looks for.
func (h *HiddenError) Unwrap() error {
	if h.revealed.Load() {
		return h.err
	}
	return nil
}

// Is reports whether the hidden error is target. client-go does not use errors.Is.
func (h *HiddenError) Is(target error) bool { return errors.Is(h.err, target) }

// As finds target in the hidden error. It hides only that the connection was reset: that
// it was refused is what reflectors look for.
func (h *HiddenError) As(target any) bool {
	errno, ok := target.(*syscall.Errno)
	if !ok || h.revealed.Load() {
		return errors.As(h.err, target)
	}
	var found syscall.Errno
	if !errors.As(h.err, &found) || found == syscall.ECONNRESET {
		return false
	}
	*errno = found
	return true
}

// Timeout implements the Timeout method of net.Error, which *url.Error calls.
func (h *HiddenError) Timeout() bool { return (!h.watch || h.revealed.Load()) && isTimeout(h.err) }

// Temporary implements the Temporary method of net.Error, which *url.Error calls.
func (h *HiddenError) Temporary() bool {
	var t interface{ Temporary() bool }
	return errors.As(h.err, &t) && t.Temporary()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// HideRetryAfter removes the Retry-After of a 429 or 5xx from the response until the client
// reads its body. client-go decides whether to repeat the request before it reads the body,
// and reads the delay for its error after it. A RoundTripper above may read the body, too, to
// log it: that is before client-go decides, so the header remains hidden. The response may be
// nil.
func HideRetryAfter(resp *http.Response, req *http.Request) {
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError {
		return
	}
	values := resp.Header[retryAfter]
	if len(values) == 0 {
		return
	}
	delete(resp.Header, retryAfter)
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	resp.Body = &hidingBody{ReadCloser: resp.Body, header: resp.Header, values: values, clientGo: calledByClientGo() || tracedByClientGo(req)}
}

// hidingBody restores the header when the client reads it.
type hidingBody struct {
	io.ReadCloser
	header   http.Header
	values   []string
	clientGo bool // the client is client-go
	restored atomic.Bool
}

func (b *hidingBody) Read(p []byte) (int, error) {
	if !b.restored.Load() && b.isRead() && b.restored.CompareAndSwap(false, true) {
		b.header[retryAfter] = b.values
	}
	return b.ReadCloser.Read(p)
}

// isRead reports whether the client reads the body. A RoundTripper above may read it in another
// goroutine.
func (b *hidingBody) isRead() bool {
	who := readerOf()
	return who == clientGoReader || who == anyReader && !b.clientGo
}

// HideReadErrors does for errors of the body of a successful answer what HideError does for
// those of a request, if a RoundTripper above reads the body: it returns them as its own, and
// client-go would repeat a GET after them. The response may be nil.
func HideReadErrors(resp *http.Response, r *apirequest.Request, method string) {
	if resp == nil || method != http.MethodGet || r.Once || resp.Body == nil || resp.Body == http.NoBody ||
		resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return
	}
	resp.Body = &readBody{resp.Body, r}
}

type readBody struct {
	io.ReadCloser
	request *apirequest.Request
}

func (b *readBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && readerOf() == roundTripperReader {
		err = HideError(err, b.request, http.MethodGet)
	}
	return n, err
}

// reader is who reads a body.
type reader uint8

const (
	anyReader          reader = iota // not known: a client without client-go, or another goroutine
	clientGoReader                   // client-go, after the call of its http.Client has returned
	roundTripperReader               // a RoundTripper, during that call
)

// readerOf finds out on whose behalf Read runs, which is its caller. Nothing in a request or a
// response shows whether the call of the http.Client has returned, but the stack does. If
// client-go itself runs in the RoundTripper of another client, to get a token, the inner one
// counts.
func readerOf() (who reader) {
	eachCaller(func(function string) bool {
		switch {
		case isOfClientGo(function):
			who = clientGoReader
		case strings.HasPrefix(function, "net/http.(*Client)."):
			who = roundTripperReader
		default:
			return true
		}
		return false
	})
	return who
}

// calledByClientGo reports whether client-go makes a request.
func calledByClientGo() (is bool) {
	eachCaller(func(function string) bool { is = isOfClientGo(function); return !is })
	return is
}

// tracedByClientGo reports whether client-go has made a request, also if a RoundTripper above
// sends it in another goroutine, whose stack does not show that. client-go measures the look-up of
// the host (newDNSMetricsTrace in k8s.io/client-go/rest/request.go).
func tracedByClientGo(req *http.Request) bool {
	trace := httptrace.ContextClientTrace(req.Context())
	if trace == nil || trace.DNSStart == nil {
		return false
	}
	f := runtime.FuncForPC(reflect.ValueOf(trace.DNSStart).Pointer())
	return f != nil && isOfClientGo(f.Name())
}

func isOfClientGo(function string) bool { return strings.HasPrefix(function, "k8s.io/client-go/rest.") }

// eachCaller calls f with the names of the functions on the stack, the innermost first, until
// f returns false.
func eachCaller(f func(function string) bool) {
	var pcs [64]uintptr
	const skipped = 3 // runtime.Callers, this function and its caller
	for skip := skipped; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var frame runtime.Frame
			frame, more = frames.Next()
			if !f(frame.Function) {
				return
			}
		}
	}
}
