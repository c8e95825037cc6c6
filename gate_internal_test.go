package k8sretry

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// limitedTo1 is a Limiter that has just met a dead server: one attempt at a time.
func limitedTo1(t *testing.T) *Limiter {
	g := NewLimiter()
	enterAndLeave(t, g, lost, 0)
	require.Equal(t, LimiterState{Limited: true, Limit: 1}, g.State())
	return g
}

// enterAndLeave makes one attempt that takes a time.
func enterAndLeave(t *testing.T, g *Limiter, h health, took time.Duration) {
	ticket, _, ok := g.enter(t.Context(), time.Hour)
	require.True(t, ok)
	time.Sleep(took)
	g.leave(ticket, h, 0, 0, 0)
}

// What happens without the lock may come at any moment, also while somebody looks whether
// it is his turn. Nobody may sleep for that.
func TestLimiterLosesNoWakeup(t *testing.T) {
	for _, c := range []struct {
		situation string
		goes      uint64 // what the attempt without the lock adds when it goes
	}{
		{"a caller counts itself in, sees the limit and goes to the line", math.MaxUint64},
		{"a success has seen no limit yet, and does not look for a line", oneSuccess - 1},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := limitedTo1(t)
				first, _, _ := g.enter(t.Context(), time.Hour)
				var went time.Time
				go func() {
					ticket, _, _ := g.enter(t.Context(), time.Hour)
					went = time.Now()
					g.leave(ticket, well, 0, 0, 0)
				}()
				synctest.Wait()
				g.count[0].n.Add(1)
				g.leave(first, unsaid, 0, 0, 0)
				synctest.Wait()
				require.Equal(t, 1, g.State().Waiting, "because one seems to be under way")
				g.count[0].n.Add(c.goes)
				now := time.Now()
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.LessOrEqual(t, went.Sub(now), 2*tick)
				assert.Equal(t, LimiterState{}, g.State())
			})
		})
	}
}

func TestLimiterTicksOnlyWhileCallsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		assert.False(t, g.ticking, "unused")
		ticket, _, _ := g.enter(t.Context(), 0)
		time.Sleep(time.Minute + tick/2)
		assert.EqualValues(t, time.Minute/tick, g.ticks.Load())
		assert.True(t, g.ticking)
		g.leave(ticket, well, 0, 0, 0)
		time.Sleep(3 * tick)
		g.mu.Lock()
		assert.False(t, g.ticking, "idle")
		g.mu.Unlock()
		assert.Equal(t, gateIdle, g.mode.Load())
		ticks := g.ticks.Load()
		time.Sleep(time.Hour)
		assert.Equal(t, ticks, g.ticks.Load())

		_, ok := g.pass()
		assert.False(t, ok, "somebody has to start the ticks")
		ticket, _, ok = g.enter(t.Context(), 0)
		assert.True(t, ok)
		other, ok := g.pass()
		assert.True(t, ok)
		time.Sleep(5 * tick / 2)
		assert.Equal(t, ticks+2, g.ticks.Load())
		assert.False(t, g.leaveWell(&ticket, 0), "it took a while")
		assert.False(t, g.leaveWell(&other, 0), "it took a while")
		g.leave(ticket, lost, 0, 0, 0)
		g.leave(other, unsaid, 0, 0, 0)
		time.Sleep(time.Minute)
		g.mu.Lock()
		assert.False(t, g.ticking, "limited, and idle")
		g.mu.Unlock()
		assert.True(t, g.State().Limited, "because nobody has seen the server since")
		enterAndLeave(t, g, well, 0)
		assert.Equal(t, LimiterState{}, g.State())
	})
}

// The ticks of a bubble are lost with it. The next one has its own, as soon as somebody
// looks.
func TestLimiterOfSeveralBubbles(t *testing.T) {
	g := NewLimiter()
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(10 * time.Minute)
			ticks := g.ticks.Load()
			enterAndLeave(t, g, unsaid, time.Second)
			ticket, _, ok := g.enter(t.Context(), 0)
			assert.True(t, ok)
			time.Sleep(2 * time.Minute)
			assert.Greater(t, g.ticks.Load(), ticks)
			g.leave(ticket, well, 0, 0, 0)
			assert.Equal(t, LimiterState{}, g.State())
		})
	}
}

