package k8sretry

import (
	"errors"
	"testing"
)

// What a call pays on success for the Budget and the Breaker that it shares with
// others, and what it pays beside failures:
//
//	go test -run '^$' -bench 'BenchmarkBudget|BenchmarkBreaker' -cpu 1,2 .
func BenchmarkBudget(b *testing.B) {
	budget := NewBudget(BudgetConfig{})
	each(b, "earn", budget.earn)
	each(b, "earn and pay", func() { budget.earn(); budget.pay(ClassServer, 0) })
}

func BenchmarkBreaker(b *testing.B) {
	breaker := NewBreaker(BreakerConfig{})
	busy := NewBreaker(BreakerConfig{MinFailures: 1 << 30})
	err := errors.New("down")
	each(b, "calm", func() {
		if !breaker.calm() {
			b.Error("not calm")
		}
		if !breaker.calm() {
			b.Error("not calm")
		}
	})
	busy.leave(admission{epoch: busy.epoch()}, failing, 0, err)
	each(b, "busy", func() {
		busy.enter()
		busy.leave(admission{epoch: busy.epoch()}, well, 0, nil)
	})
}

func each(b *testing.B, name string, f func()) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
	b.Run(name+", in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f()
			}
		})
	})
}
