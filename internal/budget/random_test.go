// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/internal/window"
)

// FuzzBudget compares a Budget with a record of all that happened, for any sequence of
// operations; see checkBudget.
func FuzzBudget(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, uint16(seed*7), uint8(seed), uint16(400))
	}
	f.Fuzz(func(t *testing.T, seed uint64, ratio uint16, minRetries uint8, ops uint16) {
		synctest.Test(t, func(t *testing.T) {
			checkBudget(t, rand.New(rand.NewPCG(seed, 1)), Config{
				Ratio: float64(ratio)/100 + 0.01, MinRetries: int(minRetries) + 1, MaxRetryTime: time.Duration(seed%3) * 5 * time.Minute,
			}, int(ops%2000))
		})
	})
}

// checkBudget makes random operations at random times and checks for each retry:
//
//   - if it was paid for, then MinRetries and what had been earned within a window and a
//     tenth were enough for all retries of one window;
//   - if it was refused, then all retries of a window and a tenth had used up MinRetries and
//     what had been earned within one window;
//   - the same for the time.
func checkBudget(t *testing.T, random *rand.Rand, c Config, ops int) {
	const length, tenth = defaultWindow, defaultWindow / window.Parts
	type entry struct {
		from, at time.Duration // earned evenly in between
		earned   float64
		price    float64
		spent    time.Duration
	}
	var record []entry
	start, updated, fresh := time.Now(), time.Duration(0), 0
	b := New(c)
	// within adds up what happened within the last d.
	within := func(now, d time.Duration) (earned, price float64, spent time.Duration) {
		for _, e := range record {
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
	update := func(now time.Duration) {
		// Forget what is no longer in a window, so that long runs stay fast.
		record = slices.DeleteFunc(record, func(e entry) bool { return e.at <= now-length-tenth })
		record = append(record, entry{from: updated, at: now, earned: float64(fresh)})
		updated, fresh = now, 0
	}
	for range ops {
		switch random.IntN(6) {
		case 0:
			testkit.Sleep(time.Duration(random.ExpFloat64() * float64(100*time.Millisecond)))
		case 1:
			if random.IntN(20) == 0 {
				testkit.Sleep(time.Duration(random.ExpFloat64() * float64(20*time.Second)))
			}
		case 2:
			n := random.IntN(20)
			fresh += n
			earn(b, n)
		case 3:
			now := time.Since(start)
			update(now)
			d := time.Duration(random.IntN(5)) * time.Second
			if d > 0 {
				record = append(record, entry{from: now, at: now, spent: d})
			}
			b.State()
			b.spend(d)
		default:
			price, wait := float64(random.IntN(5))/2, time.Duration(random.IntN(30))*time.Second
			now := time.Since(start)
			update(now)
			paid := b.pay(price, wait)
			if price == 0 { // such a wait is not charged and never refused
				assert.True(t, paid)
				wait = 0
			}
			if paid {
				record = append(record, entry{from: now, at: now, price: price, spent: wait})
			}
			const rounding = 1e-6
			if paid {
				earned, _, _ := within(now, length+tenth)
				_, prices, spent := within(now, length)
				if price > 0 && !assert.LessOrEqual(t, prices, float64(c.MinRetries)+c.Ratio*earned+rounding, "paid too much") {
					return
				}
				if c.MaxRetryTime > 0 && wait > 0 && !assert.LessOrEqual(t, spent, c.MaxRetryTime, "too much time") {
					return
				}
				continue
			}
			earned, _, _ := within(now, length)
			_, prices, spent := within(now, length+tenth)
			noRetry := price > 0 && prices+price > float64(c.MinRetries)+c.Ratio*earned-rounding
			noTime := c.MaxRetryTime > 0 && (spent+wait > c.MaxRetryTime || spent >= c.MaxRetryTime)
			if !assert.True(t, noRetry || noTime, "refused too early: %v + %v of %v + %v × %v, %v + %v of %v",
				prices, price, c.MinRetries, c.Ratio, earned, spent, wait, c.MaxRetryTime) {
				return
			}
		}
	}
}
