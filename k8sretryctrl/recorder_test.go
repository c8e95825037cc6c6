package k8sretryctrl_test

import (
	"context"
	"slices"
	"sync"

	"github.com/k8sretry/k8sretry"
)

// recorder keeps the events of calls.
type recorder struct {
	mu     sync.Mutex
	events []k8sretry.Event
}

func (r *recorder) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []k8sretry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}
