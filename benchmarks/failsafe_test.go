// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	corev1 "k8s.io/api/core/v1"
)

// failsafePolicy is shared by all calls in both forms, as in the documentation of the
// library.
func failsafePolicy(initial time.Duration, retryIf func(error) bool) retrypolicy.RetryPolicy[*corev1.ConfigMap] {
	return retrypolicy.NewBuilder[*corev1.ConfigMap]().
		HandleIf(func(_ *corev1.ConfigMap, err error) bool { return err != nil && retryIf(err) }).
		WithMaxRetries(maxRetries).
		WithBackoff(initial, maxDelay).
		WithJitterFactor(jitter).
		ReturnLastFailure().
		Build()
}

// failsafeBest builds the executor once per context, and passes the context to the
// function by closure, because an Execution would be copied in each attempt.
func failsafeBest(initial time.Duration) runner {
	policy := failsafePolicy(initial, transient)
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		executor := failsafe.With(policy).WithContext(ctx)
		for range n {
			v, err = executor.Get(func() (*corev1.ConfigMap, error) { return fn(ctx) })
		}
		return v, err
	}
}

func failsafeUsual(initial time.Duration) runner {
	policy := failsafePolicy(initial, predicates)
	return func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
		for range n {
			v, err = failsafe.With(policy).WithContext(ctx).GetWithExecution(
				func(exec failsafe.Execution[*corev1.ConfigMap]) (*corev1.ConfigMap, error) {
					return fn(exec.Context())
				})
		}
		return v, err
	}
}
