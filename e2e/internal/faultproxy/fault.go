package faultproxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// Fault is what happens to one request. The zero value passes the request on and
// its answer back. Values are made by the functions of this package, refined by
// their methods, and never change.
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

// Answer answers with the given code in the server's place, in plain text, as the
// filters of kube-apiserver do, without Retry-After.
func Answer(status int) Fault {
	return Fault{act: actAnswer, status: status, contentType: "text/plain; charset=utf-8", body: http.StatusText(status) + "\n"}
}

// RetryAfter adds the header with the given value, as it is: "1", "0", "-1", a
// date or rubbish. For [Answer] only.
func (f Fault) RetryAfter(value string) Fault {
	f.retryAfter = value
	return f
}

// HTML makes the body the error page of a load balancer. For [Answer] only.
func (f Fault) HTML() Fault {
	text := fmt.Sprintf("%d %s", f.status, http.StatusText(f.status))
	page := "<html>\r\n<head><title>" + text + "</title></head>\r\n<body>\r\n<center><h1>" + text + "</h1></center>\r\n<hr>\r\n</body>\r\n</html>\r\n"
	return f.Body("text/html", page)
}

// Body sets the answer's content type and body. For [Answer] only.
func (f Fault) Body(contentType, body string) Fault {
	f.contentType, f.body = contentType, body
	return f
}

// Close closes the connection without an answer (FIN). Other requests on the same
// HTTP/2 connection are lost with it.
func Close() Fault { return Fault{act: actClose} }

// Reset resets the connection without an answer (RST). Other requests on the same
// HTTP/2 connection are lost with it.
func Reset() Fault { return Fault{act: actReset} }

// Hang swallows the request: no answer until the client goes away.
func Hang() Fault { return Fault{act: actHang} }

// Truncate passes the server's answer on up to the middle of its body, and breaks
// off. It always strikes after the commit.
func Truncate() Fault { return Fault{act: actTruncate, committed: true} }

// ResetStream ends the one HTTP/2 stream with the given code, such as
// http2.ErrCodeRefusedStream; the connection goes on. Clients repeat a refused
// stream by themselves, so do not refuse one after the commit. Over HTTP/1.1 it is
// [Close].
func ResetStream(code http2.ErrCode) Fault { return Fault{act: actResetStream, code: code} }

// GoAway sends an HTTP/2 GOAWAY with the given code. Before the commit its last
// stream id says that this request was not processed, and older requests on the
// connection are finished; where newer ones are on their way to the server
// already, the request is refused (REFUSED_STREAM) instead. After the commit, the
// id covers the request and the connection is closed. What it says is always
// true. Over HTTP/1.1 it is [Close].
func GoAway(code http2.ErrCode) Fault { return Fault{act: actGoAway, code: code} }

// Drain passes request and answer on and asks the client to use another
// connection next: GOAWAY without an error, as kube-apiserver's --goaway-chance
// does, or "Connection: close".
func Drain() Fault { return Fault{act: actDrain} }

// CutStream passes the answer on, as it comes, and breaks off after so many bytes
// of the body or so much time since its header, whichever is first; 0 is no
// limit. It is meant for watches.
func CutStream(bytes int64, after time.Duration) Fault {
	return Fault{act: actCut, cutBytes: bytes, cutAfter: after}
}

// Clean makes [CutStream] end the answer in good order, as a server does whose
// watch has timed out. The last frame may still be half a one.
func (f Fault) Clean() Fault {
	f.cutClean = true
	return f
}

// AfterCommit lets the server carry out the request first, whatever becomes of the
// client; the server's answer is thrown away.
func (f Fault) AfterCommit() Fault {
	f.committed = true
	return f
}

// Wait delays the request, before anything else happens to it.
func (f Fault) Wait(d time.Duration) Fault {
	f.wait = d
	return f
}

// LostAnswers are the ways in which a client never learns that its write was
// done: closed, reset, truncated, 504 by a proxy, no answer at all. For the last
// one, clients need a timeout of their own. See [Proxy.Alone].
func LostAnswers() []Fault {
	return []Fault{
		Close().AfterCommit(),
		Reset().AfterCommit(),
		Truncate(),
		Answer(http.StatusGatewayTimeout).AfterCommit(),
		Hang().AfterCommit(),
	}
}

// EarlyFaults are the ways in which a request fails before any server has seen
// it, of which a client can know it for sure in the first three only. See
// [Proxy.Alone].
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

// Alone fits faults to the protocol of the proxy, so that each strikes one request
// and no other: over HTTP/2, where requests share a connection, a [Close] becomes
// the end of one stream (INTERNAL_ERROR), and so does a [Reset] (CANCEL).
func (p *Proxy) Alone(faults []Fault) []Fault {
	alone := slices.Clone(faults)
	for i, f := range alone {
		switch {
		case p.http1:
		case f.act == actClose:
			alone[i].act, alone[i].code = actResetStream, http2.ErrCodeInternal
		case f.act == actReset:
			alone[i].act, alone[i].code = actResetStream, http2.ErrCodeCancel
		}
	}
	return alone
}

// String names the fault: "pass", "503", "close after commit".
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
