// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Transport puts the faults in front of a real server:
//
//	cfg.Wrap(faults.Transport)
//	clientset, err := kubernetes.NewForConfig(cfg)
//
// An API error becomes a response with its code, its body and its Retry-After.
// [TruncatedBody] becomes a response whose body ends before it is complete. The
// transport returns any other error itself, without a *url.Error, which http.Client
// adds. An error of this package that names the pod web-0 is about the object of the request
// instead, as by [Named]. Requests for paths that are not resources (discovery, health) reach the server.
//
// client-go retries some requests itself, so that a caller may not see a single fault
// (k8s.io/client-go/rest/with_retry.go): any request after a 429 or 5xx with a
// Retry-After, and reads after a lost connection, up to 10 times each at intervals of
// a second. Use n = 11 to make a caller see one such fault, or use errors without a
// Retry-After.
//
// The returned RoundTripper forwards CloseIdleConnections to next. It is safe for
// concurrent use if next is. If next is nil, it uses http.DefaultTransport.
func (f *Faults) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{f, next}
}

type transport struct {
	faults *Faults
	next   http.RoundTripper
}

// WrappedRoundTripper returns next, for client-go and apimachinery.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *transport) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(t.next) }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := callOfRequest(req)
	if !ok {
		return t.next.RoundTrip(req)
	}
	fault := t.faults.next(c, true)
	resource, name := objectOfRequest(req)
	fault.err = Named(fault.err, resource, name)
	if fault.replaces() && !fault.execute {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper must close it
		}
		return fault.respond(req)
	}
	sent := req
	if fault.closes() {
		// Since Go 1.27 net/http reads what is left of a body that is closed, and keeps the connection.
		sent = req.Clone(req.Context())
		sent.Close = true
	}
	resp, err := t.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	if fault.react != nil {
		fault.react()
	}
	if !fault.replaces() {
		return resp, nil
	}
	if c.verb != "watch" && resp.StatusCode != http.StatusSwitchingProtocols && !fault.closes() {
		// The connection can be reused after the body has been read. A stream has no end.
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	}
	_ = resp.Body.Close()
	return fault.respond(req)
}

// maxDrained is the number of bytes to read from a lost response so that its connection
// can be reused.
const maxDrained = 1 << 20

// respond returns the response of the fault.
func (f fault) respond(req *http.Request) (*http.Response, error) {
	if f.resp != nil {
		return f.resp.of(req), nil
	}
	return respond(req, f.err)
}

// closes reports whether the response of the fault ends its connection.
func (f fault) closes() bool {
	return f.resp != nil && strings.EqualFold(f.resp.Header.Get("Connection"), "close")
}

// respond returns the response, or the error, from which a client makes err.
func respond(req *http.Request, err error) (*http.Response, error) {
	var s *apierrors.StatusError
	if errors.As(err, &s) {
		return statusResponse(req, s.ErrStatus)
	}
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // the outermost: the client wraps again
		return nil, e.Err
	}
	if strings.HasPrefix(err.Error(), truncatedBodyText) {
		return response(req, http.StatusOK, "application/json", io.MultiReader(strings.NewReader(`{"kind":`), truncated{})), nil
	}
	return nil, err
}

func statusResponse(req *http.Request, status metav1.Status) (*http.Response, error) {
	var body []byte
	contentType := "application/json"
	if text, ok := genericBody(status); ok {
		contentType, body = "text/plain; charset=utf-8", []byte(text)
	} else {
		status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		var err error
		if body, err = json.Marshal(status); err != nil {
			return nil, err
		}
	}
	resp := response(req, int(status.Code), contentType, bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		resp.Header.Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	return resp, nil
}

// genericBody returns the body of the response from which client-go made this status,
// if that response had no Status in its body.
func genericBody(status metav1.Status) (body string, ok bool) {
	if status.Details == nil {
		return "", false
	}
	for _, c := range status.Details.Causes {
		if c.Type == metav1.CauseTypeUnexpectedServerResponse {
			return c.Message, true
		}
	}
	return "", false
}

func response(req *http.Request, code int, contentType string, body io.Reader) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(code) + " " + http.StatusText(code), StatusCode: code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {contentType}}, ContentLength: -1,
		Body: io.NopCloser(body), Request: req,
	}
}

// truncated is the end of a body that is not complete.
type truncated struct{}

func (truncated) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
