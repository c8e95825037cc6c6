package limiter

import "time"

// tick is the resolution of the clock of the fast path.
const tick = 250 * time.Millisecond

// ticksLost is how long ago the last tick must be for the ticks to be started again.
const ticksLost = time.Minute

// startTicks starts the ticks unless they are running. It also starts them where they have
// been lost: with a bubble of testing/synctest that used a Limiter made outside of it. l.mu
// is held.
func (l *Limiter) startTicks(now time.Time) {
	if l.mode.Load() == idle {
		l.mode.Store(open)
	}
	if l.ticking && now.Sub(l.lastTick).Abs() < ticksLost {
		return
	}
	l.ticking, l.lastTick = true, now
	l.control.history.answeredFast(now, l.successes())
	l.control.history.add(now, l.successes())
	l.ticker++
	l.scheduleTick(l.ticker)
}

func (l *Limiter) scheduleTick(ticker uint32) {
	time.AfterFunc(tick, func() { l.onTick(ticker) })
}

// onTick advances the clock and records the number of successes. The ticks end when nothing
// is in flight.
func (l *Limiter) onTick(ticker uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ticker != l.ticker {
		return
	}
	l.ticks.Add(1)
	l.lastTick = time.Now()
	l.control.history.answeredFast(l.lastTick, l.successes())
	quiet := l.control.history.add(l.lastTick, l.successes()) && !l.failed
	l.failed = false
	l.queue.wake() // attempts on the fast path end without doing so
	if !quiet || l.queue.len > 0 || l.inFlight() > 0 {
		l.scheduleTick(ticker)
		return
	}
	l.ticking = false
	if l.mode.CompareAndSwap(open, idle) && l.inFlight() > 0 {
		l.startTicks(l.lastTick) // an attempt entered before the mode changed
	}
}
