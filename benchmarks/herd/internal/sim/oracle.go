// SPDX-License-Identifier: Apache-2.0

package sim

import "time"

// Oracle simulates clients that know the state of the server and of each other. A request
// is sent when the server is free for it, in order of arrival, and again at once after a
// random error. No policy can do better.
func Oracle(s Setup, retries int) *Record {
	r := &Record{}
	rng := newRand(s.Seed, 2)
	rate := s.Server.Capacity
	if s.Server.Limit != nil {
		rate = s.Server.Limit
	}
	var free time.Duration
	for c := range s.Arrivals() {
		r.started(c)
		for !c.OK && c.Attempts <= retries {
			at := s.Server.up(max(c.At, free))
			c.Attempts++
			free = rate.Reach(rate.Total(at) + 1)
			if s.Server.ErrorRatio > 0 && rng.Float64() < s.Server.ErrorRatio {
				r.arrival(at, rejected)
				continue
			}
			r.arrival(at, accepted)
			c.OK = true
		}
		c.End = free
		if s.Server.Slow != nil {
			c.End += s.Server.Slow(c.Verb, free)
		}
		if c.OK {
			r.served(c.End, false)
		}
		r.ended(c)
	}
	return r
}

// up returns the earliest time from t at which a connection can be made.
func (s *Server) up(t time.Duration) time.Duration {
	for _, down := range s.Down {
		if down.Has(t) {
			return down.To
		}
	}
	return t
}
