package k8sretry

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
	"weak"
)

// attemptContext is the context of one attempt with a timeout. It differs from
// context.WithTimeout in one thing: the timeout can be taken off without cancelling,
// because what a successful attempt has opened (a watch, a log stream) lives on this
// context.
type attemptContext struct {
	context.Context // detached from the caller's cancellation, cancelled by cancel
	cancel          context.CancelCauseFunc
	parent          context.Context
	deadline        time.Time
	timer           *time.Timer
	unlink          func() bool // stops following the parent
	state           atomic.Int32
}

// The states of an attemptContext.
const (
	attemptRunning  int32 = iota
	attemptTimedOut       // the timer was first
	attemptOver           // fn has returned
)

func newAttemptContext(parent context.Context, timeout time.Duration) *attemptContext {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	c := &attemptContext{Context: inner, cancel: cancel, parent: parent, deadline: time.Now().Add(timeout)}
	// The parent must not keep the attempt alive: a caller may make millions of calls
	// under one context that ends with the process. So it holds a weak pointer, and
	// the link goes when the attempt's context is garbage.
	self := weak.Make(c)
	c.unlink = context.AfterFunc(parent, func() {
		if c := self.Value(); c != nil {
			c.cancel(context.Cause(c.parent))
		}
	})
	runtime.AddCleanup(c, func(unlink func() bool) { unlink() }, c.unlink)
	c.timer = time.AfterFunc(timeout, func() {
		if c.state.CompareAndSwap(attemptRunning, attemptTimedOut) {
			c.cancel(context.DeadlineExceeded)
		}
	})
	return c
}

// end is called when fn is done, however it ended, and reports whether the timeout
// had ended the attempt. After a success the context goes on without a timeout.
func (c *attemptContext) end(success bool) (timedOut bool) {
	timedOut = !c.state.CompareAndSwap(attemptRunning, attemptOver)
	c.timer.Stop()
	if !success {
		c.unlink()
		c.cancel(context.Canceled)
	}
	return timedOut
}

// Deadline returns the earlier of the attempt's and the caller's deadline while the
// attempt runs, afterwards the caller's.
func (c *attemptContext) Deadline() (time.Time, bool) {
	deadline, ok := c.parent.Deadline()
	if c.state.Load() == attemptOver || ok && deadline.Before(c.deadline) {
		return deadline, ok
	}
	return c.deadline, true
}

// Err tells a timeout by its name and an end of the caller's context by the
// caller's; the inner context knows only that it was cancelled.
func (c *attemptContext) Err() error {
	switch {
	case c.Context.Err() == nil:
		return nil
	case c.state.Load() == attemptTimedOut:
		return context.DeadlineExceeded
	case c.parent.Err() != nil:
		return c.parent.Err()
	}
	return c.Context.Err()
}
