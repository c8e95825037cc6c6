// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// Transport injects the failures in a client, for use with a real server:
// config.Wrap(failures.Transport). Requests without a failure are passed on
// unchanged. A request with a failure is sent to the server only if it is
// AfterCommit, and its answer is discarded. The Name of a create is not known here.
func (f *Failures) Transport(next http.RoundTripper) http.RoundTripper {
	return faultyTransport{f, next}
}

type faultyTransport struct {
	failures *Failures
	next     http.RoundTripper
}

func (t faultyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	target, ok := parse(r)
	if !ok {
		return t.next.RoundTrip(r)
	}
	answer, _ := t.failures.next(target.Request)
	switch {
	case answer == Pass:
		return t.next.RoundTrip(r)
	case answer.afterCommit:
		response, err := t.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	case r.Body != nil:
		_ = r.Body.Close()
	}
	return answer.response(r.Context(), r, target)
}

// response returns the answer as a RoundTripper does.
func (a Answer) response(ctx context.Context, r *http.Request, t target) (*http.Response, error) {
	switch {
	case a.drop:
		return nil, io.EOF
	case a.hang:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	buffer := &bufferedAnswer{header: http.Header{}}
	a.write(buffer, ctx, t)
	return &http.Response{
		Status: http.StatusText(buffer.code), StatusCode: buffer.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: buffer.header, Body: io.NopCloser(&buffer.body), ContentLength: int64(buffer.body.Len()), Request: r,
	}, nil
}

// bufferedAnswer is an http.ResponseWriter that keeps the answer in memory.
type bufferedAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (b *bufferedAnswer) Header() http.Header         { return b.header }
func (b *bufferedAnswer) Write(p []byte) (int, error) { return b.body.Write(p) }
func (b *bufferedAnswer) WriteHeader(code int)        { b.code = code }
