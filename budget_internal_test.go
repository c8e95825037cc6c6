package k8sretry

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBudgetConfig(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    BudgetConfig
		problem   string
		remaining int
	}{
		{"the zero value", BudgetConfig{}, "", 20},
		{"a reserve of one's own", BudgetConfig{MinRetries: 3}, "", 3},
		{"no reserve", BudgetConfig{MinRetries: -1}, "", 0},
		{"no ratio", BudgetConfig{Ratio: -0.5}, "", 20},
		{"a reserve without end", BudgetConfig{MinRetries: math.MaxInt}, "", math.MaxInt32},
		{"the shortest window", BudgetConfig{Window: 1}, "", 20},
		{"the longest window", BudgetConfig{Window: math.MaxInt64}, "", 20},
		{"a ratio that is no number", BudgetConfig{Ratio: math.NaN()}, "NewBudget: Ratio must be finite", 0},
		{"a ratio without end", BudgetConfig{Ratio: math.Inf(1)}, "NewBudget: Ratio must be finite", 0},
		{"a ratio without end, negative", BudgetConfig{Ratio: math.Inf(-1)}, "NewBudget: Ratio must be finite", 0},
		{"a negative window", BudgetConfig{Window: -1}, "NewBudget: Window must not be negative", 0},
		{"a negative retry time", BudgetConfig{MaxRetryTime: -1}, "NewBudget: MaxRetryTime must not be negative", 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			b := NewBudget(c.config)
			assert.Equal(t, c.problem, b.problem)
			assert.Equal(t, BudgetState{Remaining: c.remaining}, b.State())
			b.earn()
			b.spend(time.Second)
			assert.Equal(t, c.remaining > 0 || c.problem != "", b.pay(ClassServer, 0))
		})
	}
}

func TestBudgetThatNobodyMade(t *testing.T) {
	for range 100 {
		assert.True(t, new(Budget).pay(ClassTimeout, time.Hour), "the zero value limits nothing")
	}
	assert.Zero(t, (*Budget)(nil).State())
}

