// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// Fault is the fault of one request. The zero value forwards the request and its answer.
// Faults are created by the functions of this package and are immutable: their methods
// return a modified copy.
type Fault struct {
	act       action
	committed bool
	wait      time.Duration

	status      int
	retryAfter  string
	contentType string
	body        string

	code http2.ErrCode

	cutBytes int64
	cutAfter time.Duration
	cutClean bool
}

type action uint8

const (
	actPass action = iota
	actAnswer
	actClose
	actReset
	actTruncate
	actHang
	actResetStream
	actGoAway
	actDrain
	actCut
)

var actionNames = [...]string{"pass", "answer", "close", "reset", "truncate", "hang", "reset-stream", "goaway", "drain", "cut"}

// Answer answers with the given status code in plain text, like the filters of
// kube-apiserver, without a Retry-After.
func Answer(status int) Fault {
	return Fault{act: actAnswer, status: status, contentType: "text/plain; charset=utf-8", body: http.StatusText(status) + "\n"}
}

// RetryAfter sets the Retry-After header to the given value, which may be a number, a date
// or invalid. For [Answer] only.
func (f Fault) RetryAfter(value string) Fault {
	f.retryAfter = value
	return f
}

// HTML sets the body to the error page of a load balancer. For [Answer] only.
func (f Fault) HTML() Fault {
	text := fmt.Sprintf("%d %s", f.status, http.StatusText(f.status))
	page := "<html>\r\n<head><title>" + text + "</title></head>\r\n<body>\r\n<center><h1>" + text + "</h1></center>\r\n<hr>\r\n</body>\r\n</html>\r\n"
	return f.Body("text/html", page)
}

// Body sets content type and body of the answer. For [Answer] only.
func (f Fault) Body(contentType, body string) Fault {
	f.contentType, f.body = contentType, body
	return f
}

// Close closes the connection without an answer (FIN), including all other requests on the
// same HTTP/2 connection.
func Close() Fault { return Fault{act: actClose} }

// Reset resets the connection without an answer (RST), including all other requests on the
// same HTTP/2 connection.
func Reset() Fault { return Fault{act: actReset} }

// Hang does not answer until the client disconnects.
func Hang() Fault { return Fault{act: actHang} }

// Truncate forwards the server's answer up to the middle of its body and then aborts it. It
// always occurs after the commit.
func Truncate() Fault { return Fault{act: actTruncate, committed: true} }

// ResetStream resets the HTTP/2 stream with the given code, such as
// http2.ErrCodeRefusedStream. The connection stays open. net/http repeats a refused stream,
// so do not refuse one after the commit. Over HTTP/1.1 it is [Close].
func ResetStream(code http2.ErrCode) Fault { return Fault{act: actResetStream, code: code} }

// GoAway sends an HTTP/2 GOAWAY with the given code. Before the commit, its last stream id
// excludes this request, and older requests on the connection are finished. If newer
// requests have already been sent to the server, the request is refused (REFUSED_STREAM)
// instead. After the commit, the id includes the request, and the connection is closed. The
// id is always correct. Over HTTP/1.1 it is [Close].
func GoAway(code http2.ErrCode) Fault { return Fault{act: actGoAway, code: code} }

// Drain forwards request and answer and makes the client use another connection afterwards:
// by a GOAWAY without an error, like kube-apiserver's --goaway-chance, or "Connection:
// close".
func Drain() Fault { return Fault{act: actDrain} }

// CutStream forwards the answer and aborts it after the given number of bytes of the body
// or the given time after the header, whichever is first. 0 means no limit. It is for
// watches.
func CutStream(bytes int64, after time.Duration) Fault {
	return Fault{act: actCut, cutBytes: bytes, cutAfter: after}
}

// Clean makes [CutStream] end the answer normally, like a watch that times out. The last
// event may be incomplete.
func (f Fault) Clean() Fault {
	f.cutClean = true
	return f
}

// AfterCommit makes the fault occur after the server has carried out the request, even if
// the client disconnects. The server's answer is discarded.
func (f Fault) AfterCommit() Fault {
	f.committed = true
	return f
}

// Wait delays the request before it is forwarded or its fault occurs.
func (f Fault) Wait(d time.Duration) Fault {
	f.wait = d
	return f
}

// LostAnswers returns faults after which a client does not know that its write was carried
// out: closed, reset, truncated, 504 of a proxy, no answer. For the last one clients need a
// timeout. See [Proxy.Isolated].
func LostAnswers() []Fault {
	return []Fault{
		Close().AfterCommit(),
		Reset().AfterCommit(),
		Truncate(),
		Answer(http.StatusGatewayTimeout).AfterCommit(),
		Hang().AfterCommit(),
	}
}

// EarlyFaults returns faults that occur before the request reaches the server. Only after
// the first three of them does a client know that the request was not carried out. See
// [Proxy.Isolated].
func EarlyFaults() []Fault {
	return []Fault{
		Answer(http.StatusTooManyRequests),
		Answer(http.StatusTooManyRequests).RetryAfter("1"),
		ResetStream(http2.ErrCodeRefusedStream),
		Answer(http.StatusServiceUnavailable),
		Answer(http.StatusBadGateway).HTML(),
		Close(),
		Reset(),
	}
}

// Isolated adapts faults to the protocol of the proxy, so that each affects only one
// request. Over HTTP/2, where requests share a connection, [Close] and [Reset] become the
// reset of one stream, with INTERNAL_ERROR and CANCEL.
func (p *Proxy) Isolated(faults []Fault) []Fault {
	isolated := slices.Clone(faults)
	for i, f := range isolated {
		switch {
		case p.http1:
		case f.act == actClose:
			isolated[i].act, isolated[i].code = actResetStream, http2.ErrCodeInternal
		case f.act == actReset:
			isolated[i].act, isolated[i].code = actResetStream, http2.ErrCodeCancel
		}
	}
	return isolated
}

// String returns the name of the fault, such as "pass", "503" or "close after commit".
func (f Fault) String() string {
	var b strings.Builder
	switch f.act {
	case actAnswer:
		fmt.Fprintf(&b, "%d", f.status)
	case actResetStream, actGoAway:
		fmt.Fprintf(&b, "%s %s", actionNames[f.act], f.code)
	default:
		b.WriteString(actionNames[f.act])
	}
	if f.committed {
		b.WriteString(" after commit")
	}
	return b.String()
}
