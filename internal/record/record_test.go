// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

const objects = "/api/v1/namespaces/default/configmaps"

// sent is a Send of a request with the given method, path, content type and body.
func sent(t *testing.T, method, path, contentType, body string, code int) Send {
	req, err := http.NewRequestWithContext(t.Context(), method, "https://server"+path, strings.NewReader(body))
	assert.NoError(t, err)
	req.Header.Set("Content-Type", contentType)
	r := apirequest.Read(req)
	return Send{Request: &r, HTTP: req, Code: code}
}

func create(t *testing.T, code int) Send {
	return sent(t, "POST", objects, "application/json", `{"metadata":{"name":"a"}}`, code)
}

func update(t *testing.T, code int) Send {
	return sent(t, "PUT", objects+"/a", "application/json", "{}", code)
}

func read(t *testing.T, code int) Send { return sent(t, "GET", objects+"/a", "", "", code) }

func review(t *testing.T, code int) Send {
	return sent(t, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json", "{}", code)
}

func ambiguous(s Send) Send { s.Ambiguous = true; return s }

// factsOf is what is known of an attempt that has sent these requests.
func factsOf(sends ...Send) Facts {
	var r Record
	r.Begin(0)
	for _, s := range sends {
		r.Sent(s)
	}
	return r.Facts()
}

func TestHooksCountConnections(t *testing.T) {
	var r Record
	var trace httptrace.ClientTrace
	r.Hook(&trace)
	trace.GetConn("server:443")
	assert.Equal(t, Facts{Asked: 1}, r.Facts())
	trace.GetConn("server:443")
	trace.GotConn(httptrace.GotConnInfo{})
	assert.Equal(t, Facts{Asked: 2, Connected: 1}, r.Facts())
}

// A read is no write, an answer is counted once, and a write that is repeated without an
// answer, as net/http does it, is one write.
func TestAnsweredWrites(t *testing.T) {
	const read, write, answer, post, get, empty = "read", "write", "answer", "POST", "GET", "an empty body"
	for _, c := range []struct {
		seen []string
		want int
	}{
		{nil, 0},
		{[]string{write}, 0},
		{[]string{write, answer}, 1},
		{[]string{read, answer, write}, 0},
		{[]string{read, answer, write, answer}, 1},
		{[]string{write, answer, read, answer}, 1},
		{[]string{write, write, write, answer}, 1},
		{[]string{write, answer, write}, 1},
		{[]string{write, answer, write, answer}, 2},
		{[]string{post, answer, post, answer}, 2},
		{[]string{empty, answer, empty, answer}, 2},
		{[]string{post, answer, get, answer}, 1},
	} {
		var r Record
		var trace httptrace.ClientTrace
		r.Hook(&trace)
		r.Begin(0)
		for _, s := range c.seen {
			switch s {
			case read:
				trace.WroteHeaderField("accept", []string{"application/json"})
			case write:
				trace.WroteHeaderField("content-type", []string{"application/json"})
			case post, get: // over HTTP/2
				trace.WroteHeaderField(":authority", []string{"server"})
				trace.WroteHeaderField(":method", []string{s})
			case empty: // over HTTP/1.1
				trace.WroteHeaderField("Host", []string{"server"})
				trace.WroteHeaderField("Content-Length", []string{"0"})
			default:
				trace.GotFirstResponseByte()
			}
		}
		assert.Equal(t, c.want, r.Facts().Answered, c.seen)
		r.Begin(0)
		trace.GotFirstResponseByte()
		assert.Zero(t, r.Facts().Answered, "the attempt before does not count")
	}
}

// Unseen is a fact only next to requests that were seen: without a Transport none is.
func TestUnseenIsAConnectionThatNoTransportUsed(t *testing.T) {
	var r Record
	r.GotConn(httptrace.GotConnInfo{})
	assert.False(t, r.Facts().Unseen, "no request was seen")

	r.Begin(0)
	r.Carried()
	r.GotConn(httptrace.GotConnInfo{})
	r.Sent(create(t, 429))
	assert.False(t, r.Facts().Unseen)
	r.GotConn(httptrace.GotConnInfo{})
	assert.True(t, r.Facts().Unseen)

	// Carried comes before the GotConn of the same request.
	r.Begin(0)
	r.Carried()
	r.Sent(create(t, 429))
	assert.False(t, r.Facts().Unseen, "between the two")
}

func TestBeginForgetsTheAttemptBefore(t *testing.T) {
	var r Record
	r.Begin(3)
	r.GetConn("server:443")
	r.GotConn(httptrace.GotConnInfo{})
	r.Carried()
	r.RepeatedAnyway()
	r.KeepContext()
	r.Sent(ambiguous(sent(t, "DELETE", objects, "", "", 504)))
	r.Sent(update(t, 201))
	assert.True(t, r.ContextKept())

	r.Begin(0)
	assert.Equal(t, Facts{}, r.Facts())
	assert.Zero(t, r.Repetitions())
	assert.False(t, r.ContextKept())
	assert.False(t, r.RiskConfirmed())

	r.GotConn(httptrace.GotConnInfo{})
	r.Sent(create(t, 429))
	assert.True(t, r.Facts().Unseen, "what was carried before does not count")
}

func TestRepetitionsOfNetHTTP(t *testing.T) {
	for _, c := range []struct {
		allowed, asked, granted int
	}{{0, 2, 0}, {1, 3, 1}, {2, 2, 2}, {-1, 1, 0}, {math.MaxInt, 5, 5}} {
		var r Record
		r.Begin(c.allowed)
		granted := 0
		for range c.asked {
			if r.Repeated() {
				granted++
			}
		}
		assert.Equal(t, c.granted, granted, "%d allowed", c.allowed)
		assert.Equal(t, c.granted, r.Repetitions())
		assert.Zero(t, r.Repetitions(), "they are counted once")
	}
}

// A request with a record of its own has the repetitions that are left to its attempt.
func TestRepetitionsWithinAnAttempt(t *testing.T) {
	var attempt Record
	attempt.Begin(3)
	attempt.RepeatedAnyway()
	for range 2 {
		var request Record
		request.BeginWithin(&attempt)
		assert.True(t, request.Repeated())
		request.EndWithin(&attempt)
	}
	assert.Equal(t, 3, attempt.Repetitions())
	var request Record
	request.BeginWithin(&attempt)
	assert.False(t, request.Repeated())
	request.EndWithin(&attempt)
	assert.Zero(t, attempt.Repetitions())
}

// A repetition that cannot be prevented counts as one of those that are allowed.
func TestRepeatedAnyway(t *testing.T) {
	var r Record
	r.Begin(1)
	r.RepeatedAnyway()
	assert.False(t, r.Repeated())
	r.RepeatedAnyway()
	assert.Equal(t, 2, r.Repetitions())
}

func TestFactsOfSends(t *testing.T) {
	refused := create(t, 0)
	refused.NotTaken = true
	throttled := update(t, 429)
	throttled.RetryAfter = 3 * time.Second
	collection := sent(t, "DELETE", objects, "", "", 403)
	conflict := func(contentType, body string) Send { return sent(t, "PATCH", objects+"/a", contentType, body, 409) }
	const versioned = `{"metadata":{"resourceVersion":"7"}}`
	for _, c := range []struct {
		situation string
		sends     []Send
		want      Facts
	}{
		{"none", nil, Facts{}},
		{"a read", []Send{read(t, 200)}, Facts{Requests: 1}},
		{"a write that succeeds", []Send{create(t, 201)}, Facts{Requests: 1, Done: true}},
		{"a write that fails", []Send{create(t, 409)}, Facts{Requests: 1}},
		{"a write that succeeds, then one that fails", []Send{create(t, 201), update(t, 429)}, Facts{Requests: 2, Done: true}},
		{"a write that succeeds, then a read", []Send{create(t, 201), read(t, 200)}, Facts{Requests: 2, Done: true}},
		{"a read that succeeds, then a write that fails", []Send{read(t, 200), update(t, 429)}, Facts{Requests: 2}},

		{"the last one is ambiguous", []Send{ambiguous(update(t, 504))}, Facts{Requests: 1}},
		{"an earlier one is ambiguous", []Send{ambiguous(update(t, 0)), update(t, 429)}, Facts{Requests: 2, EarlierAmbiguous: true}},
		{"the first of three is ambiguous", []Send{ambiguous(update(t, 0)), read(t, 200), update(t, 429)}, Facts{Requests: 3, EarlierAmbiguous: true}},
		{"an earlier read is ambiguous", []Send{ambiguous(read(t, 0)), update(t, 429)}, Facts{Requests: 2}},
		{"an earlier review is ambiguous", []Send{ambiguous(review(t, 0)), update(t, 429)}, Facts{Requests: 2}},

		{"a review", []Send{review(t, 201)}, Facts{Requests: 1, StoresNothing: true}},
		{"two reviews", []Send{review(t, 201), review(t, 0)}, Facts{Requests: 2, StoresNothing: true}},
		{"a review, then a write", []Send{review(t, 201), create(t, 0)}, Facts{Requests: 2}},
		{"a write, then a review", []Send{create(t, 409), review(t, 0)}, Facts{Requests: 2}},

		{"a collection", []Send{collection}, Facts{Requests: 1, Collection: true}},
		{"a collection, then an object", []Send{collection, update(t, 409)}, Facts{Requests: 2}},

		{"300 and above is not done", []Send{update(t, 302), update(t, 304), update(t, 307)}, Facts{Requests: 3}},

		{"not taken", []Send{refused}, Facts{Requests: 1, NotTaken: true}},
		{"not taken, then taken", []Send{refused, create(t, 409)}, Facts{Requests: 2}},
		{"a conflict of a patch", []Send{conflict("application/merge-patch+json", "{}")}, Facts{Requests: 1, LostRace: true}},
		{"a conflict of a patch that names a version", []Send{conflict("application/merge-patch+json", versioned)}, Facts{Requests: 1}},
		{"a conflict of an apply", []Send{conflict("application/apply-patch+yaml", "{}")}, Facts{Requests: 1}},
		{"a conflict of an apply that names a version", []Send{conflict("application/apply-patch+yaml", versioned)}, Facts{Requests: 1, StaleVersion: true}},
		{"conflicts, then another answer", []Send{conflict("application/merge-patch+json", "{}"), conflict("application/apply-patch+yaml", versioned), update(t, 429)}, Facts{Requests: 3}},
		{"with a Retry-After", []Send{throttled}, Facts{Requests: 1, RetryAfter: 3 * time.Second}},
		{"an earlier Retry-After", []Send{throttled, update(t, 429)}, Facts{Requests: 2}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			assert.Equal(t, c.want, factsOf(c.sends...))
		})
	}
}

