// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"testing"
	"time"
)

// minDelay is the shortest delay that every contender accepts. A timer is still
// started, and the goroutine still parks.
const minDelay = time.Nanosecond

// each runs one situation for all contenders. The context is cancelable, like that of
// a request, because checking such a context takes time.
//
// One operation is the given number of calls of fn.
func each(b *testing.B, calls int, fn func() call) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			run := c.prepare(minDelay)
			f, n := fn(), b.N
			if c.name == "plain" {
				n *= calls // plain makes one call per operation
			}
			b.ReportAllocs()
			b.ResetTimer()
			v, err := run(ctx, n, f)
			b.StopTimer()
			if v == nil && err == nil {
				b.Fatal("no value and no error")
			}
		})
	}
}

func BenchmarkSuccess(b *testing.B) { each(b, 1, func() call { return succeeds }) }

func BenchmarkNotFound(b *testing.B) { each(b, 1, func() call { return notFound }) }

func BenchmarkTwoFailures(b *testing.B) { each(b, 3, failsTwice) }
