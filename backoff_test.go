// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func ExampleExponential() {
	schedule := k8sretry.Exponential{Initial: 2 * time.Second, Max: 30 * time.Second, Jitter: k8sretry.JitterNone}
	for retry := 1; retry <= 5; retry++ {
		fmt.Println(schedule.Delay(retry))
	}
	// Output:
	// 2s
	// 4s
	// 8s
	// 16s
	// 30s
}

func TestExponentialSchedule(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		situation string
		backoff   k8sretry.Exponential
		want      []time.Duration
	}{
		{"the zero value: 1 s doubling to 30 s", k8sretry.Exponential{}, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}},
		{"a constant delay", k8sretry.Exponential{Initial: 3 * s, Multiplier: 1}, []time.Duration{3 * s, 3 * s, 3 * s}},
		{"a multiplier with a fraction", k8sretry.Exponential{Initial: 2 * s, Multiplier: 1.5}, []time.Duration{2 * s, 3 * s, 4500 * time.Millisecond}},
		{"Initial above Max", k8sretry.Exponential{Initial: time.Minute, Max: s}, []time.Duration{s, s}},
		{"negative Initial: no delay", k8sretry.Exponential{Initial: -1}, []time.Duration{0, 0}},
		{"negative Max: no delay", k8sretry.Exponential{Max: -1}, []time.Duration{0, 0}},
		{"a multiplier below 1: no growth", k8sretry.Exponential{Multiplier: 0.5}, []time.Duration{s, s, s}},
		{"a negative multiplier: no growth", k8sretry.Exponential{Multiplier: -2}, []time.Duration{s, s, s}},
		{"NaN: no growth", k8sretry.Exponential{Multiplier: math.NaN()}, []time.Duration{s, s, s}},
		{"Inf: the cap from the second retry", k8sretry.Exponential{Multiplier: math.Inf(1)}, []time.Duration{s, 30 * s, 30 * s}},
		{"the largest durations", k8sretry.Exponential{Initial: math.MaxInt64, Max: math.MaxInt64}, []time.Duration{math.MaxInt64, math.MaxInt64}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			c.backoff.Jitter = k8sretry.JitterNone
			for i, want := range c.want {
				assert.Equal(t, want, c.backoff.Delay(i+1), "retry %d", i+1)
			}
			assert.Zero(t, c.backoff.Delay(0), "no wait before the first attempt")
			assert.Zero(t, c.backoff.Delay(-1))
			assert.Zero(t, c.backoff.Delay(math.MinInt))
			assert.Equal(t, c.backoff.Delay(10_000), c.backoff.Delay(math.MaxInt), "far beyond the cap")
		})
	}
}

func TestGrowthBeyondTheShortProduct(t *testing.T) {
	slow := k8sretry.Exponential{Initial: time.Millisecond, Max: time.Hour, Multiplier: 1.1, Jitter: k8sretry.JitterNone}
	for retry := 2; retry < 100; retry++ {
		assert.InEpsilon(t, 1.1, float64(slow.Delay(retry))/float64(slow.Delay(retry-1)), 1e-6, "retry %d", retry)
	}
}