// paidOf is how many of the given number of retries the budget pays for.
func paidOf(b *Budget, n int) (paid int) {
	for range n {
		if b.pay(ClassServer, 0) {
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

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    BudgetConfig
		story     func(t *testing.T, b *Budget)
	}{
		{"an outage gets the reserve alone", BudgetConfig{}, func(t *testing.T, b *Budget) {
			assert.Equal(t, 20, paidOf(b, 1000))
			assert.Equal(t, BudgetState{Remaining: 0, Paid: 20, Refused: 980}, b.State())
		}},
		{"the reserve comes back with time", BudgetConfig{}, func(t *testing.T, b *Budget) {
			paidOf(b, 1000)
			time.Sleep(10 * time.Second)
			assert.Zero(t, paidOf(b, 1000), "a full window has not passed for the last part")
			time.Sleep(time.Second)
			assert.Equal(t, 20, paidOf(b, 1000))
		}},
		{"it comes back as it was spent, not all at once", BudgetConfig{}, func(t *testing.T, b *Budget) {
			for range 20 {
				assert.Equal(t, 1, paidOf(b, 1))
				time.Sleep(500 * time.Millisecond)
			}
			time.Sleep(time.Second)
			assert.Equal(t, 2, paidOf(b, 1000))
		}},
		{"an outage of two calls a second", BudgetConfig{}, func(t *testing.T, b *Budget) {
			paid := 0
			for range 600 { // 5 minutes
				paid += paidOf(b, 5)
				time.Sleep(500 * time.Millisecond)
			}
			assert.InDelta(t, 20*300/11, paid, 21, "of 3000 that were asked for")
		}},
		{"an outage of two thousand calls a second", BudgetConfig{}, func(t *testing.T, b *Budget) {
			paid := 0
			for range 600_000 {
				paid += paidOf(b, 5)
				time.Sleep(500 * time.Microsecond)
			}
			assert.InDelta(t, 20*300/11, paid, 21, "of 3,000,000 that were asked for")
		}},
		{"successes earn their ratio", BudgetConfig{Ratio: 0.25, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 1000)
			assert.Equal(t, 250, b.State().Remaining)
			assert.Equal(t, 250, paidOf(b, 1000))
		}},
		{"a half of a retry is none", BudgetConfig{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 1)
			assert.Equal(t, 0, paidOf(b, 1))
			assert.True(t, b.pay(ClassThrottled, 0))
		}},
		{"what was earned is lost after the window", BudgetConfig{Ratio: 0.25, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 1000)
			assert.Equal(t, 250, b.State().Remaining)
			time.Sleep(10 * time.Second)
			assert.Equal(t, 250, b.State().Remaining)
			time.Sleep(time.Second)
			assert.Zero(t, b.State().Remaining)
			assert.Zero(t, paidOf(b, 1))
		}},
		{"nothing is owed when the successes leave the window first", BudgetConfig{Ratio: 1, MinRetries: 1}, func(t *testing.T, b *Budget) {
			earn(b, 10)
			b.State()
			time.Sleep(5 * time.Second)
			assert.Equal(t, 11, paidOf(b, 100))
			time.Sleep(6 * time.Second)
			assert.Zero(t, b.State().Remaining)
			time.Sleep(5 * time.Second)
			assert.Equal(t, 1, paidOf(b, 100))
		}},
		{"an hour of successes counts as a window of them", BudgetConfig{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			for range 3600 {
				earn(b, 100)
				time.Sleep(time.Second)
			}
			assert.InDelta(t, 525, b.State().Remaining, 25, "ten to eleven seconds")
		}},
		{"a burst an hour ago counts as the average of the hour", BudgetConfig{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			earn(b, 360_000)
			time.Sleep(time.Hour)
			assert.InDelta(t, 525, b.State().Remaining, 25)
		}},
		{"a fault in a busy minute after a quiet hour", BudgetConfig{Ratio: 0.5, MinRetries: -1}, func(t *testing.T, b *Budget) {
			time.Sleep(time.Hour)
			assert.False(t, b.pay(ClassServer, 0), "the first failure puts the count right")
			earn(b, 100)
			assert.Equal(t, 50, paidOf(b, 1000))
		}},
		{"the waits of all calls together have a limit", BudgetConfig{MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.False(t, b.pay(ClassServer, time.Minute+1), "more than there is")
			assert.True(t, b.pay(ClassServer, 50*time.Second))
			assert.False(t, b.pay(ClassServer, 11*time.Second))
			assert.True(t, b.pay(ClassServer, 10*time.Second))
			assert.False(t, b.pay(ClassServer, 0), "no time is left")
			assert.Equal(t, BudgetState{Remaining: 18, RetryTime: time.Minute, Paid: 2, Refused: 3}, b.State())
			time.Sleep(11 * time.Second)
			assert.True(t, b.pay(ClassServer, time.Minute))
		}},
		{"attempts take of the retry time, too", BudgetConfig{MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(ClassServer, time.Second))
			b.spend(59 * time.Second)
			assert.False(t, b.pay(ClassServer, 0))
			b.spend(-time.Hour)
			assert.False(t, b.pay(ClassServer, 0))
			b.spend(time.Hour)
			assert.Equal(t, time.Hour+time.Minute, b.State().RetryTime)
			time.Sleep(11 * time.Second)
			assert.True(t, b.pay(ClassServer, 0))
		}},
		{"what costs no retry costs time", BudgetConfig{MinRetries: -1, MaxRetryTime: time.Minute}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(ClassDisruptionBudget, time.Minute))
			assert.False(t, b.pay(ClassDisruptionBudget, time.Second))
		}},
		{"waits without end", BudgetConfig{MinRetries: 1000}, func(t *testing.T, b *Budget) {
			for range 100 {
				assert.True(t, b.pay(ClassServer, math.MaxInt64))
				b.spend(math.MaxInt64)
				time.Sleep(100 * time.Millisecond)
			}
			assert.Equal(t, time.Duration(math.MaxInt64), b.State().RetryTime)
		}},
		{"a negative wait", BudgetConfig{MaxRetryTime: time.Second}, func(t *testing.T, b *Budget) {
			assert.True(t, b.pay(ClassServer, -time.Hour))
			assert.Zero(t, b.State().RetryTime)
		}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.story(t, NewBudget(c.config)) })
		})
	}
}

func TestBudgetPrices(t *testing.T) {
	for c, want := range map[Class]int{
		ClassServer: 20, ClassConnection: 20, ClassRefused: 20, ClassBadResponse: 20, ClassTimeout: 10, ClassThrottled: 40,
		ClassDisruptionBudget: 100, ClassBlocked: 100, ClassConflict: 100,
		ClassPermanent: 20, ClassCanceled: 20, ClassNone: 20, Class(99): 20,
	} {
		t.Run(c.String(), func(t *testing.T) {
			b, paid := NewBudget(BudgetConfig{Window: time.Hour}), 0
			for range 100 {
				if b.pay(c, 0) {
					paid++
				}
			}
			assert.Equal(t, want, paid, "of a reserve of 20")
		})
	}
}

// A Budget that was made outside of a bubble lives in the time of the bubble, and in
// that of the next one, which begins before the first has ended.
func TestBudgetInAnotherTime(t *testing.T) {
	b := NewBudget(BudgetConfig{})
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			assert.Equal(t, 20, paidOf(b, 100))
			time.Sleep(11 * time.Second)
			assert.Equal(t, 20, paidOf(b, 100))
		})
	}
}

// No success and no retry is lost or counted twice, whoever comes at the same time.
func TestBudgetOfAThousandGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetConfig{Ratio: 0.5, MinRetries: 1000})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for range 10 {
					b.earn()
					b.pay(ClassServer, time.Second)
					b.spend(time.Millisecond)
				}
			})
		}
		wg.Wait()
		state := b.State()
		assert.Equal(t, uint64(10_000), state.Paid+state.Refused)
		assert.LessOrEqual(t, state.Paid, uint64(1000+10_000/2))
		assert.Equal(t, 6000-int(state.Paid), state.Remaining, "1000 and a half of 10,000 successes")
		assert.Equal(t, time.Duration(state.Paid)*time.Second+10*time.Second, state.RetryTime)
	})
}