// A clock that goes backwards, as between two bubbles, must not hold calls for years.
func TestLimiterWhoseClockGoesBackwards(t *testing.T) {
	for _, c := range []struct {
		situation string
		trouble   func(*testing.T, *Limiter)
		within    time.Duration
	}{
		{"in a rest", func(t *testing.T, g *Limiter) {
			for range 8 {
				enterAndLeave(t, g, lost, 0)
			}
		}, 0},
		{"after a 429 with a Retry-After", func(t *testing.T, g *Limiter) {
			ticket, _, _ := g.enter(t.Context(), time.Hour)
			g.leave(ticket, throttled, 0, 0, time.Minute)
		}, 0},
		{"with a pace", func(t *testing.T, g *Limiter) {
			for range 20 {
				enterAndLeave(t, g, well, 100*time.Millisecond)
			}
			enterAndLeave(t, g, throttled, 0)
			enterAndLeave(t, g, throttled, 0)
			require.Positive(t, g.State().Pace)
		}, time.Second},
		{"with the pace of a process of few calls", func(t *testing.T, g *Limiter) {
			for range 2 {
				enterAndLeave(t, g, throttled, 0)
			}
			require.Equal(t, firstPace, g.State().Pace)
		}, 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			g := NewLimiter()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour)
				c.trouble(t, g)
				require.True(t, g.State().Limited)
			})
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				enterAndLeave(t, g, well, 0)
				assert.LessOrEqual(t, time.Since(began), c.within)
				for range 20 {
					enterAndLeave(t, g, well, time.Second)
				}
				assert.Equal(t, LimiterState{}, g.State())
			})
		})
	}
}

func TestLimiterNeverDividesByNothing(t *testing.T) {
	assert.NotPanics(t, func() { assert.Zero(t, around(0)) })
	assert.NotPanics(t, func() { assert.Zero(t, around(-time.Second)) })
	for range 1000 {
		d := around(10 * time.Second)
		assert.True(t, 5*time.Second <= d && d < 15*time.Second, d)
	}
}

// Rests stay within their bounds, however long attempts take.
func TestLimiterRests(t *testing.T) {
	for _, took := range []time.Duration{0, 1, time.Second, 3 * time.Second, time.Minute, 80 * time.Hour, 365 * 24 * time.Hour, math.MaxInt64} {
		for _, answered := range []bool{false, true} {
			l := law{limit: 1}
			now := time.Now()
			var longest time.Duration
			for range 100 {
				l.takeRest(now, took, answered)
				rest := l.restUntil.Sub(now)
				longest = max(longest, rest)
				assert.GreaterOrEqual(t, rest, min(took, maxRest)/2)
				assert.Less(t, rest, 3*maxRest/2)
			}
			if took > 1 || !answered {
				assert.Greater(t, longest, maxRest, "some of a hundred are longer than the middle: %v, %v", took, answered)
			}
		}
	}
}

// A rest for all that one answer asks for has an end: it may be a mistake.
func TestLimiterHeedsAHugeRetryAfterWithMeasure(t *testing.T) {
	for _, asked := range []time.Duration{time.Hour, math.MaxInt64} {
		synctest.Test(t, func(t *testing.T) {
			g := NewLimiter()
			ticket, _, _ := g.enter(t.Context(), 0)
			g.leave(ticket, throttled, 0, 0, asked)
			rest := g.State().Rest
			assert.GreaterOrEqual(t, rest, breakerMaxRetryAfter)
			assert.LessOrEqual(t, rest, 3*breakerMaxRetryAfter/2)
			time.Sleep(rest)
			enterAndLeave(t, g, well, 0)
			assert.Equal(t, LimiterState{}, g.State())
		})
	}
}

// A server that has become slower for good is taken for what it is after some minutes,
// whether the calls have names or not.
func TestLimiterGetsUsedToASlowerServer(t *testing.T) {
	for _, c := range []struct {
		situation string
		key       uint32
		timeout   time.Duration
		took      time.Duration
	}{
		{"a named call", keyOf("get pods"), 0, 2 * time.Second},
		{"a named call, very slow", keyOf("get pods"), 0, 30 * time.Second},
		{"a named call with a timeout", keyOf("get pods"), 10 * time.Second, 9 * time.Second},
		{"a call without a name, with a timeout", 0, 10 * time.Second, 3 * time.Second},
		{"a call without a name, with a short timeout", 0, 4 * time.Second, 3900 * time.Millisecond},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewLimiter()
				attempt := func(took time.Duration) {
					ticket, _, ok := g.enter(t.Context(), time.Hour)
					require.True(t, ok)
					time.Sleep(took)
					g.leave(ticket, well, c.key, c.timeout, 0)
				}
				for range 100 {
					attempt(10 * time.Millisecond)
				}
				require.Equal(t, LimiterState{}, g.State())
				attempt(c.took)
				assert.True(t, g.State().Limited, "that is a sign")
				began := time.Now()
				for n := 0; g.State().Limited && n < 100; n++ {
					attempt(c.took)
				}
				assert.False(t, g.State().Limited)
				assert.Less(t, time.Since(began), 10*time.Minute)
				assert.Greater(t, time.Since(began), 30*time.Second, "no overload of half a minute becomes usual")

				for range 1000 {
					attempt(c.took)
					require.False(t, g.State().Limited, "for good")
				}
			})
		})
	}
}

