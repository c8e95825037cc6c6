package limiter

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/internal/counter"
	"github.com/k8sretry/k8sretry/internal/health"
)

// Limiter decides when attempts may start. It is safe for concurrent use and must not be
// copied. It has no goroutine.
type Limiter struct {
	mode       atomic.Uint32 // idle, open or limiting; written under mu
	ticks      atomic.Int64  // the clock of the fast path
	needsReset atomic.Bool   // the next success must take the lock, to reset something
	attempts   counter.Counter
	latencies  latencies

	mu       sync.Mutex
	control  control
	queue    queue
	ticker   uint32 // identifies the current series of ticks
	ticking  bool
	lastTick time.Time
	failed   bool // an attempt has failed since lastTick
}

// New returns a Limiter that limits nothing yet.
func New() *Limiter { return new(Limiter) }

// Calls are the methods of a Limiter as the call path uses them: bound once, because calling
// a func does not let its receiver escape.
type Calls struct {
	// Enter admits an attempt, after a wait in the queue if necessary. It returns how long
	// the attempt was queued. ok is false if the context ended first, or the timeout, or if
	// neither leaves enough time. Each ticket must be passed to Leave, once.
	Enter func(ctx context.Context, timeout time.Duration) (t Ticket, queued time.Duration, ok bool)
	// Leave reports the end of an attempt: what it says about the server, and its
	// Retry-After. key identifies attempts that usually take equally long, 0 if that is
	// unknown; timeout is that of the attempt, 0 if it had none. Leave reports whether
	// limiting has begun or ended, and whether the Limiter is limiting now.
	Leave func(t Ticket, h health.Health, key uint32, timeout, retryAfter time.Duration) (changed, limiting bool)
	// Quick reports whether a retry after a random failure may wait for a tenth of its
	// delay.
	Quick func() bool
}

// Calls returns the methods of l, bound.
func (l *Limiter) Calls() Calls { return Calls{l.enter, l.leave, l.quick} }

// State is a Limiter at one moment.
type State struct {
	Limited  bool
	Limit    int // of attempts in flight; 0 if there is none, or only a rate
	InFlight int
	Queued   int
	Pause    time.Duration // until the next attempt may start
	Rate     float64       // attempts per second; 0 if there is no such limit
}

// Ticket is what an admitted attempt holds. It has no more than four fields, so that the
// compiler keeps it in registers.
type Ticket struct {
	began int64
	epoch uint32 // of the control
	part  uint8  // of Limiter.attempts
	kind  kind
}

// Valid reports whether Enter has admitted an attempt with t.
func (t Ticket) Valid() bool { return t.kind != none }

// kind tells what is known about the beginning of an attempt.
type kind uint8

const (
	none    kind = iota
	coarse       // began is a number of ticks
	precise      // began is a time
	beside       // began is a time, and others were in flight
)

// The modes of a Limiter.
const (
	idle     uint32 = iota // no limit; the ticks have stopped because nothing was in flight
	open                   // no limit
	limiting               // each attempt asks the control
)

// Limiter.attempts counts the attempts in flight in its lower half and the successes so far,
// modulo 2^32, in its upper half.
const (
	oneAttempt = 1
	oneSuccess = 1 << 32
)

// origin is what precise tickets count from.
var origin = time.Now()

// State returns what the Limiter does now.
func (l *Limiter) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{InFlight: l.inFlight(), Queued: l.queue.len}
	if l.mode.Load() != limiting {
		return s
	}
	now := time.Now()
	c := &l.control
	s.Limited, s.Pause, s.Rate = true, max(0, c.pausedUntil.Sub(now)), c.effectiveRate(l, now)
	limit := c.limit
	if c.inFlightCap > 0 {
		limit = min(limit, grown(c.inFlightCap, now.Sub(c.cappedAt)))
	}
	if limit < math.MaxInt32 {
		s.Limit = int(limit)
	}
	return s
}

func (l *Limiter) enter(ctx context.Context, timeout time.Duration) (t Ticket, queued time.Duration, ok bool) {
	if t, ok := l.enterFast(); ok {
		return t, 0, true
	}
	return l.enterSlow(ctx, timeout)
}