const (
	appends = `[{"op":"add","path":"/data/list/-","value":"1"}]`
	tested  = `[{"op":"test","path":"/data/a","value":"1"},{"op":"replace","path":"/data/a","value":"2"}]`
)

func jsonPatch(t *testing.T, body string) Send {
	return sent(t, "PATCH", objects+"/a", "application/json-patch+json", body, 0)
}

// Bodies decide whether a request must not be repeated.
func TestRiskConfirmedReadsBodies(t *testing.T) {
	generated := sent(t, "POST", objects, "application/json", `{"metadata":{"generateName":"a-"}}`, 0)
	exec := sent(t, "POST", objects+"/a/exec", "", "", 0)
	for _, c := range []struct {
		situation string
		sends     []Send
		want      bool
	}{
		{"a read", []Send{read(t, 0)}, false},
		{"a create with a name", []Send{create(t, 0)}, false},
		{"a create with a generated name", []Send{generated}, true},
		{"a JSON patch that appends", []Send{jsonPatch(t, appends)}, true},
		{"a JSON patch with a test", []Send{jsonPatch(t, tested)}, false},
		{"a stream", []Send{exec}, true},
		{"the first of two", []Send{generated, create(t, 0)}, true},
		{"the second of two", []Send{create(t, 0), generated}, true},
		{"any number of requests without a risk", []Send{read(t, 0), update(t, 0), read(t, 0), update(t, 0)}, false},
		{"more requests than are kept", []Send{create(t, 0), create(t, 0), create(t, 0)}, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			var r Record
			r.Begin(0)
			for _, s := range c.sends {
				r.Sent(s)
			}
			assert.Equal(t, c.want, r.RiskConfirmed())
		})
	}
}