// Delays stay within the range of their jitter, below the cap and at it, and use all of it.
func TestJitterRanges(t *testing.T) {
	const draws = 4000
	for _, c := range []struct {
		jitter        k8sretry.Jitter
		retry         int // of 10, 20, 40, 50, 50, ... s
		low, high     time.Duration
		wantMean      time.Duration
		uniformEnough bool
	}{
		{k8sretry.JitterProportional, 1, 10 * time.Second, 12 * time.Second, 11 * time.Second, true},
		{k8sretry.JitterProportional, 3, 40 * time.Second, 48 * time.Second, 44 * time.Second, true},
		{k8sretry.JitterProportional, 4, 40 * time.Second, 50 * time.Second, 45 * time.Second, true},
		{k8sretry.JitterProportional, 99, 40 * time.Second, 50 * time.Second, 45 * time.Second, true},
		{k8sretry.JitterFull, 2, 0, 20 * time.Second, 10 * time.Second, true},
		{k8sretry.JitterFull, 99, 0, 50 * time.Second, 25 * time.Second, true},
		{k8sretry.JitterEqual, 2, 10 * time.Second, 20 * time.Second, 15 * time.Second, true},
		{k8sretry.JitterEqual, 99, 25 * time.Second, 50 * time.Second, 37500 * time.Millisecond, true},
		{jitter: 77, retry: 1, low: 10 * time.Second, high: 12 * time.Second, wantMean: 11 * time.Second, uniformEnough: true},
	} {
		for _, multiplier := range multipliers {
			t.Run(fmt.Sprintf("jitter %d, retry %d, multiplier %v", c.jitter, c.retry, multiplier), func(t *testing.T) {
				b := k8sretry.Exponential{Initial: 10 * time.Second, Max: 50 * time.Second, Multiplier: multiplier, Jitter: c.jitter}
				low, high, sum := time.Duration(math.MaxInt64), time.Duration(0), time.Duration(0)
				different := map[time.Duration]bool{}
				for range draws {
					d := b.Delay(c.retry)
					low, high, sum = min(low, d), max(high, d), sum+d
					different[d] = true
				}
				assert.GreaterOrEqual(t, low, c.low)
				assert.LessOrEqual(t, high, c.high)
				assert.Greater(t, len(different), draws/10, "delays are spread, also at the cap")
				if !c.uniformEnough {
					return
				}
				width := c.high - c.low
				assert.Less(t, low-c.low, width/50, "the low end is used")
				assert.Less(t, c.high-high, width/50, "the high end is used")
				assert.InDelta(t, float64(c.wantMean), float64(sum/draws), float64(width)/20)
			})
		}
	}
}

// multipliers are the default as 0 and as 2: a schedule with all fields set is computed in another
// way.
var multipliers = []float64{0, 2}

// Jitter does not exceed the cap, also where a fifth more would.
func TestJitterNeverPassesTheCap(t *testing.T) {
	for _, multiplier := range multipliers {
		b := k8sretry.Exponential{Initial: 29 * time.Second, Max: 30 * time.Second, Multiplier: multiplier}
		for range 1000 {
			d := b.Delay(1)
			require.LessOrEqual(t, d, 30*time.Second, "multiplier %v", multiplier)
			require.GreaterOrEqual(t, d, 29*time.Second, "multiplier %v", multiplier)
		}
	}
}

func FuzzExponential(f *testing.F) {
	f.Add(int64(0), int64(0), 0.0, uint8(0), 1)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), math.MaxFloat64, uint8(0), 10_000)
	f.Add(int64(math.MaxInt64-1), int64(math.MaxInt64-511), 1.0000001, uint8(3), math.MaxInt)
	f.Add(int64(-1), int64(-5), math.NaN(), uint8(4), -7)
	f.Fuzz(func(t *testing.T, initial, limit int64, multiplier float64, jitter uint8, retry int) {
		b := k8sretry.Exponential{Initial: time.Duration(initial), Max: time.Duration(limit), Multiplier: multiplier, Jitter: k8sretry.Jitter(jitter)}
		ceiling := b.Max
		if ceiling == 0 {
			ceiling = 30 * time.Second
		}
		d := b.Delay(retry)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, max(0, ceiling))
		if retry < 1 {
			require.Zero(t, d)
		}
	})
}

