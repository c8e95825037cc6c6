package k8sretry

import (
	"sync"
	"time"

	"github.com/k8sretry/k8sretry/internal/limiter"
)

// Limiter queues calls while the server is overloaded, instead of failing them or adding to
// the load. It is shared by all calls of a process to one server; see [WithLimiter].
//
// While the server is healthy a Limiter does nothing. On signs of overload it limits the
// number of attempts in flight, first attempts included, and the others are queued, first
// in, first out. Signs of overload are timeouts, refused and lost connections, answers that
// take far longer than usual, a 429 while nothing succeeds, and several 5xx without a
// success between them. Each sign halves the limit and each success raises it. Where even
// one attempt at a time fails, the Limiter pauses between attempts, up to 45 s, or as long
// as a Retry-After asks for. A 429 while other requests succeed caps in-flight requests at
// the number that were accepted; if there were no others, it limits the rate at which
// attempts start. All limits are removed once answers come in good time, no call is queued,
// and there has been no 429 for a while.
//
// A queued call has sent nothing. It returns [ErrQueueTimeout] when its context or
// [WithMaxQueueTime] ends, or at once if the pause will outlast both and nothing is in flight.
// A call within an attempt that has passed the same Limiter may wait for that attempt. A
// permanent error that only a working server answers, such as NotFound, counts as a success.
// Watches, and other requests that live long, bypass the Limiter.
//
// A Limiter is safe for concurrent use and must not be copied. It has no goroutine; while
// calls are in flight a timer fires four times per second. Make it with [NewLimiter]; with the
// zero value, calls return an error.
//
// In tests with [testing/synctest] make a Limiter in each bubble: a queued call must not be
// woken from another one.
type Limiter struct {
	inner   *limiter.Limiter // nil if it was not made by NewLimiter
	calls   limiter.Calls
	servers sync.Map // of a Transport: host to *Limiter
}

// NewLimiter returns a Limiter that limits nothing yet.
func NewLimiter() *Limiter {
	inner := limiter.New()
	return &Limiter{inner: inner, calls: inner.Calls()}
}

// LimiterState is a [Limiter] at one moment, for metrics.
type LimiterState struct {
	// Limited tells whether attempts are being limited.
	Limited bool
	// Limit is the number of attempts that may be in flight; 0 if there is no such limit, or
	// only a rate.
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

// State returns the current state. For a Limiter of a Transport that sends requests to
// several servers InFlight and Queued are sums, and the limits are those of the server with
// the longest pause. State is safe for concurrent use. For a nil Limiter it is the zero value.
func (l *Limiter) State() LimiterState {
	if l == nil || l.inner == nil {
		return LimiterState{}
	}
	s := LimiterState(l.inner.State())
	l.servers.Range(func(_, server any) bool {
		o := server.(*Limiter).inner.State()
		s.InFlight += o.InFlight
		s.Queued += o.Queued
		if o.Limited && (!s.Limited || o.Pause > s.Pause || o.Pause == s.Pause && o.Limit < s.Limit) {
			s.Limited, s.Limit, s.Pause, s.Rate = true, o.Limit, o.Pause, o.Rate
		}
		return true
	})
	return s
}

// server returns the Limiter for one server of a Transport.
func (l *Limiter) server(host string) *Limiter {
	if s, ok := l.servers.Load(host); ok {
		return s.(*Limiter)
	}
	s, _ := l.servers.LoadOrStore(host, NewLimiter())
	return s.(*Limiter)
}