func TestLatencies(t *testing.T) {
	var l latencies
	get, list := keyOf("get pods"), keyOf("list pods")
	require.NotSame(t, l.slot(get), l.slot(list))

	assert.False(t, l.tooLong(get, time.Hour, 0), "nothing is known")
	assert.False(t, l.tooLong(get, time.Second, time.Second), "a second is never too long")
	assert.False(t, l.tooLong(get, 2500*time.Millisecond, 10*time.Second), "a quarter of the timeout")
	assert.True(t, l.tooLong(get, 2501*time.Millisecond, 10*time.Second))

	for range fewSamples {
		assert.True(t, l.isNew(get))
		l.learn(get, 200*time.Millisecond)
	}
	assert.False(t, l.tooLong(get, 2*time.Second, time.Second), "ten times the usual")
	assert.True(t, l.tooLong(get, 2*time.Second+1, time.Hour))
	assert.False(t, l.tooLong(list, time.Hour, 0), "of the other kind nothing is known")

	for range newUntil - fewSamples {
		l.learn(get, 200*time.Millisecond)
	}
	assert.False(t, l.isNew(get))
	mean := func() time.Duration { return time.Duration(math.Float64frombits(l.slot(get).mean.Load())) }
	assert.InDelta(t, 200*time.Millisecond, mean(), 1000)
	l.learn(get, time.Second)
	assert.InDelta(t, 250*time.Millisecond, mean(), 1000, "a sixteenth")
	now := time.Now()
	late := func(after time.Duration) { now = now.Add(after); l.learnLate(get, 10*time.Second, now) }
	for range 1000 {
		late(10 * time.Millisecond)
	}
	assert.InDelta(t, 412*time.Millisecond, mean(), 1e7, "ten seconds of ten minutes, however many came late")
	late(time.Hour)
	assert.InDelta(t, 1371*time.Millisecond, mean(), 1e7, "one alone counts for a minute at most")
	for range 180 {
		late(time.Minute)
	}
	assert.Greater(t, mean(), 9*time.Second, "within hours it is what is usual")
	now = now.Add(-time.Hour)
	late(0)
	assert.Greater(t, mean(), 9*time.Second, "a clock that has gone back")
	for range 200 {
		l.learn(get, 0)
	}
	assert.InDelta(t, 0, mean(), 1e5, "and it forgets")
}

// The usual time is learnt beside the lock, from each of the first answers and from one
// in sixteen then.
func TestLimiterLearnsOnTheHealthyPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		key := keyOf("get pods")
		enterAndLeave(t, g, well, 0)
		for range 1000 {
			ticket, ok := g.pass()
			require.True(t, ok)
			time.Sleep(tick - 1) // a success in each: the ticks go on
			require.True(t, g.leaveWell(&ticket, key))
		}
		mean := time.Duration(math.Float64frombits(g.usual.slot(key).mean.Load()))
		assert.InDelta(t, tick, mean, float64(tick)/10)
		assert.EqualValues(t, newUntil, g.usual.slot(key).n.Load())
	})
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		v    Verdict
		want health
	}{
		{Verdict{Class: ClassServer, StatusCode: 503}, failing},
		{Verdict{Class: ClassServer, StatusCode: 500, flags: besideServer}, unsaid},
		{Verdict{Class: ClassTimeout, StatusCode: 504, flags: besideServer}, unsaid},
		{Verdict{Class: ClassServer, StatusCode: 503, flags: besideServer | answered}, unsaid},
		{Verdict{Class: ClassTimeout}, lost},
		{Verdict{Class: ClassTimeout, StatusCode: 504}, lost},
		{Verdict{Class: ClassRefused}, lost},
		{Verdict{Class: ClassConnection}, lost},
		{Verdict{Class: ClassThrottled, StatusCode: 429}, throttled},
		{Verdict{Class: ClassBadResponse}, well},
		{Verdict{Class: ClassConflict, StatusCode: 409}, well},
		{Verdict{Class: ClassBlocked, StatusCode: 403}, well},
		{Verdict{Class: ClassDisruptionBudget, StatusCode: 429}, well},
		{Verdict{Class: ClassPermanent, StatusCode: 404}, well},
		{Verdict{Class: ClassPermanent}, unsaid},
		{Verdict{Class: ClassConflict}, unsaid},
		{Verdict{Class: ClassCanceled}, unsaid},
		{Verdict{}, unsaid},
	} {
		assert.Equal(t, c.want, c.v.health(), "%+v", c.v)
	}
}

