package limiter

import (
	"math"
	"sync/atomic"
	"time"
)

// latency is how long the attempts of a kind usually take. The zero value knows nothing. It is
// safe for concurrent use without a lock; a sample that is lost in a race does not matter.
type latency struct {
	n      atomic.Uint32 // samples, up to newSamples
	mean   atomic.Uint64 // the bits of a float64 of nanoseconds
	lateAt atomic.Int64  // when the last late answer came
}

const (
	neverLate  = time.Second // an answer is never late before,
	lateFactor = 10          // nor below as many times the mean
	adaptTime  = 10 * time.Minute

	sampleEvery = 16 // successes; the mean needs no more
	newSamples  = 16 // until then each success is a sample
)

// isNew reports whether each success should be learned.
func (s *latency) isNew() bool { return s.n.Load() < newSamples }

// known reports whether there is a mean.
func (s *latency) known() bool { return s.n.Load() > 0 }

// learn adds a sample.
func (s *latency) learn(took time.Duration) {
	n := min(s.n.Load()+1, newSamples)
	s.n.Store(n)
	s.add(took, 1/float64(n))
}

// learnLate adds a sample that came late. An overload of minutes must not become what is usual,
// however many answers it delays; a server that has become slow permanently must, within
// adaptTime or so. So the weight of a sample is the time since the previous late one.
func (s *latency) learnLate(took, now time.Duration) {
	if before := s.lateAt.Swap(int64(now)); before != 0 {
		since := min(max(0, now-time.Duration(before)), adaptTime/10)
		s.add(took, float64(since)/float64(adaptTime))
	}
}

func (s *latency) add(took time.Duration, weight float64) {
	mean := math.Float64frombits(s.mean.Load())
	s.mean.Store(math.Float64bits(mean + weight*(float64(took)-mean)))
}

// late reports whether an attempt took so long that the server must be overloaded.
func (s *latency) late(took time.Duration) bool {
	return took > neverLate && s.known() && float64(took) > lateFactor*math.Float64frombits(s.mean.Load())
}
