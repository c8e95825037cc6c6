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
	"reflect"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// enter notes the operation of a *net.OpError.
func (t *trail) enter(op string) {
	switch op {
	case "dial", "proxyconnect", "socks connect":
		t.setup = true
	case "remote error":
		t.alert = true
	case "local error":
		t.alert, t.local = true, true
	default: // read, write, readfrom, ...
		t.stream = true
	}
}

// limit lowers an outcome to what can have become of the request on this way.
func (t *trail) limit(o Outcome) Outcome {
	if t.setup {
		return OutcomeNotExecuted
	}
	return o
}

// judgeNetwork says what the end of a chain without an API status means. It is nil
// for an error that says nothing: a sentinel of the caller, a nil pointer. Types go
// before texts, because texts are quoted.
func judgeNetwork(leaf error, t *trail) *meaning {
	if t.badURL {
		return &meansBadURL
	}
	if t.alert {
		if t.local {
			return &meansAlertSent
		}
		return &meansAlertReceived
	}
	if e, ok := leaf.(syscall.Errno); ok {
		return t.errno(e)
	}
	if leaf == nil || errchain.IsNil(leaf) {
		return t.unknown()
	}

	switch e := leaf.(type) {
	case *net.DNSError:
		return judgeDNS(e)
	case *tls.CertificateVerificationError, x509.SystemRootsError: // the others begin with "tls: " or "x509: "
		return &meansTLSRefused
	case http2.StreamError:
		return judgeStream(e)
	case http2.ConnectionError:
		return &meansHTTP2Closed
	case net.UnknownNetworkError, net.InvalidAddrError, *net.AddrError, *net.ParseError:
		return &meansBadAddress
	case *meta.NoKindMatchError, *meta.NoResourceMatchError:
		return &meansNotServed
	case *json.UnmarshalTypeError: // sigs.k8s.io/json, which client-go decodes with, has the same type
		return &meansUndecodable
	case *json.SyntaxError: // and another type than this one: it is the caller's
		return t.unknown()
	}

	switch leaf {
	case io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, io.ErrClosedPipe:
		return t.lost()
	case context.Canceled:
		return &meansCanceled
	case context.DeadlineExceeded:
		return &meansDeadlineExceeded
	case ErrQueueTimeout:
		return &meansHeldBack
	case errTooLong:
		return &meansTooLong
	case http.ErrSchemeMismatch:
		return &meansNoTLS
	}

	if m := t.traits(leaf); m != nil {
		return m
	}
	if m := discovery(leaf); m != nil {
		return m
	}
	if m := t.texts(leaf.Error()); m != nil {
		return m
	}
	return t.unknown()
}

// unknown judges by the way alone. It is nil if that says nothing either.
func (t *trail) unknown() *meaning {
	switch {
	case t.setup || t.stream:
		return t.lost()
	case t.wire:
		return &meansUnknownWire
	}
	return nil
}

// lost is a connection that did not come about, or that broke.
func (t *trail) lost() *meaning {
	if t.setup {
		return &meansNoConnection
	}
	return &meansConnectionLost
}

func (t *trail) errno(e syscall.Errno) *meaning {
	switch e {
	case syscall.ETIMEDOUT:
		return &meansConnectTimedOut
	case syscall.ECONNREFUSED:
		return &meansConnectionRefused
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENETRESET, syscall.ENOTCONN,
		syscall.ENETDOWN, syscall.ENETUNREACH, hostDown, syscall.EHOSTUNREACH:
		return t.lost()
	}
	return t.unknown()
}

func judgeDNS(e *net.DNSError) *meaning {
	switch {
	case errors.Is(e.UnwrapErr, context.Canceled):
		return &meansCanceled
	case e.IsTimeout:
		return &meansNameTimedOut
	case e.IsNotFound && !e.IsTemporary:
		return &meansNoSuchHost
	}
	return &meansNameServerFailed
}

func judgeStream(e http2.StreamError) *meaning {
	if e.Code == http2.ErrCodeRefusedStream {
		return &meansStreamRefused
	}
	return &meansStreamReset
}