// The delays before the retries, exact, as they are waited and as events report them.
func TestDelays(t *testing.T) {
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		waits     []time.Duration
	}{
		{"5xx and lost connections: the schedule", []error{unavailable(), network("read", syscall.ECONNRESET), io.ErrUnexpectedEOF, badGateway()},
			[]k8sretry.Option{k8sretry.ForWrite()}, seconds(2, 4, 8, 16)},
		{"504, refused connections and timeouts: half of it", []error{gatewayTimeout(), noConnection(), network("dial", syscall.ETIMEDOUT), context.DeadlineExceeded},
			[]k8sretry.Option{k8sretry.ForWrite()}, seconds(1, 2, 4, 8)},
		{"429 without a Retry-After: twice the schedule, up to the maximum delay", times(5, tooMany(0)), []k8sretry.Option{k8sretry.ForWrite()}, seconds(4, 8, 16, 30, 30)},
		{"a Retry-After is the least delay", []error{tooMany(7), tooMany(1)}, []k8sretry.Option{k8sretry.ForRead()}, seconds(7, 2)},
		{"a Retry-After may exceed the maximum delay", []error{tooMany(50)}, []k8sretry.Option{k8sretry.WithMaxDelay(time.Second)}, seconds(50)},
		{"a Retry-After of a 504 that is shorter", []error{withDelay(gatewayTimeout(), 1)}, []k8sretry.Option{k8sretry.WithInitialDelay(8 * time.Second)}, seconds(4)},
		{"a Retry-After of a 503 that is shorter", []error{withDelay(unavailable(), 1)}, []k8sretry.Option{k8sretry.WithInitialDelay(4 * time.Second)}, seconds(4)},
		{"a Retry-After of a 503 that is longer", []error{withDelay(unavailable(), 9)}, []k8sretry.Option{k8sretry.ForWrite()}, seconds(9)},
		{"a PodDisruptionBudget", times(5, budgetSpent()), []k8sretry.Option{k8sretry.WithMaxRetries(5)}, seconds(5, 7.5, 11.25, 16.875, 20)},
		{"a PodDisruptionBudget, with a shorter maximum delay", times(3, budgetSpent()), []k8sretry.Option{k8sretry.WithMaxDelay(6 * time.Second)}, seconds(5, 6, 6)},
		{"a PodDisruptionBudget, with a longer maximum delay", times(5, budgetSpent()), []k8sretry.Option{k8sretry.WithMaxRetries(5), k8sretry.WithMaxDelay(time.Hour)}, seconds(5, 7.5, 11.25, 16.875, 20)},
		{"WithBackoff, for every class", []error{tooMany(0), gatewayTimeout(), unavailable(), budgetSpent()},
			[]k8sretry.Option{k8sretry.WithBackoff(constantBackoff{3 * time.Second}), k8sretry.WithMaxRetries(4)}, seconds(3, 3, 3, 3)},
		{"WithBackoff, and a longer Retry-After", []error{tooMany(7), tooMany(2)}, []k8sretry.Option{k8sretry.WithBackoff(constantBackoff{3 * time.Second})}, seconds(7, 3)},
		{"WithBackoff, which counts retries from 1", times(3, unavailable()),
			[]k8sretry.Option{k8sretry.WithBackoff(k8sretry.BackoffFunc(func(retry int) time.Duration { return time.Duration(retry) * time.Second }))}, seconds(1, 2, 3)},
		{"WithBackoffFor, for its class", []error{unavailable(), tooMany(0)}, []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Minute})}, seconds(1, 60)},
		{"WithBackoffFor before WithBackoff", []error{unavailable(), tooMany(0)},
			[]k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Minute}), k8sretry.WithBackoff(constantBackoff{3 * time.Second})}, seconds(3, 60)},
		{"WithBackoffFor of a permanent error that is repeated", []error{errPlain}, []k8sretry.Option{k8sretry.WithRetryOn(errPlain), k8sretry.WithBackoffFor(k8sretry.ClassPermanent, constantBackoff{time.Minute})}, seconds(60)},
		{"WithRetryOn: the schedule of the class", []error{context.DeadlineExceeded, errPlain}, []k8sretry.Option{k8sretry.WithRetryOn(errPlain)}, seconds(0.5, 2)},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen recorder
				s := fails(c.fails...)
				_, err := k8sretry.Do(t.Context(), s.get, append([]k8sretry.Option{exact, k8sretry.WithMaxRetries(5), k8sretry.WithObserver(&seen)}, c.opts...)...)
				require.NoError(t, err)
				assert.Equal(t, c.waits, s.waits())
				for i, wait := range c.waits {
					assert.Equal(t, wait, seen.events[i].Delay)
				}
			})
		})
	}
}