// The longest wait of a preset, and what has no end.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		situation string
		opts      []Option
		want      time.Duration
	}{
		{"the defaults", nil, 4*10*time.Second + 7*time.Second},
		{"ForWrite", []Option{ForWrite()}, 2 * time.Minute},
		{"ForRead", []Option{ForRead()}, 4*10*time.Second + 7*time.Second},
		{"ForConnection", []Option{ForConnection()}, 6*10*time.Second + 15500*time.Millisecond},
		{"ForMaintenance", []Option{ForMaintenance()}, 11*10*time.Second + 243500*time.Millisecond},
		{"ForBackground", []Option{ForBackground()}, 3*10*time.Second + 6*time.Second},
		{"ForEviction", []Option{ForEviction()}, math.MaxInt64},
		{"no retry", []Option{WithMaxRetries(0)}, 10 * time.Second},
		{"an attempt timeout", []Option{WithMaxRetries(1), WithAttemptTimeout(time.Second)}, 3 * time.Second},
		{"attempt timeouts without end", []Option{WithMaxRetries(5), WithAttemptTimeout(math.MaxInt64)}, math.MaxInt64},
		{"delays without end", []Option{WithMaxRetries(200), WithInitialDelay(math.MaxInt64), WithMaxDelay(math.MaxInt64)}, math.MaxInt64},
		{"no delays", []Option{WithInitialDelay(0)}, 40 * time.Second},
		{"no delay above nothing", []Option{WithMaxDelay(0)}, 40 * time.Second},
		{"a hundred retries", []Option{WithMaxRetries(100), WithMultiplier(1)}, 101*10*time.Second + 100*time.Second},
		{"WithMaxQueueTime", []Option{ForWrite(), WithMaxQueueTime(time.Second)}, time.Second},
		{"WithMaxQueueTime of nothing", []Option{ForWrite(), WithMaxQueueTime(0)}, 0},
		{"WithMaxQueueTime without end", []Option{WithMaxQueueTime(math.MaxInt64)}, math.MaxInt64},
	} {
		cfg := resolve(c.opts)
		cfg.setDefaults()
		assert.Equal(t, c.want, cfg.patience(), c.situation)
	}
}

// Only the first half of a load that fails learns of the end of its attempts what is new.
func TestLimiterCutsOncePerEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		tickets := make([]ticket, 100)
		for i := range tickets {
			tickets[i], _, _ = g.enter(t.Context(), 0)
		}
		for i, ticket := range tickets {
			changed, limited := g.leave(ticket, lost, 0, 0, 0)
			assert.Equal(t, i == 0, changed)
			assert.True(t, limited)
		}
		assert.Equal(t, LimiterState{Limited: true, Limit: 50}, g.State(), "they were sent before the cut")

		// With the limit at 1, the same holds for rests.
		g = limitedTo1(t)
		enterAndLeave(t, g, lost, 0)
		rest := g.law.restUntil
		g.leave(ticket{held: true, epoch: 1}, lost, 0, 0, 0)
		assert.Equal(t, rest, g.law.restUntil)
		g.count[0].n.Add(1)
	})
}

// An attempt of an earlier trouble that ends much later.
func TestLimiterForgetsOldTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		old, _, _ := g.enter(t.Context(), 0)
		for range 3 {
			enterAndLeave(t, g, lost, time.Second)
		}
		enterAndLeave(t, g, well, 0)
		assert.Equal(t, 1, g.State().InFlight)
		assert.False(t, g.State().Limited, "a success, and nobody waits")
		g.leave(old, lost, 0, 0, 0)
		assert.Equal(t, LimiterState{}, g.State(), "others that began later have been answered")
	})
}

