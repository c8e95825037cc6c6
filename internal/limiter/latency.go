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