// The cause decides which share of the schedule is waited, and the default jitter spreads
// that share.
func TestDefaultJitterSpreadsTheShareOfTheCause(t *testing.T) {
	for _, c := range []struct {
		situation string
		fail      error
		low, high []time.Duration // of each wait
	}{
		{"503: the schedule", unavailable(), seconds(2, 4, 8, 16, 24), seconds(2.4, 4.8, 9.6, 19.2, 30)},
		{"a lost connection: the schedule", network("read", syscall.ECONNRESET), seconds(2, 4, 8, 16, 24), seconds(2.4, 4.8, 9.6, 19.2, 30)},
		{"504: half of it", gatewayTimeout(), seconds(1, 2, 4, 8, 15), seconds(1.2, 2.4, 4.8, 9.6, 19.2)},
		{"refused: half of it", noConnection(), seconds(1, 2, 4, 8, 15), seconds(1.2, 2.4, 4.8, 9.6, 19.2)},
		{"a timeout: half of it", network("dial", syscall.ETIMEDOUT), seconds(1, 2, 4, 8, 15), seconds(1.2, 2.4, 4.8, 9.6, 19.2)},
		{"429 without a Retry-After: twice", tooMany(0), seconds(4, 8, 16, 24, 24), seconds(4.8, 9.6, 19.2, 30, 30)},
		{"429 with a short Retry-After: the schedule", tooMany(1), seconds(2, 4, 8, 16, 24), seconds(2.4, 4.8, 9.6, 19.2, 30)},
		{"a PodDisruptionBudget", budgetSpent(), seconds(5, 7.5, 11.25, 16.875, 16), seconds(6, 9, 13.5, 20, 20)},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 100 {
					s := fails(times(5, c.fail)...)
					_, err := k8sretry.Do(t.Context(), s.get, k8sretry.ForWrite())
					require.NoError(t, err)
					for i, wait := range s.waits() {
						require.GreaterOrEqual(t, wait, c.low[i], "retry %d", i+1)
						require.LessOrEqual(t, wait, c.high[i], "retry %d", i+1)
					}
				}
			})
		})
	}
}

// Clients that were given the same whole number of seconds do not come back together.
func TestRetryAfterIsSpreadUpwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		longest := time.Duration(0)
		for range 500 {
			s := fails(tooMany(100))
			_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithMaxRetryAfter(100*time.Second))
			require.NoError(t, err)
			wait := s.waits()[0]
			require.GreaterOrEqual(t, wait, 100*time.Second)
			require.LessOrEqual(t, wait, 150*time.Second, "half of the Retry-After is added at most")
			longest = max(longest, wait)
			seen[wait] = true
		}
		assert.Greater(t, longest, 145*time.Second, "the whole range is used")
		assert.Greater(t, len(seen), 400)
	})
}

// A negative delay of a caller's Backoff counts as none: it is not waited, not reported,
// and not paid back by a Budget.
func TestNegativeDelayIsNone(t *testing.T) {
	for name, opt := range map[string]k8sretry.Option{
		"WithBackoff":    k8sretry.WithBackoff(constantBackoff{-time.Second}),
		"WithBackoffFor": k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{-time.Second}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen recorder
				budget := k8sretry.NewBudget(k8sretry.BudgetConfig{})
				s := fails(unavailable())
				_, err := k8sretry.Do(t.Context(), s.get, opt, k8sretry.WithObserver(&seen), k8sretry.WithBudget(budget))
				require.NoError(t, err)
				assert.Equal(t, seconds(0), s.waits())
				require.Len(t, seen.events, 2)
				assert.Equal(t, k8sretry.EventRetry, seen.events[0].Kind)
				assert.Zero(t, seen.events[0].Delay)
				assert.Zero(t, budget.State().RetryTime)
			})
		})
	}
}

