package k8sretry_test

import (
	"context"
	"testing"

	"github.com/k8sretry/k8sretry"
)

// What Budget, Breaker and Limiter add to a call that succeeds at once:
//
//	go test -run '^$' -bench BenchmarkGuards -cpu 1,2 .
func BenchmarkGuards(b *testing.B) {
	k8sretry.ForgetTransports()
	value := 42
	get := func(context.Context) (*int, error) { return &value, nil }
	budget := k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{}))
	breaker := k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{}))
	limiter := k8sretry.WithLimiter(k8sretry.NewLimiter())
	name := k8sretry.WithName("get")
	for _, c := range []struct {
		name string
		opts []k8sretry.Option
	}{
		{"without", nil},
		{"another option", []k8sretry.Option{k8sretry.WithMaxRetries(5)}},
		{"Budget", []k8sretry.Option{budget}},
		{"Breaker", []k8sretry.Option{breaker}},
		{"Limiter", []k8sretry.Option{limiter}},
		{"Limiter with a name", []k8sretry.Option{limiter, name}},
		{"all", []k8sretry.Option{budget, breaker, limiter}},
	} {
		policy := k8sretry.NewPolicy(append([]k8sretry.Option{k8sretry.ForRead()}, c.opts...)...)
		inCall := append([]k8sretry.Option{k8sretry.ForRead()}, c.opts...)
		ctx := context.Background()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(ctx, get, policy)
			}
		})
		b.Run(c.name+", in the call", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(ctx, get, inCall...)
			}
		})
		b.Run(c.name+", in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = k8sretry.Do(ctx, get, policy)
				}
			})
		})
		b.Run(c.name+", 1000 goroutines", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(1000)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = k8sretry.Do(ctx, get, policy)
				}
			})
		})
	}
}
