// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/errno"
)

// from is err as an http.Client returns it.
func from(err error) error {
	return &url.Error{Op: "Post", URL: "https://10.96.0.1:443/api/v1/namespaces/a/pods", Err: err}
}

// op is an error of a socket.
func op(name string, err error) error { return &net.OpError{Op: name, Net: "tcp", Err: err} }

// call is the error of a system call on a socket.
func call(name, syscallName string, errno syscall.Errno) error {
	return from(op(name, os.NewSyscallError(syscallName, errno)))
}

func bodyCut(err error) error {
	return fmt.Errorf("unexpected error when reading response body. Please retry. Original error: %w", err)
}

// slow is an error with a Timeout method.
type slow struct{ text string }

func (s *slow) Error() string { return s.text }

func (*slow) Timeout() bool { return true }

// slowly is a wrapper with a Timeout method.
type slowly struct{ single }

func (*slowly) Timeout() bool { return true }

// like is an error with an Is method.
type like struct{ target error }

func (l *like) Error() string { return "like" }

func (l *like) Is(target error) bool { return target == l.target }

// twin converts itself to an http2.StreamError, as the stream error of net/http does.
type twin struct{ code http2.ErrCode }

func (t *twin) Error() string { return "twin" }

func (t *twin) As(target any) bool {
	s, ok := target.(*http2.StreamError)
	if ok {
		s.Code = t.code
	}
	return ok
}

// ErrResourceDiscoveryFailed has the name and the shape of the type in controller-runtime.
type ErrResourceDiscoveryFailed map[schema.GroupVersion]error

// ErrGroupDiscoveryFailed has the name and the shape of the type in client-go, and no pointer.
type ErrGroupDiscoveryFailed struct{ Groups map[schema.GroupVersion]error }

func (ErrGroupDiscoveryFailed) Error() string {
	return "unable to retrieve the complete list of server APIs"
}

func (*ErrResourceDiscoveryFailed) Error() string { return "failed to get API group resources" }

func (e *ErrResourceDiscoveryFailed) Unwrap() []error {
	var errs []error
	for _, err := range *e {
		errs = append(errs, err)
	}
	return errs
}

// networkSituation is a situation without a status, and the result of
// IsRetryableConnectionError.
type networkSituation struct {
	situation
	network bool
}

func (r networkSituation) holds(t *testing.T) {
	t.Helper()
	r.situation.holds(t)
	for name, err := range map[string]error{"bare": r.err, "wrapped": fmt.Errorf("a: %w", r.err), "joined": errors.Join(errors.New("b"), r.err), "aggregate": aggregate(r.err)} {
		assert.Equal(t, r.network, k8sretry.IsRetryableConnectionError(err), "connection error, %s", name)
		assert.False(t, k8sretry.IsRetryableK8sError(err), "API error, %s", name)
	}
	assert.Zero(t, k8sretry.Classify(r.err).StatusCode)
}

func runNetwork(t *testing.T, situations []networkSituation) {
	t.Helper()
	for _, r := range situations {
		t.Run(r.name, r.holds)
	}
}

// is is a retryable connection error, isnt is none.
func is(name string, err error, class k8sretry.Class, outcome k8sretry.Outcome) networkSituation {
	return networkSituation{situation{name, err, class, outcome, 0}, true}
}

func isnt(name string, err error, class k8sretry.Class, outcome k8sretry.Outcome) networkSituation {
	return networkSituation{situation{name, err, class, outcome, 0}, false}
}