// A kind of requests that is slow, or one that got lost, is no overload while others that
// began later are answered in good time.
func TestLimiterOvertaken(t *testing.T) {
	const key = 7 << 24
	for _, c := range []struct {
		situation string
		between   func(*testing.T, *Limiter)
		end       health
		limited   bool
	}{
		{"a late answer, others were quick", quickOnes, well, false},
		{"a late answer, nobody beside it", func(*testing.T, *Limiter) { time.Sleep(15 * time.Second) }, well, true},
		{"a late answer, the others are late, too", func(t *testing.T, g *Limiter) {
			other, _ := g.pass()
			time.Sleep(15 * time.Second)
			g.leave(other, well, key+1, 0, 0)
		}, well, true},
		{"a timeout, others were quick", quickOnes, lost, false},
		{"a timeout, nobody beside it", func(*testing.T, *Limiter) { time.Sleep(15 * time.Second) }, lost, true},
		{"a caller who has left after long, others were quick", quickOnes, unsaid, false},
		{"a timeout, others were quick before it", func(t *testing.T, g *Limiter) { time.Sleep(15 * time.Second) }, lost, true},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewLimiter()
				for range 10 {
					enterAndLeave(t, g, well, 10*time.Millisecond)
					g.usual.learn(key, 10*time.Millisecond)
					g.usual.learn(key+1, 10*time.Millisecond)
				}
				time.Sleep(time.Second)
				slow, _, _ := g.enter(t.Context(), 0)
				c.between(t, g)
				g.leave(slow, c.end, key, 0, 0)
				assert.Equal(t, c.limited, g.State().Limited)
				assert.Zero(t, g.State().InFlight)
			})
		})
	}
}

func quickOnes(t *testing.T, g *Limiter) {
	for range 15 {
		time.Sleep(time.Second)
		enterAndLeave(t, g, well, 10*time.Millisecond)
	}
}

// Tokens buy speed: three, and half a one for each success.
func TestLimiterQuickTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		quick := func(n int) (taken int) {
			for range n {
				if g.quick() {
					taken++
				}
			}
			return taken
		}
		assert.Equal(t, quickTokens, quick(10))
		for range 4 {
			enterAndLeave(t, g, well, 0)
		}
		assert.Equal(t, 2, quick(10))
		for range 100 {
			enterAndLeave(t, g, well, 0)
		}
		assert.False(t, g.worry.Load(), "the healthy path is back")
		assert.Equal(t, quickTokens, quick(10), "they do not add up")
		assert.Zero(t, quick(1))
		g = limitedTo1(t)
		assert.Zero(t, quick(10), "limited")
	})
}

// Delays by cause: load outlasts the schedule, chance does not need it.
func TestDelayByCause(t *testing.T) {
	gate := NewLimiter()
	for _, c := range []struct {
		situation string
		opts      []Option
		class     Class
		retry     int
		after     time.Duration
		low, high time.Duration
	}{
		{"load", nil, ClassTimeout, 1, 0, time.Second, 2 * time.Second},
		{"load, later", nil, ClassRefused, 3, 0, 4 * time.Second, 8 * time.Second},
		{"load, near the longest delay", nil, ClassConnection, 5, 0, 15 * time.Second, 30 * time.Second},
		{"load, far beyond", nil, ClassThrottled, 1000, 0, 15 * time.Second, 30 * time.Second},
		{"throttled, Retry-After is the floor", nil, ClassThrottled, 1, 10 * time.Second, 10 * time.Second, 15 * time.Second},
		{"chance", nil, ClassServer, 1, 0, 0, time.Second},
		{"chance, later", nil, ClassServer, 4, 0, 0, 8 * time.Second},
		{"chance, Retry-After is the floor", nil, ClassServer, 1, 10 * time.Second, 10 * time.Second, 15 * time.Second},
		{"a PodDisruptionBudget", nil, ClassDisruptionBudget, 1, 0, 5 * time.Second, 6 * time.Second},
		{"the caller's jitter", []Option{WithJitter(JitterNone)}, ClassServer, 2, 0, 2 * time.Second, 2 * time.Second},
		{"the caller's jitter, Retry-After", []Option{WithJitter(JitterNone)}, ClassServer, 2, 9 * time.Second, 9 * time.Second, 9 * time.Second},
		{"the caller's Exponential", []Option{WithBackoff(Exponential{Initial: time.Minute, Max: time.Hour})}, ClassServer, 1, 0, time.Minute, 72 * time.Second},
		{"the caller's Backoff", []Option{WithBackoff(&fixed{7 * time.Second})}, ClassServer, 1, 0, 7 * time.Second, 7 * time.Second},
		{"the caller's Backoff for another class", []Option{WithBackoffFor(ClassTimeout, &fixed{7 * time.Second})}, ClassRefused, 1, 0, time.Second, 2 * time.Second},
		{"the caller's Backoff for the class", []Option{WithBackoffFor(ClassTimeout, &fixed{7 * time.Second})}, ClassTimeout, 1, 0, 7 * time.Second, 7 * time.Second},
		{"no delays", []Option{WithMaxDelay(0)}, ClassTimeout, 1, 0, 0, 0},
		{"no delays, by chance", []Option{WithMaxDelay(0)}, ClassServer, 1, 0, 0, 0},
		{"no first delay", []Option{WithInitialDelay(0)}, ClassTimeout, 1, 0, 0, 0},
		{"no delay above 1 ns", []Option{WithMaxDelay(1)}, ClassTimeout, 1, 0, 0, 1},
		{"the longest delays", []Option{WithInitialDelay(math.MaxInt64), WithMaxDelay(math.MaxInt64)}, ClassTimeout, 1, 0, math.MaxInt64 / 2, math.MaxInt64},
	} {
		t.Run(c.situation, func(t *testing.T) {
			cfg := resolve(append(c.opts, WithLimiter(gate)))
			cfg.setDefaults()
			least, most := time.Duration(math.MaxInt64), time.Duration(math.MinInt64)
			for range 2000 {
				d := cfg.delay(new(progress), c.retry, &Verdict{Class: c.class, RetryAfter: c.after})
				least, most = min(least, d), max(most, d)
			}
			assert.GreaterOrEqual(t, least, c.low)
			assert.LessOrEqual(t, most, c.high)
			if width := c.high - c.low; width > 1 {
				assert.Less(t, least, c.low+width/10, "the whole width is used")
				assert.Greater(t, most, c.high-width/10)
			}
		})
	}

	t.Run("the fourth 5xx of a call is no chance", func(t *testing.T) {
		cfg := resolve([]Option{WithLimiter(gate), WithMultiplier(1)})
		cfg.setDefaults()
		for range 1000 {
			var p progress
			for range byChance {
				assert.LessOrEqual(t, cfg.delay(&p, 1, &Verdict{Class: ClassServer}), time.Second)
			}
			for range 3 {
				assert.GreaterOrEqual(t, cfg.delay(&p, 1, &Verdict{Class: ClassServer}), time.Second)
			}
		}
	})

	t.Run("a retry that successes have paid for waits a tenth", func(t *testing.T) {
		cfg := resolve([]Option{WithLimiter(NewLimiter())})
		cfg.setDefaults()
		quick := 0
		for range 100 {
			if cfg.delay(new(progress), 1, &Verdict{Class: ClassServer}) > 100*time.Millisecond {
				break
			}
			quick++
		}
		assert.GreaterOrEqual(t, quick, quickTokens)
		cfg = resolve([]Option{WithLimiter(NewLimiter())})
		cfg.setDefaults()
		cfg.delay(new(progress), 1, &Verdict{Class: ClassServer, RetryAfter: time.Second})
		assert.Zero(t, cfg.limiter.law.credit, "a Retry-After takes none")
	})
}

