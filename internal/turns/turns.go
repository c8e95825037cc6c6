// SPDX-License-Identifier: Apache-2.0

// Package turns serializes the calls of one process that have collided over one object.
//
// Of N calls that read and write an object at the same time, one succeeds and N-1 get a
// Conflict. With delays alone most of these would collide again and again. With turns,
// each call collides at most once.
//
// A turn is advice and not a lock: a call that keeps its turn too long is overtaken, so that a
// hanging request delays the others by a bounded time.
package turns

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

const (
	// maxTurn is how long the other calls wait for the end of a turn. A read and a write
	// take tens of milliseconds.
	maxTurn = 2 * time.Second

	// minPoll is the shortest time between two looks at the queue.
	minPoll = time.Millisecond

	// maxCountedTurn bounds how long a past turn makes waiting calls expect the next one
	// to take.
	maxCountedTurn = 50 * time.Millisecond
)

// queues holds one queue for each object that calls have collided over and have not yet
// left. The UID identifies an object across clients and clusters.
var queues = struct {
	mu   sync.Mutex
	byID map[types.UID]*queue
}{byID: make(map[types.UID]*queue)}

// queue is where calls wait for a turn on one object.
//
// A waiting call polls and is not woken by others. Tests that run in parallel, each in a
// bubble of testing/synctest with its own clock, may use objects with the same UID, and a
// bubble must not be touched from outside.
type queue struct {
	calls   int // waiting or having had their turn
	waiting []*Turn
	current *Turn         // nil if it is no call's turn
	took    time.Duration // the last turn
}

// Turn is the place of one call in the queue of an object.
type Turn struct {
	uid   types.UID
	queue *queue
	began time.Time
}

// Take waits for a turn on the object with the given UID, or until ctx ends. The caller
// must call Leave in both cases.
func Take(ctx context.Context, uid types.UID) *Turn {
	queues.mu.Lock()
	q := queues.byID[uid]
	if q == nil {
		q = new(queue)
		queues.byID[uid] = q
	}
	q.calls++
	t := &Turn{uid: uid, queue: q}
	q.waiting = append(q.waiting, t)
	queues.mu.Unlock()

	var seen *Turn      // the current turn at the last look
	var since time.Time // when this call first saw it, by its own clock
	var timer *time.Timer
	for {
		wait, done := q.look(ctx, t, &seen, &since)
		if done {
			return t
		}
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// look starts the turn t if it is the first in the queue and the current turn has ended or
// takes too long, and removes t from the queue if ctx has ended. Otherwise it returns when
// to look again: the first in the queue soon, the others after half of the time that the
// turns before theirs are expected to take.
func (q *queue) look(ctx context.Context, t *Turn, seen **Turn, since *time.Time) (wait time.Duration, done bool) {
	queues.mu.Lock()
	defer queues.mu.Unlock()
	now := time.Now()
	if q.current != *seen || since.IsZero() {
		*seen, *since = q.current, now
	}
	place := slices.Index(q.waiting, t)
	switch {
	case ctxerr.Of(ctx) != nil:
		q.waiting = slices.Delete(q.waiting, place, place+1)
		return 0, true
	case place == 0 && (q.current == nil || now.Sub(*since) >= maxTurn):
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.current, t.began = t, now
		return 0, true
	}
	return max(minPoll, time.Duration(place)*min(q.took, maxCountedTurn)/2), false
}

// Leave ends the turn. Leave of a nil Turn does nothing.
func (t *Turn) Leave() {
	if t == nil {
		return
	}
	queues.mu.Lock()
	defer queues.mu.Unlock()
	q := t.queue
	if q.current == t {
		q.current, q.took = nil, time.Since(t.began)
	}
	if q.calls--; q.calls == 0 {
		delete(queues.byID, t.uid)
	}
}

// Objects returns the number of objects that calls wait for or have a turn on. Tests use
// it to check that nothing is left.
func Objects() int {
	queues.mu.Lock()
	defer queues.mu.Unlock()
	return len(queues.byID)
}
