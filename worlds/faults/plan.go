// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// Kind is what happens to a request.
type Kind string

// The kinds of faults.
const (
	None         Kind = ""
	LostAnswer   Kind = "answer lost"                      // carried out, and the connection or the stream ends
	LostRequest  Kind = "request lost"                     // the same, but not carried out
	LateAnswer   Kind = "answer late"                      // carried out, and answered after seconds
	LateRequest  Kind = "request late"                     // carried out after seconds, whether the client still waits or not
	Truncated    Kind = "answer truncated"                 // carried out
	Reset        Kind = "connection reset"                 // with all requests on it
	GoAway       Kind = "GOAWAY"                           // answered, and the server wants no more requests on the connection
	Dead         Kind = "connection dead"                  // it swallows everything from now on
	Redirected   Kind = "redirect"                         // to the same address
	LoginPage    Kind = "login page"                       // 200 with HTML
	TooMany      Kind = "429"                              // not carried out
	TooManyAfter Kind = "429, Retry-After"                 // not carried out
	Gateway      Kind = "5xx"                              // of a gateway: carried out or not
	GatewayAfter Kind = "5xx, Retry-After"                 // of a gateway: carried out or not; client-go repeats by itself
	EtcdTimeout  Kind = "etcd timeout"                     // carried out at once, later, or never
	AppliedLater Kind = "504, applied later"               // carried out seconds after the answer
	LevelFull    Kind = "priority level exhausted"         // for a time; the others are well
	InnerReplay  Kind = "repeated by an inner layer"       // the first answer is lost below the library, and a RoundTripper there sends once more
	InnerResend  Kind = "lost, repeated by an inner layer" // carried out, the connection or the stream ends, and a RoundTripper below the library sends once more
	ReplicaDown  Kind = "restart of a replica"             // and its watch cache begins again; the others run on
	Restart      Kind = "restart"                          // of the server, with requests in flight
	DialRefused  Kind = "connection refused"               // not carried out
	DialHangs    Kind = "connection accepted, silent"      // not carried out
	WatchCut     Kind = "watch cut"                        // after its first events
	NoHistory    Kind = "watch without history"            // begins with what there is, as ADDED
	HistoryGone  Kind = "history compacted"                // before the watch
)

// Kinds returns all faults of requests and connections, in the order of the tables.
func Kinds() []Kind {
	return []Kind{
		LostAnswer, LostRequest, LateAnswer, LateRequest, Truncated, Reset, GoAway, Dead, Redirected, LoginPage, TooMany, TooManyAfter,
		Gateway, GatewayAfter, EtcdTimeout, AppliedLater, LevelFull, InnerReplay, InnerResend, ReplicaDown, Restart, DialRefused, DialHangs,
	}
}

// CacheBehind is no fault of a request: the call, or its caller before, has read from a watch cache
// that was behind the storage.
const CacheBehind Kind = "read from a lagging cache"

// ProcessPaused and ClockSet happened while a call ran: to its process, and to the clock of the
// servers.
const (
	ProcessPaused Kind = "process paused"
	ClockSet      Kind = "clock set"
)

// States returns what is not drawn for a request, and yet met by calls.
func States() []Kind { return []Kind{CacheBehind, ProcessPaused, ClockSet} }

// WatchKinds returns the faults of watches.
func WatchKinds() []Kind { return []Kind{WatchCut, NoHistory, HistoryGone} }

// Ambiguous reports whether the client of a write may think that it was carried out.
func (k Kind) Ambiguous() bool {
	switch k {
	case None, GoAway, TooMany, TooManyAfter, LevelFull, DialRefused, DialHangs, WatchCut, NoHistory, HistoryGone:
		return false
	default:
		return true
	}
}

// ByInnerLayer reports whether a RoundTripper below the library sends the request once more.
func (k Kind) ByInnerLayer() bool { return k == InnerReplay || k == InnerResend }

// Harmless reports whether the fault says by itself that the request was not carried out.
func (k Kind) Harmless() bool { return k == TooMany || k == TooManyAfter }