func TestConnectionNotEstablished(t *testing.T) {
	runNetwork(t, []networkSituation{
		is("refused", call("dial", "connect", syscall.ECONNREFUSED), refused, never),
		is("refused, bare", syscall.ECONNREFUSED, refused, never),
		is("no route", call("dial", "connect", syscall.EHOSTUNREACH), refused, never),
		is("network unreachable", call("dial", "connect", syscall.ENETUNREACH), refused, never),
		is("no local address left", call("dial", "connect", syscall.EADDRNOTAVAIL), refused, never),
		is("no file descriptor left", call("dial", "socket", syscall.EMFILE), refused, never),
		is("reset while dialling", call("dial", "connect", syscall.ECONNRESET), refused, never),
		is("timed out in the kernel", call("dial", "connect", syscall.ETIMEDOUT), timeout, never),
		is("timed out in the dialer", from(op("dial", &slow{"i/o timeout"})), timeout, never),
		is("deadline while dialling", from(op("dial", context.DeadlineExceeded)), timeout, never),
		is("dial failed for another reason", from(op("dial", errors.New("strange"))), refused, never),
		isnt("canceled while dialling", from(op("dial", &like{context.Canceled})), canceled, never),
		is("proxy down", from(op("proxyconnect", op("dial", syscall.ECONNREFUSED))), refused, never),
		is("proxy reset the connection", from(op("proxyconnect", op("read", syscall.ECONNRESET))), refused, never),
		is("proxy closed the connection on CONNECT", from(op("proxyconnect", io.EOF)), refused, never),
		is("SOCKS proxy refused", from(op("socks connect", errors.New("general SOCKS server failure"))), refused, never),
		isnt("unknown network", from(op("dial", net.UnknownNetworkError("tcp9"))), permanent, never),
		isnt("malformed address", from(op("dial", &net.AddrError{Err: "missing port in address", Addr: "x"})), permanent, never),
		isnt("invalid address", from(op("dial", net.InvalidAddrError("x"))), permanent, never),
		isnt("malformed IP", from(op("dial", &net.ParseError{Type: "IP address", Text: "x"})), permanent, never),
		is("TLS handshake timed out", from(&slow{"net/http: TLS handshake timeout"}), timeout, never),
		is("HTTP/2 connection not made", from(errors.New("http2: client conn could not be established")), refused, never),
		is("HTTP/2 connection not usable", from(errors.New("http2: client conn not usable")), refused, never),
	})
}

func TestBareSocketErrors(t *testing.T) {
	for _, number := range []syscall.Errno{
		errno.HostDown, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENETRESET, syscall.ENOTCONN,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
	} {
		is(number.Error(), number, connection, maybe).holds(t)
	}
	is("timed out", syscall.ETIMEDOUT, timeout, maybe).holds(t)
	isnt("of a file", syscall.ENOENT, permanent, never).holds(t)
}

func TestDNSErrors(t *testing.T) {
	dns := func(e net.DNSError) error { return from(op("dial", &e)) }
	runNetwork(t, []networkSituation{
		isnt("no such host", dns(net.DNSError{Err: "no such host", IsNotFound: true}), blocked, never),
		is("not found for now", dns(net.DNSError{Err: "no such host", IsNotFound: true, IsTemporary: true}), refused, never),
		is("server misbehaving", dns(net.DNSError{Err: "server misbehaving", IsTemporary: true}), refused, never),
		is("timed out", dns(net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}), timeout, never),
		is("something else", dns(net.DNSError{Err: "cannot unmarshal DNS message"}), refused, never),
		is("deadline", dns(net.DNSError{UnwrapErr: context.DeadlineExceeded, IsTimeout: true}), timeout, never),
		isnt("canceled", dns(net.DNSError{UnwrapErr: context.Canceled}), canceled, never),
		isnt("canceled, bare", &net.DNSError{UnwrapErr: context.Canceled}, canceled, maybe),
		is("timed out, bare", &net.DNSError{IsTimeout: true}, timeout, never),
		is("server misbehaving, bare", &net.DNSError{IsTemporary: true}, refused, never),
		isnt("no such host, bare", &net.DNSError{IsNotFound: true}, blocked, never),
	})
}

func TestTLSErrors(t *testing.T) {
	alert := errors.New("tls: bad certificate")
	runNetwork(t, []networkSituation{
		isnt("certificate not verified", from(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), permanent, never),
		isnt("certificate not verified, even by a refused OCSP responder", from(&tls.CertificateVerificationError{Err: syscall.ECONNREFUSED}), permanent, never),
		isnt("unknown authority", from(x509.UnknownAuthorityError{}), permanent, never),
		isnt("wrong host", from(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}), permanent, never),
		isnt("expired", from(x509.CertificateInvalidError{Reason: x509.Expired}), permanent, never),
		isnt("no system roots", from(x509.SystemRootsError{Err: io.EOF}), permanent, never),
		isnt("insecure algorithm", from(x509.InsecureAlgorithmError(x509.MD5WithRSA)), permanent, never),
		isnt("constraint violated", from(x509.ConstraintViolationError{}), permanent, never),
		isnt("critical extension", from(x509.UnhandledCriticalExtension{}), permanent, never),
		isnt("bare alert", from(tls.AlertError(42)), permanent, never),
		isnt("ECH rejected", from(&tls.ECHRejectionError{}), permanent, never),
		isnt("other x509 error", from(errors.New("x509: certificate is weird")), permanent, never),
		isnt("no TLS record", from(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), permanent, never),
		isnt("HTTP on the TLS port", from(http.ErrSchemeMismatch), permanent, never),
		isnt("TLS on the HTTP port", from(errors.New(`malformed HTTP response "\x15\x03\x01\x00\x02\x02"`)), permanent, never),
		isnt("alert of the server", from(op("remote error", alert)), permanent, never),
		isnt("alert of the server, of another text", from(op("remote error", errors.New("strange"))), permanent, never),
		isnt("alert of this side", from(op("local error", alert)), permanent, maybe),
		isnt("alert while the proxy was reached", from(op("proxyconnect", op("local error", alert))), permanent, never),
		isnt("handshake failed", from(errors.New("tls: server selected unsupported protocol version 301")), permanent, never),
		is("shut down", from(errors.New("tls: protocol is shutdown")), connection, maybe),
		is("closed", from(errors.New("tls: use of closed connection")), connection, maybe),
	})
}

