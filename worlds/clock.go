// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/trace"
)

// maxSkew is how far the clocks of clients and servers may differ: the library says less than 15
// minutes.
const maxSkew = 15*time.Minute - time.Millisecond

// between is how far the clocks of two servers differ at most, and how far they are set forward
// in all. Together that stays below the ten seconds that a Transport assumes.
const between = 4 * time.Second

// clock is that of the servers, as the clients see it. It is set while the world runs: back by any
// time, which is the same as a clock of the clients that is set forward, and forward by seconds.
type clock struct {
	mu    sync.Mutex
	skew  time.Duration
	trace *trace.Recorder
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

// run sets the clock at random times until the context ends.
func (c *clock) run(ctx context.Context, r *rand.Rand) {
	for forward := between; ; {
		sleep(ctx, time.Duration(500+r.IntN(15_000))*time.Millisecond)
		if ctx.Err() != nil {
			return
		}
		by := -time.Duration(r.Int64N(int64(20 * time.Minute)))
		if r.IntN(3) == 0 {
			by = time.Duration(r.Int64N(int64(forward) + 1))
			forward -= by
		}
		c.mu.Lock()
		c.skew = max(c.skew+by, -maxSkew)
		c.mu.Unlock()
		c.trace.Add(trace.Entry{Kind: trace.ClockSet, Limit: by})
	}
}

// clockOf returns how far the clock of a server is ahead of that of the first one.
func (w *World) clockOf(replica int) time.Duration {
	if replica == 0 {
		return 0
	}
	return time.Duration(faults.Rand(w.Seed, forClock, uint64(replica)).Int64N(int64(between)))
}

// pauses stops a process now and then, as a machine does that sleeps, or a node that is short of
// CPU. Nothing leaves or reaches the process then; its timers go on.
type pauses struct {
	mu    sync.Mutex
	until time.Time
}

// run pauses the process at random times until the context ends.
func (p *pauses) run(ctx context.Context, r *rand.Rand, program int, t *trace.Recorder) {
	for {
		sleep(ctx, time.Duration(500+r.IntN(20_000))*time.Millisecond)
		if ctx.Err() != nil {
			return
		}
		d := []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, 2 * time.Minute}[r.IntN(4)]
		t.Add(trace.Entry{Kind: trace.ProcessPaused, Program: program, Limit: d})
		p.mu.Lock()
		p.until = time.Now().Add(d)
		p.mu.Unlock()
		sleep(ctx, d)
	}
}

// wait waits until the process runs.
func (p *pauses) wait() {
	p.mu.Lock()
	d := time.Until(p.until)
	p.mu.Unlock()
	if d > 0 {
		sleep(context.Background(), d)
	}
}

// pausing is a RoundTripper of a process that may be paused. It is below the library, so that a
// pause comes between what the library decides and its request, and between an answer and what it
// makes of that.
type pausing struct {
	next   http.RoundTripper
	pauses *pauses
}

func (p *pausing) RoundTrip(req *http.Request) (*http.Response, error) {
	p.pauses.wait()
	resp, err := p.next.RoundTrip(req)
	p.pauses.wait()
	return resp, err
}

// WrappedRoundTripper lets the clients close their idle connections.
func (p *pausing) WrappedRoundTripper() http.RoundTripper { return p.next }
