// SPDX-License-Identifier: Apache-2.0

package clientgo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

// response returns a response that http.Transport could have returned.
func response(code int, media, body string) *http.Response {
	resp := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	if media != "" {
		resp.Header.Set("Content-Type", media)
	}
	return resp
}

func statusJSON(code int32, reason metav1.StatusReason, message string) string {
	body, err := json.Marshal(statusOf(code, reason, message))
	if err != nil {
		panic(err)
	}
	return string(body)
}

func statusOf(code int32, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}
}

func statusProtobuf(t *testing.T, status *metav1.Status) string {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), protobuf)
	require.True(t, ok)
	body, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, schema.GroupVersion{Version: "v1"}), status)
	require.NoError(t, err)
	return string(body)
}

const protobuf = "application/vnd.kubernetes.protobuf"

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// throughClientGo returns the error that client-go makes of a response for a pod, and the
// one that ResponseError made of it on the way.
func throughClientGo(t *testing.T, verb string, code int, media, body, delay string) (theirs, ours error) {
	t.Helper()
	client, err := rest.RESTClientForConfigAndClient(&rest.Config{
		Host: "https://server", APIPath: "/api",
		ContentConfig: rest.ContentConfig{GroupVersion: &schema.GroupVersion{Version: "v1"}, NegotiatedSerializer: scheme.Codecs.WithoutConversion()},
	}, &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		resp := response(code, media, body)
		if delay != "" {
			resp.Header.Set("Retry-After", delay)
		}
		resp.Request = req
		r := apirequest.Read(req)
		ours = ResponseError(resp, &r, req.Method, true)
		HideRetryAfter(resp, req)
		return resp, nil
	})})
	require.NoError(t, err)
	return client.Verb(verb).Namespace("web").Resource("pods").Name("a").Do(t.Context()).Error(), ours
}

func TestResponseErrorIsTheOneOfClientGo(t *testing.T) {
	for _, c := range []struct {
		situation         string
		code              int
		media, body, wait string
	}{
		{"a Status in JSON", 503, "application/json", statusJSON(503, "ServiceUnavailable", "no"), ""},
		{"a Status in protobuf", 503, protobuf, statusProtobuf(t, statusOf(503, "ServiceUnavailable", "no")), "7"},
		{"a Status in JSON, not found", 404, "application/json", statusJSON(404, "NotFound", `pods "a" not found`), ""},
		{"a Status with another code", 500, "application/json", statusJSON(409, "Conflict", "no"), ""},
		{"text", 429, "text/plain", "too many requests\n", "3"},
		{"a Status in a text", 503, "text/plain", statusJSON(403, "Forbidden", "no"), ""},
		{"text of a proxy", 502, "text/html", strings.Repeat("<p>bad gateway</p>", 1000), ""},
		{"no body", 504, "", "", ""},
		{"no media type", 500, "", "it failed", "1"},
		{"another media type", 500, "image/png", "PNG", ""},
		{"JSON that is no Status", 500, "application/json", `{"error":"no"}`, ""},
		{"conflict in text", 409, "text/plain", "exists", ""},
		{"invalid Retry-After", 503, "application/json", "", "soon"},
	} {
		for _, verb := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			t.Run(c.situation+" "+verb, func(t *testing.T) {
				theirs, ours := throughClientGo(t, verb, c.code, c.media, c.body, c.wait)
				var want, got apierrors.APIStatus
				require.ErrorAs(t, theirs, &want)
				require.ErrorAs(t, ours, &got)
				assert.Equal(t, want.Status().Code, got.Status().Code)
				assert.Equal(t, want.Status().Reason, got.Status().Reason)
				wantSeconds, wantOK := apierrors.SuggestsClientDelay(theirs)
				gotSeconds, gotOK := apierrors.SuggestsClientDelay(ours)
				assert.Equal(t, wantOK, gotOK)
				assert.Equal(t, wantSeconds, gotSeconds)
				if want, details := want.Status().Details, got.Status().Details; details != nil {
					assert.Equal(t, want.Causes, details.Causes)
					assert.Equal(t, want.Kind, details.Kind)
				}
			})
		}
	}
}

