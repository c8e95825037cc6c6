package limiter

import (
	"math"
	"sync/atomic"
	"time"
)

// latencies holds how long attempts usually take, by key: a LIST of everything takes longer
// than a GET. Keys that share a slot share their mean, and so do attempts without a key. The
// zero value knows nothing. It is safe for concurrent use without a lock; a sample that is
// lost in a race does not matter.
type latencies [257]latency

type latency struct {
	n      atomic.Uint32 // samples, up to newSamples
	mean   atomic.Uint64 // the bits of a float64 of nanoseconds
	lateAt atomic.Int64  // when the last late answer came
}

const (
	sampleEvery = 16 // successes; the mean needs no more
	minSamples  = 3  // fewer prove nothing
	newSamples  = 16 // until then each success is a sample

	adaptTime     = 10 * time.Minute // in which a latency that is late becomes usual
	maxLateWeight = time.Minute      // counts for one late answer

	// NeverLate is the latency up to which an answer is never late.
	NeverLate = time.Second

	lateFactor   = 10 // times the mean is late,
	timeoutShare = 4  // or a quarter of the timeout, where no mean is known
)

func (l *latencies) slot(key uint32) *latency {
	if key == 0 {
		return &l[len(l)-1]
	}
	return &l[key>>24]
}

// fewSamples reports whether each success with the key should be learned.
func (l *latencies) fewSamples(key uint32) bool { return key != 0 && l.slot(key).n.Load() < newSamples }

// learn adds a sample.
func (l *latencies) learn(key uint32, took time.Duration) {
	s := l.slot(key)
	s.add(took, 1/float64(s.count()))
}

// learnLate adds a sample that came late. An overload of minutes must not become what is usual,
// however many answers it delays; a server that has become slow permanently must, after a while.
// So the weight of a sample is the time since the previous late one.
func (l *latencies) learnLate(key uint32, took time.Duration, now time.Time) {
	s := l.slot(key)
	s.count()
	if before := s.lateAt.Swap(now.UnixNano()); before != 0 {
		since := min(max(0, time.Duration(now.UnixNano()-before)), maxLateWeight)
		s.add(took, float64(since)/float64(adaptTime))
	}
}

func (s *latency) count() uint32 {
	n := min(s.n.Load()+1, newSamples)
	s.n.Store(n)
	return n
}

func (s *latency) add(took time.Duration, weight float64) {
	mean := math.Float64frombits(s.mean.Load())
	s.mean.Store(math.Float64bits(mean + weight*(float64(took)-mean)))
}

// late reports whether an attempt took so long that the server must be overloaded.
func (l *latencies) late(key uint32, took, timeout time.Duration) bool {
	if took <= NeverLate {
		return false
	}
	s := l.slot(key)
	known := s.n.Load() >= minSamples
	unusual := float64(took) > lateFactor*math.Float64frombits(s.mean.Load())
	if key != 0 && known {
		return unusual
	}
	// Attempts without a key share one mean. It cannot show that one of them is late, but it
	// shows that a server is slow permanently.
	return timeout > 0 && took > timeout/timeoutShare && (unusual || !known)
}
