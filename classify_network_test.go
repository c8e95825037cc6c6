package k8sretry_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"

	"github.com/k8sretry/k8sretry"
)

// from is an error as http.Client returns it.
func from(err error) error {
	return &url.Error{Op: "Post", URL: "https://10.96.0.1:443/api/v1/namespaces/a/pods", Err: err}
}

// op is an error of a socket.
func op(name string, err error) error { return &net.OpError{Op: name, Net: "tcp", Err: err} }

// call is an error of a system call on a socket.
func call(name, syscallName string, errno syscall.Errno) error {
	return from(op(name, os.NewSyscallError(syscallName, errno)))
}

func bodyCut(err error) error {
	return fmt.Errorf("unexpected error when reading response body. Please retry. Original error: %w", err)
}

// slow is a timeout of a type that says it by a method.
type slow struct{ text string }

func (s *slow) Error() string { return s.text }
func (*slow) Timeout() bool   { return true }

// slowly wraps the error that took too long.
type slowly struct{ single }

func (*slowly) Timeout() bool { return true }

// like is an error that says by Is what it is.
type like struct{ target error }

func (l *like) Error() string        { return "like" }
func (l *like) Is(target error) bool { return target == l.target }

// twin answers errors.As for http2.StreamError, as the type in net/http does.
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

func (*ErrResourceDiscoveryFailed) Error() string { return "failed to get API group resources" }
func (e *ErrResourceDiscoveryFailed) Unwrap() []error {
	var errs []error
	for _, err := range *e {
		errs = append(errs, err)
	}
	return errs
}

// route is a situation of the network, and whether IsRetryableConnectionError is true.
type route struct {
	situation
	network bool
}

func (r route) holds(t *testing.T) {
	t.Helper()
	r.situation.holds(t)
	for name, err := range map[string]error{"bare": r.err, "wrapped": fmt.Errorf("a: %w", r.err), "joined": errors.Join(errors.New("b"), r.err), "aggregate": aggregate(r.err)} {
		assert.Equal(t, r.network, k8sretry.IsRetryableConnectionError(err), "connection error, %s", name)
		assert.False(t, k8sretry.IsRetryableK8sError(err), "API error, %s", name)
	}
	assert.Zero(t, k8sretry.Classify(r.err).StatusCode)
}

func travel(t *testing.T, routes []route) {
	t.Helper()
	for _, r := range routes {
		t.Run(r.name, r.holds)
	}
}

func is(name string, err error, class k8sretry.Class, outcome k8sretry.Outcome) route {
	return route{situation{name, err, class, outcome, 0}, true}
}

func isnt(name string, err error, class k8sretry.Class, outcome k8sretry.Outcome) route {
	return route{situation{name, err, class, outcome, 0}, false}
}

