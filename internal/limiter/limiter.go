// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/window"
)

// Limiter decides when attempts to one server may start. It is safe for concurrent use and must
// not be copied. It has no goroutine.
type Limiter struct {
	mode  atomic.Uint32         // idle, open or watching; written under mu
	clock atomic.Int64          // the time of the last tick
	table atomic.Pointer[table] // of kinds

	mu        sync.Mutex
	reading   window.Clock
	last      time.Duration // the last reading
	server    group
	levels    []*level
	kinds     []*kind
	riders    int    // attempts that use the place of another
	settled   bool   // the trouble of a scope was forgotten, which is not reported yet
	unsettled int    // scopes that have failed or limit something
	epoch     uint32 // counts the changes of the laws
	ticker    uint32 // identifies the current series of ticks
	ticking   bool
	seen      uint32 // attempts that have ended, at the last tick
	ended     uint32
	wakeAt    time.Duration // when the next call in a queue may start; 0: not known
	wakes     uint32
	waitedAt  time.Duration // when a call last left a queue, or an attempt failed, after which calls wait
	idleSince time.Duration // the last tick, or when the Limiter was made
	forgetAt  time.Duration // when the timer fires that forgets all; 0: there is none
	onIdle    func()
}

// New returns a Limiter that limits nothing yet. onIdle is called when it has not been used for
// some minutes, and has forgotten everything; it may be nil.
func New(onIdle func()) *Limiter {
	l := &Limiter{reading: window.NewClock(), onIdle: onIdle}
	l.table.Store(newTable(nil))
	if onIdle != nil { // it may never be used
		l.idleSince = l.reading.Now()
		l.forgetLater(l.idleSince, idleAfter)
	}
	return l
}

// Calls are the methods of a Limiter as the call path uses them: bound once, because calling
// a func does not let its receiver escape.
type Calls struct {
	// EnterFast is Enter while nothing has failed. It does not admit an attempt otherwise.
	EnterFast func(kind uint64) (t Ticket, ok bool)
	// Enter admits an attempt of a kind, after a wait in the queue if necessary. It returns
	// how long the attempt was queued. ok is false if the context ended first, or the timeout,
	// or if neither leaves enough time. Each ticket must be passed to Leave, once.
	Enter func(ctx context.Context, kind uint64, timeout time.Duration) (t Ticket, queued time.Duration, ok bool)
	// EnterFor is Enter, but returns a Waiter, not nil, if the attempt is still queued after the
	// time. Then t and ok are not yet known: Wait goes on waiting. One of the Waiter's methods must be called.
	EnterFor func(ctx context.Context, kind uint64, timeout, after time.Duration) (t Ticket, queued time.Duration, ok bool, w *Waiter)
	// Leave reports the end of an attempt. It returns the scopes whose limits have begun and
	// ended with it.
	Leave func(t Ticket, e End) Change
	// Why returns the scope that limits a kind most, the rest of the pause, and the error that
	// was the last sign of its trouble.
	Why func(kind uint64) (Scope, time.Duration, error)
	// Name gives a name to a kind, for State.
	Name func(kind uint64, name string)
	// Learn records the priority level of a kind.
	Learn func(kind uint64, level string)
}

// Calls returns the methods of l, bound.
func (l *Limiter) Calls() Calls {
	return Calls{l.enterFast, l.enter, l.enterFor, l.leave, l.why, l.setName, l.learn}
}

// End is how an attempt ended.
type End struct {
	Health     health.Health
	RetryAfter time.Duration
	Err        error
	TimedOut   bool // the deadline of the caller has ended it
}

// Change tells which limits have begun and which have ended.
type Change struct{ Began, Ended Scopes }

// Scopes is a set of scopes.
type Scopes uint8

// Has reports whether a scope is in the set.
func (s Scopes) Has(scope Scope) bool { return s&(1<<scope) != 0 }

// Ticket is what an admitted attempt holds. It has no more than four fields, so that the
// compiler keeps it in registers.
type Ticket struct {
	kind  *kind
	began time.Duration // the time of the last tick, if there is no place
	place *Place        // nil if nothing had failed when the attempt started
}

