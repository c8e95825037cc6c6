package k8sretry

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// How much of an answer's body is held, how much of one that seems to be a Status (which
// repeats what a webhook says, at any length), and how much more is read to save its
// connection when the answer is thrown away.
const (
	heldBody    = 8 << 10
	heldStatus  = 1 << 20
	drainedBody = 64 << 10
)

// answerError is the error that client-go will make of an answer of 400 and above
// (k8s.io/client-go/rest/request.go): the Status in the body, or one made of the code.
// What it reads of the body stays readable.
//
// Codes that are lasting whatever the body says are not worth reading it, unless the
// caller wants to judge the error.
func answerError(resp *http.Response, k *request, method string, judged bool) error {
	var body []byte
	var text string
	if judged || k.verb == VerbDeleteCollection || telling(resp.StatusCode) {
		body = peek(resp)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if status := decodeStatus(body); status != nil && !strings.HasPrefix(media, "text/") {
		return &apierrors.StatusError{ErrStatus: *status}
	}
	text = "unknown"
	if media == "" || strings.HasPrefix(media, "text/") {
		text = strings.TrimSpace(string(body[:min(len(body), 2048)]))
	}
	delay, _ := strconv.Atoi(resp.Header.Get(retryAfterHeader))
	delay = max(0, min(delay, math.MaxInt32)) // a status holds no more
	resource := schema.GroupResource{Group: k.group, Resource: k.resource}
	return apierrors.NewGenericServerResponse(resp.StatusCode, method, resource, "", text, delay, true)
}

// telling reports whether the body of an answer with this code may say that the
// failure passes, or that it does not.
func telling(code int) bool {
	switch code {
	case http.StatusForbidden, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return code >= http.StatusInternalServerError
}

// peek reads the beginning of the answer's body and puts it back.
func peek(resp *http.Response) []byte {
	if resp.Body == nil || resp.Body == http.NoBody {
		return nil
	}
	held, err := io.ReadAll(io.LimitReader(resp.Body, heldBody))
	if err == nil && len(held) == heldBody && (held[0] == '{' || bytes.HasPrefix(held, protobufMark)) {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(resp.Body, heldStatus-heldBody))
		held = append(held, rest...)
	}
	b := &peekedBody{ReadCloser: resp.Body, err: err}
	b.held.Reset(held)
	resp.Body = b
	return held
}

// peekedBody reads what was held, then the rest. An error of the first reading comes
// at the same place again.
type peekedBody struct {
	io.ReadCloser
	held bytes.Reader
	err  error
}

func (b *peekedBody) Read(p []byte) (int, error) {
	switch {
	case b.held.Len() > 0:
		return b.held.Read(p)
	case b.err != nil:
		return 0, b.err
	}
	return b.ReadCloser.Read(p)
}

// discard gives the connection of an answer back.
func discard(resp *http.Response) {
	if resp == nil || resp.Body == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, drainedBody) // whatever comes of it, the answer is not wanted
	_ = resp.Body.Close()
}

// protobufMark is how an object of the API server in protobuf begins.
var protobufMark = []byte("k8s\x00")

// decodeStatus reads a failure from a body in JSON or protobuf, nil if there is none.
func decodeStatus(body []byte) *metav1.Status {
	var status metav1.Status
	if encoded, protobuf := bytes.CutPrefix(body, protobufMark); protobuf {
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