// Without a Transport the content type alone decides. With one, the requests do.
func TestRiskConfirmedByTheContentType(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"Content-Type", "application/json-patch+json", true},
		{"content-type", "application/json-patch+json; charset=utf-8", true}, // as HTTP/2 writes it
		{"Content-Type", "application/merge-patch+json", false},
		{"Accept", "application/json-patch+json", false},
	} {
		var r Record
		var trace httptrace.ClientTrace
		r.Hook(&trace)
		r.Begin(0)
		trace.WroteHeaderField(c.key, []string{c.value})
		assert.Equal(t, c.want, r.RiskConfirmed(), c)
		r.Begin(0)
		assert.Equal(t, c.want, r.RiskConfirmed(), "the next attempt sends the same patch")
		r.Sent(jsonPatch(t, tested))
		assert.False(t, r.RiskConfirmed())
	}
	var r Record
	r.wroteHeaderField("Content-Type", nil)
	assert.False(t, r.RiskConfirmed())
}

// Forget keeps the facts and drops the requests.
func TestForget(t *testing.T) {
	var r Record
	r.Begin(0)
	r.Sent(create(t, 201))
	before := r.Facts()
	r.Forget()
	assert.Equal(t, before, r.Facts())
	assert.Equal(t, [2]checkedReq{}, r.sends.checks)
}

