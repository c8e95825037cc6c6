// SPDX-License-Identifier: Apache-2.0

// Package attemptctx provides the context of one attempt with a timeout.
//
// It differs from context.WithTimeout in two ways. Its timeout can be removed without
// cancelling the context: what a successful attempt has opened, such as a watch or a log
// stream, continues to use the context after the call has returned. And the parent refers
// to it by a weak pointer only, so that a parent that lives as long as the process does
// not retain the contexts of past attempts. The price is that a goroutine which keeps only
// the channel of Done, and not the context, may miss the end of the parent.
package attemptctx

import (
	"context"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// Context is the context of an attempt. Use [New] to create one and [Context.End] when the
// attempt has returned.
type Context struct {
	inner    context.Context // values of the parent, and the cause; ignores the parent's cancellation
	cancel   context.CancelCauseFunc
	parent   context.Context
	deadline time.Time   // zero without a timeout
	timer    *time.Timer // nil without a timeout
	ref      *ref
	unlink   func() bool // stops following the parent
	done     chan struct{}

	mu        sync.Mutex
	err       error // set once
	ended     bool  // End was called
	timedOut  bool
	followers int // contexts derived from this one, and AfterFuncs
}

// ref is what the parent refers to in addition to a weak pointer. It retains the Context
// while there are followers, which the end of the parent has to reach.
type ref struct{ strong *Context }

// New returns a context with the values of parent that ends when parent ends, and after
// timeout unless End was called before. A timeout of 0 is none.
func New(parent context.Context, timeout time.Duration) *Context {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	c := &Context{
		inner: inner, cancel: cancel, parent: parent, ref: new(ref), done: make(chan struct{}),
	}
	weakly, ref := weak.Make(c), c.ref
	c.unlink = context.AfterFunc(follow(parent), func() {
		if c := weakly.Value(); c != nil {
			c.finish(ctxerr.Of(c.parent), context.Cause(c.parent), false)
		}
		runtime.KeepAlive(ref)
	})
	runtime.AddCleanup(c, func(unlink func() bool) { unlink() }, c.unlink)
	if timeout != 0 {
		c.deadline = time.Now().Add(timeout)
		c.timer = time.AfterFunc(timeout, func() { c.finish(context.DeadlineExceeded, context.DeadlineExceeded, true) })
	}
	return c
}

// key is the key under which a Context returns itself.
type key struct{}

// follow returns the context whose end New follows for the given parent: the nearest
// Context above it if both end at the same time, else parent itself. For a foreign type of
// context, and for one that only adds values to a Context, package context starts a
// goroutine; for a Context it uses the AfterFunc method.
func follow(parent context.Context) context.Context {
	if above, ok := parent.Value(key{}).(*Context); ok && above.Done() == parent.Done() {
		return above
	}
	return ctxerr.Parent(parent)
}

// Value implements [context.Context].
func (c *Context) Value(k any) any {
	if k == (key{}) {
		return c
	}
	return c.inner.Value(k)
}

// finish ends the context with err and cause. Only the first call has an effect, and a
// timeout has none after End.
func (c *Context) finish(err, cause error, timeout bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || timeout && c.ended {
		return
	}
	c.err, c.timedOut, c.ref.strong = err, timeout, nil
	c.cancel(cause)
	close(c.done)
}

// End ends the attempt and reports whether its timeout had expired. After a success the
// context continues without a timeout, until its parent ends; otherwise End cancels it.
func (c *Context) End(success bool) (timedOut bool) {
	c.mu.Lock()
	c.ended, timedOut = true, c.timedOut
	c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	if !success {
		c.Cancel()
	}
	return timedOut
}

// Cancel cancels the context and removes it from its parent.
func (c *Context) Cancel() {
	c.unlink()
	c.finish(context.Canceled, context.Canceled, false)
}

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} { return c.done }

// AfterFunc registers f like [context.AfterFunc] does. Package context calls it to let a
// derived context follow this one. It keeps the context reachable from its parent as long
// as there are followers.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stopInner := context.AfterFunc(c.inner, f)
	if c.err == nil {
		c.followers++
		c.ref.strong = c
	}
	return func() bool {
		if !stopInner() {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.followers--; c.followers == 0 {
			c.ref.strong = nil
		}
		return true
	}
}

// Deadline returns the earlier of the attempt's and the parent's deadline during the
// attempt, and the parent's after it.
func (c *Context) Deadline() (time.Time, bool) {
	deadline, ok := c.parent.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.timer == nil || ok && deadline.Before(c.deadline) {
		return deadline, ok
	}
	return c.deadline, true
}

// Err returns context.DeadlineExceeded after the timeout, and the parent's error after the
// end of the parent. It does not wait for the AfterFunc of the parent, which runs in a
// goroutine of its own.
func (c *Context) Err() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := ctxerr.Of(c.parent); err != nil {
		c.finish(err, context.Cause(c.parent), false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// String names the option that creates the context, for the text of derived contexts.
func (c *Context) String() string { return "k8sretry.WithAttemptTimeout" }
