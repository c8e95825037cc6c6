// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry"
	corev1 "k8s.io/api/core/v1"
)

// oursPrepared shares one Policy between all calls.
func oursPrepared(initial time.Duration) runner {
	policy := k8sretry.NewPolicy(
		k8sretry.WithMaxRetries(maxRetries),
		k8sretry.WithInitialDelay(initial),
		k8sretry.WithMaxDelay(maxDelay),
	)
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = k8sretry.Do(ctx, fn, policy)
		}
		return v, err
	}
}

// oursOptions creates three options in the call.
func oursOptions(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = k8sretry.Do(ctx, fn,
				k8sretry.WithMaxRetries(maxRetries),
				k8sretry.WithInitialDelay(initial),
				k8sretry.WithMaxDelay(maxDelay),
			)
		}
		return v, err
	}
}
