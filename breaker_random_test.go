package k8sretry

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// FuzzBreaker proves what holds for any schedule of attempts: see checkBreaker.
func FuzzBreaker(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed), uint8(seed%4), uint16(600))
	}
	f.Fuzz(func(t *testing.T, seed uint64, sick, probes uint8, ops uint16) {
		synctest.Test(t, func(t *testing.T) {
			config := BreakerConfig{MinFailures: 1 + int(seed%9), HalfOpenProbes: 1 + int(probes%5)}
			checkBreaker(t, rand.New(rand.NewPCG(seed, 2)), config, 0.5+float64(sick)/511, int(ops%3000))
		})
	})
}

// checkBreaker begins and ends attempts in random order, of which the given share goes
// wrong, and proves for each step:
//
//   - open, nothing is let through before the time it tells is over, which is never
//     shorter than its open time and than what the server asked for last;
//   - half-open, there are never more probes under way than it may have, but for those
//     that have been for longer than the longest open time;
//   - only failing attempts of its own time open it, only as many probes of its own
//     time as it takes close it; a throttled, a left and a late one does neither;
//   - every change is told to one caller;
//   - whatever happened, once the attempts under way have ended it lets one through
//     after its open time at the latest.
func checkBreaker(t *testing.T, random *rand.Rand, c BreakerConfig, sick float64, ops int) {
	type running struct {
		admission
		at time.Time
	}
	var (
		b           = NewBreaker(c)
		under       []running
		state       = BreakerClosed
		notBefore   time.Time // it may not let anything through
		failures    int       // of attempts of its own time, since it closed
		probesWell  int
		retryAfters = []time.Duration{0, 0, 0, time.Second, 7 * time.Second, 40 * time.Second}
	)
	moved := func(to BreakerState) {
		state, failures, probesWell = to, 0, 0
	}
	for range ops {
		if random.IntN(3) == 0 {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(time.Second)))
		}
		if random.IntN(100) == 0 {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(20*time.Second)))
		}
		if len(under) == 0 || len(under) < 30 && random.IntN(2) == 0 {
			if b.calm() {
				assert.Equal(t, BreakerClosed, state)
				under = append(under, running{at: time.Now()})
				continue
			}
			a := b.enter()
			if a.changed {
				assert.Equal(t, BreakerOpen, state)
				moved(BreakerHalfOpen)
			}
			assert.Equal(t, state != BreakerClosed, a.probe || !a.ok, "all are let through while it is closed, else probes alone")
			assert.Equal(t, a.ok, a.wait == 0)
			if a.ok && !assert.False(t, time.Now().Before(notBefore), "too early") {
				return
			}
			if a.ok {
				under = append(under, running{a, time.Now()})
			}
			probes := 0
			for _, r := range under {
				if r.probe && time.Since(r.at) < defaultBreakerMaxOpen {
					probes++
				}
			}
			if !assert.LessOrEqual(t, probes, c.HalfOpenProbes, "probes under way") {
				return
			}
		} else {
			i := random.IntN(len(under))
			r := under[i]
			under = append(under[:i], under[i+1:]...)
			h, retryAfter := well, time.Duration(0)
			if random.Float64() < sick {
				h = []health{failing, failing, lost, lost, throttled, unsaid}[random.IntN(6)]
				if h != unsaid {
					retryAfter = retryAfters[random.IntN(len(retryAfters))]
				}
			}
			own := r.epoch == b.epoch()
			if state == BreakerClosed && (h == failing || h == lost) {
				failures++
			}
			if own && r.probe && h == well {
				probesWell++
			}
			changed, to := b.leave(r.admission, h, retryAfter, errDown)
			assert.Equal(t, changed, to != state)
			if !changed {
				if state == BreakerOpen && retryAfter > 0 {
					notBefore = later(notBefore, time.Now().Add(retryAfter))
				}
			} else if to == BreakerOpen {
				assert.Contains(t, []health{failing, lost, throttled}, h)
				if state == BreakerHalfOpen {
					assert.True(t, own && r.probe, "an attempt of another time has opened it")
				} else {
					assert.NotEqual(t, throttled, h)
					assert.GreaterOrEqual(t, failures, c.MinFailures)
				}
				notBefore = time.Now().Add(max(defaultBreakerOpenTime, retryAfter))
			} else {
				assert.Equal(t, BreakerClosed, to)
				assert.True(t, own && r.probe && h == well, "only a probe of its own time closes it")
				assert.GreaterOrEqual(t, probesWell, c.HalfOpenProbes)
				notBefore = time.Time{}
			}
			if changed {
				moved(to)
			}
		}
		assert.Equal(t, state, b.State())
		assert.Equal(t, state != BreakerClosed, b.lastError() != nil)
		if t.Failed() {
			return
		}
	}
	for _, r := range under {
		b.leave(r.admission, unsaid, 0, nil)
	}
	if a := b.enter(); !a.ok {
		assert.LessOrEqual(t, a.wait, 60*time.Second)
		time.Sleep(a.wait)
		assert.True(t, b.enter().ok, "it lets nothing through any more")
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Whoever comes at the same time: the places of the probes hold, and the changes that
// are told are those that happened, one after the other.
func TestBreakerOfAThousandGoroutines(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			b := NewBreaker(BreakerConfig{HalfOpenProbes: 2})
			var probes, most, opened, halfOpened, closed atomic.Int64
			var down atomic.Bool
			var wg sync.WaitGroup
			for i := range uint64(1000) {
				random := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 100 {
						time.Sleep(time.Duration(random.ExpFloat64() * float64(5*time.Second)))
						var a admission
						if !b.calm() {
							a = b.enter()
							if a.changed {
								halfOpened.Add(1)
							}
							if !a.ok {
								continue
							}
						}
						if a.probe {
							for n := probes.Add(1); ; {
								if was := most.Load(); n <= was || most.CompareAndSwap(was, n) {
									break
								}
							}
						}
						time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
						h := well
						if down.Load() {
							h = []health{failing, lost, throttled, unsaid}[random.IntN(4)]
						}
						if a.probe {
							probes.Add(-1)
						}
						if changed, to := b.leave(a, h, 0, errDown); changed && to == BreakerOpen {
							opened.Add(1)
						} else if changed {
							closed.Add(1)
						}
					}
				})
			}
			for range 10 {
				time.Sleep(20 * time.Second)
				down.Store(true)
				time.Sleep(20 * time.Second)
				down.Store(false)
			}
			wg.Wait()
			assert.GreaterOrEqual(t, closed.Load(), int64(5), "the outages were noticed, and their ends")
			assert.LessOrEqual(t, most.Load(), int64(2), "probes at a time")
			stillOpen := int64(0)
			if b.State() == BreakerOpen {
				stillOpen = 1
			}
			assert.Equal(t, halfOpened.Load()+stillOpen, opened.Load(), "each opening but the last has ended")
			assert.LessOrEqual(t, closed.Load(), halfOpened.Load())
		})
	}
}

