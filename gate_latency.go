package k8sretry

import (
	"math"
	"sync/atomic"
	"time"
)

// latencies holds how long calls of each kind usually take. A LIST of everything takes
// longer than a GET, so each verb and kind has its own; two that share a slot share their
// mean.
type latencies [257]latency

type latency struct {
	n    atomic.Uint32
	mean atomic.Uint64 // bits of a float64 of nanoseconds
}

const (
	learnEvery = 16 // successes; the mean needs no more
	fewSamples = 3  // prove nothing
	newUntil   = 16 // samples: until then, each success counts

	longAnyway  = time.Second // less is never too long
	timesUsual  = 10          // the usual time is too long,
	timeoutPart = 4           // or a quarter of the timeout, where no usual time is known
)

func (l *latencies) slot(key uint32) *latency {
	if key == 0 {
		return &l[len(l)-1]
	}
	return &l[key>>24]
}

func (l *latencies) isNew(key uint32) bool { return key != 0 && l.slot(key).n.Load() < newUntil }

// learn adds a sample. One that came too late counts little: an overload must not become
// what is usual, but a server that has become slow for good must.
func (l *latencies) learn(key uint32, took time.Duration, late bool) {
	s := l.slot(key)
	n := min(s.n.Load()+1, newUntil)
	s.n.Store(n)
	weight := 1 / float64(n)
	if late {
		weight = min(weight, 1.0/64)
	}
	mean := math.Float64frombits(s.mean.Load())
	s.mean.Store(math.Float64bits(mean + weight*(float64(took)-mean))) // a sample lost in a race is no matter
}

// tooLong reports whether an attempt took so long that the server must be overloaded.
func (l *latencies) tooLong(key uint32, took, timeout time.Duration) bool {
	if took <= longAnyway {
		return false
	}
	s := l.slot(key)
	known := s.n.Load() >= fewSamples
	unusual := float64(took) > timesUsual*math.Float64frombits(s.mean.Load())
	if key != 0 && known {
		return unusual
	}
	// Calls of all kinds share the mean of those that are not known: it cannot accuse
	// one, but it tells a server that is slow for good.
	return timeout > 0 && took > timeout/timeoutPart && (unusual || !known)
}
