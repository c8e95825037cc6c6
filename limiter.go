// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"strings"
	"sync"
	"time"

	"github.com/k8sretry/k8sretry/internal/limiter"
)

// Limiter queues calls while the server is overloaded, instead of failing them or adding to
// the load. It is shared by all calls of a process to one server; see [WithLimiter].
//
// While the server is healthy a Limiter does nothing. On signs of overload it limits the
// attempts of the smallest scope that explains them, first attempts included, and the others
// are queued, first in, first out. Scopes are a kind of request, a priority level of API
// Priority and Fairness, and the server; see [LimiterScope]. A kind that is answered well is
// not delayed by another one that is not.
//
// Failures are a sign if nothing succeeds beside them, and so are answers that take far
// longer than usual, and a 429 with a Retry-After. Each sign halves the number of attempts that
// may be in flight, and each success raises it. Where even one attempt at a time fails, there
// is a pause before the next one, about as long as the trouble has lasted, up to 30 s, or as
// long as a Retry-After asks for. All limits are removed once answers come in good time and no
// call is queued, those after a 429 ten seconds later.
//
// A queued call has sent nothing. It returns [ErrQueueTimeout] when its context or
// [WithMaxQueueTime] ends, or at once if the pause will outlast both and nothing is in flight;
// its error holds the last error of the API: its own, or else that of the call that
// made its scope limited. A call within an attempt that has passed the same Limiter uses the
// place of that attempt, if its context is that of the attempt. A permanent error that only a
// working server answers, such as NotFound, counts as a success. Watches, other requests that
// live long, and calls with [WithPriority] bypass the Limiter.
//
// A Limiter is safe for concurrent use and must not be copied. It has no goroutine; while
// calls are in flight a timer fires four times per second. What it knows of a server that is
// not called for two minutes is dropped. Make it with [NewLimiter]; with the zero value, calls
// return an error.
//
// In tests with [testing/synctest] make a Limiter in each bubble: a queued call must not be
// woken from another one.
type Limiter struct {
	inner   *limiter.Limiter // nil if it was not made by NewLimiter
	calls   limiter.Calls
	servers sync.Map // of a Transport: host, and path before that of the API, to *Limiter
}

// LimiterScope says to which requests a limit applies.
type LimiterScope uint8

// The scopes, each within the next.
const (
	ScopeNone LimiterScope = iota
	// ScopeKind: for a [Transport] the requests of one verb, group, resource, subresource and
	// namespace. For [Do] and [Run] the calls of one name (see [WithName]) and verb; without
	// a name those of the same function in the source, which is one for all calls through a
	// helper of the caller's. A Limiter remembers 64 kinds for each server.
	ScopeKind
	// ScopeLevel: the requests of one priority level of API Priority and Fairness. Only a
	// Transport knows them.
	ScopeLevel
	// ScopeServer: all requests to the server.
	ScopeServer
)

// String returns the scope as logs and metrics name it: "kind", "level" or "server".
func (s LimiterScope) String() string {
	switch s {
	case ScopeKind:
		return "kind"
	case ScopeLevel:
		return "level"
	case ScopeServer:
		return "server"
	case ScopeNone:
	}
	return ""
}

// NewLimiter returns a Limiter that limits nothing yet.
func NewLimiter() *Limiter { return newLimiter(nil) }

func newLimiter(onIdle func()) *Limiter {
	inner := limiter.New(onIdle)
	return &Limiter{inner: inner, calls: inner.Calls()}
}

// LimiterState is a [Limiter] at one moment, for metrics.
type LimiterState struct {
	// Limited tells whether attempts are being limited.
	Limited bool
	// Limit is the number of attempts that may be in flight; 0 if there is no such limit.
	Limit int
	// InFlight is the number of attempts in flight.
	InFlight int
	// Queued is the number of calls in the queue.
	Queued int
	// Pause is how long no attempt will start.
	Pause time.Duration
	// Rate is the number of attempts that may start per second; 0 if there is no such limit.
	Rate float64
}

// State returns the current state: InFlight and Queued are sums, and the limits are those of
// the scope with the longest pause, of those the one with the lowest limit. State is safe for
// concurrent use. For a nil Limiter it is the zero value.
func (l *Limiter) State() LimiterState {
	var s LimiterState
	l.each(func(_ string, server limiter.State, limited []limiter.State) {
		s.InFlight += server.InFlight
		s.Queued += server.Queued
		for _, o := range limited {
			if !s.Limited || o.Pause > s.Pause || o.Pause == s.Pause && lower(o.Limit, s.Limit) {
				s.Limited, s.Limit, s.Pause, s.Rate = true, o.Limit, o.Pause, o.Rate
			}
		}
	})
	return s
}

// lower compares limits, of which 0 is none.
func lower(a, b int) bool { return a > 0 && (b == 0 || a < b) }

// LimitedScope is one scope that a [Limiter] limits.
type LimitedScope struct {
	// Host is the server, for the Limiter of a Transport: its host, and the path before that of the
	// API, if there is one.
	Host string
	// Scope says which requests are limited, and Name which of them: the name of the call for
	// a kind, the UID of a priority level.
	Scope LimiterScope
	Name  string
	// LimiterState is the state of the scope.
	LimiterState
	// Err is the last error that was a sign of overload.
	Err error
}

// Limited returns the scopes that are limited now, at most some sixty for each server. It is
// safe for concurrent use. For a nil Limiter it is nil.
func (l *Limiter) Limited() (scopes []LimitedScope) {
	l.each(func(host string, _ limiter.State, limited []limiter.State) {
		for _, o := range limited {
			scopes = append(scopes, LimitedScope{
				Host: host, Scope: LimiterScope(o.Scope), Name: o.Name, Err: o.Cause,
				LimiterState: LimiterState{true, o.Limit, o.InFlight, o.Queued, o.Pause, o.Rate},
			})
		}
	})
	return scopes
}

// each calls f for each server.
func (l *Limiter) each(f func(host string, server limiter.State, limited []limiter.State)) {
	if l == nil || l.inner == nil {
		return
	}
	server, limited := l.inner.State()
	f("", server, limited)
	l.servers.Range(func(host, of any) bool {
		server, limited := of.(*Limiter).inner.State()
		f(host.(string), server, limited)
		return true
	})
}

// server returns the Limiter for one server of a Transport.
func (l *Limiter) server(host string) *Limiter {
	if s, ok := l.servers.Load(host); ok {
		return s.(*Limiter)
	}
	host = strings.Clone(host) // not all of the URL
	var s *Limiter
	s = newLimiter(func() { l.servers.CompareAndDelete(host, s) })
	known, _ := l.servers.LoadOrStore(host, s)
	return known.(*Limiter)
}

// learn records the priority level of a kind of requests, if the server is known.
func (l *Limiter) learn(host string, kind uint64, level string) {
	if s, ok := l.servers.Load(host); ok {
		s.(*Limiter).calls.Learn(kind, level)
	}
}
