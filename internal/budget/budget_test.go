// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/counter"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    Config
		remaining int
	}{
		{"the zero value", Config{}, 20},
		{"a given MinRetries", Config{MinRetries: 3}, 3},
		{"no MinRetries", Config{MinRetries: -1}, 0},
		{"no Ratio", Config{Ratio: -0.5}, 20},
		{"the largest MinRetries", Config{MinRetries: math.MaxInt}, math.MaxInt32},
		{"the shortest window", Config{Window: 1}, 20},
		{"the longest window", Config{Window: math.MaxInt64}, 20},
	} {
		t.Run(c.situation, func(t *testing.T) {
			b := New(c.config)
			assert.Equal(t, State{Remaining: c.remaining}, b.State())
			b.earn()
			b.spend(time.Second)
			assert.Equal(t, c.remaining > 0, b.pay(1, 0))
		})
	}
}

// paidOf returns for how many of n retries the budget pays.
func paidOf(b *Budget, n int) (paid int) {
	for range n {
		if b.pay(1, 0) {
			paid++
		}
	}
	return paid
}

func earn(b *Budget, n int) {
	for range n {
		b.earn()
	}
}

func TestPays(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    Config
		test      func(t *testing.T, b *Budget)
	}{
		{"an outage gets only MinRetries", Config{}, func(t *testing.T, b *Budget) {
			assert.Equal(t, 20, paidOf(b, 1000))
			assert.Equal(t, State{Remaining: 0, Paid: 20, Refused: 980}, b.State())
		}},
		{"MinRetries are renewed with time", Config{}, func(t *testing.T, b *Budget) {
			paidOf(b, 1000)
			testkit.Sleep(10 * time.Second)
			assert.Zero(t, paidOf(b, 1000), "the last part has not been in the window for its full length")
			testkit.Sleep(time.Second)
			assert.Equal(t, 20, paidOf(b, 1000))
		}},
		{"they are renewed as they were spent, not all at once", Config{}, func(t *testing.T, b *Budget) {
			for range 20 {
				assert.Equal(t, 1, paidOf(b, 1))
				testkit.Sleep(500 * time.Millisecond)
			}
			testkit.Sleep(time.Second)
			assert.Equal(t, 2, paidOf(b, 1000))
		}},
		{"an outage with two calls per second", Config{}, func(t *testing.T, b *Budget) {
			paid := 0
			for range 600 { // 5 minutes
				paid += paidOf(b, 5)
				testkit.Sleep(500 * time.Millisecond)
			}
			assert.InDelta(t, 20*300/11, paid, 21, "of 3000 that were asked for")
		}},
		{"an outage with two thousand calls per second", Config{}, func(t *testing.T, b *Budget) {
			paid := 0
			for range 600_000 {
				paid += paidOf(b, 5)
				testkit.Sleep(500 * time.Microsecond)
			}
			assert.InDelta(t, 20*300/11, paid, 21, "of 3,000,000 that were asked for")
		}},
		{"successes pay for their ratio", Config{Ratio: 0.25, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 1000)
			assert.Equal(t, 250, b.State().Remaining)
			assert.Equal(t, 250, paidOf(b, 1000))
		}},
		{"half a retry is none", Config{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 1)
			assert.Equal(t, 0, paidOf(b, 1))
			assert.True(t, b.pay(0.5, 0))
		}},
		{"what was earned expires after the window", Config{Ratio: 0.25, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 1000)
			assert.Equal(t, 250, b.State().Remaining)
			testkit.Sleep(10 * time.Second)
			assert.Equal(t, 250, b.State().Remaining)
			testkit.Sleep(time.Second)
			assert.Zero(t, b.State().Remaining)
			assert.Zero(t, paidOf(b, 1))
		}},
		{"a success counts as if it had been spread over the time since the last look", Config{Ratio: 1000, MinRetries: -1}, func(t *testing.T, b *Budget) {
			b.State()
			earn(b, 1)
			testkit.Sleep(9 * time.Second)
			assert.Equal(t, 1000, b.State().Remaining)
			testkit.Sleep(6 * time.Second)
			assert.InDelta(t, 500, b.State().Remaining, 100)
		}},
		{"there is no debt when the successes leave the window first", Config{Ratio: 1, MinRetries: 1}, func(t *testing.T, b *Budget) {
			earn(b, 10)
			b.State()
			testkit.Sleep(5 * time.Second)
			assert.Equal(t, 11, paidOf(b, 100))
			testkit.Sleep(6 * time.Second)
			assert.Zero(t, b.State().Remaining)
			testkit.Sleep(5 * time.Second)
			assert.Equal(t, 1, paidOf(b, 100))
		}},
		{"an hour of successes counts as one window of them", Config{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			for range 3600 {
				earn(b, 100)
				testkit.Sleep(time.Second)
			}
			assert.InDelta(t, 525, b.State().Remaining, 25, "ten to eleven seconds")
		}},
		{"a burst an hour ago counts as the average of the hour", Config{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 360_000)
			testkit.Sleep(time.Hour)
			assert.InDelta(t, 525, b.State().Remaining, 25)
		}},
		{"a fault in a busy minute after a quiet hour", Config{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			testkit.Sleep(time.Hour)
			assert.False(t, b.pay(1, 0), "the first failure brings the count up to date")
			earn(b, 100)
			assert.Equal(t, 50, paidOf(b, 1000))
		}},
		{"MaxRetryTime limits the delays of all calls together", Config{MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.False(t, b.pay(1, time.Minute+1), "more than the limit")
			assert.True(t, b.pay(1, 50*time.Second))
			assert.False(t, b.pay(1, 11*time.Second))
			assert.True(t, b.pay(1, 10*time.Second))
			assert.False(t, b.pay(1, 0), "no time is left")
			assert.Equal(t, State{Remaining: 18, RetryTime: time.Minute, Paid: 2, Refused: 3}, b.State())
			testkit.Sleep(11 * time.Second)
			assert.True(t, b.pay(1, time.Minute))
		}},
		{"attempts count as retry time, too", Config{MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(1, time.Second))
			b.spend(59 * time.Second)
			assert.False(t, b.pay(1, 0))
			b.spend(-time.Hour)
			assert.False(t, b.pay(1, 0))
			b.spend(time.Hour)
			assert.Equal(t, time.Hour+time.Minute, b.State().RetryTime)
			testkit.Sleep(11 * time.Second)
			assert.True(t, b.pay(1, 0))
		}},
		{"a price of 0 costs no time", Config{MinRetries: -1, MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(0, time.Hour))
			assert.Zero(t, b.State().RetryTime)
		}},
		{"a price of 0 is never refused", Config{MinRetries: 1, MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(1, time.Minute))
			assert.False(t, b.pay(1, 0))
			assert.True(t, b.pay(0, time.Second))
		}},
		{"the longest delays", Config{MinRetries: 1000}, func(t *testing.T, b *Budget) {
			for range 100 {
				assert.True(t, b.pay(1, math.MaxInt64))
				b.spend(math.MaxInt64)
				testkit.Sleep(100 * time.Millisecond)
			}
			assert.Equal(t, time.Duration(math.MaxInt64), b.State().RetryTime)
		}},
		{"a negative delay", Config{MaxRetryTime: time.Second}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(1, -time.Hour))
			assert.Zero(t, b.State().RetryTime)
		}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.test(t, New(c.config)) })
		})
	}
}

