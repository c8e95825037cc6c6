package k8sretry

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBreakerConfig(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    BreakerConfig
		problem   string
	}{
		{"the zero value", BreakerConfig{}, ""},
		{"everything given", BreakerConfig{MinFailures: 1, FailureRatio: 1, Window: 1, OpenDuration: 1, MaxOpenDuration: 1, HalfOpenProbes: 1}, ""},
		{"the largest values", BreakerConfig{math.MaxInt, 1, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt}, ""},
		{"negative Failures", BreakerConfig{MinFailures: -1}, "NewBreaker: MinFailures must not be negative"},
		{"a negative Ratio", BreakerConfig{FailureRatio: -0.1}, "NewBreaker: FailureRatio must be above 0 and at most 1"},
		{"a Ratio above 1", BreakerConfig{FailureRatio: 1.1}, "NewBreaker: FailureRatio must be above 0 and at most 1"},
		{"a Ratio that is no number", BreakerConfig{FailureRatio: math.NaN()}, "NewBreaker: FailureRatio must be above 0 and at most 1"},
		{"a negative Window", BreakerConfig{Window: -1}, "NewBreaker: Window must not be negative"},
		{"a negative OpenDuration", BreakerConfig{OpenDuration: -1}, "NewBreaker: OpenDuration must not be negative"},
		{"a negative MaxOpenDuration", BreakerConfig{MaxOpenDuration: -1}, "NewBreaker: MaxOpenDuration must not be negative"},
		{"negative Probes", BreakerConfig{HalfOpenProbes: -1}, "NewBreaker: HalfOpenProbes must not be negative"},
	} {
		t.Run(c.situation, func(t *testing.T) {
			b := NewBreaker(c.config)
			assert.Equal(t, c.problem, b.problem)
			assert.Equal(t, BreakerClosed, b.State())
			assert.True(t, b.calm())
			assert.True(t, b.enter().ok)
			b.leave(admission{epoch: b.epoch()}, failing, math.MaxInt64, errDown)
			assert.NoError(t, b.lastError())
		})
	}
}

func TestBreakerThatNobodyMade(t *testing.T) {
	b := new(Breaker)
	for range 100 {
		assert.True(t, b.enter().ok)
		b.leave(admission{epoch: b.epoch()}, failing, 0, errDown)
	}
	assert.Equal(t, BreakerClosed, b.State(), "the zero value never opens")
	assert.NoError(t, b.lastError())
	assert.Equal(t, BreakerClosed, (*Breaker)(nil).State())
}

func TestBreakerStateNames(t *testing.T) {
	for s, want := range map[BreakerState]string{
		BreakerClosed: "closed", BreakerOpen: "open", BreakerHalfOpen: "half_open", 3: "invalid",
	} {
		assert.Equal(t, want, s.String())
	}
}

// try makes one attempt that ends at once, if the breaker lets it through.
func try(b *Breaker, h health, retryAfter time.Duration) (let bool) {
	var a admission
	if !b.calm() {
		if a = b.enter(); !a.ok {
			return false
		}
	}
	b.leave(a, h, retryAfter, errDown)
	return true
}

// tries makes n attempts at equal distances, fewer if the breaker opens.
func tries(b *Breaker, n int, every time.Duration, h ...health) {
	for i := range n {
		if b.State() == BreakerOpen {
			return
		}
		try(b, h[i%len(h)], 0)
		time.Sleep(every)
	}
}

// broke opens a closed breaker, in three seconds.
func broke(t *testing.T, b *Breaker) {
	tries(b, 30, 100*time.Millisecond, failing)
	assert.Equal(t, BreakerClosed, b.State(), "not before three seconds have passed")
	try(b, failing, 0)
	assert.Equal(t, BreakerOpen, b.State())
}

// reopens waits until an open breaker lets an attempt through, which it returns, and
// how long that took.
func reopens(t *testing.T, b *Breaker) (admission, time.Duration) {
	begin := time.Now()
	a := b.enter()
	if assert.False(t, a.ok) && assert.Positive(t, a.wait) {
		time.Sleep(a.wait - time.Nanosecond)
		assert.False(t, b.enter().ok, "a moment too early")
		assert.Equal(t, BreakerOpen, b.State())
		time.Sleep(time.Nanosecond)
		a = b.enter()
		assert.True(t, a.ok && a.probe && a.changed, "it said when it tries again: %+v", a)
		assert.Equal(t, BreakerHalfOpen, b.State())
	}
	return a, time.Since(begin)
}