func TestNoConnection(t *testing.T) {
	travel(t, []route{
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
		is("proxy broke off", from(op("proxyconnect", op("read", syscall.ECONNRESET))), refused, never),
		is("proxy broke off CONNECT", from(op("proxyconnect", io.EOF)), refused, never),
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

func TestSocketErrorsThatNobodyWrapped(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENETRESET, syscall.ENOTCONN,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
	} {
		is(errno.Error(), errno, connection, maybe).holds(t)
	}
	is("timed out", syscall.ETIMEDOUT, timeout, maybe).holds(t)
	isnt("of a file", syscall.ENOENT, permanent, never).holds(t)
}

func TestNames(t *testing.T) {
	dns := func(e net.DNSError) error { return from(op("dial", &e)) }
	travel(t, []route{
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

func TestTrust(t *testing.T) {
	alert := errors.New("tls: bad certificate")
	travel(t, []route{
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

func TestLostConnections(t *testing.T) {
	refusedStream := http2.StreamError{StreamID: 3, Code: http2.ErrCodeRefusedStream, Cause: errors.New("received from peer")}
	travel(t, []route{
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
		//lint:ignore SA1019 client-go returns it as long as x/net makes it
		is("GOAWAY", from(http2.GoAwayError{LastStreamID: 1, ErrCode: http2.ErrCodeNo}), connection, maybe),
		is("GOAWAY of net/http", from(errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`)), connection, maybe),
		is("GOAWAY of net/http that quotes the harmless one", from(errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="http2: Transport received GOAWAY from server"`)), connection, maybe),
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
		is("body cut", bodyCut(io.ErrUnexpectedEOF), connection, maybe),
		is("body cut by a reset", bodyCut(op("read", os.NewSyscallError("read", syscall.ECONNRESET))), connection, maybe),
		is("body cut for a strange reason", bodyCut(errors.New("flate: corrupt input before offset 5")), connection, maybe),
		is("body cut in a stream", fmt.Errorf("stream error when reading response body, may be caused by closed connection. Please retry. Original error: %w", errors.New("strange")), connection, maybe),
		isnt("a text that quotes a cut body", fmt.Errorf("mine: %w", fmt.Errorf("not an unexpected error when reading response body. %w", errors.New("strange"))), permanent, never),
		isnt("a text that quotes a cut stream", fmt.Errorf("no stream error when reading response body, %w", errors.New("strange")), permanent, never),
		is("trailer cut", from(errors.New("http: unexpected EOF reading trailer")), connection, maybe),
		isnt("not known, from the wire", from(errors.New("strange")), connection, maybe),
		isnt("strange errno from the wire", from(syscall.EBADF), connection, maybe),
		isnt("not known, from the wire, quoting a reset", from(errors.New("plugin: connection reset by peer")), connection, maybe),
	})
}

func TestProxiesThatRefuseCONNECT(t *testing.T) {
	travel(t, []route{
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
		isnt("not of a proxy, but from the wire", from(&single{errors.New("Service Unavailable")}), connection, maybe),
	})
}

func TestContextsDeadlinesLimiter(t *testing.T) {
	travel(t, []route{
		isnt("canceled", context.Canceled, canceled, maybe),
		isnt("canceled on the wire", from(context.Canceled), canceled, maybe),
		isnt("canceled in the body", bodyCut(context.Canceled), canceled, maybe),
		isnt("canceled, of another type", from(&like{context.Canceled}), canceled, maybe),
		is("deadline", context.DeadlineExceeded, timeout, maybe),
		is("deadline on the wire", from(context.DeadlineExceeded), timeout, maybe),
		is("deadline in the body", bodyCut(context.DeadlineExceeded), timeout, maybe),
		is("deadline, of another type", from(&like{context.DeadlineExceeded}), timeout, maybe),
		is("timeout of the client", from(&slow{"context deadline exceeded (Client.Timeout exceeded while awaiting headers)"}), timeout, maybe),
		is("timeout of the client in a handshake", from(&slow{"net/http: TLS handshake timeout (Client.Timeout exceeded while awaiting headers)"}), timeout, maybe),
		is("timeout that wraps its cause", from(&slowly{single{errors.New("strange")}}), timeout, maybe),
		isnt("a canceled request", from(errors.New("net/http: request canceled")), canceled, maybe),
		isnt("a canceled request that was not sent", from(errors.New("net/http: request canceled while waiting for connection")), canceled, never),
		isnt("limiter and deadline", fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("rate: Wait(n=1) would exceed context deadline")), canceled, never),
		isnt("limiter and deadline, bare", errors.New("rate: Wait(n=1) would exceed context deadline"), canceled, never),
		isnt("limiter of another make", fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("closed")), canceled, never),
		isnt("a text that quotes the limiter", fmt.Errorf("mine: client rate limiter Wait returned an error: %w", errors.New("closed")), permanent, never),
		isnt("limiter of the caller", errors.New("rate: Wait(n=9) exceeds limiter's burst 1"), permanent, never),
	})
}

func TestAnswersThatCannotBeUsed(t *testing.T) {
	scheme := runtime.NewScheme()
	_, _, notRegistered := scheme.ObjectKinds(&corev1.Pod{})
	require.True(t, runtime.IsNotRegisteredError(notRegistered))
	travel(t, []route{
		isnt("not JSON", errors.New("couldn't get version/kind; json parse error: invalid character '<' looking for beginning of value"), unusable, did),
		isnt("not protobuf", errors.New("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"), unusable, did),
		isnt("empty", errors.New("0-length response with status code: 200 and content type: "), unusable, did),
		isnt("wrong type of a field", json.Unmarshal([]byte(`"a"`), new(int)), unusable, did),
		isnt("broken JSON", errors.New("invalid character '<' looking for beginning of value"), unusable, did),
		isnt("cut JSON", errors.New("unexpected end of JSON input"), unusable, did),
		isnt("kind not registered", notRegistered, unusable, did),
		isnt("no kind", runtime.NewMissingKindErr("{}"), unusable, did),
		isnt("no version", runtime.NewMissingVersionErr("{}"), unusable, did),
		isnt("of an unknown type", errors.New("serializer for text/html doesn't exist"), server, maybe),
		isnt("another serializer", errors.New("serializer for text/html is broken"), permanent, never),
		isnt("something else that does not exist", errors.New("bucket doesn't exist"), permanent, never),
		isnt("broken JSON of the caller", json.Unmarshal([]byte("<"), new(int)), permanent, never),
		isnt("the command ran", exec.CodeExitError{Err: errors.New("exit 1"), Code: 1}, permanent, did),
		isnt("stream not opened", errors.New("unable to upgrade connection: container not found"), server, never),
		isnt("stream not opened, web socket", errors.New("unable to upgrade streaming request: bad handshake"), server, never),
	})
}

func TestCallsThatWereNotSent(t *testing.T) {
	gv := schema.GroupVersion{Group: "example.com", Version: "v1"}
	travel(t, []route{
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
		isnt("discovery failed", &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{gv: io.EOF}}, blocked, never),
		isnt("credential plugin failed", from(errors.New("getting credentials: exec: executable aws failed with exit code 255")), refused, never),
		isnt("credential plugin missing", from(errors.New("getting credentials: exec: executable aws not found\n\nhint")), permanent, never),
		isnt("credential plugin missing at its path", from(errors.New("getting credentials: exec: fork/exec /bin/aws: no such file or directory")), permanent, never),
		isnt("credential plugin not allowed", from(errors.New(`getting credentials: plugin "aws" not allowed: policy set to "DenyAll"`)), permanent, never),
		isnt("credential plugin not on the list", from(errors.New(`getting credentials: plugin path "/bin/aws" is not permitted by the credential plugin allowlist`)), permanent, never),
		isnt("the caller's own", errors.New("nothing to do"), permanent, never),
		isnt("a file of the caller", &os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, permanent, never),
	})
	mapped := &ErrResourceDiscoveryFailed{gv: generic(503, "GET", "x", 0)}
	assert.Equal(t, blocked, k8sretry.Classify(fmt.Errorf("a: %w", mapped)).Class, "the failure was of discovery, not of the call")
	assert.Equal(t, "API discovery failed", k8sretry.Classify(mapped).Detail)
	assert.False(t, k8sretry.IsRetryableConnectionError(&ErrResourceDiscoveryFailed{gv: io.EOF}))
}

// The details are no API, but a person who reads a log lives on them.
func TestDetailsOfTheNetwork(t *testing.T) {
	for detail, err := range map[string]error{
		"malformed address":                          from(op("dial", &net.AddrError{})),
		"malformed URL":                              &url.Error{Op: "parse"},
		"malformed request":                          from(errors.New("http: no Host in request URL")),
		"too many redirects":                         from(errors.New("stopped after 10 redirects")),
		"TLS refused":                                from(&tls.CertificateVerificationError{Err: io.EOF}),
		"TLS alert received":                         from(op("remote error", errors.New("tls: bad certificate"))),
		"TLS alert sent":                             from(op("local error", errors.New("tls: bad record MAC"))),
		"server speaks TLS":                          from(errors.New(`malformed HTTP response "\x15\x03\x01"`)),
		"server does not speak TLS":                  from(http.ErrSchemeMismatch),
		"proxy refuses":                              from(errors.New("Forbidden")),
		"proxy refuses for now":                      from(errors.New("Bad Gateway")),
		"no connection":                              from(op("dial", syscall.ENETUNREACH)),
		"connection refused":                         from(op("dial", syscall.ECONNREFUSED)),
		"connection lost":                            from(io.EOF),
		"connection timed out":                       from(op("read", syscall.ETIMEDOUT)),
		"timeout of the connection":                  from(op("read", os.ErrDeadlineExceeded)),
		"TLS handshake timed out":                    from(&slow{"net/http: TLS handshake timeout"}),
		"deadline exceeded":                          from(context.DeadlineExceeded),
		"context canceled":                           from(context.Canceled),
		"request canceled":                           from(errors.New("net/http: request canceled")),
		"no time left for the client's rate limiter": errors.New("rate: Wait(n=1) would exceed context deadline"),
		"the client's rate limiter refused":          fmt.Errorf("client rate limiter Wait returned an error: %w", errors.New("closed")),
		"no such host":                               &net.DNSError{IsNotFound: true},
		"name server failed":                         &net.DNSError{IsTemporary: true},
		"name server timed out":                      &net.DNSError{IsTimeout: true},
		"HTTP/2 stream refused":                      http2.StreamError{Code: http2.ErrCodeRefusedStream},
		"HTTP/2 stream reset":                        http2.StreamError{Code: http2.ErrCodeCancel},
		"HTTP/2 connection closed":                   http2.ConnectionError(http2.ErrCodeProtocol),
		"HTTP/2 connection refused":                  errors.New("http2: Transport received GOAWAY from server ErrCode:NO_ERROR"),
		"HTTP/2 ping unanswered":                     errors.New("http2: client connection lost"),
		"server is shutting down":                    errors.New("http2: Transport received Server's graceful shutdown GOAWAY"),
		"response body cut":                          bodyCut(errors.New("strange")),
		"unknown error of the HTTP client":           from(errors.New("strange")),
		"answer cannot be decoded":                   errors.New("unexpected end of JSON input"),
		"answer is empty":                            errors.New("0-length response with status code: 200 and content type: "),
		"answer of an unknown type":                  errors.New("serializer for a/b doesn't exist"),
		"API not served":                             &meta.NoKindMatchError{},
		"credential plugin missing":                  errors.New("getting credentials: exec: executable aws not found"),
		"credential plugin failed":                   errors.New("getting credentials: exec: executable aws failed"),
		"stream not opened":                          errors.New("unable to upgrade connection: x"),
		"the command ran and failed":                 exec.CodeExitError{Err: io.EOF},
		"unknown error":                              errors.New("mine"),
	} {
		assert.Equal(t, detail, k8sretry.Classify(err).Detail)
	}
}

func TestConnectionErrorsBesideOthers(t *testing.T) {
	reset := call("read", "read", syscall.ECONNRESET)
	for name, err := range map[string]error{
		"a status":              errors.Join(reset, failure(503, "", "")),
		"a status, unimportant": errors.Join(reset, failure(429, "", "")),
		"a cancellation":        errors.Join(reset, context.Canceled),
		"a certificate":         errors.Join(reset, x509.UnknownAuthorityError{}),
	} {
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
	assert.True(t, k8sretry.IsRetryableConnectionError(errors.Join(errors.New("mine"), reset)))
}

// dead is an address of the loopback on which nobody listens.
func dead(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// silent keeps a test server from printing what is meant to fail.
func silent(s *httptest.Server) *httptest.Server {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

// client is a typed client of core/v1 that reaches the handler.
func client(t *testing.T, h http.HandlerFunc, change ...func(*rest.Config)) typedcorev1.PodInterface {
	t.Helper()
	s := silent(httptest.NewUnstartedServer(h))
	s.Start()
	t.Cleanup(s.Close)
	cfg := &rest.Config{Host: s.URL, QPS: -1}
	for _, c := range change {
		c(cfg)
	}
	cs, err := typedcorev1.NewForConfig(cfg)
	require.NoError(t, err)
	return cs.Pods("a")
}

func create(ctx context.Context, c typedcorev1.PodInterface) error {
	_, err := c.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}, metav1.CreateOptions{})
	return err
}

func reply(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// hijack hands over the connection of a request.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return c, rw
}

// What a real client makes of a real server that fails.
func TestRealCallsOfATypedClient(t *testing.T) {
	ctx := context.Background()
	status := func(s string) string { return `{"kind":"Status","apiVersion":"v1","status":"Failure",` + s + `}` }
	reset := func(w http.ResponseWriter, _ *http.Request) {
		c, _ := hijack(w)
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	closed := func(w http.ResponseWriter, _ *http.Request) {
		c, _ := hijack(w)
		_ = c.Close()
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		c, rw := hijack(w)
		_, _ = rw.WriteString("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"kind\"")
		_ = rw.Flush()
		_ = c.Close()
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		class   k8sretry.Class
		outcome k8sretry.Outcome
		code    int
		network bool
	}{
		{"status", reply(409, "application/json", status(`"code":409,"reason":"AlreadyExists"`)), permanent, never, 409, false},
		{"status that contradicts the code of the answer", reply(500, "application/json", status(`"code":404,"reason":"NotFound"`)), permanent, never, 404, false},
		{"status with 200", reply(200, "application/json", status(`"code":500,"message":"etcdserver: request timed out"`)), server, maybe, 500, false},
		{"409 in text", reply(409, "text/plain", "conflict"), permanent, maybe, 409, false},
		{"503 in text", reply(503, "text/plain", "service unavailable\n"), server, never, 503, false},
		{"404 in text", http.NotFound, blocked, never, 404, false},
		{"404 in HTML", reply(404, "text/html", "<html>"), permanent, never, 404, false},
		{"502 in JSON without a kind", reply(502, "application/json", `{"error":"x"}`), server, maybe, 502, false},
		{"created, but the answer is HTML", reply(201, "application/json", "<html>"), unusable, did, 0, false},
		{"created, but the answer is empty", reply(201, "application/json", ""), unusable, did, 0, false},
		{"created, but the answer is of another kind", reply(201, "application/json", `{"kind":"Web","apiVersion":"example.com/v1"}`), unusable, did, 0, false},
		{"created, but a field has another type", reply(201, "application/json", `{"kind":"Pod","apiVersion":"v1","spec":"x"}`), unusable, did, 0, false},
		{"created, but the answer is of an unknown type", reply(201, "text/html", "<html>"), server, maybe, 0, false},
		{"content type malformed", reply(201, "a/b/c", "x"), server, maybe, 500, false},
		{"closed before the answer", closed, connection, maybe, 0, true},
		{"reset before the answer", reset, connection, maybe, 0, true},
		{"answer cut", cut, connection, maybe, 0, true},
		{"answer is no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, rw := hijack(w)
			_, _ = rw.WriteString("\x15\x03\x01\x00\x02\x02\x16")
			_ = rw.Flush()
			_ = c.Close()
		}, permanent, never, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := create(ctx, client(t, c.handler))
			require.Error(t, err)
			v := k8sretry.Classify(err)
			assert.Equal(t, c.class, v.Class, "%T %v: %v", err, err, v)
			assert.Equal(t, c.outcome, v.Outcome, "%T %v: %v", err, err, v)
			assert.Equal(t, c.code, v.StatusCode, "%v: %v", err, v)
			assert.Equal(t, c.network, k8sretry.IsRetryableConnectionError(err), "%v", err)
		})
	}
}

func TestRealCallsOfADynamicClient(t *testing.T) {
	for name, body := range map[string]string{"HTML": "<html>", "cut": `{"kind":"Pod"`, "no kind": `{}`, "empty": ""} {
		s := silent(httptest.NewServer(reply(200, "application/json", body)))
		c, err := dynamic.NewForConfig(&rest.Config{Host: s.URL})
		require.NoError(t, err)
		_, err = c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("a").Get(context.Background(), "web-0", metav1.GetOptions{})
		s.Close()
		require.Error(t, err, name)
		v := k8sretry.Classify(err)
		assert.Equal(t, unusable, v.Class, "%s: %T %v: %v", name, err, err, v)
		assert.Equal(t, did, v.Outcome, "%s: %v", name, v)
	}
}

func TestRealTimeouts(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	headers := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	short := func(c *rest.Config) { c.Timeout = 20 * time.Millisecond }
	for name, h := range map[string]http.HandlerFunc{"before the answer": hang, "in the answer": headers} {
		err := create(context.Background(), client(t, h, short))
		v := k8sretry.Classify(err)
		assert.Equal(t, timeout, v.Class, "%s: %v: %v", name, err, v)
		assert.Equal(t, maybe, v.Outcome, name)
		assert.True(t, k8sretry.IsRetryableConnectionError(err), name)

		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		err = create(ctx, client(t, h))
		v = k8sretry.Classify(err)
		assert.Equal(t, canceled, v.Class, "%s: %v: %v", name, err, v)
		assert.Equal(t, maybe, v.Outcome, name)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), name)
	}
	header := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 20 * time.Millisecond}}
	s := silent(httptest.NewServer(http.HandlerFunc(hang)))
	defer s.Close()
	defer header.CloseIdleConnections()
	_, err := header.Get(s.URL)
	assert.Equal(t, timeout, k8sretry.Classify(err).Class, "%v", err)
}

