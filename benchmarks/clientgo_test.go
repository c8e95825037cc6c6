// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
)

func waitSchedule(initial time.Duration) wait.Backoff {
	return wait.Backoff{Duration: initial, Factor: multiplier, Jitter: jitter, Steps: maxRetries + 1, Cap: maxDelay}
}

func waitBest(initial time.Duration) runner {
	backoff := waitSchedule(initial)
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			var got *corev1.ConfigMap
			var last error
			err = wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (done bool, err error) {
				got, err = fn(ctx)
				if err != nil && transient(err) {
					last = err
					return false, nil
				}
				return err == nil, err
			})
			if wait.Interrupted(err) && last != nil {
				err = last
			}
			v = got
		}
		return v, err
	}
}

func waitUsual(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			var got *corev1.ConfigMap
			var last error
			err = wait.ExponentialBackoffWithContext(ctx, waitSchedule(initial), func(ctx context.Context) (done bool, err error) {
				got, err = fn(ctx)
				if err != nil && predicates(err) {
					last = err
					return false, nil
				}
				return err == nil, err
			})
			if wait.Interrupted(err) && last != nil {
				err = last
			}
			v = got
		}
		return v, err
	}
}

func onErrorBest(initial time.Duration) runner {
	backoff := waitSchedule(initial)
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			var got *corev1.ConfigMap
			err = retry.OnError(backoff, transient, func() (err error) {
				got, err = fn(ctx)
				return err
			})
			v = got
		}
		return v, err
	}
}

func onErrorUsual(initial time.Duration) runner {
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			var got *corev1.ConfigMap
			err = retry.OnError(waitSchedule(initial), predicates, func() (err error) {
				got, err = fn(ctx)
				return err
			})
			v = got
		}
		return v, err
	}
}
