package k8sretryprom

import (
	"net/http"
	"strconv"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// CountSends returns a RoundTripper that counts what it hands on: what a server is really
// asked, where a [k8sretry.Transport] above it repeats. It belongs below that Transport, and
// what is wrapped first is below:
//
//	config.Wrap(retries.CountSends)
//	config.Wrap(k8sretry.Transport(k8sretry.WithObserver(retries)))
//
// It counts a request when its answer begins or its connection fails, by method and status
// code. What net/http repeats by itself, on a connection that it finds closed, is not seen.
// nil stands for http.DefaultTransport. The RoundTripper is safe for concurrent use if next
// is, never changes a request, has WrappedRoundTripper, and passes CloseIdleConnections on.
func (c *Collector) CountSends(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &sends{next: next, of: c}
}

type sends struct {
	next http.RoundTripper
	of   *Collector
}

// RoundTrip sends the request once.
func (s *sends) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if s.of != nil && s.of.sends != nil {
		code := 0
		if resp != nil {
			code = resp.StatusCode
		}
		s.of.sends.WithLabelValues(methodName(req.Method), codeName(code)).Inc()
	}
	return resp, err
}

// WrappedRoundTripper returns what is wrapped, as k8s.io/apimachinery's
// RoundTripperWrapper asks for.
func (s *sends) WrappedRoundTripper() http.RoundTripper { return s.next }

// CloseIdleConnections passes the request on.
func (s *sends) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(s.next) }

func methodName(method string) string {
	switch method {
	case "":
		return http.MethodGet // as net/http reads it
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "other"
}

// codeName is a status code as a label. Any number may come over the wire.
func codeName(code int) string {
	switch {
	case code == 0:
		return "none"
	case http.StatusText(code) == "":
		return "other"
	}
	return strconv.Itoa(code)
}
