// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// evictions plans evictions of pods that no node has, so that the server deletes them at
// once. The recreator creates them again. One pod in 20 has been deleted before: nothing is
// left to evict, and the call may say so or succeed.
func evictions(r *run) *plan {
	targets := make([]*corev1.Pod, r.Ops)
	gone := func(i int) bool { return oneIn(i, 20, 7) }
	return &plan{
		pods: true,
		before: func(ctx context.Context) error {
			for i := range targets {
				targets[i] = pod(name("targets", i))
			}
			if err := createAll(ctx, r, r.directPods, targets); err != nil {
				return err
			}
			for i := 7; i < r.Ops; i += 20 {
				if err := r.directPods.Delete(ctx, targets[i].Name, metav1.DeleteOptions{}); err != nil {
					return err
				}
			}
			return r.settle(ctx)
		},
		call: func(ctx context.Context, i int) error { return r.caller.Evict(ctx, r.pods, targets[i]) },
		expected: func(i int) func(error) bool {
			if gone(i) {
				return certain(func(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) })
			}
			return nil
		},
		noEffect: true,
		effect: func(i int, h history, _ int) (bool, int) {
			evicted := h.deleted(targets[i].Name)
			return evicted[targets[i].UID] || gone(i), len(evicted)
		},
	}
}
