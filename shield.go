package k8sretry

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// client-go repeats a GET by itself, ten times, a second apart, after errors that it
// recognises (k8s.io/client-go/rest/request.go), and every request that was answered
// with 429 or 5xx and a Retry-After (with_retry.go). Two loops multiply. The shield
// keeps it from recognising these errors, and the header from being there when it
// looks; whoever asks later finds everything.

// shielded is an error of the connection that client-go does not recognise.
type shielded struct {
	err   error
	watch bool        // of the start of a watch: there, a timeout is recognised, too
	off   atomic.Bool // a call of this package took the shield off
}

// shield puts the shield on an error that client-go would recognise.
func shield(err error, k *request, method string) error {
	if err == nil || method != http.MethodGet || !k.recognised(err) {
		return err
	}
	return &shielded{err: err, watch: k.watch}
}

// recognised reports whether client-go would repeat a GET after err. The rules are
// those of IsConnectionReset, IsProbableEOF, IsHTTP2ConnectionLost and IsTimeout in
// k8s.io/apimachinery/pkg/util/net.
func (r *request) recognised(err error) bool {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return true
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok && errno == syscall.ECONNRESET {
		return true
	}
	if r.watch && timeout(err) {
		return true
	}
	text := strings.ToLower(err.Error())
	for _, t := range texts {
		if strings.Contains(text, strings.ToLower(t.theirs)) {
			return true
		}
	}
	return false
}

// texts are what client-go looks for in errors, and how they read under the shield.
var texts = []struct{ theirs, ours string }{
	{"connection reset by peer", "connection reset by the peer"},
	{"use of closed network connection", "use of a closed network connection"},
	{"http2: server sent GOAWAY and closed the connection", "http2: the server sent GOAWAY and closed the connection"},
	{"http2: client connection lost", "http2: the client connection was lost"},
	{"http: can't write HTTP request on broken connection", "http: cannot write HTTP request on broken connection"},
}

var rewording = func() *strings.Replacer {
	var pairs []string
	for _, t := range texts {
		pairs = append(pairs, t.theirs, t.ours)
	}
	return strings.NewReplacer(append(pairs, "Use of closed network connection", "Use of a closed network connection")...)
}()

func (s *shielded) Error() string {
	if s.off.Load() {
		return s.err.Error()
	}
	return rewording.Replace(s.err.Error())
}

// Unwrap gives the error only without the shield: errors.As would find in it what
// must not be found.
func (s *shielded) Unwrap() error {
	if s.off.Load() {
		return s.err
	}
	return nil
}

// Is answers for the error under the shield.
func (s *shielded) Is(target error) bool { return errors.Is(s.err, target) }

// As answers for the error under the shield. It hides only that the connection was
// reset: that it was refused, reflectors ask for.
func (s *shielded) As(target any) bool {
	errno, ok := target.(*syscall.Errno)
	if !ok || s.off.Load() {
		return errors.As(s.err, target)
	}
	found, ok := errors.AsType[syscall.Errno](s.err)
	if !ok || found == syscall.ECONNRESET {
		return false
	}
	*errno = found
	return true
}

// Timeout is asked by url.Error.
func (s *shielded) Timeout() bool { return (!s.watch || s.off.Load()) && timeout(s.err) }

// Temporary is asked by url.Error.
func (s *shielded) Temporary() bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](s.err)
	return ok && t.Temporary()
}

func timeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// unshield takes the shield off an error that client-go has handed on. The usual
// error is copied: it may be in use elsewhere already.
func unshield(err error) error {
	if u, ok := err.(*url.Error); ok && u != nil {
		if s, ok := u.Err.(*shielded); ok {
			return &url.Error{Op: u.Op, URL: u.URL, Err: s.err}
		}
	}
	if s, ok := errchain.Find(err, func(e error) bool { _, ok := e.(*shielded); return ok }).(*shielded); ok {
		s.off.Store(true)
	}
	return err
}

const retryAfterHeader = "Retry-After"

// hide takes the Retry-After away while client-go decides whether to repeat the
// request, and puts it back when the body is first read: client-go reads the body
// before it makes its error, and only then looks for the delay.
func hide(resp *http.Response) *http.Response {
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError {
		return resp
	}
	values := resp.Header[retryAfterHeader]
	if len(values) == 0 {
		return resp
	}
	delete(resp.Header, retryAfterHeader)
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	resp.Body = &hidingBody{ReadCloser: resp.Body, header: resp.Header, values: values}
	return resp
}

type hidingBody struct {
	io.ReadCloser
	header http.Header
	values []string
	shown  atomic.Bool
}

func (b *hidingBody) Read(p []byte) (int, error) {
	if !b.shown.Load() && b.shown.CompareAndSwap(false, true) {
		b.header[retryAfterHeader] = b.values
	}
	return b.ReadCloser.Read(p)
}

// retryAfterIn reads the header: whole seconds, or a date (RFC 9110, section 10.2.3),
// which client-go leaves out of its errors. 0 if it says nothing or is in the past.
func retryAfterIn(h http.Header) time.Duration {
	text := h.Get(retryAfterHeader)
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) { // then n is the nearest
		return time.Duration(max(0, min(n, int64(math.MaxInt64/time.Second)))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
