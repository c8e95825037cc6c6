// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sethvargo/go-retry"
	corev1 "k8s.io/api/core/v1"
)

// sethvargoSchedule is a schedule in one value instead of a chain of closures. A call
// uses up a schedule of this library, so each call needs a new one.
type sethvargoSchedule struct {
	next    time.Duration
	retries int
}

func (s *sethvargoSchedule) Next() (time.Duration, bool) {
	if s.retries == 0 {
		return 0, true
	}
	s.retries--
	d := s.next
	s.next = min(d*multiplier, maxDelay)
	return d + time.Duration(rand.Float64()*jitter*float64(d)), false
}

func sethvargoBest(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = retry.DoValue(ctx, &sethvargoSchedule{next: initial, retries: maxRetries},
				func(ctx context.Context) (*corev1.ConfigMap, error) {
					v, err := fn(ctx)
					if err != nil && transient(err) {
						return v, retry.RetryableError(err)
					}
					return v, err
				})
		}
		return v, err
	}
}

func sethvargoUsualSchedule(initial time.Duration) retry.Backoff {
	b := retry.NewExponential(initial)
	b = retry.WithCappedDuration(maxDelay, b)
	b = retry.WithJitterPercent(100*jitter, b)
	return retry.WithMaxRetries(maxRetries, b)
}

func sethvargoUsual(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = retry.DoValue(ctx, sethvargoUsualSchedule(initial),
				func(ctx context.Context) (*corev1.ConfigMap, error) {
					v, err := fn(ctx)
					if err != nil && predicates(err) {
						return v, retry.RetryableError(err)
					}
					return v, err
				})
		}
		return v, err
	}
}
