// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"context"
	"sync/atomic"
	"time"
)

// Place is what an attempt holds that the laws count. A call within the attempt uses it instead
// of a place of its own: otherwise it could wait for the end of the attempt that waits for it.
// It is guarded by Limiter.mu.
type Place struct {
	limiter *Limiter
	kind    *kind
	level   *level // nil if it was not known
	outer   *Place // that it uses, nil if it holds a place of its own
	epoch   uint32 // of the Limiter
	beside  int    // other attempts of the kind in flight at its beginning
	ended   bool
	ridden  bool // a call within the attempt uses it

	around *Place       // of the attempt around it, at whichever Limiter; nil if there is none
	waited atomic.Int64 // how long calls within the attempt have waited: that says nothing about its server
}

// placeKey finds the place of the innermost attempt that a context belongs to.
type placeKey struct{}

// Context is a context that holds a place.
type Context struct {
	context.Context
	place *Place
}

// WithPlace returns a context that holds a place.
func WithPlace(ctx context.Context, p *Place) *Context { return &Context{ctx, p} }

// Value returns the place for its key.
func (c *Context) Value(key any) any {
	if key == (placeKey{}) {
		return c.place
	}
	return c.Context.Value(key)
}

// placeIn returns the place that a context holds, at whichever Limiter, nil if none.
func placeIn(ctx context.Context) *Place {
	p, _ := ctx.Value(placeKey{}).(*Place)
	return p
}

// Waits records that a call with this context waits between two attempts.
func Waits(ctx context.Context, d time.Duration) { placeIn(ctx).waits(d) }

// waits records that a call within an attempt waits.
func (p *Place) waits(d time.Duration) {
	for ; p != nil; p = p.around {
		p.waited.Add(int64(d))
	}
}

// rides reports whether a call can use the place of the attempt around it now.
func (w *Waiter) rides() bool { return w.outer != nil && !w.outer.ended && !w.outer.ridden }

// takes is 1 if the place counts for a kind, so that its rider need not.
func (p *Place) takes(k *kind) int {
	for ; p != nil; p = p.outer {
		if p.kind == k {
			return 1
		}
	}
	return 0
}

func (p *Place) takesLevel(v *level) int {
	for ; p != nil; p = p.outer {
		if p.level == v {
			return 1
		}
	}
	return 0
}

func (p *Place) takesServer() int {
	if p != nil {
		return 1
	}
	return 0
}

// admit counts an attempt as in flight. l.mu is held.
func (l *Limiter) admit(w *Waiter, now time.Duration) Ticket {
	k := w.kind
	p := &Place{limiter: l, kind: k, level: k.level, epoch: l.epoch, beside: k.inFlight + k.fastInFlight(), around: w.around}
	if w.rides() {
		p.outer = w.outer
		p.outer.ridden = true
		l.riders++
	}
	p.add(1)
	k.started(now)
	if k.level != nil {
		k.level.started(now)
	}
	l.server.started(now)
	return Ticket{kind: k, began: now, place: p}
}

// add counts a place in the scopes in which no attempt around it counts.
func (p *Place) add(n int) {
	if p.outer.takes(p.kind) == 0 {
		p.kind.inFlight += n
	}
	if p.level != nil && p.outer.takesLevel(p.level) == 0 {
		p.level.inFlight += n
	}
	if p.outer == nil {
		p.limiter.server.inFlight += n
	}
}

// release gives back what an attempt holds. l.mu is held.
func (l *Limiter) release(t Ticket, healthy bool) {
	delta := int64(0)
	if healthy {
		delta = oneSuccess
	}
	p := t.place
	if p == nil {
		t.kind.fast.add(delta - 1)
		return
	}
	t.kind.fast.add(delta)
	p.ended = true
	p.add(-1)
	if p.outer != nil {
		p.outer.ridden = false
		l.riders--
	}
}
