// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"math"
	"sync/atomic"
	"time"
)

// latency is how long the attempts of a kind usually take. The zero value knows nothing. It is
// safe for concurrent use without a lock; a sample that is lost in a race does not matter.
type latency struct {
	n         atomic.Uint32 // samples, up to newSamples
	mean      atomic.Uint64 // the bits of a float64 of nanoseconds
	learnedAt atomic.Int64  // when the last sample was added
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

// learn adds a sample. An overload of minutes must not become what is usual, however many answers
// it delays, nor one that grows step by step; a server that has become slow permanently must,
// within adaptTime or so. So after the first samples the weight of one is the time since the one
// before.
func (s *latency) learn(took, now time.Duration) {
	before := s.learnedAt.Swap(int64(now))
	weight := float64(min(max(0, now-time.Duration(before)), adaptTime/10)) / float64(adaptTime)
	if n := s.n.Load() + 1; n <= newSamples && !s.late(took) {
		s.n.Store(n)
		weight = 1 / float64(n)
	}
	mean := math.Float64frombits(s.mean.Load())
	s.mean.Store(math.Float64bits(mean + weight*(float64(took)-mean)))
}

// late reports whether an attempt took so long that the server must be overloaded.
func (s *latency) late(took time.Duration) bool {
	return took > neverLate && s.known() && float64(took) > lateFactor*math.Float64frombits(s.mean.Load())
}

// adopt makes a latency that was late usual at once. Twice as long is late.
func (s *latency) adopt(took time.Duration) {
	s.mean.Store(math.Float64bits(2 * float64(took) / lateFactor))
}

// slowness tells a server that is slow with every request from an overloaded one, whose answers
// come sooner when fewer attempts are in flight. It is about the answers of a kind since the first
// late one, until nothing is limited and one is in time. Nil and the zero value know of none.
type slowness struct {
	most    int           // attempts in flight when one of them began that was answered late
	longest time.Duration // that a late answer took
	few     int           // late answers, with few attempts in flight, since one came much sooner
	sooner  bool          // one came much sooner
}

// late records a late answer to an attempt that began as one of so many in flight. It reports
// whether the server is slow with every request.
func (s *slowness) late(took time.Duration, inFlight, queued int) bool {
	s.most, s.longest = max(s.most, inFlight), max(s.longest, took)
	if queued > manyQueued && 2*took >= s.longest && (inFlight == 1 && !s.sooner || inFlight*manyFailures <= s.most) {
		s.few++
	}
	return s.few >= fewFailures
}

// inTime records an answer in good time.
func (s *slowness) inTime(took time.Duration) {
	if s != nil && 2*took < s.longest {
		s.few, s.sooner = 0, true
	}
}

// failed records a failure: a server that is only slow answers everything.
func (s *slowness) failed() {
	if s != nil {
		s.few = 0
	}
}
