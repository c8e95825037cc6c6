// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// maxKinds bounds the kinds that a Limiter remembers. Those used last are kept.
const maxKinds = 64

// Scope says what a limit applies to.
type Scope uint8

// The scopes, each within the next.
const (
	NoScope  Scope = iota
	OfKind         // requests of one kind
	OfLevel        // requests of one priority level
	OfServer       // all requests to the server
)

// scope is a part of the requests to a server, and its law.
type scope struct {
	law
	inFlight int    // attempts that the law has counted
	counted  bool   // in Limiter.unsettled
	limiting bool   // as was reported
	cut      uint32 // the epoch of the last change of the law: attempts that began before are no new sign
	cause    error  // of the last sign
}

// group is a scope of several parts: a level, whose parts are its kinds, or the server, whose
// parts are its levels, and the kinds whose level is not known.
type group struct {
	scope
	parts [2]part // of the failures since the last answer in good time
	whole bool    // the limits are for all of the group, not only for the kinds that fail
}

// part counts the failures of a part of a group.
type part struct {
	of       any
	failures int
}

// count counts a failure of a part.
func (g *group) count(of any) {
	if g.failures == 0 {
		g.parts = [2]part{}
	}
	for i := range g.parts {
		if p := &g.parts[i]; p.of == nil || p.of == of {
			p.of = of
			p.failures++
			return
		}
	}
}

// several reports whether several parts have failed: one failure may be an accident.
func (g *group) several() bool {
	return g.failures-max(g.parts[0].failures, g.parts[1].failures) >= 2
}

// limits reports whether the limits of a group apply to a kind.
func (g *group) limits(k *kind) bool { return g.active() && (g.whole || k.fails(g)) }

// level is a priority level of API Priority and Fairness.
type level struct {
	group
	uid   string
	kinds int // that belong to it
}

// kind is the smallest scope: requests that differ in the name of the object only.
type kind struct {
	scope
	key   uint64
	name  string // known once it has been limited
	level *level // nil if it is not known
	gone  bool   // it was forgotten
	usual latency
	slow  *slowness // nil if no answer was late; guarded by Limiter.mu

	levelUID atomic.Pointer[string] // of level, to be read without the lock

	fast   tally        // of attempts that began while nothing was limited: the limits do not count them
	newest atomic.Int64 // when the last of the attempts began that were answered in good time
	usedAt atomic.Int64

	queue queue
	marks [2]mark // for the rate of the successes
}

func (k *kind) fastInFlight() int { return max(0, int(int32(k.fast.sum()))) }
func (k *kind) successes() uint32 { return uint32(k.fast.sum() >> 32) }

// mark is the number of successes so far at a time.
type mark struct {
	at        time.Duration
	successes uint32
}

// rate is the number of successes per second of late, 0 if there was none.
func (k *kind) rate(now time.Duration) float64 {
	since := max(now-k.marks[0].at, time.Second)
	return float64(k.successes()-k.marks[0].successes) / since.Seconds()
}

// remember moves the marks, so that the older one is between a half and all of the time that
// counts old.
func (k *kind) remember(now time.Duration) {
	if now-k.marks[1].at >= recent/2 {
		k.marks[0], k.marks[1] = k.marks[1], mark{now, k.successes()}
	}
	if now-k.marks[0].at > recent { // nothing was in flight for some time
		k.marks[0] = k.marks[1]
	}
}

// fails reports whether the kind has failed since the trouble of a group began, and has not
// succeeded since.
func (k *kind) fails(g *group) bool {
	return k.failures > 0 && k.failedAt >= g.since
}

// idle reports whether the kind may be forgotten.
func (k *kind) idle() bool {
	return k.inFlight == 0 && k.queue.len == 0 && k.fastInFlight() == 0
}

// table finds kinds by their keys without a lock. Its size is a power of two, and at least a
// quarter of its slots are free.
type table []atomic.Pointer[kind]

func (t table) find(key uint64) *kind {
	for i := key; ; i++ {
		k := t[i&uint64(len(t)-1)].Load()
		if k == nil || k.key == key {
			return k
		}
	}
}

func newTable(kinds []*kind) *table {
	size := 2
	for size*3 < len(kinds)*4+4 {
		size *= 2
	}
	t := make(table, size)
	for _, k := range kinds {
		i := k.key
		for t[i&uint64(size-1)].Load() != nil {
			i++
		}
		t[i&uint64(size-1)].Store(k)
	}
	return &t
}

// kindOf returns the kind with a key, which may be new. l.mu is held.
func (l *Limiter) kindOf(key uint64, now time.Duration) *kind {
	if k := l.table.Load().find(key); k != nil {
		return k
	}
	if len(l.kinds) >= maxKinds && key != otherKinds {
		oldest := -1
		for i, k := range l.kinds {
			if k.idle() && !k.counted && (oldest < 0 || k.usedAt.Load() < l.kinds[oldest].usedAt.Load()) {
				oldest = i
			}
		}
		if oldest < 0 {
			return l.kindOf(otherKinds, now)
		}
		l.forget(oldest)
	}
	k := &kind{key: key}
	k.marks = [2]mark{{now, 0}, {now, 0}}
	l.kinds = append(l.kinds, k)
	l.table.Store(newTable(l.kinds))
	return k
}

// otherKinds is the key of the kind of all requests for which there is no room.
const otherKinds = 0

func (l *Limiter) forget(i int) {
	k := l.kinds[i]
	k.gone = true
	l.setLevel(k, nil)
	l.kinds = slices.Delete(l.kinds, i, i+1)
}

// setLevel records to which level a kind belongs.
func (l *Limiter) setLevel(k *kind, to *level) {
	if from := k.level; from != nil {
		if from.kinds--; from.kinds == 0 {
			from.law = law{}
			l.update(&from.scope, OfLevel, new(Change))
			l.levels = slices.DeleteFunc(l.levels, func(v *level) bool { return v == from })
		}
	}
	if k.level = to; to != nil {
		to.kinds++
	}
}

// learn records the level of a kind, as the server has told it.
func (l *Limiter) learn(key uint64, uid string) {
	k := l.table.Load().find(key)
	if k == nil {
		return // it was forgotten
	}
	if known := k.levelUID.Load(); known != nil && *known == uid {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.gone {
		return
	}
	i := slices.IndexFunc(l.levels, func(v *level) bool { return v.uid == uid })
	var v *level
	if i >= 0 {
		v = l.levels[i]
	} else {
		v = &level{uid: strings.Clone(uid)}
		l.levels = append(l.levels, v)
	}
	v.kinds++ // so that it stays if it is the level of the kind
	l.setLevel(k, v)
	v.kinds--
	k.levelUID.Store(&v.uid)
	l.dispatch(l.now())
}

// queued is the number of calls in the queues of a level, or of all if it is nil.
func (l *Limiter) queued(v *level) (n int) {
	for _, k := range l.kinds {
		if v == nil || k.level == v {
			n += k.queue.len
		}
	}
	return n
}

// inFlightIn is the number of attempts in flight of a level, or of all if it is nil.
func (l *Limiter) inFlightIn(v *level) (n int) {
	for _, k := range l.kinds {
		if v == nil || k.level == v {
			n += k.fastInFlight()
		}
	}
	if v == nil {
		return n + l.server.inFlight
	}
	return n + v.inFlight
}

// rateOf is the number of successes per second of a level, or of all if it is nil.
func (l *Limiter) rateOf(v *level, now time.Duration) (rate float64) {
	for _, k := range l.kinds {
		if v == nil || k.level == v {
			rate += k.rate(now)
		}
	}
	return rate
}