// Fault is what happens to one request.
type Fault struct {
	Kind       Kind
	Latency    time.Duration // of the request before it is carried out
	Delay      time.Duration // what is late
	Executed   bool          // where the kind allows both
	Code       int           // of an answer or a redirect
	RetryAfter int           // in seconds
}

// Plan decides what happens to the requests of a world.
type Plan struct {
	Seed uint64
	Rate float64 // of the requests that meet a fault
	// InnerLayer says that a RoundTripper below the library repeats requests.
	InnerLayer bool
	// NoHistory says that the server has none: each watch begins with what there is.
	NoHistory bool
	// Replicas is how many servers there are behind the balancer, which chooses one for each
	// connection, or EachRequest for each request.
	Replicas    int
	EachRequest bool
	// Informer is the number under which an informer sends its requests.
	Informer int
	// OnlyLevels says that nothing but a priority level fails.
	OnlyLevels bool
}

// Rand returns random numbers for one purpose.
func Rand(seed uint64, purpose ...uint64) *rand.Rand {
	h := seed
	for _, p := range purpose {
		h ^= p + 0x9e3779b97f4a7c15 + h<<6 + h>>2
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 31
	}
	return rand.New(rand.NewPCG(seed, h))
}

const (
	forRequest = iota + 1
	forDial
	forReplica
)

// Request returns what happens to the n-th request of a call. The more requests a call has
// sent, the fewer faults it meets, so that most calls end before they have to give up.
func (p Plan) Request(op, n int, write, watch bool) Fault {
	r := Rand(p.Seed, forRequest, uint64(op), uint64(n))
	f := Fault{Latency: time.Duration(1+r.IntN(20)) * time.Millisecond}
	rate := p.Rate
	if n > 3 {
		rate *= 0.5
	}
	if watch && p.NoHistory && op > 0 {
		f.Kind = NoHistory
		return f
	}
	if op == 0 || r.Float64() >= rate {
		return f
	}
	f.Delay = time.Duration(500+r.IntN(12_000)) * time.Millisecond
	f.Executed = r.IntN(3) > 0
	if watch && !p.OnlyLevels && r.IntN(2) == 0 {
		f.Kind = WatchKinds()[r.IntN(3)]
		if f.Kind == NoHistory && op == p.Informer {
			f.Kind = WatchCut // without history it would not hear of what was deleted meanwhile
		}
		return f
	}
	kinds := Kinds()[:21] // the rest happens to connections
	f.Kind = kinds[r.IntN(len(kinds))]
	if p.Replicas > 1 && r.IntN(24) == 0 {
		f.Kind = ReplicaDown
	}
	if p.OnlyLevels {
		f.Kind = LevelFull
	} else if p.InnerLayer {
		switch r.IntN(12) {
		case 0, 1:
			f.Kind = InnerReplay
		case 2, 3:
			f.Kind = InnerResend
		default:
		}
	}
	switch f.Kind {
	case Redirected:
		f.Code = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}[r.IntN(5)]
	case LevelFull:
		f.RetryAfter = 1 << r.IntN(3)
	case TooManyAfter:
		f.RetryAfter = 1 + r.IntN(6)
	case Gateway:
		f.Code = []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}[r.IntN(3)]
	case GatewayAfter:
		f.Code, f.RetryAfter = []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}[r.IntN(3)], r.IntN(4)
	case InnerReplay, InnerResend:
		if !p.InnerLayer {
			f.Kind = LostAnswer
		}
	case Restart:
		if r.IntN(3) == 0 {
			f.Kind = Reset
		}
	case ReplicaDown:
		if p.Replicas < 2 {
			f.Kind = Restart
		}
	default:
	}
	return f
}

// Replica returns to which server the balancer sends the n-th request or connection of a call.
func (p Plan) Replica(op, n int) int {
	return Rand(p.Seed, forReplica, uint64(op), uint64(n)).IntN(max(p.Replicas, 1))
}

// Dial returns what happens to the n-th connection that a call makes.
func (p Plan) Dial(op, n int) Kind {
	r := Rand(p.Seed, forDial, uint64(op), uint64(n))
	if op == 0 || n > 4 || p.OnlyLevels || r.Float64() >= p.Rate/2 {
		return None
	}
	return []Kind{DialRefused, DialHangs}[r.IntN(2)]
}