type fixed struct{ d time.Duration }

func (f *fixed) Delay(int) time.Duration { return f.d }

// 429 to attempts alone, beside successes, set a pace a little below theirs, and again a
// second later.
func TestLimiterPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		for range 100 {
			enterAndLeave(t, g, well, 100*time.Millisecond)
		}
		enterAndLeave(t, g, throttled, 0)
		assert.Equal(t, 1, g.State().Limit, "one alone may have come before a seat was free")
		assert.Zero(t, g.State().Pace)
		enterAndLeave(t, g, throttled, 0)
		pace := g.State().Pace
		assert.InDelta(t, paceShare*10, pace, 0.5)
		enterAndLeave(t, g, throttled, 0)
		assert.InDelta(t, pace, g.State().Pace, 0.1, "one cut a second")

		began := time.Now()
		n := 0
		for time.Since(began) < 9*time.Second {
			enterAndLeave(t, g, well, 0)
			n++
		}
		assert.Greater(t, n, int(9*pace), "it grows")
		assert.Less(t, n, int(9*2*pace))
		require.True(t, g.State().Limited)
		time.Sleep(2 * time.Second)
		enterAndLeave(t, g, well, 0)
		assert.Equal(t, LimiterState{}, g.State(), "10 s without a 429")
	})
}

// A 429 in the first moments of a process that has success is no overload either.
func TestLimiterPaceFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		for range 10 {
			enterAndLeave(t, g, well, 10*time.Millisecond)
		}
		enterAndLeave(t, g, throttled, 0)
		enterAndLeave(t, g, throttled, 0)
		s := g.State()
		assert.InDelta(t, 8.5, s.Pace, 1, "ten successes in the last second")
	})
}

// A bare cancel, or an observer, or whoever: each place is given back once, in each order.
func TestLimiterStandGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedTo1(t)
		first, _, _ := g.enter(t.Context(), time.Hour)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("at once"))
		_, held, ok := g.enter(ctx, time.Hour)
		assert.False(t, ok)
		assert.Zero(t, held)
		_, held, ok = g.enter(t.Context(), time.Second)
		assert.False(t, ok)
		assert.Equal(t, time.Second, held)
		_, held, ok = g.enter(t.Context(), -time.Second)
		assert.False(t, ok)
		assert.Zero(t, held)
		assert.Equal(t, 0, g.State().Waiting)
		assert.Nil(t, g.line.first)
		assert.Nil(t, g.line.last)
		g.leave(first, unsaid, 0, 0, 0)
		assert.Zero(t, g.State().InFlight)
	})
}

