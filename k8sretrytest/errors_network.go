// SPDX-License-Identifier: Apache-2.0

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

// urlError returns what http.Client returns for an error of its transport.
func urlError(err error) error { return &url.Error{Op: method, URL: endpoint, Err: err} }

// ConnectionRefused returns the error for a connection that the server's host refused,
// because no process listens on the port.
//
// Classify returns ClassRefused, not executed.
func ConnectionRefused() error {
	return urlError(&net.OpError{Op: "dial", Net: "tcp", Addr: server, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
}

// ConnectionReset returns the error for a connection that was reset before the
// response arrived.
//
// Classify returns ClassConnection with an unknown outcome.
func ConnectionReset() error {
	return urlError(&net.OpError{Op: "read", Net: "tcp", Source: client, Addr: server, Err: os.NewSyscallError("read", syscall.ECONNRESET)})
}

// ConnectionClosed returns the error for a connection that was closed before the
// response arrived: io.EOF.
//
// Classify returns ClassConnection with an unknown outcome.
func ConnectionClosed() error { return urlError(io.EOF) }

// GoAway returns the error for a request in flight on an HTTP/2 connection that the
// server closed. kube-apiserver does so while it shuts down, and at random with
// --goaway-chance.
//
// Classify returns ClassConnection with an unknown outcome.
func GoAway() error {
	return urlError(http2.GoAwayError{LastStreamID: 1, ErrCode: http2.ErrCodeNo})
}

// TruncatedBody returns the error for a response whose body ended before it was
// complete. The response may have reported success or failure.
//
// Classify returns ClassConnection with an unknown outcome.
func TruncatedBody() error {
	return fmt.Errorf(truncatedBodyText+" Please retry. Original error: %w", io.ErrUnexpectedEOF)
}

// truncatedBodyText is the start of the error that k8s.io/client-go/rest/request.go
// returns. The error has no type of its own.
const truncatedBodyText = "unexpected error when reading response body."

// NoSuchHost returns the error for a server name that does not exist in DNS.
//
// Classify returns ClassBlocked, not executed: the usual cause is a misspelled name.
func NoSuchHost() error {
	return dialDNS(net.DNSError{Err: "no such host", IsNotFound: true})
}

// DNSTimeout returns the error for a DNS lookup that no name server answered in time.
//
// Classify returns ClassTimeout, not executed.
func DNSTimeout() error {
	return dialDNS(net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true})
}

func dialDNS(err net.DNSError) error {
	err.Name, err.Server = "api.example.com", "10.96.0.10:53"
	return urlError(&net.OpError{Op: "dial", Net: "tcp", Err: &err})
}

// ClientTimeout returns the error for a request that exceeded the Timeout of
// rest.Config. errors.Is finds context.DeadlineExceeded in it, although the caller's
// context has not ended.
//
// Classify returns ClassTimeout with an unknown outcome.
func ClientTimeout() error {
	// The type is unexported, so an http.Client has to make the error. No request is sent.
	c := http.Client{Timeout: 1, Transport: blackHole{}}
	resp, err := c.Post(endpoint, "application/json", nil)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// blackHole is a transport that never returns a response.
type blackHole struct{}

// RoundTrip waits for the channel, not for the context: http.Client records that its
// Timeout has expired before it closes the channel, but maybe after the context ends.
func (blackHole) RoundTrip(req *http.Request) (*http.Response, error) {
	//lint:ignore SA1019 http.Client closes this channel
	<-req.Cancel
	return nil, context.DeadlineExceeded
}
