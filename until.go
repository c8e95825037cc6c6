// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"time"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
	"github.com/k8sretry/k8sretry/internal/delay"
)

// ErrConditionNotMet is the error of a call of [Until] that ended after a read for which the
// condition did not hold.
var ErrConditionNotMet = errors.New("condition not met")

// Until reads until a condition holds, and returns what was read last:
//
//	pod, err := k8sretry.Until(ctx, func(ctx context.Context) (*corev1.Pod, error) {
//		return clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
//	}, func(pod *corev1.Pod) (bool, error) {
//		return pod.Status.Phase == corev1.PodRunning, nil
//	}, k8sretry.ForRead(), k8sretry.WithMaxElapsed(5*time.Minute))
//
// Each read is a call as [Do] makes it, with these options: a failed read is retried within
// the policy, has its own events, and if it fails for good its error ends Until. A read for
// which the condition does not hold is a success, not a retry. The next read follows
// after the delay of WithInitialDelay, 1 s by default, spread by [WithJitter];
// [WithBackoffFor] with [ClassNone] sets another schedule, counted in reads. A delay of 0
// lets reads follow one another as fast as they are answered.
//
// done is called in the goroutine of the call after each successful read. Its error ends
// Until and is returned as it is. An object that does not exist yet, or no longer, is an
// error of read; a read that returns nil instead leaves it to done:
//
//	if apierrors.IsNotFound(err) {
//		return nil, nil
//	}
//
// Until ends with its context or with [WithMaxElapsed], which counts from the first read, and
// starts no wait that either of them would end. Without them it may go on forever. Then the
// error is an [*Error]: Err is [ErrConditionNotMet], or the last error of the API if the
// last read had failed, and Attempts are those of all reads. The value is the one that was
// read last, the zero value if there is none. If the time is over between two reads, the
// failure is an event of its own.
//
// [UntilWatch] waits for one object with a watch, which sees a change at once.
//
// Until takes the options of Do. It only reads, and is [ReadOnly]; a verb that writes is an
// error. A nil read or done is an error.
func Until[T any](ctx context.Context, read func(context.Context) (T, error), done func(T) (bool, error), opts ...Option) (T, error) {
	return until(ctx, read, done, nil, 0, opts)
}

// until is Until. If follow is not nil, it is called after each read in place of a wait for the
// next one, and returns what it has seen last and whether done holds for it. code is that of a
// kind of calls, see kindOf.
func until[T any](ctx context.Context, read func(context.Context) (T, error), done func(T) (bool, error),
	follow func(context.Context, T) (T, bool, error), code uintptr, opts []Option,
) (T, error) {
	c := resolve(opts)
	if c.verb().writes() {
		c.reject("WithVerb(" + c.verb().String() + "): Until only reads")
	}
	c.setNumber(numReadOnly, 1)
	c.setDefaults()
	var last T
	var all past
	p := newRead(&c, read, code, &all)
	if err := p.begin(&c, ctx, read != nil && done != nil); err != nil {
		return last, err
	}
	began := p.began
	for n := 1; ; n++ {
		v, err := loop(ctx, read, &c, p, last)
		if err != nil {
			return last, err
		}
		last = v
		ok, err := done(v)
		if ok || err != nil {
			return v, withoutMark(err)
		}
		if all.since == 0 {
			all.since = now()
		}
		if left, _ := p.timeLeft(&c, ctx); follow != nil && left > 0 {
			bounded, cancel := context.WithTimeout(ctxerr.Parent(ctx), min(left, watchTime))
			v, ok, err = follow(bounded, v)
			cancel()
			last = v
			if ok || err != nil {
				return v, withoutMark(err)
			}
		}
		if err := p.pause(&c, ctx, n); err != nil {
			return v, err
		}
		all.attempts += int(p.attempts)
		p = newRead(&c, read, code, &all)
		p.last = ErrConditionNotMet // it says more than the end of the context
		if err := p.begin(&c, ctx, true); err != nil {
			return v, err
		}
		p.began = began
	}
}

// newRead is the progress of the next read.
func newRead[T any](c *config, read func(context.Context) (T, error), code uintptr, all *past) *progress {
	return &progress{kind: kindOf(c, read, code), past: all}
}

// pause waits for the next read after read n, for which the condition did not hold.
func (p *progress) pause(c *config, ctx context.Context, n int) error {
	left, why := p.timeLeft(c, ctx)
	d, least := c.pace(n)
	if least <= left && ctxerr.Of(ctx) == nil {
		p.delay = delay.Within(d, least, left)
		p.startTimer()
		select {
		case <-p.timer.C:
		case <-ctx.Done():
			p.timer.Stop()
		}
		why = StopNone
	}
	if ctxerr.Of(ctx) != nil {
		why = endOf(ctx)
	}
	if why == StopNone {
		return nil
	}
	v := Classify(ErrConditionNotMet)
	return p.stop(c, ctx, why, &v, ErrConditionNotMet)
}

// pace is the delay between two reads, as drawn, and the least that could have been drawn.
func (c *config) pace(n int) (d, least time.Duration) {
	if own := c.backoffFor[ClassNone]; own != nil {
		d = max(0, own(n))
		return d, d
	}
	e := c.schedule().schedule()
	return e.Scaled(1, 1), e.Least(1, 1)
}
