// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"time"

	"github.com/googleapis/gax-go/v2"
	corev1 "k8s.io/api/core/v1"
)

// gaxRetryer adds a limit of attempts, which gax does not have.
type gaxRetryer struct {
	backoff gax.Backoff
	retries int
}

func (r *gaxRetryer) Retry(err error) (time.Duration, bool) {
	if r.retries == 0 || !transient(err) {
		return 0, false
	}
	r.retries--
	return r.backoff.Pause(), true
}

func gaxSchedule(initial time.Duration) gax.Backoff {
	return gax.Backoff{Initial: initial, Max: maxDelay, Multiplier: multiplier}
}

func gaxBest(initial time.Duration) runner {
	opts := []gax.CallOption{gax.WithRetry(func() gax.Retryer {
		return &gaxRetryer{backoff: gaxSchedule(initial), retries: maxRetries}
	})}
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			var got *corev1.ConfigMap
			err = gax.Invoke(ctx, func(ctx context.Context, _ gax.CallSettings) (err error) {
				got, err = fn(ctx)
				return err
			}, opts...)
			v = got
		}
		return v, err
	}
}

func gaxUsual(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			var got *corev1.ConfigMap
			err = gax.Invoke(ctx, func(ctx context.Context, _ gax.CallSettings) (err error) {
				got, err = fn(ctx)
				return err
			}, gax.WithRetry(func() gax.Retryer { return gax.OnErrorFunc(gaxSchedule(initial), predicates) }))
			v = got
		}
		return v, err
	}
}
