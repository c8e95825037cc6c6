// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8sretry/k8sretry"
)

// Recorder is a [k8sretry.Observer] that stores the events of calls:
//
//	var recorder k8sretrytest.Recorder
//	err := service.Scale(ctx, k8sretry.WithObserver(&recorder))
//	recorder.AssertRetried(t, 2)
//
// The zero Recorder is ready to use. It is safe for concurrent use and must not be
// copied.
type Recorder struct {
	mu     sync.Mutex
	events []k8sretry.Event
}

// Observe stores an event. It implements [k8sretry.Observer].
func (r *Recorder) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns a copy of all events in the order of their arrival.
func (r *Recorder) Events() []k8sretry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Last returns the latest event, or the zero Event if there is none.
func (r *Recorder) Last() k8sretry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return k8sretry.Event{}
	}
	return r.events[len(r.events)-1]
}

// Retries returns the number of retries of all calls.
func (r *Recorder) Retries() int { return len(r.Delays()) }

// Delays returns the delays before the retries of all calls, in order.
func (r *Recorder) Delays() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var delays []time.Duration
	for _, e := range r.events {
		if e.Kind == k8sretry.EventRetry {
			delays = append(delays, e.Delay)
		}
	}
	return delays
}

// AssertRetried reports whether the calls had exactly n retries. If not, it fails the
// test with a message that lists the latest events; the test continues.
func (r *Recorder) AssertRetried(t testing.TB, n int) bool {
	t.Helper()
	if got := r.Retries(); got != n {
		t.Errorf("retries: %d, want %d%s", got, n, r.latest())
		return false
	}
	return true
}

// AssertSucceeded reports whether the last call has succeeded, with or without retries.
// If not, it fails the test like [Recorder.AssertRetried].
func (r *Recorder) AssertSucceeded(t testing.TB) bool {
	t.Helper()
	if len(r.Events()) == 0 || r.Last().Kind != k8sretry.EventSuccess {
		t.Errorf("the last call has not succeeded%s", r.latest())
		return false
	}
	return true
}

// AssertStopped reports whether the last call has failed with the given stop reason. If
// not, it fails the test like [Recorder.AssertRetried].
func (r *Recorder) AssertStopped(t testing.TB, want k8sretry.StopReason) bool {
	t.Helper()
	if e := r.Last(); e.Kind != k8sretry.EventFailure || e.StopReason != want {
		t.Errorf("the last call has not stopped with %v%s", want, r.latest())
		return false
	}
	return true
}

// latest formats the latest events for the message of an assertion, one per line.
func (r *Recorder) latest() string {
	const limit = 20
	events := r.Events()
	if len(events) == 0 {
		return ": no event was recorded; is the Recorder passed to k8sretry.WithObserver?"
	}
	var b strings.Builder
	b.WriteString(":")
	if skip := len(events) - limit; skip > 0 {
		fmt.Fprintf(&b, "\n  (%d earlier events)", skip)
		events = events[skip:]
	}
	for _, e := range events {
		fmt.Fprintf(&b, "\n  %s attempt %d: %s", e.Function, e.Attempt, describe(e))
	}
	return b.String()
}

func describe(e k8sretry.Event) string {
	switch e.Kind {
	case k8sretry.EventRetry:
		return fmt.Sprintf("%v, retry in %v: %v", e.Class, e.Delay, e.Err)
	case k8sretry.EventSuccess:
		return "success"
	case k8sretry.EventBreaker, k8sretry.EventLimiter, k8sretry.EventQueued:
		return fmt.Sprintf("%s: %v", e.Name(), e.Err)
	default:
		return fmt.Sprintf("%v, stopped (%v): %v", e.Class, e.StopReason, e.Err)
	}
}
