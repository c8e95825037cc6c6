// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

const counters = 16

// equal reports whether all clients of a counter send equal bytes. A call to another counter
// also increments its own key, which shows how often it was carried out.
func equal(counter int) bool { return counter%2 == 0 }

// modifies increments 16 counters. One call in 20 has at least one conflict with another
// client. Another client writes every fourth counter after each change, and with
// companions a second replica increments all of them. One call in 20 is for a missing
// object.
func modifies(r *run) *plan {
	missing := func(i int) bool { return oneIn(i, 20, 13) }
	var second *replica
	return &plan{
		before: func(ctx context.Context) error {
			objects := make([]*corev1.ConfigMap, counters)
			for i := range objects {
				objects[i] = object(name("counter", i), "n", "0", "c", strconv.Itoa(i))
			}
			return r.create(ctx, objects)
		},
		react: func(ctx context.Context, c change) {
			if i, err := strconv.Atoi(c.data["c"]); err != nil || !oneIn(i, 4, 1) || c.EventType != watch.Modified || c.data["noticed"] == c.data["n"] {
				return
			}
			m := c.Object.(*corev1.ConfigMap).DeepCopy()
			m.Annotations, m.Data["noticed"] = nil, m.Data["n"]
			_, _ = r.direct.Update(ctx, m, metav1.UpdateOptions{}) // conflicts are ignored
		},
		during: func(ctx context.Context) func() error {
			if !r.Companions {
				return func() error { return nil }
			}
			second = startReplica(ctx, r.replica, counters, func(i int, m *corev1.ConfigMap) { increment(m, i, "by-replica") })
			return second.stop
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
				increment(m, i%counters, name("by", i))
				return nil
			})
		},
		expected: func(i int) func(error) bool {
			if missing(i) {
				return certain(apierrors.IsNotFound)
			}
			return nil
		},
		effect: func(i int, h history, done int) (bool, int) {
			if !missing(i) && !equal(i%counters) {
				n, _ := strconv.Atoi(h.last(name("counter", i%counters))[name("by", i)])
				return n > 0, max(n, done)
			}
			return done > 0, done
		},
		consistent: func(h history, done map[string]int) error {
			for c := range counters {
				data, sum := h.last(name("counter", c)), 0
				for key, value := range data {
					if strings.HasPrefix(key, "by-") {
						n, _ := strconv.Atoi(value)
						sum += n
					}
				}
				if equal(c) {
					if second != nil {
						sum = int(second.done[c].Load())
					}
					for i := c; i < r.Ops; i += counters {
						if !missing(i) {
							sum += done[r.id(i)]
						}
					}
				}
				if data != nil && data["n"] != strconv.Itoa(sum) {
					return fmt.Errorf("counter %d is %s, and was incremented %d times", c, data["n"], sum)
				}
			}
			return nil
		},
	}
}

// increment increments a counter, and the key of the call if it has one.
func increment(m *corev1.ConfigMap, counter int, key string) {
	m.Data["n"] = plusOne(m.Data["n"])
	if !equal(counter) {
		m.Data[key] = plusOne(m.Data[key])
	}
}

// touch changes an object to cause a conflict.
func (r *run) touch(ctx context.Context, name string) error {
	for {
		m, err := r.direct.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		m.Data["touched"] = plusOne(m.Data["touched"])
		if _, err = r.direct.Update(ctx, m, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}
