// SPDX-License-Identifier: Apache-2.0

package clientgo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

const (
	// maxBody bounds how much of a response's body is kept in memory.
	maxBody = 8 << 10
	// maxStatus bounds it for a body that seems to be a Status. The message of a Status
	// contains that of a webhook, which may have any length.
	maxStatus = 1 << 20
	// maxDrain bounds how much of a body is read to make its connection reusable.
	maxDrain = 64 << 10
)

// ResponseError returns the error that client-go will make of a response with a code of
// 400 and above (k8s.io/client-go/rest/request.go): the Status in the body, or one made
// of the code. The part of the body that it reads can be read again.
//
// For codes that are permanent whatever the body says, it reads the body only if readBody
// is set, or if the body is that of the API by its Content-Type and not too long.
func ResponseError(resp *http.Response, r *apirequest.Request, method string, readBody bool) error {
	var body []byte
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if readBody || r.Verb == apirequest.DeleteCollection || bodyDecides(resp.StatusCode) || bodyNames(resp, media) {
		body = peek(resp)
	}
	if status := decodeStatus(body); status != nil && !strings.HasPrefix(media, "text/") {
		return &apierrors.StatusError{ErrStatus: *status}
	}
	text := "unknown"
	if media == "" || strings.HasPrefix(media, "text/") {
		text = strings.TrimSpace(string(body[:min(len(body), 2048)]))
	}
	delay, _ := strconv.Atoi(resp.Header.Get(retryAfter))
	delay = max(0, min(delay, math.MaxInt32)) // the type of the field in a Status
	resource := schema.GroupResource{Group: r.Group, Resource: r.Resource}
	return apierrors.NewGenericServerResponse(resp.StatusCode, method, resource, "", text, delay, true)
}

// IsForeign reports whether a response is not one of the API, by its content type: it is the
// page of a login or of a captive portal, for example. To a write whose response client-go
// does not decode, it would be a success. JSON without a content type is sent as text by
// servers that use net/http. client-go takes an answer without one for what it has asked for.
func IsForeign(resp *http.Response) bool {
	given := resp.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	switch {
	case given != "" && err != nil, resp.StatusCode == http.StatusNoContent, strings.HasSuffix(media, "+json"):
		return false // client-go reports a type that cannot be parsed
	case given == "", media == "text/plain":
		body := bytes.TrimSpace(peek(resp))
		return len(body) > 0 && body[0] != '{' && !bytes.HasPrefix(body, protobufPrefix)
	}
	switch media {
	case runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf, runtime.ContentTypeCBOR:
		return false
	}
	return true
}

// bodyDecides reports whether the body of a response with this code may say whether the
// failure is transient.
func bodyDecides(code int) bool {
	switch code {
	case http.StatusForbidden, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return code >= http.StatusInternalServerError
}

// bodyNames reports whether the body of a response is likely to say what has failed, at a
// low cost: a Status, or the line of text with which kube-apiserver answers for a path that
// it does not serve (k8s.io/apiserver/pkg/util/notfoundhandler).
func bodyNames(resp *http.Response, media string) bool {
	switch media {
	case "application/json", "application/vnd.kubernetes.protobuf":
		return true
	case "text/plain":
		return resp.StatusCode == http.StatusNotFound && 0 < resp.ContentLength && resp.ContentLength < 64
	}
	return false
}

// peek reads the beginning of the response's body and puts it back.
func peek(resp *http.Response) []byte {
	if resp.Body == nil || resp.Body == http.NoBody {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err == nil && len(body) == maxBody && (body[0] == '{' || bytes.HasPrefix(body, protobufPrefix)) {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(resp.Body, maxStatus-maxBody))
		body = append(body, rest...)
	}
	p := &peekedBody{ReadCloser: resp.Body, err: err}
	p.peeked.Reset(body)
	resp.Body = p
	return body
}

// peekedBody returns what was read before, then the rest. An error of the first reading
// is returned at the same position.
type peekedBody struct {
	io.ReadCloser
	peeked bytes.Reader
	err    error
}

func (p *peekedBody) Read(b []byte) (int, error) {
	switch {
	case p.peeked.Len() > 0:
		return p.peeked.Read(b)
	case p.err != nil:
		return 0, p.err
	}
	return p.ReadCloser.Read(b)
}

// Discard closes the body of a response that is not needed, after reading some of it so
// that the connection can be reused. The response may be nil.
func Discard(resp *http.Response) {
	if resp == nil || resp.Body == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // an error only costs the connection
	_ = resp.Body.Close()
}

// protobufPrefix is the beginning of every object in protobuf
// (k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go).
var protobufPrefix = []byte("k8s\x00")

// decodeStatus decodes a failure from a body in JSON or protobuf. It returns nil if the
// body is not a Status or a Status of success.
func decodeStatus(body []byte) *metav1.Status {
	var status metav1.Status
	if encoded, ok := bytes.CutPrefix(body, protobufPrefix); ok {
		var envelope runtime.Unknown
		if envelope.Unmarshal(encoded) != nil || envelope.Kind != "Status" || status.Unmarshal(envelope.Raw) != nil {
			return nil
		}
	} else if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &status) != nil || status.Kind != "Status" {
		return nil
	}
	if status.Status == metav1.StatusSuccess {
		return nil
	}
	return &status
}

// retryAfter is the name of the header.
const retryAfter = "Retry-After"

// RetryAfter returns the delay that a Retry-After header asks for: whole seconds, or the
// time until a date (RFC 9110, section 10.2.3), which client-go does not read. It returns
// 0 if there is no valid header or the date has passed.
func RetryAfter(h http.Header) time.Duration {
	text := h.Get(retryAfter)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // out of range, n is the nearest value
		return time.Duration(max(0, min(n, int64(math.MaxInt64/time.Second)))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
