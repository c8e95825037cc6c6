package storm

import (
	"context"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

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
				return certain(apierrors.IsAlreadyExists)
			}
			return nil
		},
		effect: func(i int, stored map[string]corev1.ConfigMap, _ []watch.Event) (bool, int) {
			if stored[name("fixed", i)].Data["by"] == strconv.Itoa(i) {
				return true, 1
			}
			return false, 0
		},
	}
}

func generatedNames(r *run) *plan {
	return &plan{
		call: func(ctx context.Context, i int) error {
			m := object("", "by", strconv.Itoa(i))
			m.GenerateName = "generated-"
			return r.caller.Create(ctx, r.maps, m)
		},
		effect: func(i int, stored map[string]corev1.ConfigMap, _ []watch.Event) (bool, int) {
			n := 0
			for _, m := range stored {
				if m.Data["by"] == strconv.Itoa(i) {
					n++
				}
			}
			return n > 0, n
		},
	}
}

// deletes plans deletions of objects. Another client recreates every fourth object as soon as it is
// deleted. One object in 20 has been deleted before, and every second of these recreated.
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
				if oneIn(i, 40, 7) {
					if _, err := r.direct.Create(ctx, object(targets[i].Name, "again", "true"), metav1.CreateOptions{}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		react: func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) {
			if i, err := strconv.Atoi(m.Data["i"]); event.Type == watch.Deleted && err == nil && recreated(i) {
				_, _ = r.direct.Create(ctx, object(m.Name, "again", "true"), metav1.CreateOptions{})
			}
		},
		call: func(ctx context.Context, i int) error { return r.caller.Delete(ctx, r.maps, targets[i]) },
		expected: func(i int) func(error) bool {
			switch {
			case oneIn(i, 40, 7):
				return certain(apierrors.IsConflict)
			case oneIn(i, 40, 27):
				return certain(apierrors.IsNotFound)
			}
			return nil
		},
		effect: func(i int, stored map[string]corev1.ConfigMap, changes []watch.Event) (bool, int) {
			n := 0
			for _, event := range changes {
				if m := event.Object.(*corev1.ConfigMap); event.Type == watch.Deleted && m.Name == targets[i].Name {
					n++
				}
			}
			return stored[targets[i].Name].UID != targets[i].UID, n
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
			for i := range read {
				if outdated(i) {
					m := read[i].DeepCopy()
					m.Data["by"] = "other"
					if _, err := r.direct.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		react: func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) {
			i, err := strconv.Atoi(m.Data["i"])
			if err != nil || event.Type != watch.Modified || m.Data["by"] != "caller" {
				return
			}
			switch {
			case oneIn(i, 4, 1):
				m = m.DeepCopy()
				m.Annotations, m.Data["by"] = nil, "other, later"
				_, _ = r.direct.Update(ctx, m, metav1.UpdateOptions{})
			case oneIn(i, 8, 2):
				if r.direct.Delete(ctx, m.Name, metav1.DeleteOptions{}) == nil {
					_, _ = r.direct.Create(ctx, object(m.Name, "by", "other, later"), metav1.CreateOptions{})
				}
			}
		},
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
		effect: func(i int, _ map[string]corev1.ConfigMap, changes []watch.Event) (bool, int) {
			n := 0
			for _, event := range changes {
				if m := event.Object.(*corev1.ConfigMap); event.Type == watch.Modified && m.Name == read[i].Name && m.Data["by"] == "caller" {
					n++
				}
			}
			return n > 0, n
		},
	}
}