func TestBreakerOpens(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		situation string
		config    BreakerConfig
		story     func(b *Breaker)
		opens     bool
	}{
		{"an outage of three seconds", BreakerConfig{}, func(b *Breaker) { tries(b, 31, s/10, failing) }, true},
		{"refused connections", BreakerConfig{}, func(b *Breaker) { tries(b, 31, s/10, lost) }, true},
		{"a failover of a second", BreakerConfig{}, func(b *Breaker) { tries(b, 1000, s/1000, failing) }, false},
		{"a failover of a second, then single failures", BreakerConfig{}, func(b *Breaker) {
			tries(b, 1000, s/1000, failing)
			tries(b, 100, s/10, well, well, failing)
		}, false},
		{"fewer failures than it takes", BreakerConfig{}, func(b *Breaker) { tries(b, 19, s, failing) }, false},
		{"an attempt a minute", BreakerConfig{}, func(b *Breaker) { tries(b, 20, time.Minute, failing) }, true},
		{"an attempt a minute, one of them succeeds", BreakerConfig{}, func(b *Breaker) {
			tries(b, 19, time.Minute, failing)
			tries(b, 1, time.Minute, well)
			tries(b, 19, time.Minute, failing)
		}, false},
		{"one of twenty succeeds", BreakerConfig{}, func(b *Breaker) {
			for range 20 {
				tries(b, 19, s/50, failing)
				tries(b, 1, s/50, well)
			}
		}, true},
		{"one of five succeeds", BreakerConfig{}, func(b *Breaker) {
			for range 200 {
				tries(b, 4, s/50, failing)
				tries(b, 1, s/50, well)
			}
		}, false},
		{"every other call is not found", BreakerConfig{}, func(b *Breaker) { tries(b, 2000, s/100, failing, well) }, false},
		{"throttled", BreakerConfig{}, func(b *Breaker) { tries(b, 2000, s/10, throttled) }, false},
		{"throttled, some succeed", BreakerConfig{}, func(b *Breaker) { tries(b, 2000, s/10, throttled, throttled, throttled, well) }, false},
		{"an outage told by 429 and 503", BreakerConfig{}, func(b *Breaker) { tries(b, 62, s/20, throttled, failing) }, true},
		{"callers that give up", BreakerConfig{}, func(b *Breaker) { tries(b, 2000, s/10, unsaid) }, false},
		{"an outage among callers that give up", BreakerConfig{}, func(b *Breaker) { tries(b, 62, s/20, unsaid, failing) }, true},
		{"failures of one's own number", BreakerConfig{MinFailures: 3}, func(b *Breaker) { tries(b, 3, 2*s, failing) }, true},
		{"a ratio of one's own", BreakerConfig{FailureRatio: 0.5}, func(b *Breaker) { tries(b, 200, s/10, failing, well) }, true},
		{"a window of one's own", BreakerConfig{Window: s}, func(b *Breaker) { tries(b, 31, s/100, failing) }, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker(c.config)
				c.story(b)
				assert.Equal(t, c.opens, b.State() == BreakerOpen)
				assert.Equal(t, c.opens, b.lastError() != nil)
			})
		})
	}
}

