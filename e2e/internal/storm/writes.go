// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"time"
)

// Kind is one kind of write.
type Kind struct {
	Name string
	// Provable is set if the outcome of a call can always be determined, so that
	// ErrOutcomeUnknown is wrong.
	Provable bool
	// Slow is set if calls wait for the server for a long time. It takes 10 s until
	// kube-apiserver refuses an eviction of a pod that another one has replaced.
	Slow bool
	plan func(*run) *plan
}

// plan describes a run.
type plan struct {
	pods   bool // the objects are pods, not ConfigMaps
	before func(ctx context.Context) error
	react  func(ctx context.Context, c change)           // another client; may be nil
	during func(ctx context.Context) (stop func() error) // another client; may be nil
	call   func(ctx context.Context, i int) error
	// expected returns a predicate for the expected error of call i, nil if it must
	// succeed. A nil func stands for one that returns nil.
	expected func(i int) func(error) bool
	// ambiguous is set if success is also correct for a call with an expected error
	// whose first answer was lost.
	ambiguous bool
	// noEffect is set if success is always correct for a call with an expected error, as
	// long as it changes nothing.
	noEffect bool
	// effect reports whether call i had its effect, and how often. h is what happened
	// since the first call, done how many requests of the call the server has carried out.
	effect func(i int, h history, done int) (bool, int)
	// consistent returns an error if history and requests contradict each other, so that
	// nothing can be judged. May be nil.
	consistent func(h history, done map[string]int) error
}

// Kinds returns all kinds of writes.
func Kinds() []Kind {
	return []Kind{
		{Name: "creates, fixed names", plan: fixedNames},
		{Name: "creates, generateName", Provable: true, plan: generatedNames},
		{Name: "deletes", Provable: true, plan: deletes},
		{Name: "updates", Provable: true, plan: updates},
		{Name: "patches", plan: patches},
		{Name: "read-modify-writes", plan: modifies},
		{Name: "evictions", Provable: true, Slow: true, plan: evictions},
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
	if err := r.start(ctx, p.pods, p.react); err != nil {
		return result, err
	}
	if p.before != nil {
		if err := p.before(ctx); err != nil {
			return result, err
		}
	}
	r.proxy.SetRule(r.lost())
	stop := func() error { return nil }
	if p.during != nil {
		stop = p.during(ctx)
	}
	errs := make([]error, s.Ops)
	start := time.Now()
	each(s.Ops, func(i int) {
		errs[i] = r.call(ctx, i, func(ctx context.Context) error { return p.call(ctx, i) })
	})
	result.Took = time.Since(start)
	if err := stop(); err != nil {
		return result, err
	}
	done, err := r.waitForWrites(ctx)
	if err != nil {
		return result, err
	}
	h, err := r.end(ctx)
	if err != nil {
		return result, err
	}
	if p.consistent != nil {
		if err := p.consistent(h, done); err != nil {
			return result, err
		}
	}
	lost := r.firstLost()
	for i, err := range errs {
		var expected func(error) bool
		if p.expected != nil {
			expected = p.expected(i)
		}
		call := r.id(i)
		had, times := p.effect(i, h, done[call])
		wrong := result.Wrong()
		result.add(name(kind.Name, i), err, expected, had, times, p.noEffect || p.ambiguous && lost[call])
		if result.Wrong() > wrong {
			r.noteSends(&result, call)
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