// traits asks an error of a type that cannot be named, most of them unexported
// ones of net and net/http, for what it says of itself.
func (t *trail) traits(leaf error) *meaning {
	if is, ok := leaf.(interface{ Is(error) bool }); ok && is.Is(context.Canceled) {
		return &meansCanceled
	}
	if isTimeout(leaf) || t.parent != nil && isTimeout(t.parent) {
		if leaf.Error() == "net/http: TLS handshake timeout" {
			return &meansHandshakeTimedOut
		}
		return &meansTimedOut
	}
	if as, ok := leaf.(interface{ As(any) bool }); ok {
		// The twin of StreamError in net/http answers as the one of x/net.
		var stream http2.StreamError
		if as.As(&stream) {
			return judgeStream(stream)
		}
	}
	if exit, ok := leaf.(interface {
		Exited() bool
		ExitStatus() int
	}); ok && exit.Exited() { // k8s.io/client-go/util/exec.CodeExitError
		return &meansCommandFailed
	}
	if runtime.IsNotRegisteredError(leaf) || runtime.IsMissingKind(leaf) || runtime.IsMissingVersion(leaf) {
		// A failed decoding is an error of client-go only after a code of 2xx.
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

// discovery recognises a failed discovery by the name of its type: the target call
// was not sent, whatever the errors inside say. The types are of client-go and
// controller-runtime, which this package does not import.
func discovery(err error) *meaning {
	switch name := reflect.TypeOf(err).String(); {
	case strings.HasSuffix(name, ".ErrGroupDiscoveryFailed"), strings.HasSuffix(name, ".ErrResourceDiscoveryFailed"):
		return &meansDiscoveryFailed
	}
	return nil
}

// texts looks for the texts of errors that have no type of their own. Each is read
// at the end of the chain only, where nobody can quote another.
func (t *trail) texts(text string) *meaning {
	if m := begun(networkTexts, text); m != nil {
		return m
	}
	switch {
	case strings.HasPrefix(text, "rate: Wait(n=") && strings.HasSuffix(text, "would exceed context deadline"):
		return &meansLimiterDeadline
	case strings.HasPrefix(text, "getting credentials: "):
		return credentials(text)
	case strings.HasPrefix(text, "serializer for ") && strings.HasSuffix(text, " doesn't exist"):
		return &meansUnknownType
	}
	if t.parent == nil {
		return nil
	}
	if _, ok := t.parent.(*url.Error); ok {
		return proxyRefusals[text]
	}
	switch wrapper := t.parent.Error(); {
	case strings.HasPrefix(wrapper, "client rate limiter Wait returned an error: "):
		return &meansLimiterRefused
	case strings.HasPrefix(wrapper, "unexpected error when reading response body."),
		strings.HasPrefix(wrapper, "stream error when reading response body,"):
		return &meansBodyCut
	}
	return nil
}

// credentials judges a failed credential plugin
// (k8s.io/client-go/plugin/pkg/client/auth/exec). It is run again by the next call.
func credentials(text string) *meaning {
	for _, lasting := range [...]string{" not found", "no such file or directory", " not allowed", " not permitted"} {
		if strings.Contains(text, lasting) {
			return &meansPluginMissing
		}
	}
	return &meansPluginFailed
}

// networkTexts begin the texts of errors without a type of their own. The first
// that fits decides.
var networkTexts = []quote{
	// golang.org/x/net/http2 and its twin in net/http, which share texts but not types
	{"http2: client connection lost", &meansPingLost},
	{"http2: client connection force closed", &meansHTTP2Closed},
	{"http2: client conn is closed", &meansHTTP2Closed},
	{"http2: server sent GOAWAY and closed the connection", &meansHTTP2Closed},
	{"http2: Transport received GOAWAY from server", &meansGoAwayRefused},
	{"http2: Transport received Server's graceful shutdown GOAWAY", &meansGracefulGoAway},
	{"http2: Transport: cannot retry err [", &meansStreamRefused},
	{"http2: client conn could not be established", &meansNoConnection},
	{"http2: client conn not usable", &meansNoConnection},
	// net/http/transport.go
	{"http: server closed idle connection", &meansConnectionLost},
	{"net/http: cannot rewind body after connection loss", &meansConnectionLost},
	{"http: unexpected EOF reading trailer", &meansBodyCut},
	{"net/http: request canceled while waiting for connection", &meansCanceledWaiting},
	{"net/http: request canceled", &meansRequestCanceled},
	{"net/http: invalid ", &meansBadRequest},
	{"http: no Host in request URL", &meansBadRequest},
	{"unsupported protocol scheme", &meansBadRequest},
	{"stopped after 10 redirects", &meansRedirects},
	// A TLS alert, read as if it were HTTP.
	{`malformed HTTP response "\x15\x03`, &meansSpeaksTLS},
	// crypto/tls, crypto/x509
	{"tls: use of closed connection", &meansConnectionLost},
	{"tls: protocol is shutdown", &meansConnectionLost},
	{"tls: ", &meansTLSRefused},
	{"x509: ", &meansTLSRefused},
	// client-go's exec, attach and port-forward, before the stream is open
	{"unable to upgrade connection: ", &meansStreamNotOpened},
	{"unable to upgrade streaming request: ", &meansStreamNotOpened},
	// Decoding of an answer with a code of 2xx: apimachinery's serializers, client-go/rest/request.go
	{"couldn't get version/kind; json parse error: ", &meansUndecodable},
	{"provided data does not appear to be a protobuf message", &meansUndecodable},
	{"invalid character ", &meansUndecodable},
	{"unexpected end of JSON input", &meansUndecodable},
	{"0-length response with status code: 2", &meansEmptyAnswer},
}

// proxyRefusals are the texts, and all there is, of a proxy that answers CONNECT
// with another code than 200 (net/http/transport.go).
var proxyRefusals = map[string]*meaning{
	"Proxy Authentication Required": &meansProxyRefuses,
	"Bad Request":                   &meansProxyRefuses,
	"Unauthorized":                  &meansProxyRefuses,
	"Forbidden":                     &meansProxyRefuses,
	"Not Found":                     &meansProxyRefuses,
	"Method Not Allowed":            &meansProxyRefuses,
	"Too Many Requests":             &meansProxyBusy,
	"Internal Server Error":         &meansProxyBusy,
	"Bad Gateway":                   &meansProxyBusy,
	"Service Unavailable":           &meansProxyBusy,
	"Gateway Timeout":               &meansProxyBusy,
}

// What an error without an API status can mean.
var (
	meansAlertSent         = meaning{ClassPermanent, OutcomeUnknown, "TLS alert sent"}
	meansAlertReceived     = meaning{ClassPermanent, OutcomeNotExecuted, "TLS alert received"}
	meansTLSRefused        = meaning{ClassPermanent, OutcomeNotExecuted, "TLS refused"}
	meansHTTP2Closed       = meaning{ClassConnection, OutcomeUnknown, "HTTP/2 connection closed"}
	meansBadAddress        = meaning{ClassPermanent, OutcomeNotExecuted, "malformed address"}
	meansCanceled          = meaning{ClassCanceled, OutcomeUnknown, "context canceled"}
	meansDeadlineExceeded  = meaning{ClassTimeout, OutcomeUnknown, "deadline exceeded"}
	meansNoTLS             = meaning{ClassPermanent, OutcomeNotExecuted, "server does not speak TLS"}
	meansUnknownWire       = meaning{ClassConnection, OutcomeUnknown, "unknown error of the HTTP client"}
	meansNoConnection      = meaning{ClassRefused, OutcomeNotExecuted, "no connection"}
	meansConnectionLost    = meaning{ClassConnection, OutcomeUnknown, "connection lost"}
	meansConnectTimedOut   = meaning{ClassTimeout, OutcomeUnknown, "connection timed out"}
	meansConnectionRefused = meaning{ClassRefused, OutcomeNotExecuted, "connection refused"}
	meansNameTimedOut      = meaning{ClassTimeout, OutcomeNotExecuted, "name server timed out"}
	meansNoSuchHost        = meaning{ClassBlocked, OutcomeNotExecuted, "no such host"}
	meansNameServerFailed  = meaning{ClassRefused, OutcomeNotExecuted, "name server failed"}
	meansStreamRefused     = meaning{ClassConnection, OutcomeNotExecuted, "HTTP/2 stream refused"}
	meansStreamReset       = meaning{ClassConnection, OutcomeUnknown, "HTTP/2 stream reset"}
	meansHandshakeTimedOut = meaning{ClassTimeout, OutcomeNotExecuted, "TLS handshake timed out"}
	meansTimedOut          = meaning{ClassTimeout, OutcomeUnknown, "timeout of the connection"}
	meansCommandFailed     = meaning{ClassPermanent, OutcomeExecuted, "the command ran and failed"}
	meansUndecodable       = meaning{ClassBadResponse, OutcomeExecuted, "answer cannot be decoded"}
	meansDiscoveryFailed   = meaning{ClassBlocked, OutcomeNotExecuted, "API discovery failed"}
	meansLimiterDeadline   = meaning{ClassCanceled, OutcomeNotExecuted, "no time left for the client's rate limiter"}
	meansUnknownType       = meaning{ClassServer, OutcomeUnknown, "answer of an unknown type"}
	meansHeldBack          = meaning{ClassThrottled, OutcomeNotExecuted, "held back, not sent"}
	meansLimiterRefused    = meaning{ClassCanceled, OutcomeNotExecuted, "the client's rate limiter refused"}
	meansBodyCut           = meaning{ClassConnection, OutcomeUnknown, "response body cut"}
	meansPluginMissing     = meaning{ClassPermanent, OutcomeNotExecuted, "credential plugin missing"}
	meansPluginFailed      = meaning{ClassRefused, OutcomeNotExecuted, "credential plugin failed"}
	meansPingLost          = meaning{ClassConnection, OutcomeUnknown, "HTTP/2 ping unanswered"}
	meansGoAwayRefused     = meaning{ClassConnection, OutcomeNotExecuted, "HTTP/2 connection refused"}
	meansGracefulGoAway    = meaning{ClassConnection, OutcomeNotExecuted, "server is shutting down"}
	meansCanceledWaiting   = meaning{ClassCanceled, OutcomeNotExecuted, "request canceled"}
	meansRequestCanceled   = meaning{ClassCanceled, OutcomeUnknown, "request canceled"}
	meansBadRequest        = meaning{ClassPermanent, OutcomeNotExecuted, "malformed request"}
	meansRedirects         = meaning{ClassPermanent, OutcomeNotExecuted, "too many redirects"}
	meansSpeaksTLS         = meaning{ClassPermanent, OutcomeNotExecuted, "server speaks TLS"}
	meansStreamNotOpened   = meaning{ClassServer, OutcomeNotExecuted, "stream not opened"}
	meansEmptyAnswer       = meaning{ClassBadResponse, OutcomeExecuted, "answer is empty"}
	meansProxyRefuses      = meaning{ClassPermanent, OutcomeNotExecuted, "proxy refuses"}
	meansProxyBusy         = meaning{ClassRefused, OutcomeNotExecuted, "proxy refuses for now"}
)
