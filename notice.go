// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry/internal/funcname"
)

// noticeAfter is how long a call is queued before it says so.
const noticeAfter = time.Second

// notice publishes that a call is queued at its limiter, once it has been for a while. It is the
// context with which the call enters the limiter, which asks for its Done when the call begins
// to wait in the queue, and not before.
//
// The goroutine of the call waits in the limiter meanwhile. So a timer publishes the event, in a
// goroutine of its own that ends before the call goes on.
type notice struct {
	context.Context
	event   Event
	log     func(*Event)                 // nil for a line that is not written
	observe func(context.Context, Event) // nil for no Observer

	started   bool
	timer     *time.Timer
	published chan struct{}
	panicked  any
}

// Done implements [context.Context]. Only the goroutine of the call asks for it.
func (n *notice) Done() <-chan struct{} {
	if !n.started {
		n.started = true
		site, _ := funcname.Site()
		n.event.site = &site
		n.published = make(chan struct{})
		n.timer = time.AfterFunc(noticeAfter, n.publish)
	}
	return n.Context.Done()
}

func (n *notice) publish() {
	defer close(n.published)
	defer func() { n.panicked = recover() }()
	if n.log != nil {
		n.log(&n.event)
	}
	if n.observe != nil {
		n.observe(n.Context, n.event)
	}
}

// stop ends the timer, or waits for the event that it publishes. It returns with what an Observer
// has panicked.
func (n *notice) stop() any {
	n.started = true // from now on Done starts nothing
	if n.timer != nil && !n.timer.Stop() {
		<-n.published
	}
	return n.panicked
}
