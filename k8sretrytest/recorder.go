package k8sretrytest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/k8sretry/k8sretry"
)

// Recorder keeps the events of the calls that it observes:
//
//	var recorder k8sretrytest.Recorder
//	err := service.Scale(ctx, k8sretry.WithObserver(&recorder))
//	recorder.AssertRetried(t, 2)
//
// The zero Recorder is ready. It is safe for concurrent use, and must not be copied.
type Recorder struct {
	mu     sync.Mutex
	events []k8sretry.Event
}

// Observe keeps an event. It makes the Recorder a [k8sretry.Observer].
func (r *Recorder) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events are all events so far, in the order in which they came.
func (r *Recorder) Events() []k8sretry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Last is the latest event, the zero Event if there was none.
func (r *Recorder) Last() k8sretry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return k8sretry.Event{}
	}
	return r.events[len(r.events)-1]
}

// Retries is how many attempts were repeated, over all calls.
func (r *Recorder) Retries() int { return len(r.Delays()) }

// Delays are the waits before the retries, in order.
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

// AssertRetried fails the test if not exactly n attempts were repeated, and tells
// why the last ones were. It reports whether that is so, and lets the test go on.
func (r *Recorder) AssertRetried(t testing.TB, n int) bool {
	t.Helper()
	if got := r.Retries(); got != n {
		t.Errorf("retries: %d, want %d%s", got, n, r.story())
		return false
	}
	return true
}

// AssertSucceeded fails the test if the last call has not succeeded, at once or after
// retries. It reports whether it has, and lets the test go on.
func (r *Recorder) AssertSucceeded(t testing.TB) bool {
	t.Helper()
	if len(r.Events()) == 0 || r.Last().Kind != k8sretry.EventSuccess {
		t.Errorf("the last call has not succeeded%s", r.story())
		return false
	}
	return true
}

// AssertStopped fails the test if the last call has not ended for the reason given.
// It reports whether it has, and lets the test go on.
func (r *Recorder) AssertStopped(t testing.TB, want k8sretry.StopReason) bool {
	t.Helper()
	if e := r.Last(); e.Kind != k8sretry.EventFailure || e.StopReason != want {
		t.Errorf("the last call has not stopped with %v%s", want, r.story())
		return false
	}
	return true
}
