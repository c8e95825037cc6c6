// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/k8sretry/k8sretry"
)

// neverTransient is a classifier that decides as transient does, but judges a permanent error
// only.
func neverTransient(err error) (k8sretry.Verdict, bool) {
	return k8sretry.Verdict{Class: k8sretry.ClassPermanent}, !transient(err)
}

// BenchmarkCondition measures a NotFound in a call that brings its own condition, the same for
// all contenders, or a classifier.
func BenchmarkCondition(b *testing.B) {
	policy := k8sretry.NewPolicy(k8sretry.WithRetryIf(transient))
	for name, run := range map[string]runner{
		"hand":  handWritten(minDelay),
		"avast": avastBest(minDelay),
		"k8sretry-prepared": func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
			for range n {
				v, err = k8sretry.Do(ctx, fn, policy)
			}
			return v, err
		},
		"k8sretry-WithRetryIf": func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
			for range n {
				v, err = k8sretry.Do(ctx, fn, k8sretry.WithMaxRetries(maxRetries), k8sretry.WithRetryIf(transient))
			}
			return v, err
		},
		"k8sretry-WithClassifier": func(ctx context.Context, n int, fn call) (v *corev1.ConfigMap, err error) {
			for range n {
				v, err = k8sretry.Do(ctx, fn, k8sretry.WithMaxRetries(maxRetries), k8sretry.WithClassifier(neverTransient))
			}
			return v, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			_, err := run(ctx, b.N, notFound)
			if err == nil {
				b.Fatal("no error")
			}
		})
	}
}