// Valid reports whether Enter has admitted an attempt with t.
func (t Ticket) Valid() bool { return t.kind != nil }

// Place is what the context of the attempt should carry, for calls within the attempt; nil if
// it should carry nothing.
func (t Ticket) Place() *Place { return t.place }

// The modes of a Limiter.
const (
	idle     uint32 = iota // no limit; the ticks have stopped because nothing was in flight
	open                   // no limit
	watching               // something has failed or is limited
)

// now reads the clock. l.mu is held.
func (l *Limiter) now() time.Duration {
	now := l.reading.Now()
	if now < l.last-tick { // it has gone backwards, as it does between two bubbles of testing/synctest
		l.reset()
	}
	l.last = now
	return now
}

// reset forgets everything but the calls in flight and in the queues.
func (l *Limiter) reset() {
	for _, k := range l.kinds {
		k.law, k.cut, k.marks = law{}, 0, [2]mark{}
	}
	for _, v := range l.levels {
		v.law, v.cut, v.whole = law{}, 0, false
	}
	l.server.law, l.server.cut, l.server.whole = law{}, 0, false
	l.updateAll(new(Change))
	l.ticking, l.wakeAt, l.waitedAt, l.forgetAt = false, 0, 0, 0
}

// updateAll records of all scopes whether they have failed or limit something.
func (l *Limiter) updateAll(change *Change) {
	l.settled = false
	for _, k := range l.kinds {
		l.update(&k.scope, OfKind, change)
	}
	for _, v := range l.levels {
		l.update(&v.scope, OfLevel, change)
	}
	l.update(&l.server.scope, OfServer, change)
}

func (l *Limiter) enter(ctx context.Context, key uint64, timeout time.Duration) (t Ticket, queued time.Duration, ok bool) {
	t, queued, ok, _ = l.enterFor(ctx, key, timeout, maxWait)
	return t, queued, ok
}

func (l *Limiter) enterFor(ctx context.Context, key uint64, timeout, after time.Duration) (t Ticket, queued time.Duration, ok bool, w *Waiter) {
	if t, ok := l.enterFast(key); ok {
		return t, 0, true, nil
	}
	return l.enterSlow(ctx, key, timeout, after)
}

// enterFast admits an attempt without the lock and without a clock while nothing is limited.
func (l *Limiter) enterFast(key uint64) (Ticket, bool) {
	if l.mode.Load() != open {
		return Ticket{}, false
	}
	k := l.table.Load().find(key)
	if k == nil {
		return Ticket{}, false
	}
	began := l.clock.Load()
	k.fast.add(1)
	if k.usedAt.Load() != began {
		k.usedAt.Store(began)
	}
	return Ticket{kind: k, began: time.Duration(began)}, true
}

func (l *Limiter) enterSlow(ctx context.Context, key uint64, timeout, after time.Duration) (t Ticket, queued time.Duration, ok bool, w *Waiter) {
	l.mu.Lock()
	now := l.now()
	l.startTicks(now)
	k := l.kindOf(key, now)
	k.usedAt.Store(int64(now))
	if l.mode.Load() != watching {
		k.fast.add(1)
		l.mu.Unlock()
		return Ticket{kind: k, began: time.Duration(l.clock.Load())}, 0, true, nil
	}
	w = &Waiter{limiter: l, kind: k, around: placeIn(ctx), ctx: ctx, since: now, until: now + min(timeout, maxWait)}
	if p := w.around; p != nil && p.limiter == l && !p.ended {
		w.outer = p
	}
	if k.queue.len == 0 || w.rides() {
		if l.wait(w, now) == 0 {
			t = l.admit(w, now)
			l.mu.Unlock()
			return t, 0, true, nil
		}
	}
	if timeout <= 0 || l.inVain(w, now) {
		l.mu.Unlock()
		return Ticket{}, 0, false, nil
	}
	k.queue.push(w)
	l.dispatch(now)
	l.mu.Unlock()
	if after < w.until-now {
		if w.sleep(after) {
			return Ticket{}, l.reading.Now() - now, false, w
		}
		t, queued, ok = w.end()
	} else {
		t, queued, ok = w.Wait()
	}
	return t, queued, ok, nil
}