// net/http calls its hooks on other goroutines, also after the attempt. What they add can
// only make an outcome less certain: more connections than requests that were seen.
func TestLateHooks(t *testing.T) {
	var r Record
	var trace httptrace.ClientTrace
	r.Hook(&trace)
	r.Begin(0)
	r.Sent(create(t, 429))
	r.Forget()
	trace.GetConn("server:443")
	trace.GotConn(httptrace.GotConnInfo{})
	f := r.Facts()
	assert.True(t, f.Unseen)
	assert.False(t, f.Done)
}

func TestConcurrentUse(t *testing.T) {
	var r Record
	var trace httptrace.ClientTrace
	r.Hook(&trace)
	var all sync.WaitGroup
	const n = 50
	r.Begin(n)
	s := create(t, 201)
	for range n {
		all.Go(func() {
			trace.GetConn("server:443")
			r.Carried()
			trace.GotConn(httptrace.GotConnInfo{})
			trace.WroteHeaderField("Content-Type", []string{"application/json-patch+json"})
			r.Repeated()
			r.RepeatedAnyway()
			r.Sent(s)
			r.KeepContext()
			r.ContextKept()
			_, _ = r.Facts(), r.RiskConfirmed()
		})
	}
	all.Wait()
	assert.Equal(t, Facts{Asked: n, Connected: n, Requests: n, Done: true}, r.Facts())
	assert.GreaterOrEqual(t, r.Repetitions(), n)
	r.Forget()
}

func TestDeletionsOfACall(t *testing.T) {
	remove := func(name string, code int) Send {
		return sent(t, http.MethodDelete, objects+"/"+name, "application/json", "{}", code)
	}
	a, b := remove("a", 200), remove("b", 504)
	known := func(r *Record, s Send) bool { _, repeats := r.Deletion(s.HTTP); return !repeats }
	failure := errors.New("lost")

	var r Record
	assert.True(t, known(&r, a), "the first one")
	r.Deletes()
	began := time.Now()
	r.Sent(b)
	r.DeletionFailed(b.HTTP, failure)
	d, repeats := r.Deletion(b.HTTP)
	assert.True(t, repeats)
	assert.Equal(t, failure, d.Failure)
	assert.False(t, d.Began.After(began), "the first one counts")
	assert.True(t, known(&r, a), "another object")

	r.Begin(1)
	r.Deletes()
	r.DeletionIsFor(b.HTTP, "u")
	again, repeats := r.Deletion(b.HTTP)
	assert.True(t, repeats)
	assert.Equal(t, Deletion{Began: d.Began, Failure: failure, UID: "u"}, again)

	r.Forget()
	r.Begin(1)
	r.Deletes()
	r.Sent(a)
	r.Begin(1)
	d, repeats = r.Deletion(a.HTTP)
	assert.True(t, repeats, "the call did not get the answer")
	assert.NoError(t, d.Failure)
	assert.True(t, known(&r, b))

	r.Begin(1)
	r.Sent(a)
	r.Sent(update(t, 409))
	assert.True(t, known(&r, a), "what follows it has failed")
	r.Begin(1)
	r.Sent(update(t, 200))
	r.Sent(a)
	assert.True(t, known(&r, a))
	dry := remove("a", 200)
	dry.Request.StoresNothing = true
	r.Begin(1)
	r.Sent(dry)
	assert.True(t, known(&r, a))
}

