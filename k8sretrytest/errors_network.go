package k8sretrytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"golang.org/x/net/http2"
)

const (
	method   = "Post" // as url.Error writes it
	host     = "10.96.0.1"
	endpoint = "https://" + host + ":443/api/v1/namespaces/default/pods"
)

var (
	server = &net.TCPAddr{IP: net.ParseIP(host), Port: 443}
	client = &net.TCPAddr{IP: net.ParseIP("10.244.0.7"), Port: 40512}
)

// inURL is what http.Client returns for an error of its transport.
func inURL(err error) error { return &url.Error{Op: method, URL: endpoint, Err: err} }

// ConnectionRefused is the error when nobody listens at the server's address.
//
// Classify: ClassRefused, not executed.
func ConnectionRefused() error {
	return inURL(&net.OpError{Op: "dial", Net: "tcp", Addr: server, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
}

// ConnectionReset is the error when the connection was reset while the answer was
// awaited.
//
// Classify: ClassConnection, outcome unknown.
func ConnectionReset() error {
	return inURL(&net.OpError{Op: "read", Net: "tcp", Source: client, Addr: server, Err: os.NewSyscallError("read", syscall.ECONNRESET)})
}

// ConnectionClosed is the error when the connection was closed instead of an answer: EOF.
//
// Classify: ClassConnection, outcome unknown.
func ConnectionClosed() error { return inURL(io.EOF) }

// GoAway is the error when the server closed an HTTP/2 connection, as kube-apiserver
// does on its way down and with --goaway-chance, and the request was under way.
//
// Classify: ClassConnection, outcome unknown.
func GoAway() error {
	//lint:ignore SA1019 it is what the transport of client-go returns
	return inURL(http2.GoAwayError{LastStreamID: 1, ErrCode: http2.ErrCodeNo})
}

// TruncatedBody is the error when an answer began and its body ended too early. What the
// answer said, success or failure, is lost.
//
// Classify: ClassConnection, outcome unknown.
func TruncatedBody() error {
	return fmt.Errorf(cutBodyText+" Please retry. Original error: %w", io.ErrUnexpectedEOF)
}

// cutBodyText begins the error that k8s.io/client-go/rest/request.go makes. It has no
// type of its own.
const cutBodyText = "unexpected error when reading response body."

// NoSuchHost is the error when the server's name does not exist.
//
// Classify: ClassBlocked, not executed: names are mistyped more often than late.
func NoSuchHost() error {
	return inURL(dns(&net.DNSError{Err: "no such host", IsNotFound: true}))
}

// DNSTimeout is the error when no name server answered.
//
// Classify: ClassTimeout, not executed.
func DNSTimeout() error {
	return inURL(dns(&net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}))
}

func dns(err *net.DNSError) error {
	err.Name, err.Server = "api.example.com", "10.96.0.10:53"
	return &net.OpError{Op: "dial", Net: "tcp", Err: err}
}

// ClientTimeout is the error when the Timeout of rest.Config ran out. errors.Is finds
// context.DeadlineExceeded in it, though the caller's context is alive.
//
// Classify: ClassTimeout, outcome unknown.
func ClientTimeout() error {
	// Its type is unexported, so a client has to make it. The request goes nowhere.
	c := http.Client{Timeout: 1, Transport: silence{}}
	resp, err := c.Post(endpoint, "application/json", nil)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// silence is a server that never answers.
type silence struct{}

// RoundTrip waits for the channel, not for the context: http.Client notes that it was
// its Timeout between the two.
func (silence) RoundTrip(req *http.Request) (*http.Response, error) {
	//lint:ignore SA1019 it is what http.Client closes
	<-req.Cancel
	return nil, context.DeadlineExceeded
}