// How likely a fault that hits 30 % of all attempts at random opens a Breaker with the
// defaults: by one attempt, at the worst number of attempts in the window, about one
// in two hundred million. At a hundred attempts a second it is nothing at all.
func TestBreakerOpensByChanceAlmostNever(t *testing.T) {
	const fault, failures, ratio = 0.3, defaultBreakerFailures, defaultBreakerRatio
	// tail is the likelihood of k failures or more among n attempts.
	tail := func(n, k int) (sum float64) {
		for i := k; i <= n; i++ {
			choose, _ := math.Lgamma(float64(n + 1))
			a, _ := math.Lgamma(float64(i + 1))
			b, _ := math.Lgamma(float64(n - i + 1))
			sum += math.Exp(choose - a - b + float64(i)*math.Log(fault) + float64(n-i)*math.Log(1-fault))
		}
		return sum
	}
	worst, worstN := 0.0, 0
	for n := failures; n <= 2000; n++ {
		if p := tail(n, max(failures, int(math.Ceil(ratio*float64(n))))); p > worst {
			worst, worstN = p, n
		}
	}
	inARow := math.Pow(fault, failures)
	assert.Equal(t, 22, worstN, "two attempts a second")
	assert.Less(t, worst+inARow, 1.0/200e6)
	assert.Less(t, tail(1000, 900), 1e-100)
}
