package limiter

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/health"
)

func TestNoAllocation(t *testing.T) {
	calls := New().Calls()
	ctx := context.Background()
	for key, name := range map[uint32]string{0: "without a key", getPods: "with a key"} {
		assert.Zero(t, testing.AllocsPerRun(1000, func() {
			ticket, _, _ := calls.Enter(ctx, 0)
			calls.Leave(ticket, health.Healthy, key, 0, 0)
		}), name)
	}
}

// What an attempt pays while nothing is limited:
//
//	go test -run '^$' -bench . -cpu 1,2 ./internal/limiter
func BenchmarkLimiter(b *testing.B) {
	ctx := context.Background()
	for key, name := range map[uint32]string{0: "without a key", getPods: "with a key"} {
		b.Run(name, func(b *testing.B) {
			calls := New().Calls()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ticket, _, _ := calls.Enter(ctx, 0)
					calls.Leave(ticket, health.Healthy, key, 0, 0)
				}
			})
		})
	}
}
