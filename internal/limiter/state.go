// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"strings"
	"time"
)

// State is a scope at one moment.
type State struct {
	Scope    Scope
	Name     string // of a kind, or the UID of a level
	Limited  bool
	Limit    int // of attempts in flight; 0 if there is none
	InFlight int
	Queued   int
	Pause    time.Duration // until the next attempt may start
	Rate     float64       // attempts per second; 0 if there is no such limit
	Cause    error
}

// State returns the state of the server, and that of each scope that limits attempts.
func (l *Limiter) State() (server State, limited []State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	server = l.server.state(OfServer, "", now)
	server.InFlight, server.Queued = l.inFlightIn(nil), l.queued(nil)
	if server.Limited {
		limited = append(limited, server)
	}
	for _, v := range l.levels {
		if v.active() {
			s := v.state(OfLevel, v.uid, now)
			s.InFlight, s.Queued = l.inFlightIn(v), l.queued(v)
			limited = append(limited, s)
		}
	}
	for _, k := range l.kinds {
		if k.active() {
			s := k.state(OfKind, k.name, now)
			s.InFlight, s.Queued = k.inFlight+k.fastInFlight(), k.queue.len
			limited = append(limited, s)
		}
	}
	return server, limited
}

func (sc *scope) state(scope Scope, name string, now time.Duration) State {
	s := State{Scope: scope, Name: name, Limited: sc.active(), Limit: int(sc.limitNow(now)), Pause: max(0, sc.next-now), Cause: sc.cause}
	if sc.gap > 0 {
		s.Rate = 1 / sc.gapNow(now).Seconds()
	}
	return s
}

// why returns the scope that limits a kind most, the rest of the pause, and the last error that
// was a sign of its trouble.
func (l *Limiter) why(key uint64) (most Scope, pause time.Duration, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	k := l.table.Load().find(key)
	if k == nil {
		return NoScope, 0, nil
	}
	longest := time.Duration(-1)
	consider := func(sc *scope, of Scope) {
		if w := sc.start(now, sc.inFlight); sc.active() && w > longest {
			most, longest, cause = of, w, sc.cause
		}
		pause = max(pause, sc.next-now)
	}
	consider(&k.scope, OfKind)
	if v := k.level; v != nil && v.limits(k) {
		consider(&v.scope, OfLevel)
	}
	if l.server.limits(k) {
		consider(&l.server.scope, OfServer)
	}
	return most, pause, cause
}

// setName gives a name to a kind.
func (l *Limiter) setName(key uint64, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.table.Load().find(key); k != nil && k.name == "" {
		k.name = strings.Clone(name)
	}
}
