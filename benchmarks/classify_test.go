package benchmarks

import (
	"fmt"
	"testing"

	"github.com/k8sretry/k8sretry"
)

var errWrappedUnavailable = fmt.Errorf("reading settings: %w", errUnavailable)

// They keep the compiler from dropping what is measured.
var (
	yes   bool
	class k8sretry.Class
)

// BenchmarkClassify tells failures apart. The rows differ in what they learn:
// Classify says class, outcome, code and Retry-After; the others say yes or no.
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
					yes = transient(err)
				}
			})
			b.Run("predicates", func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					yes = predicates(err)
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
					yes = failure.ours(err)
				}
			})
		})
	}
}
