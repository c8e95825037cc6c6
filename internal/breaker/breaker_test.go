// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

var errDown = errors.New("503 Service Unavailable")

// try makes one attempt that ends at once, if the breaker admits it.
func try(b *Breaker, h health.Health, retryAfter time.Duration) {
	if a := b.enter(); a.Admitted() {
		b.leave(a, h, retryAfter, errDown)
	}
}

// tries makes n attempts at equal intervals, until the breaker opens.
func tries(b *Breaker, n int, every time.Duration, h ...health.Health) {
	for i := range n {
		if b.State() == Open {
			return
		}
		try(b, h[i%len(h)], 0)
		testkit.Sleep(every)
	}
}

// trip opens a closed breaker, in three seconds.
func trip(t *testing.T, b *Breaker) {
	tries(b, 30, 100*time.Millisecond, health.Failing)
	assert.Equal(t, Closed, b.State(), "for three seconds")
	try(b, health.Failing, 0)
	assert.Equal(t, Open, b.State())
}

// untilProbe waits until an open breaker admits a probe. It returns the probe and how long that
// took.
func untilProbe(t *testing.T, b *Breaker) (Admission, time.Duration) {
	begin := time.Now()
	a := b.enter()
	if assert.False(t, a.Admitted()) && assert.Positive(t, a.Wait) {
		testkit.Sleep(a.Wait - time.Nanosecond)
		assert.False(t, b.enter().Admitted(), "a nanosecond early")
		assert.Equal(t, Open, b.State())
		testkit.Sleep(time.Nanosecond)
		a = b.enter()
		assert.True(t, a.Admitted() && a.Probe && a.Changed, "Wait says when: %+v", a)
		assert.Equal(t, HalfOpen, b.State())
	}
	return a, time.Since(begin)
}

func TestOpens(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		situation string
		config    Config
		attempts  func(b *Breaker)
		opens     bool
	}{
		{"an outage of three seconds", Config{}, func(b *Breaker) { tries(b, 31, s/10, health.Failing) }, true},
		{"refused connections", Config{}, func(b *Breaker) { tries(b, 31, s/10, health.Unreachable) }, true},
		{"a failover of a second", Config{}, func(b *Breaker) { tries(b, 1000, s/1000, health.Failing) }, false},
		{"a failover of a second, then single failures", Config{}, func(b *Breaker) {
			tries(b, 1000, s/1000, health.Failing)
			tries(b, 100, s/10, health.Healthy, health.Healthy, health.Failing)
		}, false},
		{"fewer failures than MinFailures", Config{}, func(b *Breaker) { tries(b, 19, s, health.Failing) }, false},
		{"one attempt per minute", Config{}, func(b *Breaker) { tries(b, 20, time.Minute, health.Failing) }, true},
		{"one attempt per minute, one of them succeeds", Config{}, func(b *Breaker) {
			tries(b, 19, time.Minute, health.Failing)
			tries(b, 1, time.Minute, health.Healthy)
			tries(b, 19, time.Minute, health.Failing)
		}, false},
		{"one of twenty succeeds", Config{}, func(b *Breaker) {
			for range 20 {
				tries(b, 19, s/50, health.Failing)
				tries(b, 1, s/50, health.Healthy)
			}
		}, true},
		{"one of twenty succeeds, after ten busy seconds without a failure", Config{}, func(b *Breaker) {
			tries(b, 1000, s/100, health.Healthy)
			for range 12 {
				tries(b, 19, s/50, health.Failing)
				tries(b, 1, s/50, health.Healthy)
			}
		}, true},
		{"one of five succeeds", Config{}, func(b *Breaker) {
			for range 200 {
				tries(b, 4, s/50, health.Failing)
				tries(b, 1, s/50, health.Healthy)
			}
		}, false},
		{"every other call gets a 404", Config{}, func(b *Breaker) { tries(b, 2000, s/100, health.Failing, health.Healthy) }, false},
		{"throttled", Config{}, func(b *Breaker) { tries(b, 2000, s/10, health.Throttled) }, false},
		{"throttled, some succeed", Config{}, func(b *Breaker) {
			tries(b, 2000, s/10, health.Throttled, health.Throttled, health.Throttled, health.Healthy)
		}, false},
		{"an outage with 429 and 503", Config{}, func(b *Breaker) { tries(b, 62, s/20, health.Throttled, health.Failing) }, true},
		{"callers that cancel", Config{}, func(b *Breaker) { tries(b, 2000, s/10, health.Unknown) }, false},
		{"an outage with callers that cancel", Config{}, func(b *Breaker) { tries(b, 62, s/20, health.Unknown, health.Failing) }, true},
		{"a given MinFailures", Config{MinFailures: 3}, func(b *Breaker) { tries(b, 3, 2*s, health.Failing) }, true},
		{"a given FailureRatio", Config{FailureRatio: 0.5}, func(b *Breaker) { tries(b, 200, s/10, health.Failing, health.Healthy) }, true},
		{"a given Window", Config{Window: s}, func(b *Breaker) { tries(b, 31, s/100, health.Failing) }, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(c.config)
				c.attempts(b)
				assert.Equal(t, c.opens, b.State() == Open)
				assert.Equal(t, c.opens, b.lastError() != nil)
			})
		})
	}
}

