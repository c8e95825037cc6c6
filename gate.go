package k8sretry

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Limiter makes calls wait while the server is overloaded, instead of failing or adding to
// the load. It is shared by all calls of a process to one server; see [WithLimiter].
//
// While the server is well a Limiter does nothing. On signs of overload it limits how many
// attempts are under way at a time, first attempts included, and the others wait in line,
// first come, first served. The signs are timeouts, refused and lost connections, answers
// that take far longer than they used to, a 429 while nothing succeeds, and several 5xx
// with no success between them. The limit is halved by each sign and grows with each
// success, as TCP does it; where even one attempt at a time fails, the process rests for
// 1 to 3 s, then longer, up to 45 s, between two attempts; a Retry-After may make a rest
// longer, up to five minutes and their spread. 429 beside successes is less
// than that: to an attempt among others it limits them to those which the server did
// take, at least one at a time; to an attempt alone it sets a pace, a little slower than
// the successes of the last ten seconds, and another one only after the next success. A
// process that has fewer than ten of them begins with one attempt in 5 s at least, and goes at
// a quarter of its own pace after each 429 that follows a success, down to one in 40 s;
// faster with each success, and the longer its calls wait. All of these grow again while no
// 429 comes. As soon as an answer comes in good time and nobody waits, there is no limit
// again; but seats and paces last until no 429 has come for ten seconds, and that of a
// process of few successes for the time of four attempts if that is longer, 80 s at most.
//
// A call that waits has sent nothing, and ends with its context or after [WithMaxQueueTime],
// with ErrQueueTimeout; as it comes, if nothing is under way and the rest outlasts it. A call within
// an attempt that has passed the same Limiter may wait for that attempt. A lasting answer such
// as NotFound is a success here. Watches, and what else lives long, pass by.
//
// A Limiter is safe for concurrent use and must not be copied. It has no goroutine; while
// calls are under way a timer ticks four times a second. Make it with NewLimiter.
//
// In tests with [testing/synctest] make a Limiter in each bubble: who waits in line must not be
// woken from another one.
type Limiter struct {
	mode  atomic.Uint32 // gateIdle, gateOpen, gateLimited; written under mu
	ticks atomic.Int64  // the clock of the healthy path
	calls gateCalls
	worry atomic.Bool // the next success has something to reset
	count [shards]gateCounter
	usual latencies

	mu      sync.Mutex
	law     law
	line    line
	ticker  uint32 // counts the starts of the ticks
	ticking bool
	ticked  time.Time // the last time
	touched bool      // an attempt has failed since then

	servers sync.Map // of a Transport: host to *Limiter
}

// NewLimiter returns a Limiter that limits nothing yet.
func NewLimiter() *Limiter {
	g := new(Limiter)
	g.calls = gateCalls{g.enter, g.leave, g.quick}
	return g
}

// gateCalls are the methods of a Limiter that take its lock, as the loop calls them: as
// funcs. A lock lets its receiver escape, and with it would escape the options that the
// Limiter was given with.
type gateCalls struct {
	enter func(context.Context, time.Duration) (ticket, time.Duration, bool)
	leave func(ticket, health, uint32, time.Duration, time.Duration) (changed, limited bool)
	quick func() bool
}

// LimiterState is what a Limiter does at a moment, for metrics. It is a plain value.
type LimiterState struct {
	// Limited tells that attempts are being limited.
	Limited bool
	// Limit is how many attempts may be under way; 0 if there is no such limit, or only
	// a pace.
	Limit int
	// InFlight is how many attempts are under way.
	InFlight int
	// Waiting is how many calls wait in line.
	Waiting int
	// Rest is how long no attempt will start.
	Rest time.Duration
	// Pace is how many attempts may start in a second, as of now; 0 if there is no such
	// limit. It counts in how long the first in line has waited.
	Pace float64
}

