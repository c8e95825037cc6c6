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
	n      atomic.Uint32
	mean   atomic.Uint64 // bits of a float64 of nanoseconds
	lateAt atomic.Int64  // when the last answer came that was late
}

const (
	learnEvery = 16 // successes; the mean needs no more
	fewSamples = 3  // prove nothing
	newUntil   = 16 // samples: until then, each success counts

	forGood  = 10 * time.Minute // in which what is late becomes usual
	longLate = time.Minute      // more does not count for one answer

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

// learn adds a sample.
func (l *latencies) learn(key uint32, took time.Duration) {
	s := l.slot(key)
	s.add(took, 1/float64(s.count()))
}

// learnLate adds a sample that came too late. An overload of minutes must not become what
// is usual, however many answers it delays; a server that is slow for good must, in a
// while. So it counts for the time since the one before.
func (l *latencies) learnLate(key uint32, took time.Duration, now time.Time) {
	s := l.slot(key)
	s.count()
	if before := s.lateAt.Swap(now.UnixNano()); before != 0 {
		since := min(max(0, time.Duration(now.UnixNano()-before)), longLate)
		s.add(took, float64(since)/float64(forGood))
	}
}

func (s *latency) count() uint32 {
	n := min(s.n.Load()+1, newUntil)
	s.n.Store(n)
	return n
}

func (s *latency) add(took time.Duration, weight float64) {
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
