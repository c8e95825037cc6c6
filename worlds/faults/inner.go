// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"io"
	"net/http"
)

// InnerLayer is a RoundTripper below the library that repeats a request by itself if its answer
// is a 502 of the gateway that says so. The library sees only what the second request brings.
func InnerLayer(next http.RoundTripper) http.RoundTripper { return &innerLayer{next} }

type innerLayer struct{ next http.RoundTripper }

func (l *innerLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil || resp.Header.Get(replayHeader) == "" || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return l.next.RoundTrip(again)
}