// A Budget counts the time of retries that have failed, too: that of their delays and of
// their attempts.
func TestBudgetCountsTheTimeOfFailedRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBudget(k8sretry.BudgetConfig{MaxRetryTime: 10 * time.Second, Window: time.Hour})
		attempts := 0
		err := k8sretry.Run(t.Context(), func(context.Context) error {
			attempts++
			testkit.Sleep(4 * time.Second)
			return unavailable()
		}, exact, k8sretry.WithBudget(b), k8sretry.WithMaxRetries(9))
		assert.ErrorIs(t, err, k8sretry.ErrBudgetExhausted)
		assert.Equal(t, 3, attempts, "1 s, an attempt of 4 s, 2 s, an attempt of 4 s")
		assert.Equal(t, 11*time.Second, b.State().RetryTime)
	})
}

// The limits: each ends a call just beyond its bound, and not at it.
func TestLimits(t *testing.T) {
	server := func(retryAfter time.Duration) k8sretry.Option {
		return k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) {
			return k8sretry.Verdict{Class: k8sretry.ClassServer, RetryAfter: retryAfter}, true
		})
	}
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		deadline  time.Duration // of the caller's context
		err       error
		waits     []time.Duration
	}{
		{"the last retry", times(3, unavailable()), nil, 0, nil, seconds(1, 2, 4)},
		{"one failure more than retries", times(4, unavailable()), nil, 0, k8sretry.ErrMaxRetries, seconds(1, 2, 4)},
		{"the longest Retry-After", []error{tooMany(60)}, nil, 0, nil, seconds(60)},
		{"a longer Retry-After", []error{tooMany(61)}, nil, 0, k8sretry.ErrRetryAfterTooLong, nil},
		{"a longer Retry-After that is allowed", []error{tooMany(90)}, []k8sretry.Option{k8sretry.WithMaxRetryAfter(90 * time.Second)}, 0, nil, seconds(90)},
		{"the longest Retry-After, by a nanosecond", []error{errPlain}, []k8sretry.Option{server(time.Minute + 1)}, 0, k8sretry.ErrRetryAfterTooLong, nil},
		{"a maximum Retry-After of 0", []error{errPlain}, []k8sretry.Option{server(1), k8sretry.WithMaxRetryAfter(0)}, 0, k8sretry.ErrRetryAfterTooLong, nil},
		{"a maximum Retry-After of 0, and none", []error{unavailable()}, []k8sretry.Option{k8sretry.WithMaxRetryAfter(0)}, 0, nil, seconds(1)},
		{"the last retry comes before the Retry-After", append(times(3, unavailable()), tooMany(61)), nil, 0, k8sretry.ErrMaxRetries, seconds(1, 2, 4)},
		{"WithMaxElapsed", times(2, unavailable()), []k8sretry.Option{k8sretry.WithMaxElapsed(3 * time.Second)}, 0, nil, seconds(1, 2)},
		{"WithMaxElapsed, by a nanosecond", times(2, unavailable()), []k8sretry.Option{k8sretry.WithMaxElapsed(3*time.Second - 1)}, 0, k8sretry.ErrMaxElapsed, seconds(1)},
		{"the deadline", times(2, unavailable()), nil, 3 * time.Second, k8sretry.ErrDeadline, seconds(1)},
		{"the deadline, by a nanosecond", times(2, unavailable()), nil, 3*time.Second + 1, nil, seconds(1, 2)},
		{"WithMaxElapsed before the deadline", times(2, unavailable()), []k8sretry.Option{k8sretry.WithMaxElapsed(2 * time.Second)}, 2500 * time.Millisecond, k8sretry.ErrMaxElapsed, seconds(1)},
		{"the deadline before WithMaxElapsed", times(2, unavailable()), []k8sretry.Option{k8sretry.WithMaxElapsed(2500 * time.Millisecond)}, 2 * time.Second, k8sretry.ErrDeadline, seconds(1)},
		{"no delay, before the deadline", times(2, unavailable()), []k8sretry.Option{k8sretry.WithInitialDelay(0)}, 1, nil, seconds(0, 0)},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				if c.deadline > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), c.deadline)
				}
				defer cancel()
				began, s := time.Now(), fails(c.fails...)
				_, err := k8sretry.Do(ctx, s.get, append(c.opts, exact)...)
				assert.ErrorIs(t, err, c.err)
				assert.Equal(t, c.waits, s.waits())
				assert.Equal(t, time.Since(began), sum(c.waits), "a wait that is too long does not begin")
			})
		})
	}
}

