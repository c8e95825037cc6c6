package k8sretry

import (
	"context"
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
type lane struct {
	line  line
	calls int       // that are in line or have had their turn
	turn  *laneTurn // whose it is, nil for nobody's
	since time.Time
}

// laneTurn is the place of one call in the lane of an object.
type laneTurn struct {
	uid  types.UID
	lane *lane
}

// longTurn is for how long a turn keeps the others waiting. To read and to write takes
// tens of milliseconds.
const longTurn = 2 * time.Second

// takeTurn waits for a turn on the object, or until ctx ends. The turn has to be left.
func takeTurn(ctx context.Context, uid types.UID) *laneTurn {
	lanes.mu.Lock()
	defer lanes.mu.Unlock()
	l := lanes.at[uid]
	if l == nil {
		l = new(lane)
		lanes.at[uid] = l
	}
	l.calls++
	t := &laneTurn{uid, l}
	if l.turn == nil && l.line.waiting == 0 {
		l.turn, l.since = t, time.Now()
		return t
	}
	w := l.line.join()
	alarm := time.NewTimer(longTurn)
	defer alarm.Stop()
	for ctx.Err() == nil {
		wait := longTurn
		if l.line.first == w {
			if wait -= time.Since(l.since); l.turn == nil || wait <= 0 {
				l.turn, l.since = t, time.Now()
				break
			}
		}
		alarm.Reset(wait)
		lanes.mu.Unlock()
		select {
		case <-w.poked:
		case <-alarm.C:
		case <-ctx.Done():
		}
		lanes.mu.Lock()
	}
	l.line.leave(w)
	return t
}

// leave ends the turn, or the wait for it.
func (t *laneTurn) leave() {
	if t == nil {
		return
	}
	lanes.mu.Lock()
	defer lanes.mu.Unlock()
	l := t.lane
	if l.turn == t {
		l.turn = nil
		l.line.poke()
	}
	if l.calls--; l.calls == 0 {
		delete(lanes.at, t.uid)
	}
}