// slowProcess is the Limiter of a process that has one success, and then a 429 to each of two
// attempts alone. It is past its rests.
func slowProcess(t *testing.T) *Limiter {
	g := NewLimiter()
	enterAndLeave(t, g, well, 0)
	time.Sleep(5 * time.Second)
	enterAndLeave(t, g, throttled, 0)
	require.Zero(t, g.State().Pace, "one alone may have come before a seat was free")
	enterAndLeave(t, g, throttled, 0)
	return g
}

// Ten seconds tell a process nothing that has a success in ten seconds: it goes down from
// its own pace, and up with its own starts.
func TestLimiterPaceOfASlowProcess(t *testing.T) {
	slowDown := func(g *Limiter, rate float64) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.law.slowDown(g, time.Now(), rate)
	}
	again := func(g *Limiter, rate float64) {
		time.Sleep(paceCuts)
		slowDown(g, rate)
	}
	succeed := func(g *Limiter, times, waiting int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.line.waiting += waiting // nobody in particular
		for range times {
			g.law.succeeded(g, time.Now())
		}
		g.line.waiting -= waiting
	}
	for _, c := range []struct {
		situation string
		happens   func(*Limiter)
		pace      float64
	}{
		{"a second 429", func(*Limiter) {}, firstPace},
		{"in the same second a success and one more", func(g *Limiter) {
			succeed(g, 1, 0)
			time.Sleep(paceCuts / 2)
			slowDown(g, 0)
		}, firstPace},
		{"many more, and no success between them", func(g *Limiter) {
			for range 10 {
				again(g, 0)
			}
		}, firstPace},
		{"after a success one more", func(g *Limiter) {
			succeed(g, 1, 0)
			again(g, 0)
		}, firstPace * slowShare},
		{"after seven successes one more", func(g *Limiter) {
			succeed(g, 7, 0)
			again(g, 0)
		}, 2 * firstPace * slowShare},
		{"many times a success and one more", func(g *Limiter) {
			for range 10 {
				succeed(g, 1, 0)
				again(g, 0)
			}
		}, slowestPace},
		{"time, in which it could have started seven", func(*Limiter) {
			time.Sleep(time.Duration(7 / firstPace * float64(time.Second)))
		}, 2 * firstPace},
		{"as much time, and one more", func(g *Limiter) {
			time.Sleep(time.Duration(7 / firstPace * float64(time.Second)))
			again(g, 0)
		}, firstPace},
		{"seven successes", func(g *Limiter) { succeed(g, 7, 0) }, 2 * firstPace},
		{"a success, and sixty wait", func(g *Limiter) { succeed(g, 1, 60) }, 2 * firstPace},
		{"many successes until a minute ago", func(g *Limiter) {
			g.law.pace, g.law.slowly, g.law.pacedAt = 100, false, time.Now().Add(-paceCuts)
			succeed(g, 1, 0)
			slowDown(g, 0.5)
		}, slowShare * fewSuccesses},
		{"many successes, and then nothing but 429", func(g *Limiter) {
			g.law.pace, g.law.slowly = 100, false
			again(g, 50)
			again(g, 10)
			again(g, 0)
		}, grown(100, 3*paceCuts)},
		{"many successes, and then one more 429", func(g *Limiter) {
			succeed(g, 1, 0)
			again(g, 10)
		}, paceShare * 10},
		{"nearly as many", func(g *Limiter) {
			g.law.pace = 0
			again(g, 0.99*fewSuccesses)
		}, paceShare * 0.99 * fewSuccesses},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := slowProcess(t)
				c.happens(g)
				assert.InDelta(t, c.pace, g.State().Pace, c.pace/20)
			})
		})
	}
}

// A success ends the rests of a process that had none. What it has learnt outlasts them.
func TestLimiterPaceOutlastsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		for range 2 {
			enterAndLeave(t, g, throttled, 0)
		}
		assert.InDelta(t, firstPace, g.State().Pace, 0.01)
		assert.Positive(t, g.State().Rest)
		enterAndLeave(t, g, well, 0)
		assert.Zero(t, g.State().Rest)
		began := time.Now()
		enterAndLeave(t, g, well, 0)
		assert.Greater(t, time.Since(began), 4*time.Second)
	})
}

