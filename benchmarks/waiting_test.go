// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkWaiting measures the memory of a call that waits for its retry: heap and
// stacks after a garbage collection, goroutine included, divided by 10,000 calls. Its
// ns/op is meaningless. The runtime reuses the memory of finished goroutines, so only
// the first contender in a process allocates its goroutines. For this reason cmd/table
// runs each contender in a separate process.
func BenchmarkWaiting(b *testing.B) {
	for _, c := range contenders {
		if c.name == "plain" {
			c.prepare = sleeping
		}
		b.Run(c.name, func(b *testing.B) { b.ReportMetric(waiting(c, 10_000), "B/waiting") })
	}
}

// sleeping replaces the call without retries: a goroutine that waits for a timer or
// its context, which is the minimum for a waiting call.
func sleeping(initial time.Duration) runner {
	return func(ctx context.Context, _ int, fn call) (*corev1.ConfigMap, error) {
		v, err := fn(ctx)
		timer := time.NewTimer(initial)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return v, err
	}
}

// waiting returns the bytes per call of n calls that wait at the same time.
func waiting(c contender, n int) float64 {
	// The delay is long enough to measure while all calls wait. Contenders that ignore
	// the context wait until its end.
	run := c.prepare(8 * time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fn := func(ctx context.Context) (*corev1.ConfigMap, error) {
		if ctx.Err() != nil {
			return configMap, nil
		}
		return nil, errUnavailable
	}

	before, idle := inUse(), parked()
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		go func() { // all.Go would add a stack frame
			_, _ = run(ctx, 1, fn)
			all.Done()
		}()
	}
	for parked() < idle+n {
		runtime.Gosched()
	}
	after := inUse()
	cancel()
	all.Wait()
	return (after - before) / float64(n)
}

// inUse returns the number of bytes in live objects and stacks.
func inUse() float64 {
	runtime.GC()
	runtime.GC() // finishes the sweep of the first and clears pools
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	return float64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}

// parked returns the number of waiting goroutines.
func parked() int {
	samples := []metrics.Sample{{Name: "/sched/goroutines/waiting:goroutines"}}
	metrics.Read(samples)
	return int(samples[0].Value.Uint64())
}
