package limiter

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// A 429 to a lone attempt while others succeed sets a rate a little below theirs, once per second.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		for range 100 {
			attempt(t, l, health.Healthy, 100*time.Millisecond)
		}
		attempt(t, l, health.Throttled, 0)
		assert.Equal(t, 1, l.State().Limit, "one lone attempt may be refused by accident")
		assert.Zero(t, l.State().Rate)
		attempt(t, l, health.Throttled, 0)
		rate := l.State().Rate
		assert.InDelta(t, rateShare*10, rate, 0.5)
		attempt(t, l, health.Throttled, 0)
		assert.InDelta(t, rate, l.State().Rate, 0.1, "one decrease per second")

		began := time.Now()
		n := 0
		for time.Since(began) < 9*time.Second {
			attempt(t, l, health.Healthy, 0)
			n++
		}
		assert.Greater(t, n, int(9*rate), "it grows")
		assert.Less(t, n, int(9*2*rate))
		require.True(t, l.State().Limited)
		testkit.Sleep(2 * time.Second)
		attempt(t, l, health.Healthy, 0)
		assert.Equal(t, State{}, l.State(), "10 s without a 429")
	})
}

// The rate is measured from the first second on.
func TestRateOfANewProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		for range 10 {
			attempt(t, l, health.Healthy, 10*time.Millisecond)
		}
		attempt(t, l, health.Throttled, 0)
		attempt(t, l, health.Throttled, 0)
		s := l.State()
		assert.InDelta(t, 8.5, s.Rate, 1, "ten successes in the last second")
	})
}

// A process with one success in ten seconds cannot measure a rate: it lowers its own, and raises it
// with its own starts.
func TestRateOfAProcessOfFewSuccesses(t *testing.T) {
	lower := func(l *Limiter, rate float64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.control.lowerRate(l, time.Now(), rate)
	}
	again := func(l *Limiter, rate float64) {
		testkit.Sleep(rateCutInterval)
		lower(l, rate)
	}
	succeed := func(l *Limiter, times, waiting int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queue.len += waiting // without a waiter
		for range times {
			l.control.succeeded(l)
		}
		l.queue.len -= waiting
	}
	for _, c := range []struct {
		situation string
		happens   func(*Limiter)
		rate      float64
	}{
		{"a second 429", func(*Limiter) {}, firstRate},
		{"a success and another 429 in the same second", func(l *Limiter) {
			succeed(l, 1, 0)
			testkit.Sleep(rateCutInterval / 2)
			lower(l, 0)
		}, firstRate},
		{"many more without a success between them", func(l *Limiter) {
			for range 10 {
				again(l, 0)
			}
		}, firstRate},
		{"another 429 after a success", func(l *Limiter) {
			succeed(l, 1, 0)
			again(l, 0)
		}, firstRate * lowShare},
		{"another 429 after seven successes", func(l *Limiter) {
			succeed(l, 7, 0)
			again(l, 0)
		}, 2 * firstRate * lowShare},
		{"a success and another 429, many times", func(l *Limiter) {
			for range 10 {
				succeed(l, 1, 0)
				again(l, 0)
			}
		}, lowestRate},
		{"the time for seven starts", func(*Limiter) {
			testkit.Sleep(time.Duration(7 / firstRate * float64(time.Second)))
		}, 2 * firstRate},
		{"the time for seven starts, and another 429", func(l *Limiter) {
			testkit.Sleep(time.Duration(7 / firstRate * float64(time.Second)))
			again(l, 0)
		}, firstRate},
		{"seven successes", func(l *Limiter) { succeed(l, 7, 0) }, 2 * firstRate},
		{"a success while sixty calls wait", func(l *Limiter) { succeed(l, 1, 60) }, 2 * firstRate},
		{"many successes until a minute ago", func(l *Limiter) {
			l.control.rate, l.control.lowVolume, l.control.ratedAt = 100, false, time.Now().Add(-rateCutInterval)
			succeed(l, 1, 0)
			lower(l, 0.5)
		}, lowShare * fewSuccesses},
		{"many successes, and then only 429", func(l *Limiter) {
			l.control.rate, l.control.lowVolume = 100, false
			again(l, 50)
			again(l, 10)
			again(l, 0)
		}, grown(100, 3*rateCutInterval)},
		{"many successes, and then another 429", func(l *Limiter) {
			succeed(l, 1, 0)
			again(l, 10)
		}, rateShare * 10},
		{"nearly as many", func(l *Limiter) {
			l.control.rate = 0
			again(l, 0.99*fewSuccesses)
		}, rateShare * 0.99 * fewSuccesses},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lowVolume(t)
				c.happens(l)
				assert.InDelta(t, c.rate, l.State().Rate, c.rate/20)
			})
		})
	}
}

