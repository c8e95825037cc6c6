// SPDX-License-Identifier: Apache-2.0

package k8sretryprom

import (
	"net/http"
	"strconv"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// CountSends returns a RoundTripper that counts the requests sent to the server. Wrap the
// config with CountSends first, so that it counts each attempt of a [k8sretry.Transport]:
//
//	config.Wrap(retries.CountSends)
//	config.Wrap(k8sretry.Transport(k8sretry.WithObserver(retries)))
//
// It counts a request, by method and status code, when the response header arrives or the
// request fails. It does not count the retries that net/http makes itself if it finds a
// connection closed. If next is nil, it uses http.DefaultTransport. The RoundTripper is
// safe for concurrent use if next is, does not modify requests, and forwards
// CloseIdleConnections to next.
func (c *Collector) CountSends(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &sends{next: next, collector: c}
}

type sends struct {
	next      http.RoundTripper
	collector *Collector
}

// RoundTrip implements [http.RoundTripper].
func (s *sends) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if s.collector != nil && s.collector.sends != nil {
		code := 0
		if resp != nil {
			code = resp.StatusCode
		}
		s.collector.sends.WithLabelValues(methodName(req.Method), codeName(code)).Inc()
	}
	return resp, err
}

// WrappedRoundTripper returns next. It implements RoundTripperWrapper of
// k8s.io/apimachinery.
func (s *sends) WrappedRoundTripper() http.RoundTripper { return s.next }

// CloseIdleConnections closes the idle connections of next.
func (s *sends) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(s.next) }

func methodName(method string) string {
	switch method {
	case "":
		return http.MethodGet // the default of net/http
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "other"
}

// codeName returns the label value of a status code, of which a server may send any.
func codeName(code int) string {
	switch {
	case code == 0:
		return "none"
	case http.StatusText(code) == "":
		return "other"
	}
	return strconv.Itoa(code)
}
