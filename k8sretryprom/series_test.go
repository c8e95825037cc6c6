package k8sretryprom_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// A service that puts the names of its objects into WithName must not flood Prometheus.
func TestNamesAreBounded(t *testing.T) {
	c := k8sretryprom.New()
	for i := range 10_000 {
		success(t, c, fmt.Sprint("get_pod_", i), k8sretry.VerbGet)
	}
	success(t, c, "get_pod_7", k8sretry.VerbDelete)

	calls := values(t, c, "calls_total")

	assert.Len(t, calls, 256+2)
	assert.Contains(t, calls, "calls_total{function=get_pod_255,result=succeeded_at_once,verb=get} 1")
	assert.Contains(t, calls, "calls_total{function=other,result=succeeded_at_once,verb=get} 9744")
	assert.Contains(t, calls, "calls_total{function=other,result=succeeded_at_once,verb=delete} 1")
}

// Every code that a server may invent is not a series of its own.
func TestCodesAreBounded(t *testing.T) {
	c := k8sretryprom.New()
	for code := range 100_000 {
		c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventRetry, Function: "f", StatusCode: code, Class: k8sretry.ClassServer})
	}
	assert.Less(t, len(values(t, c, "retries_total")), 70)
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", 99)
	for _, situation := range []struct{ name, function, label string }{
		{"a Transport's", "create pods/eviction", "create pods/eviction"},
		{"none, at once", "", "unnamed"},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
		{"long, cut within a character", long + "é", long + "\uFFFD"},
	} {
		t.Run(situation.name, func(t *testing.T) {
			c := k8sretryprom.New()
			success(t, c, situation.function, k8sretry.VerbUnspecified)
			assert.Equal(t, []string{"attempts_total{function=" + situation.label + ",verb=none} 1"}, values(t, c, "attempts_total"))
		})
	}
}

func TestConcurrentCalls(t *testing.T) {
	c := k8sretryprom.New()
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for i := range 1000 {
				success(t, c, fmt.Sprint("f", i%10), k8sretry.VerbGet)
				if i%100 == 0 {
					gather(t, c)
				}
			}
		})
	}
	calls.Wait()
	got := values(t, c, "calls_total")
	assert.Len(t, got, 10)
	for _, line := range got {
		assert.True(t, strings.HasSuffix(line, " 800"), line)
	}
}

func TestNoAllocation(t *testing.T) {
	c := k8sretryprom.New()
	success(t, c, "f", k8sretry.VerbGet)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		c.Observe(ctx, k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "f", Verb: k8sretry.VerbGet})
	}))
}

// BenchmarkObserve is what a call that succeeds at once pays for being counted.
func BenchmarkObserve(b *testing.B) {
	c := k8sretryprom.New()
	ctx := b.Context()
	e := k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "get pods", Verb: k8sretry.VerbGet}
	b.ReportAllocs()
	for b.Loop() {
		c.Observe(ctx, e)
	}
}

func BenchmarkObserveRetry(b *testing.B) {
	c := k8sretryprom.New()
	ctx := b.Context()
	e := k8sretry.Event{Kind: k8sretry.EventRetry, Attempt: 1, Function: "get pods", Verb: k8sretry.VerbGet, Class: k8sretry.ClassServer, StatusCode: 503, Delay: 1}
	b.ReportAllocs()
	for b.Loop() {
		c.Observe(ctx, e)
	}
}

type idle struct{}

func (idle) Observe(context.Context, k8sretry.Event) {}

func success(t testing.TB, c *k8sretryprom.Collector, function string, verb k8sretry.Verb) {
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: function, Verb: verb})
}

// BenchmarkDo is a call that succeeds at once: without an Observer, with one that does
// nothing, and with a Collector.
func BenchmarkDo(b *testing.B) {
	for _, bench := range []struct {
		name   string
		policy *k8sretry.Policy
	}{
		{"without", k8sretry.NewPolicy(k8sretry.ForRead())},
		{"idle", k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithName("get_pod"), k8sretry.WithObserver(idle{}))},
		{"with", k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithName("get_pod"), k8sretry.WithObserver(k8sretryprom.New()))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { return 1, nil }, bench.policy)
			}
		})
	}
}
