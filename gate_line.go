package k8sretry

import (
	"context"
	"time"
)

// line is where calls wait at a Limiter, first come, first served. Only the first in line
// looks whether it may go; it is poked when something has changed, and sets its own alarm
// for the end of a rest. So the line needs no goroutine, and whoever gives up leaves
// nothing behind. It is guarded by Limiter.mu.
type line struct {
	first, last *waiter
	waiting     int
}

type waiter struct {
	poked      chan struct{}
	joined     time.Time
	prev, next *waiter
}

func (l *line) join(now time.Time) *waiter {
	w := &waiter{poked: make(chan struct{}, 1), joined: now, prev: l.last}
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.waiting++
	return w
}

// leave takes w out of the line, and wakes the first if that is another now.
func (l *line) leave(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	l.waiting--
	if w.prev == nil {
		l.poke()
	}
}

// poke wakes the first in line.
func (l *line) poke() {
	if l.first != nil {
		select {
		case l.first.poked <- struct{}{}:
		default: // it is already awake
		}
	}
}

// stand waits in line, until the given time at most.
func (g *Limiter) stand(ctx context.Context, w *waiter, until time.Time) (ticket, bool) {
	alarm := time.NewTimer(time.Until(until))
	defer alarm.Stop()
	for {
		g.mu.Lock()
		now := time.Now()
		over := ctx.Err() != nil || !now.Before(until)
		if over || g.hopeless(ctx, until) {
			g.line.leave(w)
			if over { // who leaves early may be back at once, and must not count each time
				g.law.left++
			}
			g.mu.Unlock()
			return ticket{}, false
		}
		sleep := until.Sub(now)
		if g.line.first == w {
			wait := g.law.wait(g, now)
			if g.mode.Load() != gateLimited || wait == 0 {
				t := g.admit(now)
				g.line.leave(w)
				g.mu.Unlock()
				return t, true
			}
			sleep = min(sleep, wait)
		}
		g.mu.Unlock()
		alarm.Reset(sleep)
		select {
		case <-w.poked:
		case <-alarm.C:
		case <-ctx.Done():
		}
	}
}

// hopeless reports whether no attempt can start before the given time or the end of the
// context: nobody is under way whose success would end the rest. g.mu is held.
func (g *Limiter) hopeless(ctx context.Context, until time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return !g.law.restUntil.Before(until) && g.inFlight() == 0
}
