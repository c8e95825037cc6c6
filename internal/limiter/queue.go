package limiter

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// queue holds the waiting calls, first in, first out. Only the head checks whether it may
// start; it is woken when something has changed and sets its own timer for the end of a
// pause. So the queue needs no goroutine, and a call that gives up leaves nothing behind.
// It is guarded by Limiter.mu.
type queue struct {
	head, tail *waiter
	len        int
}

type waiter struct {
	woken      chan struct{}
	since      time.Time
	prev, next *waiter
}

// push appends a waiter.
func (q *queue) push(now time.Time) *waiter {
	w := &waiter{woken: make(chan struct{}, 1), since: now, prev: q.tail}
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.len++
	return w
}

// remove takes w out of the queue and wakes the new head, if w was the head.
func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	q.len--
	if w.prev == nil {
		q.wake()
	}
}

// wake wakes the head.
func (q *queue) wake() {
	if q.head != nil {
		select {
		case q.head.woken <- struct{}{}:
		default: // it is already awake
		}
	}
}

// await waits in the queue until w may start, or until the given time.
func (l *Limiter) await(ctx context.Context, w *waiter, until time.Time) (Ticket, bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		l.mu.Lock()
		now := time.Now()
		over := ctxerr.Of(ctx) != nil || !now.Before(until)
		if over || l.cannotStart(ctx, until) {
			l.queue.remove(w)
			if over { // a call that leaves early may return at once and must not count each time
				l.control.abandoned++
			}
			l.mu.Unlock()
			return Ticket{}, false
		}
		sleep := until.Sub(now)
		if l.queue.head == w {
			wait := l.control.wait(l, now)
			if l.mode.Load() != limiting || wait == 0 {
				t := l.admit(now)
				l.queue.remove(w)
				l.mu.Unlock()
				return t, true
			}
			sleep = min(sleep, wait)
		}
		l.mu.Unlock()
		timer.Reset(sleep)
		select {
		case <-w.woken:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// cannotStart reports whether no attempt can start before the given time or the deadline of
// the context: a pause outlasts both, and nothing is in flight whose success would end it.
// l.mu is held.
func (l *Limiter) cannotStart(ctx context.Context, until time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return !l.control.pausedUntil.Before(until) && l.inFlight() == 0
}