func TestRealLimiter(t *testing.T) {
	c := client(t, reply(200, "application/json", `{"kind":"Pod","apiVersion":"v1"}`), func(c *rest.Config) { c.QPS, c.Burst = 0.001, 1 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := c.Get(ctx, "web-0", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = c.Get(ctx, "web-0", metav1.GetOptions{})
	require.ErrorContains(t, err, "would exceed context deadline")
	v := k8sretry.Classify(err)
	assert.Equal(t, canceled, v.Class)
	assert.Equal(t, never, v.Outcome)
	require.NoError(t, ctx.Err())
}

func TestRealDialsAndHandshakes(t *testing.T) {
	plainServer := silent(httptest.NewServer(http.HandlerFunc(http.NotFound)))
	defer plainServer.Close()
	tlsServer := silent(httptest.NewUnstartedServer(http.HandlerFunc(http.NotFound)))
	tlsServer.StartTLS()
	defer tlsServer.Close()
	mutual := silent(httptest.NewUnstartedServer(http.HandlerFunc(http.NotFound)))
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12}
	mutual.StartTLS()
	defer mutual.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	refusing := silent(httptest.NewServer(reply(503, "text/plain", "")))
	defer refusing.Close()
	demanding := silent(httptest.NewServer(reply(407, "text/plain", "")))
	defer demanding.Close()

	through := func(proxy string) *http.Transport {
		u, err := url.Parse(proxy)
		require.NoError(t, err)
		return &http.Transport{Proxy: http.ProxyURL(u)}
	}
	for _, c := range []struct {
		name      string
		transport *http.Transport
		url       string
		class     k8sretry.Class
		network   bool
	}{
		{"refused", &http.Transport{}, "http://" + dead(t), refused, true},
		{"proxy refused", through("http://" + dead(t)), "https://127.0.0.1:1", refused, true},
		{"SOCKS proxy refused", through("socks5://" + dead(t)), "https://127.0.0.1:1", refused, true},
		{"proxy answers 503 to CONNECT", through(refusing.URL), "https://127.0.0.1:1", refused, true},
		{"proxy answers 407 to CONNECT", through(demanding.URL), "https://127.0.0.1:1", permanent, false},
		{"dial timeout", &http.Transport{DialContext: (&net.Dialer{Timeout: time.Nanosecond}).DialContext}, plainServer.URL, timeout, true},
		{"handshake timeout", &http.Transport{TLSHandshakeTimeout: 20 * time.Millisecond}, "https://" + mute.Addr().String(), timeout, true},
		{"unknown authority", &http.Transport{}, tlsServer.URL, permanent, false},
		{"HTTP on the TLS port", &http.Transport{}, "https://" + plainServer.Listener.Addr().String(), permanent, false},
		{"client certificate demanded", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, mutual.URL, permanent, false},
		{"name without a server", &http.Transport{DialContext: (&net.Dialer{Resolver: deafResolver(t)}).DialContext}, "http://api.example.com", refused, true},
		{"malformed URL", &http.Transport{}, "http://[::1", permanent, false},
		{"unknown scheme", &http.Transport{}, "ftp://127.0.0.1", permanent, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer c.transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: c.transport}).Get(c.url)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Error(t, err)
			v := k8sretry.Classify(err)
			assert.Equal(t, c.class, v.Class, "%T %v: %v", errors.Unwrap(err), err, v)
			assert.Equal(t, never, v.Outcome, "%v: %v", err, v)
			assert.Equal(t, c.network, k8sretry.IsRetryableConnectionError(err), "%v", err)
		})
	}
}

