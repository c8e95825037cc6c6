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
// An error of the API becomes an answer with its code, its body and its Retry-After;
// [TruncatedBody] becomes an answer that ends too early; any other error is returned as the
// transport's, without the *url.Error, which http.Client puts around it again.
// Requests for something else than resources (discovery, health) pass.
//
// client-go repeats some requests by itself, so that one fault may be seen by nobody
// (k8s.io/client-go/rest/with_retry.go): any request after a 429 or 5xx with a
// Retry-After, and reads after a lost connection, up to 10 times each, a second apart.
// Set 11 faults for one that a caller shall see, or use errors without a delay.
//
// The Transport passes CloseIdleConnections on, and is safe for concurrent use if
// next is. A nil next is http.DefaultTransport.
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

// WrappedRoundTripper lets client-go find what is inside.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *transport) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(t.next) }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := requested(req)
	if !ok {
		return t.next.RoundTrip(req)
	}
	fault := t.faults.next(c)
	if fault.err == nil {
		return t.next.RoundTrip(req)
	}
	if !fault.after {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper closes it, whatever happens
		}
		return answer(req, fault.err)
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if c.verb != "watch" && resp.StatusCode != http.StatusSwitchingProtocols {
		// Read to its end, the connection can be used again. A stream has no end.
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	}
	_ = resp.Body.Close()
	return answer(req, fault.err)
}

// maxDrained is what an answer may still hold to be read for the sake of its
// connection.
const maxDrained = 1 << 20

// answer makes of an error what a client turns into the same error again.
func answer(req *http.Request, err error) (*http.Response, error) {
	if s, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return statusAnswer(req, s.ErrStatus)
	}
	if e, ok := err.(*url.Error); ok {
		return nil, e.Err
	}
	if strings.HasPrefix(err.Error(), cutBodyText) {
		return response(req, http.StatusOK, "application/json", io.MultiReader(strings.NewReader(`{"kind":`), cut{})), nil
	}
	return nil, err
}

func statusAnswer(req *http.Request, status metav1.Status) (*http.Response, error) {
	contentType, body := "application/json", []byte(nil)
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

// genericBody is the body of an answer from which client-go made this status because
// it held none.
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

// cut is the end of a body that ends too early.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
