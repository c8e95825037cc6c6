package k8sretry

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// lanes are where the Modify calls of this process take turns that have met a conflict
// over the same object: of N that begin at once, one succeeds and N-1 collide, once. With
// delays alone they would collide again and again. There is one for each object that
// somebody has collided over and is not done with; the UID tells objects apart, across
// clients and clusters.
var lanes = struct {
	mu sync.Mutex
	at map[types.UID]*lane
}{at: make(map[types.UID]*lane)}

// lane is advice, not a lock: whoever holds it for long is passed, so that a hanging
// request, or a mutate that hangs, holds up nobody else for long.
//
// Who waits looks for himself whether it is his turn, and nobody wakes him: tests that run
// side by side, each in a bubble of testing/synctest with its own clock, may well have
// objects of the same UID, and a bubble must not be touched from outside.
type lane struct {
	calls int           // that are in line or have had their turn
	queue []*laneTurn   // first come, first served
	turn  *laneTurn     // whose it is, nil for nobody's
	took  time.Duration // the last turn
}

// laneTurn is the place of one call in the lane of an object.
type laneTurn struct {
	uid   types.UID
	lane  *lane
	began time.Time
}

const (
	// longTurn is for how long a turn keeps the others waiting. To read and to write takes
	// tens of milliseconds.
	longTurn = 2 * time.Second

	shortestLook = time.Millisecond
	usualTurn    = 50 * time.Millisecond
)

// takeTurn waits for a turn on the object, or until ctx ends. The turn has to be left.
func takeTurn(ctx context.Context, uid types.UID) *laneTurn {
	lanes.mu.Lock()
	l := lanes.at[uid]
	if l == nil {
		l = new(lane)
		lanes.at[uid] = l
	}
	l.calls++
	t := &laneTurn{uid: uid, lane: l}
	l.queue = append(l.queue, t)
	lanes.mu.Unlock()

	var before *laneTurn // whose turn it was when this call last looked
	var seen time.Time   // since when, by the clock of this call
	var alarm *time.Timer
	for {
		wait, mine := l.look(ctx, t, &before, &seen)
		if mine {
			return t
		}
		if alarm == nil {
			alarm = time.NewTimer(wait)
			defer alarm.Stop()
		} else {
			alarm.Reset(wait)
		}
		select {
		case <-alarm.C:
		case <-ctx.Done():
		}
	}
}

// look takes the turn if it is there to be taken, or leaves the queue if ctx has ended. If
// not, it says when to look again: the first in line soon, the others in half of the time
// that those before them will take at least.
func (l *lane) look(ctx context.Context, t *laneTurn, before **laneTurn, seen *time.Time) (wait time.Duration, done bool) {
	lanes.mu.Lock()
	defer lanes.mu.Unlock()
	now := time.Now()
	if l.turn != *before || seen.IsZero() {
		*before, *seen = l.turn, now
	}
	place := slices.Index(l.queue, t)
	switch {
	case ctx.Err() != nil:
		l.queue = slices.Delete(l.queue, place, place+1)
		return 0, true
	case place == 0 && (l.turn == nil || now.Sub(*seen) >= longTurn):
		l.queue = slices.Delete(l.queue, 0, 1)
		l.turn, t.began = t, now
		return 0, true
	}
	return max(shortestLook, time.Duration(place)*min(l.took, usualTurn)/2), false
}

// leave ends the turn.
func (t *laneTurn) leave() {
	if t == nil {
		return
	}
	lanes.mu.Lock()
	defer lanes.mu.Unlock()
	l := t.lane
	if l.turn == t {
		l.turn, l.took = nil, time.Since(t.began)
	}
	if l.calls--; l.calls == 0 {
		delete(lanes.at, t.uid)
	}
}
