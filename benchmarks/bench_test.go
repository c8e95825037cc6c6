package benchmarks

import (
	"context"
	"testing"
	"time"
)

// minimal is the shortest delay every contender can be set to. Its timer is
// armed and its goroutine parks all the same.
const minimal = time.Nanosecond

// each runs one situation for all contenders. The context can be cancelled, as
// that of a request is: looking at it has its price.
//
// One operation is the given number of calls of fn.
func each(b *testing.B, calls int, fn func() call) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			run := c.prepare(minimal)
			f, n := fn(), b.N
			if c.name == "plain" {
				n *= calls // nobody else makes the further calls
			}
			b.ReportAllocs()
			b.ResetTimer()
			v, err := run(ctx, n, f)
			b.StopTimer()
			if v == nil && err == nil {
				b.Fatal("neither a value nor an error")
			}
		})
	}
}

func BenchmarkSuccess(b *testing.B) { each(b, 1, func() call { return succeeds }) }

func BenchmarkNotFound(b *testing.B) { each(b, 1, func() call { return notFound }) }

func BenchmarkTwoFailures(b *testing.B) { each(b, 3, failsTwice) }
