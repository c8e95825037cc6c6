// SPDX-License-Identifier: Apache-2.0

// Package record holds what net/http and a Transport saw of the attempts of one call. It
// holds facts only: what they mean for the call is decided elsewhere.
//
// An error alone cannot prove that nothing was sent: a timeout looks the same whether the
// server worked on the request or no connection was ever made. Nor does it tell which
// answers client-go has seen and forgotten on the way.
package record

import (
	"math"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

// Record is the record of one call. Its fields are written by the goroutines of the
// caller's function and of net/http, possibly after that function has returned: a late
// fact can only make an outcome less certain. The zero value is ready for use.
type Record struct {
	asked     atomic.Int32 // requests that looked for a connection in this attempt
	connected atomic.Int32 // requests that got one
	carried   atomic.Int32 // of these, requests that a Transport has sent
	writing   atomic.Bool  // a write has begun, and was not answered yet
	answered  atomic.Int32 // writes of this attempt that were answered
	jsonPatch atomic.Bool  // a header of a JSON patch was written

	spare atomic.Int32 // how many repetitions net/http may still make by itself
	extra atomic.Int32 // how many it has made in this attempt

	mu        sync.Mutex
	sends     sends    // in this attempt
	requests  requests // in this attempt
	keep      bool     // the response of the failed attempt is still needed, and with it its context
	deletions deletions
}

// sends are the requests of an attempt that a Transport has sent.
type sends struct {
	facts   Facts
	writes  int
	request apirequest.Request // the last one
	url     *url.URL           // of that
	last    bool               // the last one may have been carried out
	checks  [2]checkedReq      // requests whose body decides whether they may be repeated
	checked int
}

type checkedReq struct {
	req  *http.Request
	risk apirequest.RepeatRisk
}

// Send is one request that a Transport has sent, and what became of it.
type Send struct {
	Request *apirequest.Request
	HTTP    *http.Request
	// Code is the status code of the answer, 0 if there was none.
	Code int
	// NotTaken is set if the server has refused to process the request on this connection.
	NotTaken bool
	// Repeated is set if something below the Transport has repeated the request after an answer.
	Repeated bool
	// Ambiguous is set if the request may have been carried out although it failed.
	Ambiguous bool
	// RetryAfter is the wait that the answer asks for.
	RetryAfter time.Duration
}

// Facts are what is known of one attempt.
type Facts struct {
	// Asked is how many requests looked for a connection, Connected how many got one. Over
	// HTTP/2 one request may look twice.
	Asked, Connected int
	// Answered is how many writes were answered, as far as the hooks in net/http saw it. Of
	// two that are under way at the same time they may count one.
	Answered int
	// Requests is how many requests a Transport has sent. The other fields are about
	// these and are zero if there is none.
	Requests int
	// Unseen is set if a request got a connection without passing a Transport.
	Unseen bool
	// Repeated is set if something below the Transport has repeated a write after an answer
	// that the Transport has not seen.
	Repeated bool
	// StoresNothing is set if none of them can change anything that is stored.
	StoresNothing bool
	// Done is set if a write was answered with 2xx.
	Done bool
	// Collection is set if the last one deletes a collection.
	Collection bool
	// LostRace is set if the last request was a patch that names no version, and was answered
	// with a conflict. StaleVersion is set if it was an apply that names one, and was.
	LostRace, StaleVersion bool
	// EarlierAmbiguous is set if a write before the last request may have been carried out.
	EarlierAmbiguous bool
	// NotTaken is set if the server has not taken the last request.
	NotTaken bool
	// RetryAfter is the wait that the last answer asks for.
	RetryAfter time.Duration
}

// Hook makes the trace write to the record. Every hook costs an allocation, so there are
// as few as possible: a request is written only on a connection that it got, so GotConn
// comes before its first byte. That WroteHeaders has not come proves less, because a
// cancelled request may be about to be written.
func (r *Record) Hook(trace *httptrace.ClientTrace) {
	trace.GetConn = r.GetConn
	trace.GotConn = r.GotConn
	trace.WroteHeaderField = r.wroteHeaderField
	trace.GotFirstResponseByte = r.gotFirstResponseByte
}

// GetConn records that a request looks for a connection.
func (r *Record) GetConn(string) { r.asked.Add(1) }

// GotConn records that a request got a connection.
func (r *Record) GotConn(httptrace.GotConnInfo) { r.connected.Add(1) }

// Carried records that a request of a Transport got a connection. It comes before the
// GotConn of the same request.
func (r *Record) Carried() { r.carried.Add(1) }

// wroteHeaderField notices writes, by their method, length or Content-Type, and JSON patches
// among them, which may append to a list (RFC 6902). It does not notice a DELETE without a body
// over HTTP/1.1; client-go sends one with a body.
func (r *Record) wroteHeaderField(key string, values []string) {
	if len(values) == 0 {
		return
	}
	r.mu.Lock()
	r.requests.wroteHeaderField(key, values[0])
	writes := r.requests.current.writes
	r.mu.Unlock()
	if strings.EqualFold(key, "Content-Type") {
		writes = true
		if apirequest.IsJSONPatch(values[0]) {
			r.jsonPatch.Store(true)
		}
	}
	if writes {
		r.writing.Store(true)
	}
}

// gotFirstResponseByte counts the answer to a write. net/http and golang.org/x/net/http2
// repeat a request only if it was not answered, client-go repeats a write only if it was.
func (r *Record) gotFirstResponseByte() {
	if r.writing.CompareAndSwap(true, false) {
		r.answered.Add(1)
	}
}

// Begin makes the record ready for an attempt in which net/http may make so many
// repetitions by itself.
func (r *Record) Begin(repetitions int) {
	r.asked.Store(0)
	r.connected.Store(0)
	r.carried.Store(0)
	r.writing.Store(false)
	r.answered.Store(0)
	r.extra.Store(0)
	r.spare.Store(int32(max(0, min(repetitions, math.MaxInt32/2))))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sends, r.requests, r.keep = sends{}, requests{}, false
}

// Repeated records that net/http repeats a request by itself, and reports whether it may.
func (r *Record) Repeated() bool {
	if r.spare.Add(-1) < 0 {
		return false
	}
	r.extra.Add(1)
	return true
}

// BeginWithin makes the record ready for one request of the attempt of another record. net/http
// may make the repetitions that the attempt has left.
func (r *Record) BeginWithin(attempt *Record) { r.Begin(int(attempt.spare.Load())) }

// EndWithin adds the repetitions of that request to those of the attempt.
func (r *Record) EndWithin(attempt *Record) {
	n := r.extra.Load()
	attempt.spare.Add(-n)
	attempt.extra.Add(n)
}

// RepeatedAnyway records a repetition of net/http that cannot be prevented.
func (r *Record) RepeatedAnyway() {
	r.spare.Add(-1)
	r.extra.Add(1)
}

// Repetitions returns how often net/http has repeated a request of the attempt by itself
// since it was last asked.
func (r *Record) Repetitions() int { return int(r.extra.Swap(0)) }

// Sent records a request of a Transport.
func (r *Record) Sent(s Send) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &r.sends
	f := &all.facts
	writes := !s.Request.Verb.Reads() && !s.Request.StoresNothing
	f.StoresNothing = s.Request.StoresNothing && (f.StoresNothing || f.Requests == 0)
	f.EarlierAmbiguous = f.EarlierAmbiguous || all.last
	f.Requests++
	if writes {
		all.writes++
		r.deletions.done = nil
	}
	f.Collection = s.Request.Verb == apirequest.DeleteCollection
	f.Repeated = f.Repeated || writes && s.Repeated
	f.NotTaken, f.RetryAfter = s.NotTaken, s.RetryAfter
	all.request, all.url = *s.Request, s.HTTP.URL
	all.last = writes && s.Ambiguous
	if s.Code >= http.StatusOK && s.Code < http.StatusMultipleChoices {
		f.Done = f.Done || writes
		if s.Request.Removes() && all.writes == 1 {
			r.deletions.done = s.HTTP.URL
		}
	}
	f.LostRace, f.StaleVersion = false, false
	if s.Code == http.StatusConflict {
		f.LostRace = s.Request.Verb == apirequest.Patch && !apirequest.NamesVersion(s.HTTP)
		f.StaleVersion = s.Request.Verb == apirequest.Apply && apirequest.NamesVersion(s.HTTP)
	}
	if s.Request.Risk != apirequest.RiskNone {
		if all.checked < len(all.checks) {
			all.checks[all.checked] = checkedReq{s.HTTP, s.Request.Risk}
		}
		all.checked++
	}
}