// A success ends the pauses, not the rate.
func TestRateOutlastsPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		for range 2 {
			attempt(t, l, health.Throttled, 0)
		}
		assert.InDelta(t, firstRate, l.State().Rate, 0.01)
		assert.Positive(t, l.State().Pause)
		attempt(t, l, health.Healthy, 0)
		assert.Zero(t, l.State().Pause)
		began := time.Now()
		attempt(t, l, health.Healthy, 0)
		assert.Greater(t, time.Since(began), 4*time.Second)
	})
}

// Ten seconds without a 429 prove little if a process has made one attempt in them.
func TestLowRateExpiresLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lowVolume(t)
		began := time.Now()
		after := time.Duration(expireStarts / l.control.rate * float64(time.Second))
		require.Greater(t, after, recent+time.Second)
		testkit.Sleep(recent + time.Second)
		attempt(t, l, health.Healthy, 0)
		assert.Positive(t, l.State().Rate)
		testkit.Sleep(after - time.Since(began) + time.Millisecond)
		attempt(t, l, health.Healthy, 0)
		assert.Equal(t, State{}, l.State())
	})
}

// How long cap and rate last depends on how many attempts the process could make.
func TestLifetime(t *testing.T) {
	for _, c := range []struct {
		rate      float64
		lowVolume bool
		want      time.Duration
	}{
		{0, false, recent},
		{0, true, recent},
		{0.85, false, recent},
		{0.85, true, recent},
		{firstRate, true, 20 * time.Second},
		{firstRate * lowShare, true, 80 * time.Second},
		{lowestRate, true, 80 * time.Second},
		{math.SmallestNonzeroFloat64, true, 80 * time.Second},
	} {
		r := rates{rate: c.rate, lowVolume: c.lowVolume}
		assert.Equal(t, c.want, r.lifetime(), "%+v", c)
	}
}

// Rates are bounded for any time, number of successes and wait.
func TestRateIsBounded(t *testing.T) {
	times := []time.Duration{math.MinInt64, -time.Hour, 0, 1, time.Second, time.Hour, math.MaxInt64}
	for _, rate := range []float64{lowestRate, firstRate, fewSuccesses} {
		for _, gained := range []float64{0, 1, 1e9, 1e18} {
			for _, after := range times {
				for _, waited := range times {
					now := time.Now()
					l := New()
					l.control.restrict(l, now)
					l.control.rate, l.control.lowVolume, l.control.ratedAt, l.control.gained = rate, true, now.Add(-after), gained
					l.queue.push(now.Add(-waited))
					got := l.control.effectiveRate(l, now)
					assert.GreaterOrEqual(t, got, rate)
					assert.False(t, math.IsNaN(got) || math.IsInf(got, 0), got)
					wait := l.control.wait(l, now)
					assert.True(t, 0 <= wait && wait <= longestInterval, wait)
					l.control.lowerRate(l, now.Add(time.Hour), 0)
					assert.True(t, lowestRate <= l.control.rate && l.control.rate <= fewSuccesses, l.control.rate)
				}
			}
		}
	}
}

// The longer the head of the queue has waited, the higher the rate of a process of few successes.
// That of a process of many successes does not depend on it.
func TestUrgency(t *testing.T) {
	for _, lowVolume := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			l := New()
			l.control.restrict(l, now)
			l.control.rate, l.control.ratedAt, l.control.lowVolume = 0.5, now, lowVolume
			first := l.queue.push(now)
			l.queue.push(now.Add(30 * time.Second))
			for waited, times := range map[time.Duration]float64{-time.Hour: 1, 0: 1, 10 * time.Second: 1.25, 20 * time.Second: 2, 60 * time.Second: 10} {
				l.control.ratedAt = now.Add(waited) // it has not grown
				if !lowVolume {
					times = 1
				}
				assert.InDelta(t, times*0.5, l.control.effectiveRate(l, now.Add(waited)), 1e-9, "%v, %v", lowVolume, waited)
			}
			l.queue.remove(first)
			l.control.ratedAt = now.Add(30 * time.Second)
			assert.InDelta(t, 0.5, l.control.effectiveRate(l, now.Add(30*time.Second)), 1e-9, "the new head has just come")
		})
	}
}

// A call that gave up counts for the next success only.
func TestAbandonedCallsCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lowVolume(t)
		l.control.abandoned = 6 * manyWaiting
		for _, gained := range []float64{7, 8} {
			l.control.succeeded(l)
			assert.InDelta(t, gained, l.control.gained, 1e-9)
		}
	})
}
