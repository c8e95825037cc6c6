// SPDX-License-Identifier: Apache-2.0

package record

import (
	"net/url"
	"strings"
)

// requests are the last two requests of an attempt, as far as their headers show.
type requests struct {
	current, previous sentRequest
	redirected        bool // net/http has sent a GET in place of a write
}

// sentRequest is one request on a connection.
type sentRequest struct {
	host, referer string
	writes        bool
}

// wroteHeaderField notices that net/http follows a 301, 302 or 303 with a GET. Nothing else
// tells the caller: the answer to the GET is that of the call. http.Client sends the URL that
// was redirected as the Referer, unless it leads from HTTPS to HTTP.
//
// Over HTTP/2 the method is one of the headers, and comes before the Referer. Over HTTP/1.1 a
// write has a length, also that of an empty body, except for a DELETE without one. If the
// function sends several requests at a time, their headers may mix.
func (r *requests) wroteHeaderField(key, value string) {
	switch {
	case strings.EqualFold(key, "Host"), key == ":authority": // the first one
		r.previous, r.current = r.current, sentRequest{host: value}
	case key == ":method":
		r.current.writes = value != "GET" && value != "HEAD"
	case strings.EqualFold(key, "Content-Length"), strings.EqualFold(key, "Transfer-Encoding"):
		r.current.writes = true
	case strings.EqualFold(key, "Referer"):
		r.current.referer = value
		if r.previous.writes && !r.current.writes && value != r.previous.referer { // else it is the client's own
			u, err := url.Parse(value)
			r.redirected = r.redirected || err == nil && u.Host == r.previous.host
		}
	}
}

// Redirected reports whether net/http has sent a GET in place of a write of the attempt. The
// hooks of [Record.Hook] notice it.
func (r *Record) Redirected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests.redirected
}
