package k8sretry

import (
	"context"
	"runtime"
	"sync"
	"time"
	"weak"
)

// attemptContext is the context of one attempt with a timeout. It differs from
// context.WithTimeout in one thing: the timeout can be taken off without cancelling,
// because what a successful attempt has opened (a watch, a log stream) lives on this
// context.
type attemptContext struct {
	context.Context // values and cause; detached from the caller's cancellation
	cancel          context.CancelCauseFunc
	parent          context.Context
	deadline        time.Time
	timer           *time.Timer
	link            *link
	unlink          func() bool // stops following the parent
	done            chan struct{}

	mu        sync.Mutex
	err       error // set once
	over      bool  // fn has returned
	timedOut  bool
	followers int // contexts derived from this one, and AfterFuncs
}

// link is what the parent holds: a weak pointer, because a caller may make millions
// of calls under one context that ends with the process, and a strong one while
// somebody follows the attempt's context.
type link struct{ strong *attemptContext }

func newAttemptContext(parent context.Context, timeout time.Duration) *attemptContext {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	c := &attemptContext{
		Context: inner, cancel: cancel, parent: parent, deadline: time.Now().Add(timeout), link: new(link), done: make(chan struct{}),
	}
	self, held := weak.Make(c), c.link
	c.unlink = context.AfterFunc(attemptAbove(parent), func() {
		if c := self.Value(); c != nil {
			c.finish(c.parent.Err(), context.Cause(c.parent), false)
		}
		runtime.KeepAlive(held)
	})
	runtime.AddCleanup(c, func(unlink func() bool) { unlink() }, c.unlink)
	c.timer = time.AfterFunc(timeout, func() { c.finish(context.DeadlineExceeded, context.DeadlineExceeded, true) })
	return c
}

// attemptKey is for what finds the context of an attempt above others.
type attemptKey struct{}

// attemptAbove is the context of an attempt that ends when ctx does, if there is one: for a
// context with nothing but values on top of it, package context would start a goroutine
// that waits for its end.
func attemptAbove(ctx context.Context) context.Context {
	if above, ok := ctx.Value(attemptKey{}).(*attemptContext); ok && above.Done() == ctx.Done() {
		return above
	}
	return ctx
}

func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// finish ends the context; the first to come names the reason, for good.
func (c *attemptContext) finish(err, cause error, timeout bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || timeout && c.over {
		return
	}
	c.err, c.timedOut, c.link.strong = err, timeout, nil
	c.cancel(cause)
	close(c.done)
}

// end is called when fn is done, however it ended, and reports whether the timeout
// had ended the attempt. After a success the context goes on without a timeout.
func (c *attemptContext) end(success bool) (timedOut bool) {
	c.mu.Lock()
	c.over, timedOut = true, c.timedOut
	c.mu.Unlock()
	c.timer.Stop()
	if !success {
		c.unlink()
		c.finish(context.Canceled, context.Canceled, false)
	}
	return timedOut
}

func (c *attemptContext) Done() <-chan struct{} { return c.done }

// AfterFunc is how package context follows a context that is none of its own. It
// shows who still listens.
func (c *attemptContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stopInner := context.AfterFunc(c.Context, f)
	if c.err == nil {
		c.followers++
		c.link.strong = c
	}
	return func() bool {
		if !stopInner() {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.followers--; c.followers == 0 {
			c.link.strong = nil
		}
		return true
	}
}

// Deadline returns the earlier of the attempt's and the caller's deadline while the
// attempt runs, afterwards the caller's.
func (c *attemptContext) Deadline() (time.Time, bool) {
	deadline, ok := c.parent.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || ok && deadline.Before(c.deadline) {
		return deadline, ok
	}
	return c.deadline, true
}

// Err tells a timeout by its name and an end of the caller's context by the
// caller's, at once: the caller's AfterFunc runs in a goroutine of its own.
func (c *attemptContext) Err() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if c.parent.Err() != nil {
		c.finish(c.parent.Err(), context.Cause(c.parent), false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *attemptContext) String() string { return "k8sretry.WithAttemptTimeout" }