func (l *Limiter) enterSlow(ctx context.Context, timeout time.Duration) (t Ticket, queued time.Duration, ok bool) {
	l.mu.Lock()
	now := time.Now()
	l.startTicks(now)
	if l.mode.Load() != limiting || l.queue.len == 0 && l.control.wait(l, now) == 0 {
		t = l.admit(now)
		l.mu.Unlock()
		return t, 0, true
	}
	if timeout <= 0 {
		l.control.abandoned++
		l.mu.Unlock()
		return Ticket{}, 0, false
	}
	w := l.queue.push(now)
	l.mu.Unlock()
	t, ok = l.await(ctx, w, now.Add(timeout))
	return t, time.Since(now), ok
}

// enterFast admits an attempt without the lock and without a clock while nothing is limited.
func (l *Limiter) enterFast() (Ticket, bool) {
	if l.mode.Load() != open {
		return Ticket{}, false // do not count: another goroutine may be looking for room
	}
	part := counter.Part()
	l.attempts.Add(part, oneAttempt) // before the mode is read again: see overload
	if l.mode.Load() != open {
		l.attempts.Add(part, ^uint64(0))
		return Ticket{}, false
	}
	return Ticket{kind: coarse, part: part, began: l.ticks.Load()}, true
}

// admit counts an attempt as in flight. l.mu is held.
func (l *Limiter) admit(now time.Time) Ticket {
	t := Ticket{kind: coarse, part: counter.Part(), began: l.ticks.Load(), epoch: l.control.epoch}
	if l.mode.Load() == limiting {
		t.kind, t.began = precise, int64(now.Sub(origin))
		if l.inFlight() > 0 {
			t.kind = beside
		}
		l.control.lastStart = now
	}
	l.attempts.Add(t.part, oneAttempt)
	return t
}

func (l *Limiter) leave(t Ticket, h health.Health, key uint32, timeout, retryAfter time.Duration) (changed, limited bool) {
	if h == health.Healthy && l.leaveFast(t, key) {
		return false, false
	}
	return l.leaveSlow(t, h, key, timeout, retryAfter)
}

func (l *Limiter) leaveSlow(t Ticket, h health.Health, key uint32, timeout, retryAfter time.Duration) (changed, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.startTicks(now)
	before := l.mode.Load()
	if h == health.Healthy {
		l.attempts.Add(t.part, oneSuccess-oneAttempt)
	} else {
		l.attempts.Add(t.part, ^uint64(0))
		l.failed = true
	}
	took := l.age(t, now)
	late := l.latencies.late(key, took, timeout)
	if h == health.Healthy {
		l.control.history.answered(now, took, t.uncertainty())
	}
	switch {
	case h != health.Healthy || key == 0 && timeout == 0:
	case late:
		l.latencies.learnLate(key, took, now)
	default:
		l.latencies.learn(key, took)
	}
	l.control.observe(l, now, t, h, took, retryAfter, late)
	l.queue.wake()
	after := l.mode.Load()
	return (before == limiting) != (after == limiting), after == limiting
}

// leaveFast counts a success without the lock and without a clock, if that is all there is to
// do.
func (l *Limiter) leaveFast(t Ticket, key uint32) bool {
	if t.kind != coarse || l.needsReset.Load() || l.ticks.Load()-t.began > 1 || l.mode.Load() != open {
		return false
	}
	n := l.attempts.Add(t.part, oneSuccess-oneAttempt) / oneSuccess
	if key != 0 && n%sampleEvery == 0 || l.latencies.fewSamples(key) {
		l.latencies.learn(key, l.age(t, time.Time{}))
	}
	return true
}

// age returns how long an attempt has taken. In ticks it is known to a quarter of a second:
// sufficient to detect a late answer, for a tenth of the cost of a clock.
func (l *Limiter) age(t Ticket, now time.Time) time.Duration {
	if t.kind != coarse {
		return now.Sub(origin) - time.Duration(t.began)
	}
	return time.Duration(l.ticks.Load()-t.began) * tick
}

// uncertainty is the error that the age of an attempt may have.
func (t Ticket) uncertainty() time.Duration {
	if t.kind != coarse {
		return 0
	}
	return tick
}

// inFlight returns the number of attempts in flight.
func (l *Limiter) inFlight() int { return int(int32(uint32(l.attempts.Sum()))) }

// successes returns the number of successes so far, modulo 2^32.
func (l *Limiter) successes() uint32 { return uint32(l.attempts.Sum() / oneSuccess) }