// Facts returns what is known of the attempt.
func (r *Record) Facts() Facts {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.sends.facts
	f.Asked, f.Connected, f.Answered = int(r.asked.Load()), int(r.connected.Load()), int(r.answered.Load())
	f.Unseen = f.Requests > 0 && f.Connected > int(r.carried.Load())
	return f
}

// Request returns the last request that a Transport has sent in the attempt, the zero value if
// there is none.
func (r *Record) Request() apirequest.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sends.request
}

// URL returns the URL of that request, nil if there is none.
func (r *Record) URL() *url.URL {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sends.url
}

// RiskConfirmed reports whether the attempt held a request that must not be repeated
// while its outcome is unknown, whatever its verb allows. It reads the bodies of requests
// where they decide.
func (r *Record) RiskConfirmed() bool {
	r.mu.Lock()
	s := r.sends
	r.mu.Unlock()
	if s.facts.Requests == 0 {
		return r.jsonPatch.Load()
	}
	for _, c := range s.checks[:min(s.checked, len(s.checks))] {
		if c.risk.Confirmed(c.req) {
			return true
		}
	}
	return s.checked > len(s.checks)
}

// KeepContext records that the context of the attempt must outlive it.
func (r *Record) KeepContext() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = true
}

// ContextKept reports whether the context of the attempt must outlive it.
func (r *Record) ContextKept() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keep
}

// Forget drops the requests that the record holds, and with them their bodies.
func (r *Record) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sends.checks = [2]checkedReq{}
	r.deletions = deletions{}
}
