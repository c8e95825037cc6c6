// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// queue holds the waiting calls of a kind, first in, first out. It is guarded by Limiter.mu.
type queue struct {
	head, tail *Waiter
	len        int
	nested     int // of these, calls within an attempt
}

// Waiter is a call that asks for the start of an attempt.
type Waiter struct {
	limiter *Limiter
	kind    *kind
	outer   *Place // that its context holds and that it may use, nil if none
	around  *Place // that its context holds
	ctx     context.Context
	since   time.Duration
	until   time.Duration
	ended   chan struct{} // closed when it may start, or when it is in vain to wait
	ticket  Ticket

	prev, next *Waiter
}

// push appends a Waiter.
func (q *queue) push(w *Waiter) {
	w.ended = make(chan struct{})
	w.prev = q.tail
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.len++
	if w.outer != nil {
		q.nested++
	}
}

// remove takes w out of the queue.
func (q *queue) remove(w *Waiter) {
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
	w.prev, w.next = nil, nil
	q.len--
	if w.outer != nil {
		q.nested--
	}
}

// Wait waits until the call may start, or for as long as it may wait. It returns what Enter does.
func (w *Waiter) Wait() (t Ticket, queued time.Duration, ok bool) {
	w.sleep(w.until - w.limiter.reading.Now())
	return w.end()
}

// Abandon takes the call out of the queue.
func (w *Waiter) Abandon() {
	if t, _, ok := w.end(); ok {
		w.limiter.leave(t, End{})
	}
}

// sleep reports whether the call is still queued after the time.
func (w *Waiter) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.ended:
	case <-w.ctx.Done():
	case <-timer.C:
		select {
		case <-w.ended:
		default:
			return true
		}
	}
	return false
}

// end ends the wait, whether the call may start or not.
func (w *Waiter) end() (t Ticket, queued time.Duration, ok bool) {
	l := w.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	queued = now - w.since
	l.waitedAt = now
	w.around.waits(queued)
	select {
	case <-w.ended:
		if !w.ticket.Valid() || ctxerr.Of(w.ctx) == nil {
			return w.ticket, queued, w.ticket.Valid()
		}
		l.release(w.ticket, false)
	default:
		w.kind.queue.remove(w)
	}
	l.dispatch(now)
	return Ticket{}, queued, false
}

// dispatch starts all calls in the queues that may start, the oldest first, and sets a timer for
// the next one. l.mu is held.
func (l *Limiter) dispatch(now time.Duration) {
	for {
		var first *Waiter
		sleep := maxWait
		for _, k := range l.kinds {
			for w := k.queue.head; w != nil; w = w.next {
				if w != k.queue.head && !w.rides() {
					continue
				}
				wait := l.wait(w, now)
				if wait == 0 && (first == nil || w.since < first.since) {
					first = w
				}
				if wait > 0 {
					sleep = min(sleep, wait)
				}
				if k.queue.nested == 0 {
					break
				}
			}
		}
		if first == nil {
			l.wakeIn(sleep, now)
			return
		}
		first.kind.queue.remove(first)
		first.ticket = l.admit(first, now)
		close(first.ended)
	}
}

// wakeIn calls dispatch after a time, unless it will be called earlier.
func (l *Limiter) wakeIn(sleep, now time.Duration) {
	if sleep == maxWait || l.wakeAt > now && l.wakeAt <= now+sleep {
		return
	}
	l.wakeAt = now + sleep
	l.wakes++
	wake := l.wakes
	time.AfterFunc(sleep, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if wake == l.wakes {
			l.wakeAt = 0
			l.dispatch(l.now())
		}
	})
}

// wait returns how long a call has to wait.
func (l *Limiter) wait(w *Waiter, now time.Duration) time.Duration {
	k, outer := w.kind, w.outer
	if !w.rides() {
		outer = nil
	}
	wait := k.start(now, k.inFlight-outer.takes(k))
	if v := k.level; v != nil && v.limits(k) {
		wait = max(wait, v.start(now, v.inFlight-outer.takesLevel(v)))
	}
	if l.server.limits(k) {
		wait = max(wait, l.server.start(now, l.server.inFlight-outer.takesServer()))
	}
	return wait
}

// inVain reports whether no attempt can start before a call has to stop waiting: a pause
// outlasts it, and nothing is in flight whose success would end the pause.
func (l *Limiter) inVain(w *Waiter, now time.Duration) bool {
	until := w.until
	if deadline, ok := w.ctx.Deadline(); ok {
		until = min(until, now+time.Until(deadline))
	}
	k := w.kind
	vain := func(sc *scope, inFlight int) bool { return sc.law.next >= until && inFlight == 0 }
	return vain(&k.scope, k.inFlight+k.fastInFlight()) ||
		k.level != nil && k.level.limits(k) && vain(&k.level.scope, l.inFlightIn(k.level)) ||
		l.server.limits(k) && vain(&l.server.scope, l.inFlightIn(nil))
}
