// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// recorder records the events of calls.
type recorder struct{ k8sretrytest.Recorder }

// all returns the events of one kind.
func (r *recorder) all(kind k8sretry.EventKind) (events []k8sretry.Event) {
	for _, e := range r.Events() {
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