// maxWait is the longest wait in a queue.
const maxWait time.Duration = 100 * 365 * 24 * time.Hour

// leaveFast counts a success without the lock and without a clock, if that is all there is to
// do.
func (l *Limiter) leaveFast(t Ticket) bool {
	now := l.clock.Load()
	if t.place != nil || time.Duration(now)-t.began > tick || l.mode.Load() != open {
		return false
	}
	k := t.kind
	n := k.fast.add(oneSuccess - 1)
	if k.newest.Load() < int64(t.began) {
		k.newest.Store(int64(t.began))
	}
	if uint64(n)>>32&(sampleEvery-1) == 0 || k.usual.isNew() {
		k.usual.learn(time.Duration(now)-t.began, time.Duration(now))
	}
	return true
}

func (l *Limiter) leave(t Ticket, e End) Change {
	if e.Health == health.Healthy && l.leaveFast(t) {
		return Change{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.startTicks(now)
	l.ended++
	k := t.kind
	k.usedAt.Store(int64(now))
	took := now - t.began
	if t.place == nil {
		took = max(0, time.Duration(l.clock.Load())-t.began)
	} else {
		took = max(0, took-time.Duration(t.place.waited.Load()))
	}
	l.release(t, e.Health == health.Healthy)
	s := sign{
		took: took, inFlight: k.inFlight + k.fastInFlight(), queued: k.queue.len,
		retryAfter: e.RetryAfter, around: math.Inf(1), spread: rand.Float64(), //nolint:gosec // jitter
	}
	isLate := k.usual.late(took)
	// How long calls within an attempt without a place have waited is not known.
	unclear := isLate && t.place == nil && l.waitedAt >= t.began
	if e.Health != health.Healthy {
		l.waitedAt = now
	}
	if !unclear && l.slowAlways(t, e, isLate, took, s) {
		isLate = false
		k.threshold = math.Inf(1) // the limit grows fast
	}
	if e.Health == health.Healthy && !unclear {
		k.usual.learn(took, now)
	}
	if e.Health == health.Healthy && took <= neverLate && k.newest.Load() < int64(t.began) {
		k.newest.Store(int64(t.began))
	}
	var ok bool
	var change Change
	if s.result, ok = resultOf(e, isLate && !unclear, took, k.usual.known()); ok && !k.gone && (s.result != good || !unclear) {
		s.lone = s.inFlight == 0 && (t.place == nil || t.place.beside == 0)
		change = l.observe(t, s, e, now)
	}
	if l.settled {
		l.updateAll(&change)
	}
	l.dispatch(now)
	return change
}

// slowAlways reports whether a late answer shows that the server is slow with every request, not
// overloaded. Then what the answer took is usual from now on.
func (l *Limiter) slowAlways(t Ticket, e End, isLate bool, took time.Duration, s sign) bool {
	k := t.kind
	switch {
	case e.Health == health.Unknown:
	case e.Health != health.Healthy:
		k.slow.failed()
	case !isLate && !k.active():
		k.slow = nil
	case !isLate:
		k.slow.inTime(took)
	default:
		if k.slow == nil {
			k.slow = new(slowness)
		}
		inFlight := s.inFlight + 1
		if t.place != nil {
			inFlight = t.place.beside + 1
		}
		if k.slow.late(took, inFlight, s.queued) {
			k.slow = nil
			k.usual.adopt(took)
			return true
		}
	}
	return false
}

// resultOf returns what the end of an attempt means, and false if it means nothing.
func resultOf(e End, isLate bool, took time.Duration, known bool) (result, bool) {
	switch e.Health {
	case health.Healthy:
		if isLate {
			return late, true
		}
		return good, true
	case health.Failing:
	case health.Unknown:
		// A caller has left after a long time without an answer.
		return late, isLate || e.TimedOut && !known && took > neverLate
	case health.Throttled, health.Exhausted:
		if e.RetryAfter > 0 {
			return refused, true
		}
	case health.Unreachable, health.Down:
		if isLate || !known && took > neverLate {
			return failed, true
		}
		if e.Health == health.Down {
			return down, true
		}
	}
	return broken, true
}

// observe tells the scopes of an attempt how it ended.
func (l *Limiter) observe(t Ticket, s sign, e End, now time.Duration) (change Change) {
	k := t.kind
	v := k.level
	if s.result == good {
		l.apply(&k.scope, OfKind, t, s, e.Err, now, &change)
		if v != nil && v.counted {
			l.recovered(&v.group, OfLevel, v, t, s, now, &change)
		}
		if l.server.counted {
			l.recovered(&l.server, OfServer, nil, t, s, now, &change)
		}
		return change
	}
	if s.took > neverLate && s.result != refused {
		began := t.began
		if t.place == nil {
			began += tick
		}
		s.overtaken = time.Duration(k.newest.Load()) > began
	}
	certain := NoScope
	switch {
	case e.Health == health.Down || l.server.whole && l.server.active() && l.server.failures > 0:
		certain = OfServer // or nothing has been answered since it was
	case e.Health == health.Exhausted && v != nil:
		certain = OfLevel
	default:
		s.rate = k.rate(now)
		if l.server.limit > 0 && l.server.limits(k) {
			s.around = l.server.limit
		}
		l.apply(&k.scope, OfKind, t, s, e.Err, now, &change)
	}
	if s.overtaken {
		return change
	}
	if v != nil {
		v.count(k)
		l.spread(&v.group, OfLevel, v, certain, t, s, e.Err, now, &change)
		l.server.count(v)
	} else {
		l.server.count(k)
	}
	l.spread(&l.server, OfServer, nil, certain, t, s, e.Err, now, &change)
	return change
}

// spread tells a group of a failure of one of its parts.
func (l *Limiter) spread(g *group, scope Scope, v *level, certain Scope, t Ticket, s sign, err error, now time.Duration, change *Change) {
	s.partial = certain != scope && !g.several()
	g.whole = g.whole || certain == scope
	s.inFlight, s.queued, s.rate = l.inFlightIn(v), l.queued(v), l.rateOf(v, now)
	s.lone = s.lone && s.inFlight == 0
	l.apply(&g.scope, scope, t, s, err, now, change)
}

// recovered tells a group of an answer in good time to one of its parts: then the trouble is not
// that of the group, unless that is certain.
func (l *Limiter) recovered(g *group, scope Scope, v *level, t Ticket, s sign, now time.Duration, change *Change) {
	s.queued = l.queued(v)
	if !g.whole {
		g.law = law{}
	}
	l.apply(&g.scope, scope, t, s, nil, now, change)
	g.whole = g.whole && g.active()
}

// apply tells a scope how an attempt ended.
func (l *Limiter) apply(sc *scope, scope Scope, t Ticket, s sign, err error, now time.Duration, change *Change) {
	s.old = t.place != nil && t.place.epoch < sc.cut || t.place == nil && sc.cut > 0
	if sc.end(now, s) {
		l.epoch++
		sc.cut = l.epoch
	}
	if s.result != good && err != nil {
		sc.cause = err
	}
	l.update(sc, scope, change)
}

// update records whether a scope has failed or limits something.
func (l *Limiter) update(sc *scope, scope Scope, change *Change) {
	active := sc.active()
	if active != sc.limiting {
		sc.limiting = active
		if active {
			change.Began |= 1 << scope
		} else {
			change.Ended |= 1 << scope
		}
	}
	if counted := active || sc.failures > 0; counted != sc.counted {
		sc.counted = counted
		if counted {
			l.unsettled++
		} else {
			l.unsettled--
			sc.cut, sc.cause = 0, nil
		}
	}
	switch {
	case l.unsettled > 0:
		l.mode.Store(watching)
	case l.mode.Load() == watching && l.ticking:
		l.mode.Store(open)
	case l.mode.Load() == watching:
		l.mode.Store(idle)
	}
}