// A TLS alert was taken for a refused handshake. But alerts end connections that have
// carried requests, too.
func TestTLSErrorsInTheMiddleOfAConnection(t *testing.T) {
	for _, text := range []string{
		"close notify", "unexpected message", "bad record MAC", "decryption failed", "record overflow", "decompression failure",
		"error decoding message", "internal error", "user canceled", "no renegotiation",
	} {
		alert := errors.New("tls: " + text)
		runNetwork(t, []networkSituation{
			is("received, "+text, from(op("remote error", alert)), connection, maybe),
			is("received while the body was read, "+text, bodyCut(op("remote error", alert)), connection, maybe),
			is("sent, "+text, from(op("local error", alert)), connection, maybe),
			is("while the proxy was reached, "+text, from(op("proxyconnect", op("remote error", alert))), refused, never),
		})
	}
	for _, text := range []string{
		"handshake failure", "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
		"unknown certificate", "illegal parameter", "unknown certificate authority", "access denied", "error decrypting message",
		"protocol version not supported", "insufficient security level", "inappropriate fallback", "missing extension",
		"unsupported extension", "unrecognized name", "certificate required", "no application protocol", "encrypted client hello required",
	} {
		isnt("received, "+text, from(op("remote error", errors.New("tls: "+text))), permanent, never).holds(t)
	}
	for _, text := range []string{
		"too many ignored records", "too many non-advancing records", "received unexpected key update message",
		"oversized record received with length 20527", "received record with version 3030 when expecting version 303",
		"handshake message of length 70000 bytes exceeds maximum of 65536 bytes",
	} {
		is(text, from(errors.New("tls: "+text)), connection, maybe).holds(t)
	}
	is("record header", from(tls.RecordHeaderError{Msg: "oversized record received with length 20527"}), connection, maybe).holds(t)
}

