// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"sync"
	"time"
)

// The results of the arrival of a request.
const (
	accepted = iota
	rejected // 503 or 429
	refused  // no connection
)

// Second contains the figures of one second of virtual time.
type Second struct {
	Calls    int // calls started
	Attempts int // requests that reached the server or were refused
	Rejected int
	Refused  int
	Good     int // calls that succeeded
	Bad      int // calls that failed
	Wasted   int // requests served for clients that had left
	Queue    int // length at the end of the second
}

// Call is one call and its result.
type Call struct {
	At, End  time.Duration
	Client   int
	Verb     Verb
	OK       bool
	Attempts int
	Early    int // attempts made before the Retry-After of the previous answer
	Asked    int // attempts after an answer with a Retry-After
	Err      error
}

// Record is the record of a run. Its methods are safe for concurrent use. Its fields may be
// read after the run.
type Record struct {
	mu      sync.Mutex
	Seconds []Second
	Calls   []*Call

	Accepted, Served, Wasted, Lost, Dropped int
}

func (r *Record) second(t time.Duration) *Second {
	i := int(t / time.Second)
	for len(r.Seconds) <= i {
		var next Second
		if n := len(r.Seconds); n > 0 {
			next.Queue = r.Seconds[n-1].Queue
		}
		r.Seconds = append(r.Seconds, next)
	}
	return &r.Seconds[i]
}

func (r *Record) arrival(t time.Duration, what int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.second(t)
	s.Attempts++
	switch what {
	case accepted:
		r.Accepted++
	case rejected:
		s.Rejected++
	case refused:
		s.Refused++
	}
}

func (r *Record) depth(t time.Duration, queued int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.second(t).Queue = queued
}

func (r *Record) served(t time.Duration, left bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Served++
	if left {
		r.Wasted++
		r.second(t).Wasted++
	}
}

func (r *Record) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Lost++
}

func (r *Record) dropped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Dropped++
}

func (r *Record) started(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.second(c.At).Calls++
	r.Calls = append(r.Calls, c)
}

func (r *Record) ended(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.second(c.End)
	if c.OK {
		s.Good++
	} else {
		s.Bad++
	}
}