// deafResolver asks a name server that is not there.
func deafResolver(t *testing.T) *net.Resolver {
	address := dead(t)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
}

// Both implementations of HTTP/2 that a client can have.
func TestRealHTTP2(t *testing.T) {
	s := silent(httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	cfg := &tls.Config{RootCAs: pool}
	bundled := &http.Transport{TLSClientConfig: cfg.Clone(), ForceAttemptHTTP2: true}
	defer bundled.CloseIdleConnections()
	separate := &http.Transport{TLSClientConfig: cfg.Clone()}
	//lint:ignore SA1019 client-go does the same
	_, err := http2.ConfigureTransports(separate)
	require.NoError(t, err)
	defer separate.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{"net/http": bundled, "x/net": separate} {
		resp, err := (&http.Client{Transport: rt}).Get(s.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		require.Error(t, err, name)
		v := k8sretry.Classify(err)
		assert.Equal(t, "HTTP/2 stream reset", v.Detail, "%s: %v", name, err)
		assert.Equal(t, connection, v.Class)
		assert.Equal(t, maybe, v.Outcome)

		resp, err = (&http.Client{Transport: rt}).Get(s.URL + "/cut")
		require.NoError(t, err, name)
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		require.Error(t, err, name)
		assert.Equal(t, connection, k8sretry.Classify(bodyCut(err)).Class, "%s: %v", name, err)
		assert.True(t, k8sretry.IsRetryableConnectionError(bodyCut(err)), "%s: %v", name, err)
	}
}