// The headers come in the order in which net/http and golang.org/x/net/http2 write them. The
// assumption was that the answer which the caller gets is that of the request it made.
func TestRedirected(t *testing.T) {
	h1 := func(length string, referer ...string) (seen [][2]string) {
		seen = [][2]string{{"Host", "server"}, {"User-Agent", "x"}}
		if length != "" {
			seen = append(seen, [2]string{length, "2"})
		}
		for _, r := range referer {
			seen = append(seen, [2]string{"Referer", r})
		}
		return append(seen, [2]string{"X-Other", "x"})
	}
	h2 := func(method string, referer ...string) (seen [][2]string) {
		seen = [][2]string{{":authority", "server"}, {":method", method}, {":path", "/x"}}
		for _, r := range referer {
			seen = append(seen, [2]string{"referer", r})
		}
		if method != "GET" {
			seen = append(seen, [2]string{"content-length", "2"})
		}
		return seen
	}
	const write, chunked, read = "Content-Length", "Transfer-Encoding", ""
	const url, other = "https://server/x", "https://elsewhere/x"
	type requests = [][][2]string
	for situation, c := range map[string]struct {
		seen requests
		want bool
	}{
		"a write that became a GET":                        {requests{h1(write), h1(read, url)}, true},
		"a write of unknown length":                        {requests{h1(chunked), h1(read, url)}, true},
		"over HTTP/2":                                      {requests{h2("PUT"), h2("GET", url)}, true},
		"a DELETE over HTTP/2":                             {requests{h2("DELETE"), h2("GET", url)}, true},
		"redirected twice":                                 {requests{h1(write), h1(write, url), h1(read, "https://server/y")}, true},
		"and then net/http repeats the GET":                {requests{h1(write), h1(read, url), h1(read, url)}, true},
		"and then the function writes something else":      {requests{h1(write), h1(read, url), h1(write)}, true},
		"and then a client's own Referer follows":          {requests{h1(write), h1(read, url), h1(write), h1(read, other)}, true},
		"a 307, which keeps the method":                    {requests{h1(write), h1(write, url)}, false},
		"a 307 over HTTP/2":                                {requests{h2("PUT"), h2("PUT", url)}, false},
		"a read that is redirected":                        {requests{h1(read), h1(read, url)}, false},
		"behind a write":                                   {requests{h1(write), h1(read), h1(read, url)}, false},
		"a write and a read":                               {requests{h1(write), h1(read)}, false},
		"a client whose requests all have a Referer":       {requests{h1(write, url), h1(read, url)}, false},
		"a client whose reads have one of another server":  {requests{h1(write), h1(read, other)}, false},
		"a client whose reads have one that is not a URL":  {requests{h2("PUT"), h2("GET", "\x7f")}, false},
		"a client whose writes have one before they write": {requests{h2("PUT", url), h2("GET")}, false},
	} {
		var r Record
		var trace httptrace.ClientTrace
		r.Hook(&trace)
		r.Begin(0)
		for _, request := range c.seen {
			for _, field := range request {
				trace.WroteHeaderField(field[0], []string{field[1]})
			}
		}
		trace.WroteHeaderField("X-Empty", nil)
		assert.Equal(t, c.want, r.Redirected(), situation)
		r.Begin(0)
		assert.False(t, r.Redirected(), "the attempt before does not count")
	}
}