func TestLostConnections(t *testing.T) {
	refusedStream := http2.StreamError{StreamID: 3, Code: http2.ErrCodeRefusedStream, Cause: errors.New("received from peer")}
	runNetwork(t, []networkSituation{
		is("EOF", from(io.EOF), connection, maybe),
		is("unexpected EOF", from(io.ErrUnexpectedEOF), connection, maybe),
		is("EOF, bare", io.EOF, connection, maybe),
		is("reset", call("read", "read", syscall.ECONNRESET), connection, maybe),
		is("reset, bare", syscall.ECONNRESET, connection, maybe),
		is("aborted, bare", syscall.ECONNABORTED, connection, maybe),
		is("broken pipe", call("write", "write", syscall.EPIPE), connection, maybe),
		is("broken pipe, bare", syscall.EPIPE, connection, maybe),
		is("broken pipe in a copy", from(op("readfrom", op("write", os.NewSyscallError("write", syscall.EPIPE)))), connection, maybe),
		is("network gone", call("read", "read", syscall.ENETDOWN), connection, maybe),
		is("strange errno of a read", call("read", "read", syscall.EBADF), connection, maybe),
		is("strange error of a read", from(op("read", errors.New("strange"))), connection, maybe),
		is("read timed out", from(op("read", os.ErrDeadlineExceeded)), timeout, maybe),
		is("read timed out in the kernel", call("read", "read", syscall.ETIMEDOUT), timeout, maybe),
		is("closed", from(op("read", net.ErrClosed)), connection, maybe),
		is("closed, bare", net.ErrClosed, connection, maybe),
		is("closed pipe", from(io.ErrClosedPipe), connection, maybe),
		is("HTTP/1 broken", from(fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", io.ErrUnexpectedEOF)), connection, maybe),
		is("idle connection closed", from(errors.New("http: server closed idle connection")), connection, maybe),
		is("body cannot be rewound", from(errors.New("net/http: cannot rewind body after connection loss")), connection, maybe),
		is("after another attempt", &single{from(io.EOF)}, connection, maybe),
		is("GOAWAY", from(http2.GoAwayError{LastStreamID: 1, ErrCode: http2.ErrCodeNo}), connection, maybe),
		is("GOAWAY of net/http", from(errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`)), connection, maybe),
		is("GOAWAY of net/http that quotes another one", from(errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="http2: Transport received GOAWAY from server"`)), connection, maybe),
		is("GOAWAY with an error", from(errors.New("http2: Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM")), connection, never),
		is("graceful GOAWAY, retries exhausted", from(errors.New("http2: Transport received Server's graceful shutdown GOAWAY")), connection, never),
		is("graceful GOAWAY, body cannot be rewound", from(errors.New("http2: Transport: cannot retry err [http2: Transport received Server's graceful shutdown GOAWAY] after Request.Body was written; define Request.GetBody to avoid this error")), connection, never),
		is("stream refused", from(refusedStream), connection, never),
		is("stream refused, net/http", from(&twin{http2.ErrCodeRefusedStream}), connection, never),
		is("stream reset", from(http2.StreamError{Code: http2.ErrCodeInternal}), connection, maybe),
		is("stream reset, net/http", from(&twin{http2.ErrCodeCancel}), connection, maybe),
		is("connection error of HTTP/2", from(http2.ConnectionError(http2.ErrCodeProtocol)), connection, maybe),
		is("ping unanswered", from(errors.New("http2: client connection lost")), connection, maybe),
		is("closed by this side", from(errors.New("http2: client connection force closed via ClientConn.Close")), connection, maybe),
		is("closed while the body was sent", from(errors.New("http2: client conn is closed")), connection, maybe),
		is("body truncated", bodyCut(io.ErrUnexpectedEOF), connection, maybe),
		is("body truncated by a reset", bodyCut(op("read", os.NewSyscallError("read", syscall.ECONNRESET))), connection, maybe),
		is("body truncated for a strange reason", bodyCut(errors.New("flate: corrupt input before offset 5")), connection, maybe),
		is("body truncated in a stream", fmt.Errorf("stream error when reading response body, may be caused by closed connection. Please retry. Original error: %w", errors.New("strange")), connection, maybe),
		isnt("a text that quotes a truncated body", fmt.Errorf("caller: %w", fmt.Errorf("not an unexpected error when reading response body. %w", errors.New("strange"))), permanent, never),
		isnt("a text that quotes a truncated stream", fmt.Errorf("no stream error when reading response body, %w", errors.New("strange")), permanent, never),
		is("trailer truncated", from(errors.New("http: unexpected EOF reading trailer")), connection, maybe),
		isnt("unknown error of the HTTP client", from(errors.New("strange")), connection, maybe),
		isnt("unknown errno of the HTTP client", from(syscall.EBADF), connection, maybe),
		isnt("unknown error of the HTTP client that quotes a reset", from(errors.New("plugin: connection reset by peer")), connection, maybe),
	})
}

func TestProxyThatRejectsCONNECT(t *testing.T) {
	runNetwork(t, []networkSituation{
		is("unavailable", from(errors.New("Service Unavailable")), refused, never),
		is("bad gateway", from(errors.New("Bad Gateway")), refused, never),
		is("gateway timeout", from(errors.New("Gateway Timeout")), refused, never),
		is("too many requests", from(errors.New("Too Many Requests")), refused, never),
		is("broken", from(errors.New("Internal Server Error")), refused, never),
		isnt("authentication", from(errors.New("Proxy Authentication Required")), permanent, never),
		isnt("forbidden", from(errors.New("Forbidden")), permanent, never),
		isnt("unauthorized", from(errors.New("Unauthorized")), permanent, never),
		isnt("bad request", from(errors.New("Bad Request")), permanent, never),
		isnt("not found", from(errors.New("Not Found")), permanent, never),
		isnt("no CONNECT", from(errors.New("Method Not Allowed")), permanent, never),
		isnt("not of a proxy", errors.New("Service Unavailable"), permanent, never),
		isnt("of the HTTP client, but not of a proxy", from(&single{errors.New("Service Unavailable")}), connection, maybe),
	})
}

func TestContextsTimeoutsAndRateLimiters(t *testing.T) {
	runNetwork(t, []networkSituation{
		isnt("canceled", context.Canceled, canceled, maybe),
		isnt("canceled in the HTTP client", from(context.Canceled), canceled, maybe),
		isnt("canceled in the body", bodyCut(context.Canceled), canceled, maybe),
		isnt("canceled, by its Is method", from(&like{context.Canceled}), canceled, maybe),
		is("deadline", context.DeadlineExceeded, timeout, maybe),
		is("deadline in the HTTP client", from(context.DeadlineExceeded), timeout, maybe),
		is("deadline in the body", bodyCut(context.DeadlineExceeded), timeout, maybe),
		is("deadline, by its Is method", from(&like{context.DeadlineExceeded}), timeout, maybe),
		is("timeout of the client", from(&slow{"context deadline exceeded (Client.Timeout exceeded while awaiting headers)"}), timeout, maybe),
		is("timeout of the client in a handshake", from(&slow{"net/http: TLS handshake timeout (Client.Timeout exceeded while awaiting headers)"}), timeout, maybe),
		is("timeout that wraps its cause", from(&slowly{single{errors.New("strange")}}), timeout, maybe),
		isnt("a canceled request", from(errors.New("net/http: request canceled")), canceled, maybe),
		isnt("a canceled request that was not sent", from(errors.New("net/http: request canceled while waiting for connection")), canceled, never),
		isnt("rate limiter and deadline", fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline")), canceled, never),
		isnt("rate limiter and deadline, bare", errors.New("rate: Wait(n=1) would exceed context deadline"), canceled, never),
		// The assumption was that a context which ends may end a request.
		isnt("canceled in the rate limiter", fmt.Errorf("client rate limiter Wait returned an error: %w", context.Canceled), canceled, never),
		is("deadline in the rate limiter", fmt.Errorf("client rate limiter Wait returned an error: %w", context.DeadlineExceeded), timeout, never),
		isnt("another rate limiter", fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("closed")), canceled, never),
		isnt("a text that quotes the rate limiter", fmt.Errorf("caller: client rate limiter Wait returned an error: %w", errors.New("closed")), permanent, never),
		isnt("rate limiter of the caller", errors.New("rate: Wait(n=9) exceeds limiter's burst 1"), permanent, never),
	})
}

func TestResponsesThatCannotBeDecoded(t *testing.T) {
	scheme := runtime.NewScheme()
	_, _, notRegistered := scheme.ObjectKinds(&corev1.Pod{})
	require.True(t, runtime.IsNotRegisteredError(notRegistered))
	runNetwork(t, []networkSituation{
		isnt("not JSON", errors.New("couldn't get version/kind; json parse error: invalid character '<' looking for beginning of value"), unusable, did),
		isnt("not protobuf", errors.New("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"), unusable, did),
		isnt("empty", errors.New("0-length response with status code: 200 and content type: "), unusable, did),
		isnt("wrong type of a field", json.Unmarshal([]byte(`"a"`), new(int)), unusable, did),
		isnt("broken JSON", errors.New("invalid character '<' looking for beginning of value"), unusable, did),
		isnt("truncated JSON", errors.New("unexpected end of JSON input"), unusable, did),
		isnt("kind not registered", notRegistered, unusable, did),
		isnt("no kind", runtime.NewMissingKindErr("{}"), unusable, did),
		isnt("no version", runtime.NewMissingVersionErr("{}"), unusable, did),
		isnt("of an unknown type, of an apply", errors.New(`unexpected content type "text/html" in apply response, expected application/json`), server, maybe),
		isnt("of an unknown type, of something else", errors.New(`unexpected content type "text/html" of the chart`), permanent, never),
		isnt("of an unknown type", errors.New("serializer for text/html doesn't exist"), server, maybe),
		isnt("another serializer", errors.New("serializer for text/html is broken"), permanent, never),
		isnt("something else that does not exist", errors.New("bucket doesn't exist"), permanent, never),
		isnt("broken JSON of the caller", json.Unmarshal([]byte("<"), new(int)), permanent, never),
		isnt("the command ran", exec.CodeExitError{Err: errors.New("exit 1"), Code: 1}, permanent, did),
		isnt("connection upgrade failed", errors.New("unable to upgrade connection: container not found"), server, never),
		isnt("stream not opened, web socket", errors.New("unable to upgrade streaming request: bad handshake"), server, never),
	})
}

// Every failed upgrade was taken for a connection to the kubelet that was not made. But
// client-go keeps only the message of an answer of the API.
func TestUpgradeThatTheServerRejects(t *testing.T) {
	for message, class := range map[string]k8sretry.Class{
		`pods "web-0" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "a"`: permanent,
		`pods "web-0" not found`:                                                 permanent,
		"container sidecar is not valid for pod web-0":                           permanent,
		"a container name must be specified for pod web-0, choose one of: [a b]": permanent,
		`admission webhook "guard.example.com" denied the request: no`:           permanent,
		"the server does not allow this method on the requested resource":        permanent,
		"the server could not find the requested resource":                       permanent,
		"404 page not found": permanent,
		"Unauthorized":       blocked,
		"websocket: bad handshake (401 Unauthorized)":                                        blocked,
		"websocket: bad handshake (403 Forbidden)":                                           permanent,
		"websocket: bad handshake (403 Forbidden): <html>":                                   permanent,
		`websocket: bad handshake (404 Not Found): pods "web-0" not found`:                   permanent,
		"websocket: bad handshake (400 Bad Request): container a is not valid for pod web-0": permanent,
		// not now, but perhaps later
		`pods "web-0" is forbidden: not yet ready to handle request`:                    server,
		"container not found (\"web\")":                                                 server,
		"websocket: bad handshake (404 Not Found): pod does not exist":                  server,
		"pod does not exist":                                                            server,
		"pod web-0 does not have a host assigned":                                       server,
		"error dialing backend: dial tcp 10.0.0.3:10250: connect: connection refused":   server,
		"websocket: bad handshake (502 Bad Gateway)":                                    server,
		"websocket: bad handshake":                                                      server,
		"unable to read error from server response":                                     server,
		`error dialing backend: a node "is not valid for pod" and pods is forbidden: x`: server,
		"error dialing backend: EOF":                                                    server,
		"error dialing backend: remote error: tls: internal error":                      server, // a kubelet whose certificate is not approved yet
		// The assumption was that the server reaches the kubelet, sooner or later.
		"error dialing backend: tls: failed to verify certificate: x509: certificate is valid for 10.0.0.3, not 10.0.0.4": permanent,
		"": server,
	} {
		isnt(message, errors.New("unable to upgrade connection: "+message), class, never).holds(t)
		isnt(message, errors.New("unable to upgrade streaming request: "+message), class, never).holds(t)
		// The assumption was that port-forward keeps the error as exec does.
		isnt(message, errors.New("error upgrading connection: unable to upgrade connection: "+message), class, never).holds(t)
	}
	for cause, class := range map[string]k8sretry.Class{
		`error sending request: Post "https://10.0.0.1/api/v1/namespaces/a/pods/b/portforward": dial tcp 10.0.0.1:443: connect: connection refused`: server,
		`error sending request: Post "https://10.0.0.1/api/v1/namespaces/a/pods/b/portforward": EOF`:                                                server,
		`error sending request: Post "https://10.0.0.1/api": tls: failed to verify certificate: x509: certificate signed by unknown authority`:      permanent,
		"strange": server,
	} {
		isnt(cause, errors.New("error upgrading connection: "+cause), class, never).holds(t)
	}
	isnt("a Status", errors.New("unable to upgrade streaming request: "+apierrors.NewNotFound(pods, "web-0").Error()), permanent, never).holds(t)
	isnt("elsewhere", errors.New(`caller: unable to upgrade connection: pods "web-0" not found`), permanent, never).holds(t)
	assert.Equal(t, "connection upgrade rejected", k8sretry.Classify(errors.New(`unable to upgrade connection: pods "web-0" not found`)).Detail)
	assert.Equal(t, "connection upgrade not authorized", k8sretry.Classify(errors.New("unable to upgrade connection: Unauthorized")).Detail)
}

func TestRequestsThatWereNotSent(t *testing.T) {
	runNetwork(t, []networkSituation{
		isnt("validation", errors.New("resource name may not be empty"), permanent, never),
		isnt("namespace missing", errors.New("an empty namespace may not be set during creation"), permanent, never),
		isnt("construction", &rest.RequestConstructionError{Err: errors.New("x")}, permanent, never),
		isnt("no auth provider", errors.New(`no Auth Provider found for name "gcp"`), permanent, never),
		isnt("URL", &url.Error{Op: "parse", URL: ":", Err: errors.New("missing protocol scheme")}, permanent, never),
		isnt("scheme", from(errors.New(`unsupported protocol scheme "ftp"`)), permanent, never),
		isnt("host", from(errors.New("http: no Host in request URL")), permanent, never),
		isnt("header", from(errors.New(`net/http: invalid header field value for "X"`)), permanent, never),
		isnt("redirects", from(errors.New("stopped after 10 redirects")), permanent, never),
		isnt("kind not mapped", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Web"}}, blocked, never),
		isnt("resource not mapped", &meta.NoResourceMatchError{}, blocked, never),
		isnt("credential plugin failed", from(errors.New("getting credentials: exec: executable aws failed with exit code 255")), refused, never),
		isnt("credential plugin not found or not allowed", from(errors.New("getting credentials: exec: executable aws not found\n\nhint")), permanent, never),
		isnt("credential plugin missing at its path", from(errors.New("getting credentials: exec: fork/exec /bin/aws: no such file or directory")), permanent, never),
		isnt("credential plugin not allowed", from(errors.New(`getting credentials: plugin "aws" not allowed: policy set to "DenyAll"`)), permanent, never),
		isnt("credential plugin not on the list", from(errors.New(`getting credentials: plugin path "/bin/aws" is not permitted by the credential plugin allowlist`)), permanent, never),
		isnt("the caller's own", errors.New("nothing to do"), permanent, never),
		isnt("a file of the caller", &os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, permanent, never),
	})
}

// A failed discovery was taken for an API that is not served, whatever had failed. The
// requests of the discovery decide; that of the call was not sent.
func TestFailedDiscoveryIsJudgedByItsMembers(t *testing.T) {
	gv := func(group string) schema.GroupVersion { return schema.GroupVersion{Group: group, Version: "v1"} }
	var stale error = discovery.StaleGroupVersionError{}
	for _, c := range []struct {
		name  string
		a, b  error
		class k8sretry.Class
		after time.Duration
	}{
		{"all unavailable", generic(503, "GET", "service unavailable", 2), generic(503, "GET", "error trying to reach service: EOF", 9), server, 9 * time.Second},
		{"all transient, of several kinds", generic(503, "GET", "x", 0), delayed(failure(429, "", ""), 7), server, 7 * time.Second},
		{"connections lost", from(io.EOF), from(io.EOF), connection, 0},
		// The assumption was that a group which cannot be reached has an error of HTTP. In
		// aggregated discovery it is one of client-go.
		{"stale", stale, stale, server, 0},
		{"stale and unavailable", stale, generic(503, "GET", "service unavailable", 2), server, 2 * time.Second},
		{"one not served", generic(503, "GET", "service unavailable", 2), &meta.NoResourceMatchError{}, blocked, 2 * time.Second},
		{"one not found", generic(503, "GET", "service unavailable", 0), generic(404, "GET", "404 page not found", 0), blocked, 0},
		{"one forbidden", generic(503, "GET", "service unavailable", 0), failure(403, metav1.StatusReasonForbidden, "no"), blocked, 0},
		{"one unknown", errors.New("caller"), nil, blocked, 0},
		{"none", nil, nil, blocked, 0},
		{"one canceled by the failure of the other", generic(503, "GET", "x", 0), from(context.Canceled), server, 0},
		{"all canceled", context.Canceled, from(context.Canceled), canceled, 0},
	} {
		for i, members := range []map[schema.GroupVersion]error{{gv("a"): c.a, gv("b"): c.b}, {gv("b"): c.a, gv("a"): c.b}} {
			mapped := ErrResourceDiscoveryFailed(members)
			for shape, err := range map[string]error{"client-go": &discovery.ErrGroupDiscoveryFailed{Groups: members}, "controller-runtime": &mapped} {
				name := fmt.Sprint(c.name, i, ", ", shape)
				situation{name, err, c.class, never, c.after}.holds(t)
				v := k8sretry.Classify(err)
				assert.Zero(t, v.StatusCode, "%s: the answer to another request", name)
				assert.Equal(t, c.class == server || c.class == connection, v.Retryable(k8sretry.VerbCreate), name)
				assert.Equal(t, v.Retryable(k8sretry.VerbCreate), v.Retryable(k8sretry.VerbDeleteCollection), name)
			}
		}
	}
	// The assumption was that a failed discovery has a type of its own. Without any group, the RESTMapper of
	// controller-runtime wraps the answer to the request for the groups, which was taken for that to the call.
	for name, c := range map[string]struct {
		err   error
		class k8sretry.Class
		after time.Duration
	}{
		"unavailable":    {failure(503, metav1.StatusReasonServiceUnavailable, "no"), server, 0},
		"throttled":      {delayed(failure(429, "", ""), 7), k8sretry.ClassThrottled, 7 * time.Second},
		"lost":           {from(io.EOF), connection, 0},
		"forbidden":      {failure(403, metav1.StatusReasonForbidden, "no"), blocked, 0},
		"not served":     {generic(404, "GET", "404 page not found", 0), blocked, 0},
		"a cancellation": {from(context.Canceled), canceled, 0},
	} {
		err := fmt.Errorf("pods: %w", fmt.Errorf("failed to get server groups: %w", c.err))
		situation{"groups, " + name, err, c.class, never, c.after}.holds(t)
		assert.Zero(t, k8sretry.Classify(err).StatusCode, name)
	}
	assert.Equal(t, "API discovery failed", k8sretry.Classify(&discovery.ErrGroupDiscoveryFailed{}).Detail)
	for _, none := range []error{(*discovery.ErrGroupDiscoveryFailed)(nil), (*ErrResourceDiscoveryFailed)(nil)} {
		assert.Equal(t, "unknown error", k8sretry.Classify(none).Detail)
	}
	assert.Equal(t, server, k8sretry.Classify(ErrGroupDiscoveryFailed{map[schema.GroupVersion]error{gv("a"): unavailable()}}).Class, "no pointer")
	many := map[schema.GroupVersion]error{}
	for i := range 5000 {
		many[gv(fmt.Sprint(i))] = unavailable()
	}
	assert.Equal(t, "error chain too long", k8sretry.Classify(&discovery.ErrGroupDiscoveryFailed{Groups: many}).Detail)
	inner := &k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Attempts: 4, Err: unavailable()}
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		_ = k8sretry.Run(t.Context(), func(context.Context) error {
			attempts++
			return &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{gv("a"): from(inner)}}
		})
		assert.Equal(t, 1, attempts, "what a Transport has given up is not repeated")
	})
}