// State returns what the Limiter does now. For a Limiter of a Transport that talks to several
// servers the numbers of calls are sums, and the rest is that of the worst server.
// For a nil Limiter it is the zero value.
func (g *Limiter) State() LimiterState {
	if g == nil {
		return LimiterState{}
	}
	s := g.state()
	g.servers.Range(func(_, server any) bool {
		o := server.(*Limiter).state()
		s.InFlight += o.InFlight
		s.Waiting += o.Waiting
		if o.Limited && (!s.Limited || o.Rest > s.Rest || o.Rest == s.Rest && o.Limit < s.Limit) {
			s.Limited, s.Limit, s.Rest, s.Pace = true, o.Limit, o.Rest, o.Pace
		}
		return true
	})
	return s
}

func (g *Limiter) state() LimiterState {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := LimiterState{InFlight: g.inFlight(), Waiting: g.line.waiting}
	if g.mode.Load() != gateLimited {
		return s
	}
	now := time.Now()
	s.Limited, s.Rest, s.Pace = true, max(0, g.law.restUntil.Sub(now)), g.law.urgentPace(g, now)
	limit := g.law.limit
	if g.law.seats > 0 {
		limit = min(limit, grown(g.law.seats, now.Sub(g.law.seatsAt)))
	}
	if limit < math.MaxInt32 {
		s.Limit = int(limit)
	}
	return s
}

// server is the Limiter for one server of a Transport.
func (g *Limiter) server(host string) *Limiter {
	if s, ok := g.servers.Load(host); ok {
		return s.(*Limiter)
	}
	s, _ := g.servers.LoadOrStore(host, NewLimiter())
	return s.(*Limiter)
}

// The modes of a Limiter.
const (
	gateIdle    uint32 = iota // no limit; the ticks have stopped because nothing was under way
	gateOpen                  // no limit
	gateLimited               // everybody asks the law
)

// gateCounter counts, in its own cache line, the attempts under way (the lower half) and
// the successes so far (the upper half, which may wrap).
type gateCounter struct {
	n atomic.Uint64
	_ [56]byte
}

const oneSuccess = 1 << 32

// ticket is what an attempt got at the Limiter, and gives back.
type ticket struct {
	held    bool // there is something to give back
	shard   uint8
	beside  bool   // others were under way when it began, as far as is known
	precise bool   // begun is by the clock, not by the ticks
	epoch   uint32 // of the law
	begun   int64
}

// pass lets an attempt through a Limiter that limits nothing.
func (g *Limiter) pass() (ticket, bool) {
	if g.mode.Load() != gateOpen {
		return ticket{}, false // without counting: somebody may be looking whether there is room
	}
	shard := shardOfCaller()
	c := &g.count[shard].n
	c.Add(1) // before the mode is read: who sets a limit counts after having set it
	if g.mode.Load() != gateOpen {
		c.Add(^uint64(0))
		return ticket{}, false
	}
	return ticket{held: true, shard: shard, begun: g.ticks.Load()}, true
}

// leaveWell takes back the ticket of a success, if there is nothing more to it.
func (g *Limiter) leaveWell(t *ticket, key uint32) bool {
	if t.precise || g.worry.Load() || g.ticks.Load()-t.begun > 1 || g.mode.Load() != gateOpen {
		return false
	}
	n := g.count[t.shard].n.Add(oneSuccess-1) >> 32
	if key != 0 && n%learnEvery == 0 || g.usual.isNew(key) {
		g.usual.learn(key, g.age(t, time.Time{}))
	}
	return true
}

// enter lets an attempt through, after a wait in line if it must be. patience is how long
// the call would wait; held is how long it has waited. ok is false if patience or the
// context ended first.
func (g *Limiter) enter(ctx context.Context, patience time.Duration) (t ticket, held time.Duration, ok bool) {
	if t, ok := g.pass(); ok {
		return t, 0, true
	}
	g.mu.Lock()
	now := time.Now()
	g.tickOn(now)
	if g.mode.Load() != gateLimited || g.line.waiting == 0 && g.law.wait(g, now) == 0 {
		t = g.admit(now)
		g.mu.Unlock()
		return t, 0, true
	}
	if patience <= 0 {
		g.law.left++
		g.mu.Unlock()
		return ticket{}, 0, false
	}
	w := g.line.join(now)
	g.mu.Unlock()
	t, ok = g.stand(ctx, w, now.Add(patience))
	return t, time.Since(now), ok
}

