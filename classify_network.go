// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/k8sretry/k8sretry/internal/errchain"
	"github.com/k8sretry/k8sretry/internal/errno"
)

// operation notes the operation of a *net.OpError.
func (p *errorPath) operation(op string) {
	switch op {
	case "dial", "proxyconnect", "socks connect":
		p.setup = true
	case "remote error":
		p.alert = true
	case "local error":
		p.alert, p.local = true, true
	default: // read, write, readfrom, ...
		p.stream = true
	}
}

// outcome is o, unless nothing can have been sent.
func (p *errorPath) outcome(o Outcome) Outcome {
	if p.setup {
		return OutcomeNotExecuted
	}
	return o
}

// networkMeaning returns the meaning of the end of a chain without an API status, nil if
// it has none: a nil pointer, or an error of the caller. Types decide before texts,
// because an error can quote the text of another.
func networkMeaning(end error, p *errorPath) *meaning {
	if p.badURL {
		return &meansBadURL
	}
	if p.alert {
		switch {
		case end != nil && !errchain.IsNil(end) && lostInConnection(end.Error()):
			return p.connectionLost()
		case p.local:
			return &meansAlertSent
		}
		return &meansAlertReceived
	}
	if e, ok := end.(syscall.Errno); ok {
		return p.errnoMeaning(e)
	}
	if end == nil || errchain.IsNil(end) {
		return p.unknown()
	}

	switch e := end.(type) {
	case *net.DNSError:
		return dnsMeaning(e)
	case *tls.CertificateVerificationError, x509.SystemRootsError: // the others begin with "tls: " or "x509: "
		return &meansTLSFailed
	case http2.StreamError:
		return streamMeaning(e)
	case http2.ConnectionError:
		return &meansHTTP2Closed
	case net.UnknownNetworkError, net.InvalidAddrError, *net.AddrError, *net.ParseError:
		return &meansBadAddress
	case *meta.NoKindMatchError, *meta.NoResourceMatchError:
		return &meansNotServed
	case *json.UnmarshalTypeError: // also that of sigs.k8s.io/json, with which client-go decodes
		return &meansUndecodable
	case *foreignAnswer:
		return &meansUnknownType
	case *json.SyntaxError: // the caller's: that of sigs.k8s.io/json is another type
		return p.unknown()
	}

	if m := p.rateLimiterMeaning(end); m != nil {
		return m
	}
	switch end {
	case io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, io.ErrClosedPipe:
		return p.connectionLost()
	case context.Canceled:
		return &meansCanceled
	case context.DeadlineExceeded:
		return &meansDeadlineExceeded
	case ErrQueueTimeout:
		return &meansQueueTimeout
	case errRedirected, errRedirectedLater:
		return &meansRedirected
	case errTooLong:
		return &meansTooLong
	case http.ErrSchemeMismatch:
		return &meansServerWithoutTLS
	}

	if m := p.methodMeaning(end); m != nil {
		return m
	}
	if m := p.networkTextMeaning(end.Error()); m != nil {
		return m
	}
	return p.unknown()
}

// rateLimiterMeaning returns the meaning of a context that has ended while the rate limiter of
// client-go made its request wait, nil if end is something else.
func (p *errorPath) rateLimiterMeaning(end error) *meaning {
	if end != context.Canceled && end != context.DeadlineExceeded || !p.ofRateLimiter() {
		return nil
	}
	if end == context.Canceled {
		return &meansRateLimiterCanceled
	}
	return &meansRateLimiterTimedOut
}

// ofRateLimiter reports whether the end of the chain comes from the rate limiter of client-go.
func (p *errorPath) ofRateLimiter() bool {
	return p.parent != nil && strings.HasPrefix(p.parent.Error(), "client rate limiter Wait returned an error: ")
}

// unknown returns the meaning of an unknown error by the path alone, nil if that says
// nothing.
func (p *errorPath) unknown() *meaning {
	switch {
	case p.setup || p.stream:
		return p.connectionLost()
	case p.client:
		return &meansUnknownHTTP
	}
	return nil
}

// connectionLost is a connection that broke, or that was not established.
func (p *errorPath) connectionLost() *meaning {
	if p.setup {
		return &meansNoConnection
	}
	return &meansConnectionLost
}

func (p *errorPath) errnoMeaning(e syscall.Errno) *meaning {
	switch e {
	case syscall.ETIMEDOUT:
		return &meansConnectionTimedOut
	case syscall.ECONNREFUSED:
		return &meansConnectionRefused
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENETRESET, syscall.ENOTCONN,
		syscall.ENETDOWN, syscall.ENETUNREACH, errno.HostDown, syscall.EHOSTUNREACH:
		return p.connectionLost()
	}
	return p.unknown()
}

