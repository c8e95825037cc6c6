package storm

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// modifies increments 16 counters. Each call also increments its own key, which shows how
// often it was carried out. One call in 20 has at least one conflict with another client.
// Another client writes every fourth counter after each change. One call in 20 is for a
// missing object.
func modifies(r *run) *plan {
	const counters = 16
	missing := func(i int) bool { return oneIn(i, 20, 13) }
	return &plan{
		before: func(ctx context.Context) error {
			objects := make([]*corev1.ConfigMap, counters)
			for i := range objects {
				objects[i] = object(name("counter", i), "n", "0", "c", strconv.Itoa(i))
			}
			return r.create(ctx, objects)
		},
		react: func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) {
			if i, err := strconv.Atoi(m.Data["c"]); err != nil || !oneIn(i, 4, 1) || event.Type != watch.Modified || m.Data["noticed"] == m.Data["n"] {
				return
			}
			m = m.DeepCopy()
			m.Annotations, m.Data["noticed"] = nil, m.Data["n"]
			_, _ = r.direct.Update(ctx, m, metav1.UpdateOptions{}) // conflicts are ignored
		},
		call: func(ctx context.Context, i int) error {
			counter, first := name("counter", i%counters), true
			if missing(i) {
				counter = name("missing", i)
			}
			return r.caller.Modify(ctx, r.maps, counter, func(m *corev1.ConfigMap) error {
				if first && oneIn(i, 20, 3) {
					if err := r.touch(ctx, counter); err != nil {
						return fmt.Errorf("touch: %w", err)
					}
				}
				first = false
				for _, key := range []string{"n", name("by", i)} {
					n, _ := strconv.Atoi(m.Data[key])
					m.Data[key] = strconv.Itoa(n + 1)
				}
				return nil
			})
		},
		expected: func(i int) func(error) bool {
			if missing(i) {
				return certain(apierrors.IsNotFound)
			}
			return nil
		},
		effect: func(i int, stored map[string]corev1.ConfigMap, _ []watch.Event) (bool, int) {
			if missing(i) {
				return false, 0
			}
			data := stored[name("counter", i%counters)].Data
			n, _ := strconv.Atoi(data[name("by", i)])
			return n > 0 && consistent(data), n
		},
	}
}

// consistent reports whether a counter is the sum of the keys of all calls.
func consistent(data map[string]string) bool {
	sum := 0
	for key, value := range data {
		if len(key) > 3 && key[:3] == "by-" {
			n, _ := strconv.Atoi(value)
			sum += n
		}
	}
	return data["n"] == strconv.Itoa(sum)
}

// touch changes an object to cause a conflict.
func (r *run) touch(ctx context.Context, name string) error {
	for {
		m, err := r.direct.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(m.Data["touched"])
		m.Data["touched"] = strconv.Itoa(n + 1)
		if _, err = r.direct.Update(ctx, m, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}
