// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// maxBody is the maximum size of a request body in bytes.
const maxBody = 16 << 10

// reply is the response of a handler.
type reply struct {
	code       int
	body       any
	location   string
	retryAfter time.Duration // 0: no header
}

type methods map[string]func(*http.Request) (reply, error)

// route registers the handlers of a path. Other methods are answered 405.
func route(mux *http.ServeMux, path string, handlers methods) {
	allowed := strings.Join(slices.Sorted(maps.Keys(handlers)), ", ")
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		handle, ok := handlers[r.Method]
		if !ok {
			w.Header().Set("Allow", allowed)
			write(w, reply{code: http.StatusMethodNotAllowed, body: problem{Error: "method_not_allowed", Message: "allowed methods: " + allowed}})
			return
		}
		answer, err := handle(r)
		if err != nil {
			answer = errorReply(r.Context(), err)
		}
		write(w, answer)
	})
}

func write(w http.ResponseWriter, a reply) {
	w.Header().Set("Content-Type", "application/json")
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((a.retryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(a.code)
	_ = json.NewEncoder(w).Encode(a.body) // fails only if the caller disconnected
}

// readJSON decodes the body, which must be a single object without unknown fields.
func readJSON(r *http.Request, into any) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" {
			return &badRequest{code: http.StatusUnsupportedMediaType, reason: "unsupported_media_type", message: "the body must be application/json"}
		}
	}
	body := http.MaxBytesReader(nil, r.Body, maxBody)
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, end := decoder.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &badRequest{code: http.StatusRequestEntityTooLarge, reason: "too_large", message: fmt.Sprintf("the body must be at most %d bytes", maxBody)}
	case err != nil:
		return &badRequest{code: http.StatusBadRequest, reason: "bad_json", message: "invalid body: " + err.Error()}
	}
	return nil
}

// front applies the request timeout and logs each request.
type front struct {
	next    http.Handler
	logger  *zap.Logger
	timeout time.Duration
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), f.timeout)
	defer cancel()
	recorder := &codeRecorder{ResponseWriter: w}
	defer func() {
		f.logger.Info("http_request", zap.String("method", r.Method), zap.String("path", r.URL.Path),
			zap.Int("code", recorder.code), zap.Float64("seconds", time.Since(started).Seconds()))
	}()
	f.next.ServeHTTP(recorder, r.WithContext(ctx))
}

// codeRecorder records the status code.
type codeRecorder struct {
	http.ResponseWriter
	code int
}

func (c *codeRecorder) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}
