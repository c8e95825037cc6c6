// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"fmt"
	"testing"

	"github.com/k8sretry/k8sretry"
)

var errWrappedUnavailable = fmt.Errorf("reading settings: %w", errUnavailable)

// Sinks, so that the compiler does not remove the measured code.
var (
	retryable bool
	class     k8sretry.Class
)

// BenchmarkClassify measures the classification of errors. Classify returns class,
// outcome, status code and Retry-After; the others return a bool.
func BenchmarkClassify(b *testing.B) {
	for _, failure := range []struct {
		name string
		err  error
		ours func(error) bool
	}{
		{"503", errUnavailable, k8sretry.IsRetryableK8sError},
		{"wrapped503", errWrappedUnavailable, k8sretry.IsRetryableK8sError},
		{"refused", errRefused, k8sretry.IsRetryableConnectionError},
	} {
		b.Run(failure.name, func(b *testing.B) {
			err := failure.err
			b.Run("hand", func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					retryable = transient(err)
				}
			})
			b.Run("predicates", func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					retryable = predicates(err)
				}
			})
			b.Run("k8sretry-Classify", func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					class = k8sretry.Classify(err).Class
				}
			})
			b.Run("k8sretry-IsRetryable", func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					retryable = failure.ours(err)
				}
			})
		})
	}
}
