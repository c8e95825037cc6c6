// SPDX-License-Identifier: Apache-2.0

package limiter

import "time"

const (
	// tick is the resolution of the clock of the fast path.
	tick = 250 * time.Millisecond

	// ticksLost is how long ago the last tick must be for the ticks to be started again.
	ticksLost = time.Minute

	// settleAfter is how long a scope in which nothing happens keeps its limits.
	settleAfter = 2 * maxPause

	// idleAfter is how long a Limiter that is not used remembers anything.
	idleAfter = 2 * time.Minute
)

// startTicks starts the ticks unless they are running. It also starts them where they have been
// lost: with a bubble of testing/synctest that used a Limiter made outside of it. l.mu is held.
func (l *Limiter) startTicks(now time.Duration) {
	if l.mode.Load() == idle {
		l.mode.Store(open)
	}
	if l.ticking && now-time.Duration(l.clock.Load()) < ticksLost {
		return
	}
	l.ticking = true
	l.ticker++
	l.onTime(now)
	l.scheduleTick(l.ticker)
}

func (l *Limiter) scheduleTick(ticker uint32) {
	time.AfterFunc(tick, func() { l.onTick(ticker) })
}

// onTick advances the clock of the fast path. The ticks end when nothing is in flight.
func (l *Limiter) onTick(ticker uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ticker != l.ticker {
		return
	}
	now := l.now()
	quiet := l.onTime(now)
	l.dispatch(now) // a gap has become shorter since the timer was set
	if !quiet || l.inFlightIn(nil) > 0 || l.queued(nil) > 0 {
		l.scheduleTick(ticker)
		return
	}
	l.ticking = false
	if l.mode.CompareAndSwap(open, idle) && l.inFlightIn(nil) > 0 {
		l.startTicks(l.now()) // an attempt entered before the mode changed
		return
	}
	l.idleSince = now
	l.forgetLater(now, idleAfter)
}

// forgetLater drops what is known once the Limiter has not been used for idleAfter. One timer is
// enough, however often the Limiter becomes idle until then. l.mu is held.
func (l *Limiter) forgetLater(now, in time.Duration) {
	if l.forgetAt > now-tick {
		return // a timer runs, unless it was lost like ticks
	}
	l.forgetAt = now + in
	time.AfterFunc(in, l.forgetAll)
}

// onTime does what is due. It reports whether nothing has ended since the previous time.
func (l *Limiter) onTime(now time.Duration) (quiet bool) {
	l.clock.Store(int64(now))
	ended := l.ended
	for _, k := range l.kinds {
		k.remember(now)
		ended += k.successes()
		l.settle(&k.scope, k.queue.len, now)
	}
	for _, v := range l.levels {
		l.settle(&v.scope, l.queued(v), now)
		v.whole = v.whole && v.active()
	}
	l.settle(&l.server.scope, l.queued(nil), now)
	l.server.whole = l.server.whole && l.server.active()
	quiet = ended == l.seen
	l.seen = ended
	return quiet
}

// settle forgets the trouble of a scope in which nothing has happened for some time. The next
// attempt that ends reports it.
func (l *Limiter) settle(sc *scope, queued int, now time.Duration) {
	if sc.counted && queued == 0 && sc.inFlight == 0 && now-max(sc.failedAt, sc.lastStart, sc.next) > settleAfter {
		sc.law = law{lastStart: sc.lastStart}
		l.settled = true
	}
}

// forgetAll drops what is known, if nothing has happened for idleAfter.
func (l *Limiter) forgetAll() {
	l.mu.Lock()
	now := l.now()
	l.forgetAt = 0
	if l.ticking || l.inFlightIn(nil) > 0 || l.queued(nil) > 0 {
		l.mu.Unlock()
		return // the last tick sets another timer
	}
	if since := now - l.idleSince; since < idleAfter {
		l.forgetLater(now, idleAfter-since)
		l.mu.Unlock()
		return
	}
	l.reset()
	for len(l.kinds) > 0 {
		l.forget(len(l.kinds) - 1)
	}
	l.kinds = nil
	l.table.Store(newTable(nil))
	l.mu.Unlock()
	if l.onIdle != nil {
		l.onIdle()
	}
}
