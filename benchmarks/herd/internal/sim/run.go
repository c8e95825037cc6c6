// Package sim runs a herd of clients against one simulated API server, in virtual time.
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

// Process makes calls. What it has in common is shared by all the calls of a process.
type Process func(ctx context.Context, verb Verb, attempt Attempt) error

// Setup is what happens: who calls when, and what the server does.
type Setup struct {
	Server  Server
	Clients int
	Offered Curve // calls per second of all clients together
	Length  time.Duration
	// Rush is when every client makes a call at the same moment.
	Rush []time.Duration
	// Lists is the share of calls that are lists.
	Lists float64
	Seed  uint64
}

// newRand makes one of the streams of random numbers of a run.
func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// Run lets the clients call, spread over so many processes, and returns when the
// last call has ended. It must be called in a bubble.
func Run(s Setup, processes int, newProcess func() Process) *Record {
	begin := time.Now()
	record := &Record{}
	server := start(s.Server, begin, s.Seed, record)
	shared := make([]Process, processes)
	for i := range shared {
		shared[i] = newProcess()
	}
	var calls sync.WaitGroup
	for c := range s.Arrivals() {
		time.Sleep(c.At - time.Since(begin))
		record.begun(c)
		calls.Go(func() {
			c.make(server, shared[c.Client%processes])
			record.ended(c)
		})
	}
	calls.Wait()
	// What the server still works on has no client any more.
	for server.busy() {
		time.Sleep(time.Second)
	}
	close(server.stop)
	return record
}

// Arrivals are the calls in their order. They depend on the seed alone, not on what
// becomes of calls: an open loop.
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

// make makes the call.
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
