// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	corev1 "k8s.io/api/core/v1"
)

func cenkaltiSchedule(initial time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     initial,
		RandomizationFactor: jitter,
		Multiplier:          multiplier,
		MaxInterval:         maxDelay,
	}
}

// cenkaltiBest builds the options once per goroutine. The schedule has state, which
// Retry resets, so goroutines cannot share it.
func cenkaltiBest(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		opts := []backoff.RetryOption{
			backoff.WithBackOff(cenkaltiSchedule(initial)),
			backoff.WithMaxTries(maxRetries + 1),
		}
		for range n {
			v, err = backoff.Retry(ctx, func() (*corev1.ConfigMap, error) {
				v, err := fn(ctx)
				if err != nil && !transient(err) {
					return v, backoff.Permanent(err)
				}
				return v, err
			}, opts...)
		}
		return v, err
	}
}

func cenkaltiUsual(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = backoff.Retry(ctx, func() (*corev1.ConfigMap, error) {
				v, err := fn(ctx)
				if err != nil && !predicates(err) {
					return v, backoff.Permanent(err)
				}
				return v, err
			},
				backoff.WithBackOff(cenkaltiSchedule(initial)),
				backoff.WithMaxTries(maxRetries+1),
				backoff.WithMaxElapsedTime(time.Minute),
			)
		}
		return v, err
	}
}
