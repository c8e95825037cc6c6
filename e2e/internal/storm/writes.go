package storm

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Kind is one kind of write.
type Kind struct {
	Name string
	plan func(*run) *plan
}

// plan describes a run.
type plan struct {
	before func(ctx context.Context) error
	react  func(ctx context.Context, event watch.Event, m *corev1.ConfigMap) // another client
	call   func(ctx context.Context, i int) error
	// expected returns a predicate for the expected error of call i, nil if it must
	// succeed. A nil func stands for one that returns nil.
	expected func(i int) func(error) bool
	// ambiguous is set if success is also correct for a call with an expected error
	// whose first answer was lost.
	ambiguous bool
	// effect reports whether the effect of call i is present, and how often it occurred,
	// as far as the stored objects and the observed changes show it.
	effect func(i int, stored map[string]corev1.ConfigMap, changes []watch.Event) (bool, int)
}

// Kinds returns all kinds of writes.
func Kinds() []Kind {
	return []Kind{
		{"creates, fixed names", fixedNames},
		{"creates, generateName", generatedNames},
		{"deletes", deletes},
		{"updates", updates},
		{"read-modify-writes", modifies},
	}
}

// Writes makes Ops writes of the kind, 16 concurrently, while 20 % of the answers are lost
// after the commit.
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
	o, err := observe(ctx, r.direct, p.react)
	if err != nil {
		return result, err
	}
	defer o.cancel()

	r.proxy.SetRule(r.lost())
	errs := make([]error, s.Ops)
	start := time.Now()
	each(s.Ops, func(i int) {
		errs[i] = r.call(ctx, name("call", i), func(ctx context.Context) error { return p.call(ctx, i) })
	})
	result.Took = time.Since(start)

	done, err := r.waitForWrites(ctx)
	if err != nil {
		return result, err
	}
	changes, err := o.stop(ctx)
	if err != nil {
		return result, err
	}
	stored, err := r.list(ctx)
	if err != nil {
		return result, err
	}
	faulty := r.firstFaulty()
	for i, err := range errs {
		var expected func(error) bool
		if p.expected != nil {
			expected = p.expected(i)
		}
		present, times := p.effect(i, stored, changes)
		wrong := result.Wrong()
		result.add(name(kind.Name, i), err, expected, present, max(times, done[name("call", i)]), p.ambiguous && faulty[name("call", i)])
		if result.Wrong() > wrong {
			r.noteSends(&result, name("call", i))
		}
	}
	r.count(&result)
	return result, nil
}

// certain returns a predicate for errors that match is and have no unknown outcome.
func certain(is func(error) bool) func(error) bool {
	return func(err error) bool { return is(err) && !outcomeUnknown(err) }
}

// oneIn selects one of n consecutive calls.
func oneIn(i, n, which int) bool { return i%n == which }