// Ten seconds without a 429 are no proof where a process has asked once in them.
func TestLimiterOfASlowProcessForgetsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := slowProcess(t)
		began := time.Now()
		after := time.Duration(slowForgets / g.law.pace * float64(time.Second))
		require.Greater(t, after, recently+time.Second)
		time.Sleep(recently + time.Second)
		enterAndLeave(t, g, well, 0)
		assert.Positive(t, g.State().Pace)
		time.Sleep(after - time.Since(began) + time.Millisecond)
		enterAndLeave(t, g, well, 0)
		assert.Equal(t, LimiterState{}, g.State())
	})
}

// What a success proves depends on how often the process could have asked.
func TestLimiterForgetsAfter(t *testing.T) {
	for _, c := range []struct {
		pace   float64
		slowly bool
		want   time.Duration
	}{
		{0, false, recently},
		{0, true, recently},
		{0.85, false, recently},
		{0.85, true, recently},
		{firstPace, true, 20 * time.Second},
		{firstPace * slowShare, true, 80 * time.Second},
		{slowestPace, true, 80 * time.Second},
		{math.SmallestNonzeroFloat64, true, 80 * time.Second},
	} {
		l := law{pace: c.pace, slowly: c.slowly}
		assert.Equal(t, c.want, l.forgetsAfter(), "%+v", c)
	}
}

// No time, no number of successes and no wait makes a pace what it must not be.
func TestLimiterPaceKeepsItsBounds(t *testing.T) {
	times := []time.Duration{math.MinInt64, -time.Hour, 0, 1, time.Second, time.Hour, math.MaxInt64}
	for _, pace := range []float64{slowestPace, firstPace, fewSuccesses} {
		for _, gained := range []float64{0, 1, 1e9, 1e18} {
			for _, after := range times {
				for _, waited := range times {
					now := time.Now()
					g := NewLimiter()
					g.law.restrict(g, now)
					g.law.pace, g.law.slowly, g.law.pacedAt, g.law.gained = pace, true, now.Add(-after), gained
					g.line.join(now.Add(-waited))
					got := g.law.urgentPace(g, now)
					assert.GreaterOrEqual(t, got, pace)
					assert.False(t, math.IsNaN(got) || math.IsInf(got, 0), got)
					wait := g.law.wait(g, now)
					assert.True(t, 0 <= wait && wait <= slowestStart, wait)
					g.law.slowDown(g, now.Add(time.Hour), 0)
					assert.True(t, slowestPace <= g.law.pace && g.law.pace <= fewSuccesses, g.law.pace)
				}
			}
		}
	}
}

// The longer the first in line has waited, the faster goes a process of few successes.
// That of a process of many follows what it was given.
func TestLimiterUrgency(t *testing.T) {
	for _, slowly := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			g := NewLimiter()
			g.law.restrict(g, now)
			g.law.pace, g.law.pacedAt, g.law.slowly = 0.5, now, slowly
			first := g.line.join(now)
			g.line.join(now.Add(30 * time.Second))
			for waited, times := range map[time.Duration]float64{-time.Hour: 1, 0: 1, 10 * time.Second: 1.25, 20 * time.Second: 2, 60 * time.Second: 10} {
				g.law.pacedAt = now.Add(waited) // it has not grown
				if !slowly {
					times = 1
				}
				assert.InDelta(t, times*0.5, g.law.urgentPace(g, now.Add(waited)), 1e-9, "%v, %v", slowly, waited)
			}
			g.line.leave(first)
			g.law.pacedAt = now.Add(30 * time.Second)
			assert.InDelta(t, 0.5, g.law.urgentPace(g, now.Add(30*time.Second)), 1e-9, "the next has just come")
		})
	}
}

// Who has left counts for the next success, and no more.
func TestLimiterCountsWhoHasLeftOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := slowProcess(t)
		g.law.left = 6 * manyWait
		for _, gained := range []float64{7, 8} {
			g.law.succeeded(g, time.Now())
			assert.InDelta(t, gained, g.law.gained, 1e-9)
		}
	})
}

// Who leaves because no turn can come in time may be back at once, and is not counted each
// time as one who waits: the pace must not grow by it.
func TestLimiterCountsNobodyWhoLeavesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewLimiter()
		throttled := &apierrors.StatusError{ErrStatus: metav1.Status{Code: 429, Details: &metav1.StatusDetails{RetryAfterSeconds: 120}}}
		_ = Run(t.Context(), func(context.Context) error { return throttled }, WithLimiter(g), WithMaxRetries(0))
		for range 10 {
			err := Run(t.Context(), func(context.Context) error { return nil }, WithLimiter(g), WithMaxQueueTime(time.Second))
			assert.ErrorIs(t, err, ErrQueueTimeout)
		}
		assert.Zero(t, g.law.left)
	})
}