// admit counts an attempt in; g.mu is held.
func (g *Limiter) admit(now time.Time) ticket {
	t := ticket{held: true, shard: shardOfCaller(), begun: g.ticks.Load(), epoch: g.law.epoch}
	if g.mode.Load() == gateLimited {
		t.begun, t.precise = int64(now.Sub(origin)), true
		t.beside = g.inFlight() > 0
		g.law.lastStart = now
	}
	g.count[t.shard].n.Add(1)
	return t
}

// leave takes back the ticket of an attempt and learns from its end. timeout is that of
// the attempt, 0 if it had none. It reports whether limiting has begun or ended.
func (g *Limiter) leave(t ticket, h health, key uint32, timeout, retryAfter time.Duration) (changed, limited bool) {
	if h == well && g.leaveWell(&t, key) {
		return false, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.tickOn(now)
	before := g.mode.Load()
	if h == well {
		g.count[t.shard].n.Add(oneSuccess - 1)
	} else {
		g.count[t.shard].n.Add(^uint64(0))
		g.touched = true
	}
	took := g.age(&t, now)
	slow := g.usual.tooLong(key, took, timeout)
	if h == well {
		g.law.seen(now, took, g.wrongBy(&t))
	}
	switch {
	case h != well || key == 0 && timeout == 0:
	case slow:
		g.usual.learnLate(key, took, now)
	default:
		g.usual.learn(key, took)
	}
	g.law.learn(g, now, &t, h, took, retryAfter, slow)
	g.line.poke()
	after := g.mode.Load()
	return (before == gateLimited) != (after == gateLimited), after == gateLimited
}

// age is how long an attempt has taken. By the ticks it is known to a quarter of a second:
// enough to tell that an answer is late, for a tenth of the price of a clock.
func (g *Limiter) age(t *ticket, now time.Time) time.Duration {
	if t.precise {
		return now.Sub(origin) - time.Duration(t.begun)
	}
	return time.Duration(g.ticks.Load()-t.begun) * tick
}

// wrongBy is by how much the age of an attempt may be wrong.
func (g *Limiter) wrongBy(t *ticket) time.Duration {
	if t.precise {
		return 0
	}
	return tick
}

// inFlight is how many attempts are under way.
func (g *Limiter) inFlight() int {
	var n uint32
	for i := range g.count {
		n += uint32(g.count[i].n.Load())
	}
	return int(int32(n))
}

// successes is how many successes there were, modulo 2^32.
func (g *Limiter) successes() uint32 {
	var n uint32
	for i := range g.count {
		n += uint32(g.count[i].n.Load() >> 32)
	}
	return n
}

// tick is the resolution of the clock of the healthy path.
const tick = 250 * time.Millisecond

// tickOn starts the ticks, also where they have got lost: with a bubble of
// testing/synctest that had a Limiter of the whole test. g.mu is held.
func (g *Limiter) tickOn(now time.Time) {
	if g.mode.Load() == gateIdle {
		g.mode.Store(gateOpen)
	}
	if g.ticking && now.Sub(g.ticked).Abs() < longLost {
		return
	}
	g.ticking, g.ticked = true, now
	g.law.seenInPassing(now, g.successes())
	g.law.remember(now, g.successes())
	g.ticker++
	g.tickLater(g.ticker)
}

const longLost = time.Minute

func (g *Limiter) tickLater(ticker uint32) { time.AfterFunc(tick, func() { g.tick(ticker) }) }

// tick advances the clock, and remembers how many successes there were. It ends itself
// when nothing is under way.
func (g *Limiter) tick(ticker uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ticker != g.ticker {
		return
	}
	g.ticks.Add(1)
	g.ticked = time.Now()
	g.law.seenInPassing(g.ticked, g.successes())
	quiet := g.law.remember(g.ticked, g.successes()) && !g.touched
	g.touched = false
	g.line.poke() // for those who come and go on the healthy path, and look for no line
	if !quiet || g.line.waiting > 0 || g.inFlight() > 0 {
		g.tickLater(ticker)
		return
	}
	g.ticking = false
	if g.mode.CompareAndSwap(gateOpen, gateIdle) && g.inFlight() > 0 {
		g.tickOn(g.ticked) // somebody came in before the mode had changed
	}
}
