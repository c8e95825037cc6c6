// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"io"
	"net/http"
	"strconv"
)

// InnerLayer returns a RoundTripper below the library that repeats a request by itself if its
// answer is a 502 of the gateway that says so, or if the front has cut its connection for that.
// The library sees only what the second request brings.
func (f *Front) InnerLayer(next http.RoundTripper) http.RoundTripper { return &innerLayer{f, next} }

type innerLayer struct {
	front *Front
	next  http.RoundTripper
}

func (l *innerLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	switch {
	case req.Body != nil && req.GetBody == nil:
		return resp, err
	case err != nil && !l.front.resends(req):
		return nil, err
	case err == nil && resp.Header.Get(replayHeader) == "":
		return resp, nil
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return l.next.RoundTrip(again)
}

// resends reports whether the inner layer repeats a request that has failed.
func (f *Front) resends(req *http.Request) bool {
	op, _ := strconv.Atoi(req.Header.Get(OpHeader))
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.resend[op]
	delete(f.resend, op)
	return again && req.Context().Err() == nil
}