func TestReopensAndCloses(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    Config
		test      func(t *testing.T, b *Breaker)
	}{
		{"a successful probe closes it", Config{}, func(t *testing.T, b *Breaker) {
			assert.ErrorIs(t, b.lastError(), errDown)
			a, _ := untilProbe(t, b)
			changed, to := b.leave(a, health.Healthy, 0, nil)
			assert.True(t, changed)
			assert.Equal(t, Closed, to)
			assert.NoError(t, b.lastError())
			assert.Equal(t, Admission{Epoch: a.Epoch + 1}, b.enter())
		}},
		{"a failed probe opens it again, and LastError is its error", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			errRefused := errors.New("connection refused")
			changed, to := b.leave(a, health.Unreachable, 0, errRefused)
			assert.True(t, changed)
			assert.Equal(t, Open, to)
			assert.Equal(t, errRefused, b.lastError())
		}},
		{"the open duration grows up to its maximum", Config{}, func(t *testing.T, b *Breaker) {
			for _, want := range []time.Duration{2, 4, 8, 16, 25, 25, 25} {
				a, took := untilProbe(t, b)
				assert.InDelta(t, want.Seconds()*1e9*1.1, took.Seconds(), want.Seconds()*1e9*0.2, "of about %d s", want)
				assert.LessOrEqual(t, took, 30*time.Second)
				b.leave(a, health.Failing, 0, errDown)
			}
		}},
		{"the open duration continues to grow if it opens soon after closing", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			b.leave(a, health.Healthy, 0, nil)
			trip(t, b)
			_, took := untilProbe(t, b)
			assert.GreaterOrEqual(t, took, 4*time.Second)
		}},
		{"the open duration starts over after a minute", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			b.leave(a, health.Failing, 0, errDown)
			a, _ = untilProbe(t, b)
			b.leave(a, health.Healthy, 0, nil)
			testkit.Sleep(time.Minute)
			trip(t, b)
			_, took := untilProbe(t, b)
			assert.Less(t, took, 3*time.Second)
		}},
		{"a given OpenDuration", Config{OpenDuration: time.Hour, MaxOpenDuration: 2 * time.Hour}, func(t *testing.T, b *Breaker) {
			_, took := untilProbe(t, b)
			assert.GreaterOrEqual(t, took, time.Hour)
			assert.LessOrEqual(t, took, 72*time.Minute)
		}},
		{"a failed probe with a Retry-After", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			b.leave(a, health.Failing, 20*time.Second, errDown)
			_, took := untilProbe(t, b)
			assert.GreaterOrEqual(t, took, 20*time.Second)
			assert.LessOrEqual(t, took, 30*time.Second)
		}},
		{"a failed probe with a Retry-After of a day", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			b.leave(a, health.Failing, 24*time.Hour, errDown)
			_, took := untilProbe(t, b)
			assert.GreaterOrEqual(t, took, 5*time.Minute)
			assert.LessOrEqual(t, took, 8*time.Minute)
		}},
		{"an earlier attempt gets a Retry-After after it has opened", Config{}, func(t *testing.T, b *Breaker) {
			b.leave(Admission{Epoch: 1}, health.Throttled, 20*time.Second, errDown)
			_, took := untilProbe(t, b)
			assert.GreaterOrEqual(t, took, 20*time.Second)
		}},
		{"a throttled probe keeps it open, and does not extend the open duration", Config{}, func(t *testing.T, b *Breaker) {
			for range 5 {
				a, took := untilProbe(t, b)
				assert.Less(t, took, 3*time.Second)
				b.leave(a, health.Throttled, time.Second, errDown)
				assert.Equal(t, Open, b.State())
			}
		}},
		{"one probe at a time", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			refused := b.enter()
			assert.False(t, refused.Admitted())
			assert.Equal(t, 2*time.Second, refused.Wait)
			b.leave(a, health.Unknown, 0, nil)
			assert.Equal(t, HalfOpen, b.State(), "a canceled probe decides nothing")
			again := b.enter()
			assert.True(t, again.Admitted() && again.Probe)
			assert.False(t, again.Changed)
			assert.False(t, b.enter().Admitted())
		}},
		{"three probes at a time, three successes close it", Config{HalfOpenProbes: 3}, func(t *testing.T, b *Breaker) {
			first, _ := untilProbe(t, b)
			second, third := b.enter(), b.enter()
			assert.True(t, second.Admitted() && second.Probe && third.Admitted() && third.Probe)
			assert.False(t, b.enter().Admitted())
			b.leave(first, health.Healthy, 0, nil)
			b.leave(second, health.Healthy, 0, nil)
			assert.Equal(t, HalfOpen, b.State())
			b.leave(third, health.Healthy, 0, nil)
			assert.Equal(t, Closed, b.State())
		}},
		{"three probes, one fails", Config{HalfOpenProbes: 3}, func(t *testing.T, b *Breaker) {
			first, _ := untilProbe(t, b)
			second, third := b.enter(), b.enter()
			b.leave(first, health.Failing, 0, errDown)
			testkit.Sleep(time.Minute)
			fourth := b.enter()
			assert.True(t, fourth.Changed, "the two that are still in flight count only for MaxOpenDuration")
			for range 2 {
				assert.True(t, b.enter().Admitted())
			}
			assert.False(t, b.enter().Admitted())
			for range 3 {
				b.leave(second, health.Healthy, 0, nil)
				b.leave(third, health.Failing, 0, errDown)
			}
			assert.Equal(t, HalfOpen, b.State(), "probes of an earlier epoch decide nothing")
			assert.False(t, b.enter().Admitted(), "and make no room")
		}},
		{"a probe that ends late counts as in flight until then", Config{HalfOpenProbes: 2}, func(t *testing.T, b *Breaker) {
			first, _ := untilProbe(t, b)
			second := b.enter()
			b.leave(first, health.Failing, 0, errDown)
			_, _ = untilProbe(t, b)
			assert.False(t, b.enter().Admitted(), "two are in flight")
			b.leave(second, health.Failing, 0, errDown)
			assert.Equal(t, HalfOpen, b.State())
			assert.True(t, b.enter().Admitted())
		}},
		{"a probe that does not end", Config{}, func(t *testing.T, b *Breaker) {
			hangs, _ := untilProbe(t, b)
			testkit.Sleep(30*time.Second - time.Nanosecond)
			assert.Equal(t, Admission{Wait: 1}, b.enter())
			testkit.Sleep(time.Nanosecond)
			a := b.enter()
			assert.True(t, a.Admitted() && a.Probe)
			b.leave(hangs, health.Failing, 0, errDown)
			assert.Equal(t, HalfOpen, b.State())
			assert.False(t, b.enter().Admitted())
			b.leave(a, health.Healthy, 0, nil)
			assert.Equal(t, Closed, b.State())
		}},
		{"after a probe that hangs, as many have to succeed as before", Config{HalfOpenProbes: 2}, func(t *testing.T, b *Breaker) {
			first, _ := untilProbe(t, b)
			b.leave(first, health.Healthy, 0, nil)
			b.enter() // hangs
			testkit.Sleep(30 * time.Second)
			for range 2 {
				assert.Equal(t, HalfOpen, b.State())
				a := b.enter()
				assert.True(t, a.Probe)
				b.leave(a, health.Healthy, 0, nil)
			}
			assert.Equal(t, Closed, b.State())
		}},
		{"after two probes that hang, there are two again", Config{HalfOpenProbes: 2}, func(t *testing.T, b *Breaker) {
			untilProbe(t, b)
			b.enter()
			testkit.Sleep(30 * time.Second)
			assert.True(t, b.enter().Admitted())
			assert.True(t, b.enter().Admitted())
			assert.False(t, b.enter().Admitted())
		}},
		{"attempts from before it opened neither close it nor open it again", Config{}, func(t *testing.T, b *Breaker) {
			old := Admission{Epoch: 1}
			b.leave(old, health.Healthy, 0, nil)
			assert.Equal(t, Open, b.State())
			a, _ := untilProbe(t, b)
			for _, h := range []health.Health{health.Healthy, health.Failing, health.Unreachable, health.Throttled, health.Unknown} {
				b.leave(old, h, 0, errDown)
				assert.Equal(t, HalfOpen, b.State())
			}
			b.leave(a, health.Healthy, 0, nil)
			for range 1200 {
				testkit.Sleep(100 * time.Millisecond)
				b.leave(old, health.Failing, time.Hour, errDown)
				b.leave(old, health.Unreachable, time.Hour, errDown)
			}
			assert.Equal(t, Closed, b.State())
		}},
		{"a minute after closing it no longer counts successes", Config{}, func(t *testing.T, b *Breaker) {
			a, _ := untilProbe(t, b)
			b.leave(a, health.Healthy, 0, nil)
			testkit.Sleep(59 * time.Second)
			try(b, health.Healthy, 0)
			assert.False(t, b.idle(), "attempts that began before may still fail")
			testkit.Sleep(time.Second)
			try(b, health.Healthy, 0)
			assert.True(t, b.idle())
			trip(t, b)
		}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(c.config)
				trip(t, b)
				c.test(t, b)
			})
		})
	}
}

func TestCountsSuccessesOnlyAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{})
		for _, h := range []health.Health{health.Healthy, health.Unknown, health.Throttled} {
			try(b, h, 0)
			assert.True(t, b.idle())
		}
		try(b, health.Failing, 0)
		assert.False(t, b.idle())
		testkit.Sleep(10 * time.Second)
		try(b, health.Healthy, 0)
		assert.False(t, b.idle(), "the failure is still in the window")
		testkit.Sleep(time.Second)
		assert.False(t, b.idle())
		try(b, health.Healthy, 0)
		assert.True(t, b.idle())
	})
}

// A Retry-After counts from the failure that had it.
func TestRetryAfterOfAnEarlierFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{})
		tries(b, 29, 100*time.Millisecond, health.Failing)
		try(b, health.Failing, 20*time.Second)
		testkit.Sleep(time.Second)
		try(b, health.Failing, 0)
		_, took := untilProbe(t, b)
		assert.GreaterOrEqual(t, took, 19*time.Second)
	})
}

// A Breaker that was made outside of a bubble uses the clock of the bubble, and that of the next
// one, which begins before the first has ended.
func TestBreakerAcrossBubbles(t *testing.T) {
	b := New(Config{})
	synctest.Test(t, func(t *testing.T) {
		tries(b, 40, 100*time.Millisecond, health.Failing)
		assert.Equal(t, Open, b.State())
	})
	synctest.Test(t, func(t *testing.T) {
		a := b.enter()
		assert.True(t, a.Admitted() && a.Probe)
		b.leave(a, health.Healthy, 0, nil)
		trip(t, b)
	})
	assert.False(t, b.idle())
}

func TestNoAllocation(t *testing.T) {
	b := New(Config{})
	assert.Zero(t, testing.AllocsPerRun(1000, func() { b.leave(b.enter(), health.Failing, time.Second, errDown) }))
}

// What an attempt pays while there is nothing to count, and after a failure:
//
//	go test -run '^$' -bench . -cpu 1,2 ./internal/breaker
func BenchmarkBreaker(b *testing.B) {
	idle, counting := New(Config{}), New(Config{MinFailures: 1 << 30})
	counting.leave(counting.enter(), health.Failing, 0, errDown)
	for name, breaker := range map[string]*Breaker{"idle": idle, "counting": counting} {
		calls := breaker.Calls()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					calls.Leave(calls.Enter(), health.Healthy, 0, nil)
				}
			})
		})
	}
}
