package storm

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Kind is one kind of write.
type Kind struct {
	Name string
	plan func(*run) *plan
}

// plan is what happens in a run.
type plan struct {
	before func(ctx context.Context) error
	react  func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) // somebody else
	call   func(ctx context.Context, i int) error
	// right is how call i has to fail, nil if it must not.
	right func(i int) func(error) bool
	// moot: a right failure is no longer one when its answer was lost.
	moot bool
	// there looks into what was stored, and what was seen, for the effect of call
	// i, and how often it took place, as far as can be told.
	there func(i int, stored map[string]corev1.ConfigMap, seen []watch.Event) (bool, int)
}

// Kinds are the writes that services make.
func Kinds() []Kind {
	return []Kind{
		{"creates, fixed names", fixedNames},
		{"creates, generateName", generatedNames},
		{"deletes", deletes},
		{"updates", updates},
		{"read-modify-writes", modifies},
	}
}

// Writes makes Ops writes of the kind, 16 at once, while a fifth of the answers is
// lost after the commit.
func Writes(ctx context.Context, s Setup, caller Caller, kind Kind) (result Result, err error) {
	r, err := newRun(ctx, s, caller, true)
	if err != nil {
		return result, err
	}
	defer r.close()
	p := kind.plan(r)
	if p.before != nil {
		if err := p.before(ctx); err != nil {
			return result, err
		}
	}
	o, err := watchOthers(ctx, r.direct, p.react)
	if err != nil {
		return result, err
	}
	defer o.cancel()

	r.proxy.SetRule(r.lost())
	told := make([]error, s.Ops)
	begin := time.Now()
	each(s.Ops, workers, func(i int) {
		told[i] = r.call(ctx, name("call", i), func(ctx context.Context) error { return p.call(ctx, i) })
	})
	result.Took = time.Since(begin)

	done, err := r.settled(ctx)
	if err != nil {
		return result, err
	}
	seen, err := o.stop(ctx)
	if err != nil {
		return result, err
	}
	stored, err := r.list(ctx)
	if err != nil {
		return result, err
	}
	struck := r.firstStruck()
	for i, err := range told {
		var right func(error) bool
		if p.right != nil {
			right = p.right(i)
		}
		there, times := p.there(i, stored, seen)
		wrong := result.Wrong()
		result.judge(name(kind.Name, i), err, right, there, max(times, done[name("call", i)]), p.moot && struck[name("call", i)])
		if result.Wrong() > wrong {
			r.noteSends(&result, name("call", i))
		}
	}
	r.count(&result)
	return result, nil
}

// exactly is an error that says what is is about, and says it for sure.
func exactly(is func(error) bool) func(error) bool {
	return func(err error) bool { return is(err) && !outcomeUnknown(err) }
}

// one reports whether a call is one in so many.
func one(i, in, which int) bool { return i%in == which }

