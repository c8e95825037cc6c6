// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Response is an HTTP response in place of that of the API server, for
// [Faults.RespondNext] and [Faults.ReplaceResponses].
type Response struct {
	Code   int
	Header http.Header
	Body   string
}

// LoginPage returns the response of a proxy or captive portal that wants the user to log in:
// 200 with an HTML page, to any request.
//
// client-go decodes it where it expects an object, and fails. Where it expects none, as for
// a delete or an eviction, it reports success.
func LoginPage() Response {
	return Response{
		Code:   http.StatusOK,
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body:   "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body><form method=\"post\"></form></body></html>\n",
	}
}

// Redirect returns a redirect to the location with the code 301, 302, 303, 307 or 308. It
// panics for other codes.
//
// net/http follows it. After 301, 302 and 303 it sends a GET in place of a write: the write
// was not carried out where the redirect leads to, and its caller may get a success. After
// 307 and 308 it repeats the write there.
func Redirect(code int, location string) Response {
	if codes := []int{301, 302, 303, 307, 308}; !slices.Contains(codes, code) {
		panic(fmt.Sprintf("k8sretrytest: Redirect(%d): want one of %v", code, codes))
	}
	return Response{Code: code, Header: http.Header{"Location": {location}}}
}

// RetryNow returns the response after which client-go sends a request again, at once, on a
// new connection and without its caller: 503 in plain text with "Retry-After: 0" and
// "Connection: close", as a server that is shutting down sends it. With
// [Faults.ReplaceResponses] the server has carried out the request that client-go repeats.
func RetryNow() Response {
	return Response{
		Code:   http.StatusServiceUnavailable,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Retry-After": {"0"}, "Connection": {"close"}},
		Body:   "the server is shutting down\n",
	}
}

// of returns the response to a request.
func (r *Response) of(req *http.Request) *http.Response {
	resp := response(req, r.Code, "", strings.NewReader(r.Body))
	resp.Header = r.Header.Clone()
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	resp.ContentLength = int64(len(r.Body))
	resp.Close = strings.EqualFold(r.Header.Get("Connection"), "close")
	return resp
}