// A Budget that was made outside of a bubble uses the clock of the bubble, and that of the next
// one, which begins before the first has ended.
func TestBudgetAcrossBubbles(t *testing.T) {
	b := New(Config{})
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			assert.Equal(t, 20, paidOf(b, 100))
			testkit.Sleep(11 * time.Second)
			assert.Equal(t, 20, paidOf(b, 100))
		})
	}
}

// With concurrent callers no success and no retry is lost or counted twice.
func TestConcurrentCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Ratio: 0.5, MinRetries: 1000})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for range 10 {
					b.earn()
					b.pay(1, time.Second)
					b.spend(time.Millisecond)
				}
			})
		}
		wg.Wait()
		state := b.State()
		assert.Equal(t, uint64(10_000), state.Paid+state.Refused)
		assert.LessOrEqual(t, state.Paid, uint64(1000+10_000/2))
		assert.Equal(t, 6000-int(state.Paid), state.Remaining, "1000 and half of 10,000 successes")
		assert.Equal(t, time.Duration(state.Paid)*time.Second+10*time.Second, state.RetryTime)
	})
}

// Concurrent goroutines count in different cache lines.
func TestSpreadsItsCounter(t *testing.T) {
	b := New(Config{})
	var all, done sync.WaitGroup
	all.Add(256)
	for range 256 {
		done.Go(func() {
			all.Done()
			all.Wait() // so that none reuses the stack of another
			b.earn()
		})
	}
	done.Wait()
	used := 0
	for part := range uint8(counter.Shards) {
		if b.successes.Load(part) > 0 {
			used++
		}
	}
	assert.Greater(t, used, counter.Shards/2)
}

func TestNoAllocation(t *testing.T) {
	b := New(Config{})
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		b.earn()
		b.pay(1, time.Second)
		b.spend(time.Second)
	}))
}

// What a call pays on success, and beside failures:
//
//	go test -run '^$' -bench . -cpu 1,2 ./internal/budget
func BenchmarkBudget(b *testing.B) {
	calls := New(Config{}).Calls()
	for name, f := range map[string]func(){
		"earn":         calls.Earn,
		"earn and pay": func() { calls.Earn(); calls.Pay(1, 0) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					f()
				}
			})
		})
	}
}