func sum(waits []time.Duration) (total time.Duration) {
	for _, wait := range waits {
		total += wait
	}
	return total
}

// WithMaxElapsed includes the time of the attempts.
func TestMaxElapsedIncludesAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		began := time.Now()
		err := k8sretry.Run(t.Context(), func(context.Context) error {
			attempts++
			testkit.Sleep(5 * time.Second)
			return unavailable()
		}, exact, k8sretry.WithMaxElapsed(11*time.Second))
		assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
		assert.Equal(t, 2, attempts, "the second attempt ends at 11 s")
		assert.Equal(t, 11*time.Second, time.Since(began))
		assert.Equal(t, 6*time.Second, asError(t, err).Elapsed, "counted from the end of the first attempt")
	})
}

// A delay is drawn from the range of the jitter that fits the time that is left. A call gives
// up only if the least delay does not fit.
func TestJitterFitsTheTimeThatIsLeft(t *testing.T) {
	type limit func(*testing.T, time.Duration) (context.Context, []k8sretry.Option)
	deadline := func(t *testing.T, d time.Duration) (context.Context, []k8sretry.Option) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx, nil
	}
	elapsed := func(t *testing.T, d time.Duration) (context.Context, []k8sretry.Option) {
		return t.Context(), []k8sretry.Option{k8sretry.WithMaxElapsed(d)}
	}
	for name, bound := range map[string]limit{"deadline": deadline, "max elapsed": elapsed} {
		for _, c := range []struct {
			situation        string
			fail             error
			opts             []k8sretry.Option
			left, least, end time.Duration // end 0: the call gives up
		}{
			{"Retry-After", tooMany(7), nil, 9 * time.Second, 7 * time.Second, 9 * time.Second},
			{"Retry-After that does not fit", tooMany(7), nil, 6 * time.Second, 0, 0},
			{"Retry-After, exact", tooMany(7), []k8sretry.Option{exact}, 6 * time.Second, 0, 0},
			{"schedule", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second)}, 10100 * time.Millisecond, 10 * time.Second, 10100 * time.Millisecond},
			{"schedule that does not fit", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second)}, 9 * time.Second, 0, 0},
			{"schedule, full jitter", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second), k8sretry.WithJitter(k8sretry.JitterFull)}, time.Second, 0, time.Second},
			{"schedule, equal jitter", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(10 * time.Second), k8sretry.WithJitter(k8sretry.JitterEqual)}, 6 * time.Second, 5 * time.Second, 6 * time.Second},
			{"schedule at its cap", unavailable(), []k8sretry.Option{k8sretry.WithInitialDelay(time.Hour), k8sretry.WithMaxDelay(10 * time.Second)}, 9 * time.Second, 8 * time.Second, 9 * time.Second},
			{"disruption budget", budgetSpent(), nil, 5100 * time.Millisecond, 5 * time.Second, 5100 * time.Millisecond},
			{"limiter", unavailable(), []k8sretry.Option{k8sretry.WithLimiter(k8sretry.NewLimiter())}, 500 * time.Millisecond, 0, 500 * time.Millisecond},
			{"a Backoff of the caller is taken as it is", unavailable(), []k8sretry.Option{k8sretry.WithBackoff(k8sretry.BackoffFunc(func(int) time.Duration { return 7 * time.Second }))}, 6 * time.Second, 0, 0},
		} {
			t.Run(name+", "+c.situation, func(t *testing.T) {
				for range 40 {
					synctest.Test(t, func(t *testing.T) {
						ctx, opts := bound(t, c.left)
						s := fails(c.fail)
						start := time.Now()
						_, err := k8sretry.Do(ctx, s.get, append(opts, c.opts...)...)
						if c.end == 0 {
							assert.Error(t, err)
							assert.Equal(t, 1, s.attempts())
							assert.Zero(t, time.Since(start), "it gives up at once")
							return
						}
						require.NoError(t, err)
						assert.GreaterOrEqual(t, s.waits()[0], c.least)
						assert.Less(t, s.waits()[0], c.end)
					})
				}
			})
		}
	}
}