func TestResponseErrorReadsTheBodyOnlyIfItDecides(t *testing.T) {
	status := statusJSON(500, "InternalError", "no")
	for _, c := range []struct {
		code     int
		readBody bool
		verb     apirequest.Verb
		read     bool
	}{
		{404, false, apirequest.Get, true}, // an object, or a path that is not served
		{422, false, apirequest.Create, true},
		{404, true, apirequest.Get, true},
		{404, false, apirequest.DeleteCollection, true},
		{403, false, apirequest.Get, true},
		{408, false, apirequest.Get, true},
		{409, false, apirequest.Update, true},
		{425, false, apirequest.Get, true},
		{429, false, apirequest.Get, true},
		{500, false, apirequest.Get, true},
		{599, false, apirequest.Get, true},
	} {
		resp := response(c.code, "application/json", status)
		err := ResponseError(resp, &apirequest.Request{Verb: c.verb}, "GET", c.readBody)
		assert.Equal(t, c.read, apierrors.ReasonForError(err) == metav1.StatusReasonInternalError && err.Error() == "no", c.code)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, status, string(body))
	}
}

// brokenBody is a body that ends with an error.
type brokenBody struct{ io.Reader }

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
func (*brokenBody) Close() error { return nil }

func TestResponseErrorLeavesTheBodyAsItWas(t *testing.T) {
	for _, size := range []int{0, 1, maxBody - 1, maxBody, maxBody + 1, maxStatus, 2 * maxStatus} {
		for _, first := range []string{"", "<", "{", "k8s\x00"} {
			want := first + strings.Repeat("x", size)
			resp := response(500, "application/json", want)
			require.Error(t, ResponseError(resp, &apirequest.Request{}, "GET", true))
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Len(t, got, len(want), "%d bytes after %q", size, first)
			require.True(t, strings.HasPrefix(string(got), want), "%d bytes after %q", size, first) // not printed in full

			resp = response(500, "application/json", "")
			resp.Body = &brokenBody{strings.NewReader(want)}
			require.Error(t, ResponseError(resp, &apirequest.Request{}, "GET", true))
			got, err = io.ReadAll(resp.Body)
			require.Equal(t, io.ErrUnexpectedEOF, err)
			require.Len(t, got, len(want), "%d bytes after %q", size, first)
			require.True(t, strings.HasPrefix(string(got), want), "%d bytes after %q", size, first) // not printed in full
		}
	}
}

func TestResponseErrorReadsALongStatus(t *testing.T) {
	for size, read := range map[int]bool{100: true, maxBody: true, maxStatus - 1000: true, maxStatus: false} {
		message := strings.Repeat("v", size)
		err := ResponseError(response(500, "application/json", statusJSON(500, "InternalError", message)), &apirequest.Request{}, "GET", false)
		assert.Equal(t, read, err.Error() == message, size)
	}
}

func TestAStatusOfSuccessIsNoFailure(t *testing.T) {
	success := &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}
	for _, body := range []string{`{"kind":"Status","status":"Success"}`, statusProtobuf(t, success), `{"kind":"Pod"}`, `[1]`, "k8s\x00?", ""} {
		assert.Nil(t, decodeStatus([]byte(body)), "%q", body)
	}
}

func TestDiscardReadsABoundedPartAndCloses(t *testing.T) {
	Discard(nil)
	Discard(&http.Response{})
	body := &countingBody{}
	Discard(&http.Response{Body: body})
	assert.True(t, body.closed)
	assert.GreaterOrEqual(t, body.read, maxDrain)
	assert.Less(t, body.read, 2*maxDrain)
}

// countingBody is a body without end.
type countingBody struct {
	read   int
	closed bool
}

func (b *countingBody) Read(p []byte) (int, error) { b.read += len(p); return len(p), nil }
func (b *countingBody) Close() error               { b.closed = true; return nil }

func TestRetryAfterReadsSecondsAndDates(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "1": time.Second, "30": 30 * time.Second, "1.5": 0, "soon": 0,
		"9223372036854775807":           9223372036 * time.Second,
		"99999999999999999999":          9223372036 * time.Second,
		"-99999999999999999999":         0,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	} {
		assert.Equal(t, want, RetryAfter(http.Header{"Retry-After": {text}}), text)
	}
	date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	assert.InDelta(t, time.Minute, RetryAfter(http.Header{"Retry-After": {date}}), float64(2*time.Second))
}

// The text of a permanent answer that is no Status is read where the caller judges by it.
func TestTheTextOfAPermanentAnswerIsReadOnDemand(t *testing.T) {
	for _, readBody := range []bool{false, true} {
		resp := &http.Response{StatusCode: 404, Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader("nothing here"))}
		err := ResponseError(resp, &apirequest.Request{Verb: apirequest.Get}, http.MethodGet, readBody)
		var status *apierrors.StatusError
		require.ErrorAs(t, err, &status)
		assert.Equal(t, readBody, strings.Contains(fmt.Sprint(status.ErrStatus.Details), "nothing here"))
	}
}
