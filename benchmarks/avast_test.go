// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"time"

	"github.com/avast/retry-go/v5"
	corev1 "k8s.io/api/core/v1"
)

func avastJitter(initial time.Duration) time.Duration {
	return max(1, initial/5)
}

// avastBest builds the retrier once per context. The context is one of its options,
// so calls with different contexts cannot share it.
func avastBest(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		retrier := retry.NewWithData[*corev1.ConfigMap](
			retry.Context(ctx),
			retry.Attempts(maxRetries+1),
			retry.Delay(initial),
			retry.MaxDelay(maxDelay),
			retry.MaxJitter(avastJitter(initial)),
			retry.LastErrorOnly(true),
			retry.RetryIf(transient),
		)
		for range n {
			v, err = retrier.Do(func() (*corev1.ConfigMap, error) { return fn(ctx) })
		}
		return v, err
	}
}

func avastUsual(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = retry.NewWithData[*corev1.ConfigMap](
				retry.Context(ctx),
				retry.Attempts(maxRetries+1),
				retry.Delay(initial),
				retry.MaxDelay(maxDelay),
				retry.MaxJitter(avastJitter(initial)),
				retry.RetryIf(predicates),
			).Do(func() (*corev1.ConfigMap, error) { return fn(ctx) })
		}
		return v, err
	}
}