// Whatever a schedule returns, the call ends when it has to, and waits no negative time.
func TestBackoffFuncOfAnyValue(t *testing.T) {
	const s = time.Second
	always := func(d time.Duration) k8sretry.Option {
		return k8sretry.WithBackoff(k8sretry.BackoffFunc(func(int) time.Duration { return d }))
	}
	overflowing := k8sretry.WithBackoff(k8sretry.BackoffFunc(func(retry int) time.Duration { return 10 * s << (30 * (retry - 1)) }))
	nan := k8sretry.WithBackoff(k8sretry.BackoffFunc(func(int) time.Duration { return time.Duration(nan()) }))
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		errs      []error
		timeout   time.Duration
		took      time.Duration
		waits     int
		ends      error // nil: success
	}{
		{"the longest, without an end: until the caller cancels", []k8sretry.Option{always(math.MaxInt64)}, times(9, unavailable()), 0, time.Hour, 0, context.Canceled},
		{"the longest, and a deadline: at once", []k8sretry.Option{always(math.MaxInt64)}, times(9, unavailable()), time.Minute, 0, 0, k8sretry.ErrDeadline},
		{"the longest, and a maximum: at once", []k8sretry.Option{always(math.MaxInt64), k8sretry.WithMaxElapsed(time.Minute)}, times(9, unavailable()), 0, 0, 0, k8sretry.ErrMaxElapsed},
		{"the longest, with the longest maximum", []k8sretry.Option{always(math.MaxInt64), k8sretry.WithMaxElapsed(math.MaxInt64)}, times(9, unavailable()), 0, time.Hour, 0, context.Canceled},
		{"the longest, with a Retry-After", []k8sretry.Option{always(math.MaxInt64)}, times(9, tooMany(5)), time.Minute, 0, 0, k8sretry.ErrDeadline},
		{"the least: no wait", []k8sretry.Option{always(math.MinInt64)}, times(2, unavailable()), 0, 0, 2, nil},
		{"the least, with a Retry-After: that", []k8sretry.Option{always(math.MinInt64), exact}, times(2, tooMany(5)), 0, 10 * s, 2, nil},
		{"it overflows and is negative: no wait", []k8sretry.Option{overflowing}, times(9, unavailable()), time.Minute, 10 * s, 3, k8sretry.ErrMaxRetries},
		{"it is made of NaN: no wait", []k8sretry.Option{nan}, times(2, unavailable()), time.Minute, 0, 2, nil},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour, cancel)
				defer cancel()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				began := time.Now()
				object := fails(c.errs...)
				_, err := k8sretry.Do(ctx, object.get, append([]k8sretry.Option{k8sretry.ForRead()}, c.opts...)...)
				if c.ends == nil {
					assert.NoError(t, err)
				} else {
					assert.ErrorIs(t, err, c.ends)
				}
				assert.Equal(t, c.took, time.Since(began))
				assert.Len(t, object.waits(), c.waits)
			})
		})
	}
}

// A retry that would take forever is paid by no Budget that counts time, and spoils none.
func TestBackoffFuncOfAnyValueAndABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MaxRetryTime: time.Minute})
		for _, d := range []time.Duration{math.MaxInt64, math.MinInt64} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			opt := k8sretry.WithBackoff(k8sretry.BackoffFunc(func(int) time.Duration { return d }))
			_, _ = k8sretry.Do(ctx, fails(times(2, unavailable())...).get, opt, k8sretry.WithBudget(budget), k8sretry.WithMaxRetries(9))
			canceled, cancelSoon := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancelSoon)
			_, _ = k8sretry.Do(canceled, fails(times(2, unavailable())...).get, opt, k8sretry.WithBudget(budget))
			cancel()
		}
		assert.GreaterOrEqual(t, budget.State().RetryTime, time.Duration(0))
		assert.LessOrEqual(t, budget.State().RetryTime, time.Minute)
		_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBudget(budget), exact)
		assert.NoError(t, err)
	})
}
