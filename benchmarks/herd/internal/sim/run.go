// SPDX-License-Identifier: Apache-2.0

// Package sim simulates many clients of one API server in virtual time.
package sim

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Attempt is one attempt of a call.
type Attempt func(ctx context.Context) error

// Process makes calls. All calls of a process share its state.
type Process func(ctx context.Context, verb Verb, attempt Attempt) error

// Setup describes a simulation: the calls of the clients and the behaviour of the server.
type Setup struct {
	Server  Server
	Clients int
	Offered Curve // calls per second of all clients together
	Length  time.Duration
	// Rush contains the times at which every client makes a call.
	Rush []time.Duration
	// Lists is the share of calls that are lists.
	Lists float64
	Seed  uint64
}

// newRand returns one of the random number generators of a run.
func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// Run runs the simulation with the clients spread over the processes, and returns when
// the last call has ended. It must be called in a synctest bubble.
func Run(s Setup, processes int, newProcess func() Process) *Record {
	beginning := time.Now()
	record := &Record{}
	server := start(s.Server, beginning, s.Seed, record)
	shared := make([]Process, processes)
	for i := range shared {
		shared[i] = newProcess()
	}
	var calls sync.WaitGroup
	for c := range s.Arrivals() {
		time.Sleep(c.At - time.Since(beginning))
		record.started(c)
		calls.Go(func() {
			c.make(server, shared[c.Client%processes])
			record.ended(c)
		})
	}
	calls.Wait()
	// The server may still process requests whose clients have left.
	for server.busy() {
		time.Sleep(time.Second)
	}
	close(server.stop)
	return record
}

// Arrivals yields the calls in order. They depend only on the seed and not on the results
// of calls: an open loop.
func (s Setup) Arrivals() func(yield func(*Call) bool) {
	return func(yield func(*Call) bool) {
		rng := newRand(s.Seed, 1)
		rush := s.Rush
		total := 0.0
		for {
			total += rng.ExpFloat64()
			at := s.Offered.Reach(total)
			for len(rush) > 0 && rush[0] <= at {
				for client := range s.Clients {
					if !yield(&Call{At: rush[0], Client: client}) {
						return
					}
				}
				rush = rush[1:]
			}
			if at >= s.Length {
				return
			}
			c := &Call{At: at, Client: rng.IntN(s.Clients)}
			if s.Lists > 0 && rng.Float64() < s.Lists {
				c.Verb = List
			}
			if !yield(c) {
				return
			}
		}
	}
}

// make makes the call with the process.
func (c *Call) make(server *running, process Process) {
	var notBefore time.Duration
	c.Err = process(context.Background(), c.Verb, func(ctx context.Context) error {
		c.Attempts++
		if notBefore > 0 {
			c.Asked++
			if server.now() < notBefore {
				c.Early++
			}
		}
		err := server.request(ctx, c.Verb)
		notBefore = 0
		if after, ok := apierrors.SuggestsClientDelay(err); ok && after > 0 {
			notBefore = server.now() + time.Duration(after)*time.Second
		}
		return err
	})
	c.OK, c.End = c.Err == nil, server.now()
}

func (r *running) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0 || r.record.Served+r.record.Lost+r.record.Dropped < r.record.Accepted
}
