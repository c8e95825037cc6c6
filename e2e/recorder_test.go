package e2e_test

import (
	"context"
	"sync"

	"github.com/k8sretry/k8sretry"
)

// recorder records the events of calls.
type recorder struct {
	mu     sync.Mutex
	events []k8sretry.Event
}

func (r *recorder) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// all returns the events of one kind.
func (r *recorder) all(kind k8sretry.EventKind) (events []k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

// classes counts the retries by the class of their failure.
func (r *recorder) classes() map[k8sretry.Class]int {
	n := map[k8sretry.Class]int{}
	for _, e := range r.all(k8sretry.EventRetry) {
		n[e.Class]++
	}
	return n
}