func TestBreaker(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    BreakerConfig
		story     func(t *testing.T, b *Breaker)
	}{
		{"it closes with a success", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			assert.ErrorIs(t, b.lastError(), errDown)
			a, _ := reopens(t, b)
			changed, to := b.leave(a, well, 0, nil)
			assert.True(t, changed)
			assert.Equal(t, BreakerClosed, to)
			assert.NoError(t, b.lastError())
			assert.Equal(t, admission{ok: true, epoch: a.epoch + 1}, b.enter())
		}},
		{"it opens again with a failure, with its error", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			errRefused := errors.New("connection refused")
			changed, to := b.leave(a, lost, 0, errRefused)
			assert.True(t, changed)
			assert.Equal(t, BreakerOpen, to)
			assert.Equal(t, errRefused, b.lastError())
		}},
		{"the open time grows to its cap", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			for _, want := range []time.Duration{2, 4, 8, 16, 25, 25, 25} {
				a, took := reopens(t, b)
				assert.InDelta(t, want.Seconds()*1e9*1.1, took.Seconds(), want.Seconds()*1e9*0.2, "of about %d s", want)
				assert.LessOrEqual(t, took, 30*time.Second)
				b.leave(a, failing, 0, errDown)
			}
		}},
		{"it grows on if it opens soon after it has closed", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			b.leave(a, well, 0, nil)
			broke(t, b)
			_, took := reopens(t, b)
			assert.GreaterOrEqual(t, took, 4*time.Second)
		}},
		{"it grows anew after a minute", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			b.leave(a, failing, 0, errDown)
			a, _ = reopens(t, b)
			b.leave(a, well, 0, nil)
			time.Sleep(time.Minute)
			broke(t, b)
			_, took := reopens(t, b)
			assert.Less(t, took, 3*time.Second)
		}},
		{"the open time of one's own", BreakerConfig{OpenDuration: time.Hour, MaxOpenDuration: 2 * time.Hour}, func(t *testing.T, b *Breaker) {
			_, took := reopens(t, b)
			assert.GreaterOrEqual(t, took, time.Hour)
			assert.LessOrEqual(t, took, 72*time.Minute)
		}},
		{"a probe is asked to come later", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			b.leave(a, failing, 20*time.Second, errDown)
			_, took := reopens(t, b)
			assert.GreaterOrEqual(t, took, 20*time.Second)
			assert.LessOrEqual(t, took, 30*time.Second)
		}},
		{"the Retry-After of a day", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			b.leave(a, failing, 24*time.Hour, errDown)
			_, took := reopens(t, b)
			assert.GreaterOrEqual(t, took, 5*time.Minute)
			assert.LessOrEqual(t, took, 8*time.Minute)
		}},
		{"a Retry-After is told after it has opened", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			b.leave(admission{}, throttled, 20*time.Second, errDown)
			_, took := reopens(t, b)
			assert.GreaterOrEqual(t, took, 20*time.Second)
		}},
		{"a throttled probe keeps it open, and the time as it is", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			for range 5 {
				a, took := reopens(t, b)
				assert.Less(t, took, 3*time.Second)
				b.leave(a, throttled, time.Second, errDown)
				assert.Equal(t, BreakerOpen, b.State())
			}
		}},
		{"one probe at a time", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			refused := b.enter()
			assert.False(t, refused.ok)
			assert.Equal(t, 2*time.Second, refused.wait)
			b.leave(a, unsaid, 0, nil)
			assert.Equal(t, BreakerHalfOpen, b.State(), "the caller has left, which tells nothing")
			again := b.enter()
			assert.True(t, again.ok && again.probe)
			assert.False(t, again.changed)
			assert.False(t, b.enter().ok)
		}},
		{"three probes at a time, and three successes", BreakerConfig{HalfOpenProbes: 3}, func(t *testing.T, b *Breaker) {
			first, _ := reopens(t, b)
			second, third := b.enter(), b.enter()
			assert.True(t, second.ok && second.probe && third.ok && third.probe)
			assert.False(t, b.enter().ok)
			b.leave(first, well, 0, nil)
			b.leave(second, well, 0, nil)
			assert.Equal(t, BreakerHalfOpen, b.State())
			b.leave(third, well, 0, nil)
			assert.Equal(t, BreakerClosed, b.State())
		}},
		{"three probes, one fails", BreakerConfig{HalfOpenProbes: 3}, func(t *testing.T, b *Breaker) {
			first, _ := reopens(t, b)
			second, third := b.enter(), b.enter()
			b.leave(first, failing, 0, errDown)
			time.Sleep(time.Minute)
			fourth := b.enter()
			assert.True(t, fourth.changed, "the places of the two that are still out are kept, by time they are free")
			for range 2 {
				assert.True(t, b.enter().ok)
			}
			assert.False(t, b.enter().ok)
			for range 3 {
				b.leave(second, well, 0, nil)
				b.leave(third, failing, 0, errDown)
			}
			assert.Equal(t, BreakerHalfOpen, b.State(), "probes of the time before tell nothing")
			assert.False(t, b.enter().ok, "and free no place")
		}},
		{"a probe that fails late leaves its place late", BreakerConfig{HalfOpenProbes: 2}, func(t *testing.T, b *Breaker) {
			first, _ := reopens(t, b)
			second := b.enter()
			b.leave(first, failing, 0, errDown)
			_, _ = reopens(t, b)
			assert.False(t, b.enter().ok, "two are under way")
			b.leave(second, failing, 0, errDown)
			assert.Equal(t, BreakerHalfOpen, b.State())
			assert.True(t, b.enter().ok)
		}},
		{"a probe that never comes back", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			hangs, _ := reopens(t, b)
			time.Sleep(30*time.Second - time.Nanosecond)
			assert.Equal(t, admission{wait: 1}, b.enter())
			time.Sleep(time.Nanosecond)
			a := b.enter()
			assert.True(t, a.ok && a.probe)
			b.leave(hangs, failing, 0, errDown)
			assert.Equal(t, BreakerHalfOpen, b.State())
			assert.False(t, b.enter().ok)
			b.leave(a, well, 0, nil)
			assert.Equal(t, BreakerClosed, b.State())
		}},
		{"attempts of before neither close nor open it again", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			old := admission{ok: true, epoch: 1}
			for _, before := range []admission{old, {}} { // the latter began while it was calm
				b.leave(before, well, 0, nil)
				assert.Equal(t, BreakerOpen, b.State())
			}
			a, _ := reopens(t, b)
			for _, before := range []admission{old, {}} {
				for _, h := range []health{well, failing, lost, throttled, unsaid} {
					b.leave(before, h, 0, errDown)
					assert.Equal(t, BreakerHalfOpen, b.State())
				}
			}
			b.leave(a, well, 0, nil)
			for range 590 {
				time.Sleep(100 * time.Millisecond)
				b.leave(old, failing, time.Hour, errDown)
				b.leave(admission{}, lost, time.Hour, errDown)
			}
			assert.Equal(t, BreakerClosed, b.State())
		}},
		{"a minute after closing it is calm again", BreakerConfig{}, func(t *testing.T, b *Breaker) {
			a, _ := reopens(t, b)
			b.leave(a, well, 0, nil)
			time.Sleep(59 * time.Second)
			try(b, well, 0)
			assert.False(t, b.calm(), "attempts that began before may still fail")
			time.Sleep(time.Second)
			try(b, well, 0)
			assert.True(t, b.calm())
			broke(t, b)
		}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker(c.config)
				broke(t, b)
				c.story(t, b)
			})
		})
	}
}

func TestBreakerIsCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{})
		for _, h := range []health{well, unsaid, throttled} {
			try(b, h, 0)
			assert.True(t, b.calm())
		}
		try(b, failing, 0)
		assert.False(t, b.calm())
		time.Sleep(10 * time.Second)
		try(b, well, 0)
		assert.False(t, b.calm(), "the failure is still in the window")
		time.Sleep(time.Second)
		assert.False(t, b.calm())
		try(b, well, 0)
		assert.True(t, b.calm())
	})
}

// The Retry-After of a failure holds for the time from that failure on.
func TestBreakerHeedsTheRetryAfterThatOpensIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(BreakerConfig{})
		tries(b, 29, 100*time.Millisecond, failing)
		try(b, failing, 20*time.Second)
		time.Sleep(time.Second)
		try(b, failing, 0)
		_, took := reopens(t, b)
		assert.GreaterOrEqual(t, took, 19*time.Second)
	})
}

// A Breaker that was made outside of a bubble lives in the time of the bubble, and in
// that of the next one, which begins before the first has ended.
func TestBreakerInAnotherTime(t *testing.T) {
	b := NewBreaker(BreakerConfig{})
	synctest.Test(t, func(t *testing.T) {
		tries(b, 40, 100*time.Millisecond, failing)
		assert.Equal(t, BreakerOpen, b.State())
	})
	synctest.Test(t, func(t *testing.T) {
		a := b.enter()
		assert.True(t, a.ok && a.probe)
		b.leave(a, well, 0, nil)
		broke(t, b)
	})
	assert.False(t, b.calm())
}

func TestBreakerCostsNoAllocation(t *testing.T) {
	b := NewBreaker(BreakerConfig{})
	assert.Zero(t, testing.AllocsPerRun(1000, func() { b.calm(); b.leave(b.enter(), failing, time.Second, errDown) }))
}