func dnsMeaning(e *net.DNSError) *meaning {
	switch {
	case errors.Is(e.UnwrapErr, context.Canceled):
		return &meansCanceled
	case e.IsTimeout:
		return &meansDNSTimedOut
	case e.IsNotFound && !e.IsTemporary:
		return &meansNoSuchHost
	}
	return &meansDNSFailed
}

func streamMeaning(e http2.StreamError) *meaning {
	if e.Code == http2.ErrCodeRefusedStream {
		return &meansStreamRefused
	}
	return &meansStreamReset
}

// methodMeaning asks the methods of an error whose type cannot be named here, such as the
// unexported types of net and net/http.
func (p *errorPath) methodMeaning(end error) *meaning {
	if is, ok := end.(interface{ Is(error) bool }); ok && is.Is(context.Canceled) {
		return &meansCanceled
	}
	if isTimeout(end) || p.parent != nil && isTimeout(p.parent) {
		if end.Error() == "net/http: TLS handshake timeout" {
			return &meansHandshakeTimedOut
		}
		return &meansTimedOut
	}
	if as, ok := end.(interface{ As(any) bool }); ok {
		// The stream error of net/http converts itself to that of x/net.
		var stream http2.StreamError
		if as.As(&stream) {
			return streamMeaning(stream)
		}
	}
	if exit, ok := end.(interface {
		Exited() bool
		ExitStatus() int
	}); ok && exit.Exited() { // k8s.io/client-go/util/exec.CodeExitError
		return &meansCommandFailed
	}
	if runtime.IsNotRegisteredError(end) || runtime.IsMissingKind(end) || runtime.IsMissingVersion(end) {
		// client-go decodes the body of a 2xx response only.
		return &meansUndecodable
	}
	return nil
}

func isTimeout(err error) bool {
	if e, ok := err.(interface{ Timeout() bool }); ok && e.Timeout() {
		return true
	}
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(context.DeadlineExceeded)
}

// networkTextMeaning returns the meaning of a text at the end of a chain, where it is no
// quotation of another error, nil if there is none.
func (p *errorPath) networkTextMeaning(text string) *meaning {
	if strings.HasPrefix(text, "tls: ") && lostInConnection(text) {
		return p.connectionLost()
	}
	if m := findPrefix(networkTexts, text); m != nil {
		return m
	}
	if m := upgradeMeaning(text); m != nil {
		return m
	}
	switch {
	case strings.HasPrefix(text, "rate: Wait(n=") && strings.HasSuffix(text, "would exceed context deadline"):
		return &meansRateLimiterDeadline
	case strings.HasPrefix(text, "getting credentials: "):
		return pluginMeaning(text)
	case strings.HasPrefix(text, "serializer for ") && strings.HasSuffix(text, " doesn't exist"),
		// sigs.k8s.io/controller-runtime/pkg/client/typed_client.go
		strings.HasPrefix(text, `unexpected content type "`) && strings.Contains(text, `" in apply response`):
		return &meansUnknownType
	}
	if p.parent == nil {
		return nil
	}
	if _, ok := p.parent.(*url.Error); ok {
		return connectTexts[text]
	}
	switch parent := p.parent.Error(); {
	case p.ofRateLimiter():
		return &meansRateLimiterFailed
	case strings.HasPrefix(parent, "unexpected error when reading response body."),
		strings.HasPrefix(parent, "stream error when reading response body,"):
		return &meansBodyCut
	}
	return nil
}

// pluginMeaning returns the meaning of a failed credential plugin
// (k8s.io/client-go/plugin/pkg/client/auth/exec). The next call runs it again.
func pluginMeaning(text string) *meaning {
	for _, part := range pluginMissingTexts {
		if strings.Contains(text, part) {
			return &meansPluginMissing
		}
	}
	return &meansPluginFailed
}

// errRedirected is a write that was answered by a 301, 302 or 303. net/http sends a GET, or
// would send it without a Transport below; its success says nothing about the write.
var errRedirected = errors.New("k8sretry: the server has redirected the write, which net/http follows with a GET")

// errRedirectedLater is a write that was answered by a 307 or 308 after an attempt that may have
// been carried out. net/http would send it again as another request, whose answer could be the
// effect of that attempt.
var errRedirectedLater = errors.New("k8sretry: the server has redirected the repetition of a write")

// foreignAnswer is a success that does not come from the API.
type foreignAnswer struct{ contentType string }

func (e *foreignAnswer) Error() string {
	return "k8sretry: the response is not one of the API, its content type is " + e.contentType
}