// Goroutines that run side by side count side by side.
func TestBudgetSpreadsItsCounters(t *testing.T) {
	b := NewBudget(BudgetConfig{})
	var all, done sync.WaitGroup
	all.Add(256)
	for range 256 {
		done.Go(func() {
			all.Done()
			all.Wait() // so that none gets the stack of another
			b.earn()
		})
	}
	done.Wait()
	used := 0
	for i := range b.counters {
		if b.counters[i].successes.Load() > 0 {
			used++
		}
	}
	assert.Greater(t, used, len(b.counters)/2)
}

func TestBudgetCostsNoAllocation(t *testing.T) {
	b := NewBudget(BudgetConfig{})
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		b.earn()
		b.pay(ClassServer, time.Second)
		b.spend(time.Second)
	}))
}

// FuzzBudget holds a Budget against a book of all that happened, for any schedule: see
// checkBudget.
func FuzzBudget(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, uint16(seed*7), uint8(seed), uint16(400))
	}
	f.Fuzz(func(t *testing.T, seed uint64, ratio uint16, reserve uint8, ops uint16) {
		synctest.Test(t, func(t *testing.T) {
			checkBudget(t, rand.New(rand.NewPCG(seed, 1)), BudgetConfig{
				Ratio: float64(ratio)/100 + 0.01, MinRetries: int(reserve) + 1, MaxRetryTime: time.Duration(seed%3) * 5 * time.Minute,
			}, int(ops%2000))
		})
	})
}

// checkBudget makes random operations at random times and proves for each retry:
//
//   - it was paid by the reserve and by what had been earned at most a window and a
//     tenth ago, together with all retries of one window;
//   - if it was refused, then all retries of a window and a tenth had used up the
//     reserve and what was earned within a window;
//   - the same for the time.
func checkBudget(t *testing.T, random *rand.Rand, c BudgetConfig, ops int) {
	const window, tenth = defaultBudgetWindow, defaultBudgetWindow / windowParts
	type entry struct {
		from, at time.Duration // earned evenly in between
		earned   float64
		price    float64
		spent    time.Duration
	}
	var book []entry
	start, looked, fresh := time.Now(), time.Duration(0), 0
	b := NewBudget(c)
	// within adds up what happened in the last d, the youngest moment included.
	within := func(now, d time.Duration) (earned, price float64, spent time.Duration) {
		for _, e := range book {
			if begin := max(e.from, now-d); e.at > begin {
				earned += e.earned * float64(e.at-begin) / float64(e.at-e.from)
			} else if e.from == e.at && e.at > now-d {
				earned += e.earned
			}
			if e.at > now-d {
				price += e.price
				spent += e.spent
			}
		}
		return earned, price, spent
	}
	looks := func(now time.Duration) {
		// What no window holds any more is not asked for again: long runs stay quick.
		book = slices.DeleteFunc(book, func(e entry) bool { return e.at <= now-window-tenth })
		book = append(book, entry{from: looked, at: now, earned: float64(fresh)})
		looked, fresh = now, 0
	}
	for range ops {
		switch random.IntN(6) {
		case 0:
			time.Sleep(time.Duration(random.ExpFloat64() * float64(100*time.Millisecond)))
		case 1:
			if random.IntN(20) == 0 {
				time.Sleep(time.Duration(random.ExpFloat64() * float64(20*time.Second)))
			}
		case 2:
			n := random.IntN(20)
			fresh += n
			earn(b, n)
		case 3:
			now := time.Since(start)
			looks(now)
			d := time.Duration(random.IntN(5)) * time.Second
			if d > 0 {
				book = append(book, entry{from: now, at: now, spent: d})
			}
			b.State()
			b.spend(d)
		default:
			class, wait := Class(random.IntN(len(classNames))), time.Duration(random.IntN(30))*time.Second
			now, price := time.Since(start), budgetPrices[class]
			looks(now)
			paid := b.pay(class, wait)
			if paid {
				book = append(book, entry{from: now, at: now, price: price, spent: wait})
			}
			const rounding = 1e-6
			if paid {
				earned, _, _ := within(now, window+tenth)
				_, prices, spent := within(now, window)
				if price > 0 && !assert.LessOrEqual(t, prices, float64(c.MinRetries)+c.Ratio*earned+rounding, "paid too much") {
					return
				}
				if c.MaxRetryTime > 0 && wait > 0 && !assert.LessOrEqual(t, spent, c.MaxRetryTime, "too much time") {
					return
				}
				continue
			}
			earned, _, _ := within(now, window)
			_, prices, spent := within(now, window+tenth)
			noRetry := price > 0 && prices+price > float64(c.MinRetries)+c.Ratio*earned-rounding
			noTime := c.MaxRetryTime > 0 && (spent+wait > c.MaxRetryTime || spent >= c.MaxRetryTime)
			if !assert.True(t, noRetry || noTime, "refused too early: %v + %v of %v + %v × %v, %v + %v of %v",
				prices, price, c.MinRetries, c.Ratio, earned, spent, wait, c.MaxRetryTime) {
				return
			}
		}
	}
}