func fixedNames(r *run) *plan {
	foreign := func(i int) bool { return one(i, 20, 7) }
	return &plan{
		before: func(ctx context.Context) error {
			objects := make([]*corev1.ConfigMap, r.Ops)
			for i := range objects {
				if foreign(i) {
					objects[i] = object(name("fixed", i), "by", "somebody else")
				}
			}
			return r.create(ctx, objects)
		},
		call: func(ctx context.Context, i int) error {
			return r.caller.Create(ctx, r.maps, object(name("fixed", i), "by", strconv.Itoa(i)))
		},
		right: func(i int) func(error) bool {
			if foreign(i) {
				return exactly(apierrors.IsAlreadyExists)
			}
			return nil
		},
		there: func(i int, stored map[string]corev1.ConfigMap, _ []watch.Event) (bool, int) {
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
		there: func(i int, stored map[string]corev1.ConfigMap, _ []watch.Event) (bool, int) {
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

// deletes: one object in four is put back by a controller as soon as it is gone; one in
// 20 was deleted by somebody else before, and every second of these made anew.
func deletes(r *run) *plan {
	doomed := make([]*corev1.ConfigMap, r.Ops)
	back := func(i int) bool { return one(i, 4, 1) && !one(i, 20, 7) }
	return &plan{
		moot: true,
		before: func(ctx context.Context) error {
			for i := range doomed {
				doomed[i] = object(name("doomed", i), "i", strconv.Itoa(i))
			}
			if err := r.create(ctx, doomed); err != nil {
				return err
			}
			for i := 7; i < r.Ops; i += 20 {
				if err := r.direct.Delete(ctx, doomed[i].Name, metav1.DeleteOptions{}); err != nil {
					return err
				}
				if one(i, 40, 7) {
					if _, err := r.direct.Create(ctx, object(doomed[i].Name, "again", "true"), metav1.CreateOptions{}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		react: func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) {
			if i, err := strconv.Atoi(m.Data["i"]); event.Type == watch.Deleted && err == nil && back(i) {
				_, _ = r.direct.Create(ctx, object(m.Name, "again", "true"), metav1.CreateOptions{})
			}
		},
		call: func(ctx context.Context, i int) error { return r.caller.Delete(ctx, r.maps, doomed[i]) },
		right: func(i int) func(error) bool {
			switch {
			case one(i, 40, 7):
				return exactly(apierrors.IsConflict)
			case one(i, 40, 27):
				return exactly(apierrors.IsNotFound)
			}
			return nil
		},
		there: func(i int, stored map[string]corev1.ConfigMap, seen []watch.Event) (bool, int) {
			n := 0
			for _, event := range seen {
				if m := event.Object.(*corev1.ConfigMap); event.Type == watch.Deleted && m.Name == doomed[i].Name {
					n++
				}
			}
			return stored[doomed[i].Name].UID != doomed[i].UID, n
		},
	}
}

// updates: one in 20 comes too late; of the objects, one in four is overwritten by a
// controller as soon as it is updated, one in eight deleted and made anew.
func updates(r *run) *plan {
	read := make([]*corev1.ConfigMap, r.Ops)
	late := func(i int) bool { return one(i, 20, 3) }
	return &plan{
		before: func(ctx context.Context) error {
			for i := range read {
				read[i] = object(name("updated", i), "i", strconv.Itoa(i), "by", "nobody")
			}
			if err := r.create(ctx, read); err != nil {
				return err
			}
			for i := range read {
				if late(i) {
					m := read[i].DeepCopy()
					m.Data["by"] = "somebody else"
					if _, err := r.direct.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		react: func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) {
			i, err := strconv.Atoi(m.Data["i"])
			if err != nil || event.Type != watch.Modified || m.Data["by"] != "us" {
				return
			}
			switch {
			case one(i, 4, 1):
				m = m.DeepCopy()
				m.Annotations, m.Data["by"] = nil, "somebody else, later"
				_, _ = r.direct.Update(ctx, m, metav1.UpdateOptions{})
			case one(i, 8, 2):
				if r.direct.Delete(ctx, m.Name, metav1.DeleteOptions{}) == nil {
					_, _ = r.direct.Create(ctx, object(m.Name, "by", "somebody else, later"), metav1.CreateOptions{})
				}
			}
		},
		call: func(ctx context.Context, i int) error {
			m := read[i].DeepCopy()
			m.Data["by"] = "us"
			return r.caller.Update(ctx, r.maps, m)
		},
		right: func(i int) func(error) bool {
			if late(i) {
				return exactly(apierrors.IsConflict)
			}
			return nil
		},
		there: func(i int, _ map[string]corev1.ConfigMap, seen []watch.Event) (bool, int) {
			n := 0
			for _, event := range seen {
				if m := event.Object.(*corev1.ConfigMap); event.Type == watch.Modified && m.Name == read[i].Name && m.Data["by"] == "us" {
					n++
				}
			}
			return n > 0, n
		},
	}
}

// modifies: all count on 16 counters, each in a row of its own, too, which tells who
// counted how often. One in 20 meets a real conflict at least; every fourth counter is
// written by somebody else after each change; one object in 20 is not there.
func modifies(r *run) *plan {
	const counters = 16
	none := func(i int) bool { return one(i, 20, 13) }
	return &plan{
		before: func(ctx context.Context) error {
			objects := make([]*corev1.ConfigMap, counters)
			for i := range objects {
				objects[i] = object(name("counter", i), "n", "0", "c", strconv.Itoa(i))
			}
			return r.create(ctx, objects)
		},
		react: func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) {
			if i, err := strconv.Atoi(m.Data["c"]); err != nil || !one(i, 4, 1) || event.Type != watch.Modified || m.Data["noticed"] == m.Data["n"] {
				return
			}
			m = m.DeepCopy()
			m.Annotations, m.Data["noticed"] = nil, m.Data["n"]
			_, _ = r.direct.Update(ctx, m, metav1.UpdateOptions{}) // late is late
		},
		call: func(ctx context.Context, i int) error {
			counter, first := name("counter", i%counters), true
			if none(i) {
				counter = name("none", i)
			}
			return r.caller.Modify(ctx, r.maps, counter, func(m *corev1.ConfigMap) error {
				if first && one(i, 20, 3) {
					if err := r.touch(ctx, counter); err != nil {
						return fmt.Errorf("in the way: %w", err)
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
		right: func(i int) func(error) bool {
			if none(i) {
				return exactly(apierrors.IsNotFound)
			}
			return nil
		},
		there: func(i int, stored map[string]corev1.ConfigMap, _ []watch.Event) (bool, int) {
			if none(i) {
				return false, 0
			}
			data := stored[name("counter", i%counters)].Data
			n, _ := strconv.Atoi(data[name("by", i)])
			return n > 0 && counted(data), n
		},
	}
}

// counted reports whether a counter has the sum of what each has counted.
func counted(data map[string]string) bool {
	sum := 0
	for key, value := range data {
		if len(key) > 3 && key[:3] == "by-" {
			n, _ := strconv.Atoi(value)
			sum += n
		}
	}
	return data["n"] == strconv.Itoa(sum)
}

// touch changes an object behind the caller's back.
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