// Texts may change, but people who read logs depend on them.
func TestDetailNamesTheNetworkError(t *testing.T) {
	for detail, err := range map[string]error{
		"malformed address":                  from(op("dial", &net.AddrError{})),
		"malformed URL":                      &url.Error{Op: "parse"},
		"malformed request":                  from(errors.New("http: no Host in request URL")),
		"too many redirects":                 from(errors.New("stopped after 10 redirects")),
		"TLS handshake failed":               from(&tls.CertificateVerificationError{Err: io.EOF}),
		"TLS alert received":                 from(op("remote error", errors.New("tls: bad certificate"))),
		"TLS alert sent":                     from(op("local error", errors.New("tls: bad certificate"))),
		"HTTP request to an HTTPS server":    from(errors.New(`malformed HTTP response "\x15\x03\x01"`)),
		"HTTPS request to an HTTP server":    from(http.ErrSchemeMismatch),
		"proxy rejected CONNECT":             from(errors.New("Forbidden")),
		"proxy temporarily rejected CONNECT": from(errors.New("Bad Gateway")),
		"connection not established":         from(op("dial", syscall.ENETUNREACH)),
		"connection refused":                 from(op("dial", syscall.ECONNREFUSED)),
		"connection lost":                    from(io.EOF),
		"connection timed out":               from(op("read", syscall.ETIMEDOUT)),
		"network timeout":                    from(op("read", os.ErrDeadlineExceeded)),
		"TLS handshake timed out":            from(&slow{"net/http: TLS handshake timeout"}),
		"deadline exceeded":                  from(context.DeadlineExceeded),
		"context canceled":                   from(context.Canceled),
		"request canceled":                   from(errors.New("net/http: request canceled")),
		"wait for the client's rate limiter would exceed the deadline": errors.New("rate: Wait(n=1) would exceed context deadline"),
		"canceled in the client's rate limiter":                        fmt.Errorf("client rate limiter Wait returned an error: %w", context.Canceled),
		"deadline exceeded in the client's rate limiter":               fmt.Errorf("client rate limiter Wait returned an error: %w", context.DeadlineExceeded),
		"the client's rate limiter failed":                             fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("closed")),
		"no such host":                                                 &net.DNSError{IsNotFound: true},
		"DNS server failed":                                            &net.DNSError{IsTemporary: true},
		"DNS server timed out":                                         &net.DNSError{IsTimeout: true},
		"HTTP/2 stream refused":                                        http2.StreamError{Code: http2.ErrCodeRefusedStream},
		"HTTP/2 stream reset":                                          http2.StreamError{Code: http2.ErrCodeCancel},
		"HTTP/2 connection closed":                                     http2.ConnectionError(http2.ErrCodeProtocol),
		"request not accepted before HTTP/2 GOAWAY":                    errors.New("http2: Transport received GOAWAY from server ErrCode:NO_ERROR"),
		"HTTP/2 connection lost":                                       errors.New("http2: client connection lost"),
		"server is shutting down":                                      errors.New("http2: Transport received Server's graceful shutdown GOAWAY"),
		"response body truncated":                                      bodyCut(errors.New("strange")),
		"unknown error of the HTTP client":                             from(errors.New("strange")),
		"response cannot be decoded":                                   errors.New("unexpected end of JSON input"),
		"response is empty":                                            errors.New("0-length response with status code: 200 and content type: "),
		"write redirected":                                             from(k8sretry.ErrRedirected),
		"response of an unknown content type":                          errors.New("serializer for a/b doesn't exist"),
		"stale API discovery":                                          discovery.StaleGroupVersionError{},
		"API not served":                                               &meta.NoKindMatchError{},
		"credential plugin not found or not allowed":                   errors.New("getting credentials: exec: executable aws not found"),
		"credential plugin failed":                                     errors.New("getting credentials: exec: executable aws failed"),
		"connection upgrade failed":                                    errors.New("unable to upgrade connection: x"),
		"command failed":                                               exec.CodeExitError{Err: io.EOF},
		"unknown error":                                                errors.New("caller"),
	} {
		assert.Equal(t, detail, k8sretry.Classify(err).Detail)
	}
}
