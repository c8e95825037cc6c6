// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// fixedNames plans creates. One name in 20 belongs to an object of another client.
func fixedNames(r *run) *plan {
	foreign := func(i int) bool { return oneIn(i, 20, 7) }
	return &plan{
		before: func(ctx context.Context) error {
			objects := make([]*corev1.ConfigMap, r.Ops)
			for i := range objects {
				if foreign(i) {
					objects[i] = object(name("fixed", i), "by", "other")
				}
			}
			return r.create(ctx, objects)
		},
		call: func(ctx context.Context, i int) error {
			return r.caller.Create(ctx, r.maps, object(name("fixed", i), "by", strconv.Itoa(i)))
		},
		expected: func(i int) func(error) bool {
			if foreign(i) {
				// The objects are too young to be certainly of another client.
				return apierrors.IsAlreadyExists
			}
			return nil
		},
		effect: createdBy,
	}
}

// createdBy reports how many objects call i has created.
func createdBy(i int, h history, _ int) (bool, int) {
	n := h.created(func(c change) bool { return c.data["by"] == strconv.Itoa(i) })
	return n > 0, n
}

func generatedNames(r *run) *plan {
	return &plan{
		before: r.settle,
		call: func(ctx context.Context, i int) error {
			m := object("", "by", strconv.Itoa(i))
			m.GenerateName = "generated-"
			return r.caller.Create(ctx, r.maps, m)
		},
		effect: createdBy,
	}
}

// deletes plans deletions of objects. The recreator, or else another client for every fourth
// object, creates them again as soon as they are gone. One object in 20 has been deleted
// before, and, without companions, every second of these created again.
func deletes(r *run) *plan {
	targets := make([]*corev1.ConfigMap, r.Ops)
	recreated := func(i int) bool { return oneIn(i, 4, 1) && !oneIn(i, 20, 7) }
	return &plan{
		ambiguous: true,
		before: func(ctx context.Context) error {
			for i := range targets {
				targets[i] = object(name("targets", i), "i", strconv.Itoa(i))
			}
			if err := r.create(ctx, targets); err != nil {
				return err
			}
			for i := 7; i < r.Ops; i += 20 {
				if err := r.direct.Delete(ctx, targets[i].Name, metav1.DeleteOptions{}); err != nil {
					return err
				}
				if oneIn(i, 40, 7) && !r.Companions {
					if _, err := r.direct.Create(ctx, object(targets[i].Name, "again", "true"), metav1.CreateOptions{}); err != nil {
						return err
					}
				}
			}
			return r.settle(ctx)
		},
		react: func(ctx context.Context, c change) {
			if i, err := strconv.Atoi(c.data["i"]); !r.Companions && c.EventType == watch.Deleted && err == nil && recreated(i) {
				_, _ = r.direct.Create(ctx, object(c.GetName(), "again", "true"), metav1.CreateOptions{})
			}
		},
		call: func(ctx context.Context, i int) error { return r.caller.Delete(ctx, r.maps, targets[i]) },
		expected: func(i int) func(error) bool {
			switch {
			case oneIn(i, 20, 7) && r.Companions, oneIn(i, 40, 7):
				return certain(apierrors.IsConflict)
			case oneIn(i, 20, 7):
				return certain(apierrors.IsNotFound)
			}
			return nil
		},
		effect: func(i int, h history, _ int) (bool, int) {
			deleted := h.deleted(targets[i].Name)
			return deleted[targets[i].UID] || oneIn(i, 20, 7), len(deleted)
		},
	}
}

// updates plans updates of objects. One object in 20 has been updated before. Another client updates
// every fourth object as soon as it is updated, and recreates one in eight.
func updates(r *run) *plan {
	read := make([]*corev1.ConfigMap, r.Ops)
	outdated := func(i int) bool { return oneIn(i, 20, 3) }
	return &plan{
		before: func(ctx context.Context) error {
			for i := range read {
				read[i] = object(name("updated", i), "i", strconv.Itoa(i), "by", "none")
			}
			if err := r.create(ctx, read); err != nil {
				return err
			}
			return r.outdate(ctx, read, outdated)
		},
		react: r.writeAfterCaller,
		call: func(ctx context.Context, i int) error {
			m := read[i].DeepCopy()
			m.Data["by"] = "caller"
			return r.caller.Update(ctx, r.maps, m)
		},
		expected: func(i int) func(error) bool {
			if outdated(i) {
				return certain(apierrors.IsConflict)
			}
			return nil
		},
		effect: func(i int, h history, done int) (bool, int) {
			n := h.written(read[i].Name, "caller")
			return n > 0, max(n, done)
		},
	}
}
