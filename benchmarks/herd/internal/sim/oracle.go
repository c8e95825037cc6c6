package sim

import "time"

// Oracle is what could be had by clients that knew the server and each other: a request
// is sent at the moment when the server is free for it, first come, first served, and
// again at once after a random fault. No policy does better than that.
func Oracle(s Setup, retries int) *Record {
	r := &Record{}
	rng := newRand(s.Seed, 2)
	pace := s.Server.Capacity
	if s.Server.Limit != nil {
		pace = s.Server.Limit
	}
	var free time.Duration
	for c := range s.Arrivals() {
		r.begun(c)
		for !c.OK && c.Attempts <= retries {
			at := s.Server.up(max(c.At, free))
			c.Attempts++
			free = pace.Reach(pace.Total(at) + 1)
			if s.Server.Faults > 0 && rng.Float64() < s.Server.Faults {
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

// up is when a connection that is wanted at t can be made.
func (s *Server) up(t time.Duration) time.Duration {
	for _, down := range s.Down {
		if down.Has(t) {
			return down.To
		}
	}
	return t
}
