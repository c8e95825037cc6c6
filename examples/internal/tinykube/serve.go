// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// maxBody is the maximum size of a request body, as in kube-apiserver.
const maxBody = 3 << 20

// Requests returns the requests so far, in order of completion.
func (s *Server) Requests() []Record {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return slices.Clone(s.log)
}

// Count returns the number of matching requests so far.
func (s *Server) Count(m Match) int {
	n := 0
	for _, r := range s.Requests() {
		if m.Covers(r.Request) {
			n++
		}
	}
	return n
}

func (s *Server) record(r Request, code int) {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.log = append(s.log, Record{r, code})
}

// codeWriter records the status code.
type codeWriter struct {
	http.ResponseWriter
	code int
}

func (w *codeWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP serves a request, unless a script or the limit determines the answer.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if answer, ok := s.discover(r.URL.Path); ok {
		writeJSON(rw, http.StatusOK, answer)
		return
	}
	t, ok := s.resolve(r)
	if !ok {
		http.Error(rw, "404 page not found", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		writeStatus(rw, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody)).ErrStatus)
		return
	}
	c := call{target: t, query: r.URL.Query(), body: body}
	c.media, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	c.readProtobuf()
	if c.Verb == "create" {
		var named metav1.PartialObjectMetadata
		_ = json.Unmarshal(c.body, &named)
		c.Name = named.Name
	}

	w := &codeWriter{ResponseWriter: rw}
	defer func() { s.record(c.Request, w.code) }()
	answer, limit := s.next(c.Request)
	if limit != nil {
		leave, ok := limit.enter(r)
		if !ok {
			Fail(http.StatusTooManyRequests).write(w, r.Context(), t)
			return
		}
		defer leave()
	}
	switch {
	case answer == Pass:
		s.serve(w, r, c)
		return
	case answer.afterCommit:
		s.serve(&bufferedAnswer{header: http.Header{}}, r, c) // the answer is discarded
	}
	answer.write(w, r.Context(), c.target)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, c call) {
	if err := negotiate(r, c); err != nil {
		writeStatus(w, statusOf(err))
		return
	}
	if c.Verb == "create" {
		c.Name = "" // store.create reads it from the body
	}
	if c.Verb == "watch" {
		s.watch(w, r, c)
		return
	}
	code, answer, err := s.store.do(c)
	if err != nil {
		writeStatus(w, statusOf(err))
		return
	}
	writeJSON(w, code, answer)
}

// readProtobuf converts a protobuf body, the default of typed clients, to JSON. A
// body that cannot be decoded is left unchanged and rejected by negotiate.
func (c *call) readProtobuf() {
	if c.media != runtime.ContentTypeProtobuf {
		return
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(c.body, nil, nil)
	if err != nil {
		return
	}
	if body, err := json.Marshal(object); err == nil {
		c.media, c.body = runtime.ContentTypeJSON, body
	}
}

// negotiate checks that the client sends and accepts JSON. The content type of a
// patch is checked by store.patch.
func negotiate(r *http.Request, c call) error {
	accept := r.Header.Get("Accept")
	if accept != "" && !strings.Contains(accept, "json") && !strings.Contains(accept, "*/*") && !strings.Contains(accept, "application/*") {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
			Message: "only the following media types are accepted: application/json",
		}}
	}
	if len(c.body) > 0 && c.Verb != "patch" && c.media != "" && c.media != "application/json" {
		return unsupportedMediaType("application/json")
	}
	return nil
}

func writeStatus(w http.ResponseWriter, status metav1.Status) {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	status.Status = metav1.StatusFailure
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
	}
	writeJSON(w, int(status.Code), status)
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	if list, ok := value.(*unstructured.UnstructuredList); ok {
		value = list.UnstructuredContent()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value)
}
