// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// FuzzBreaker checks what must hold for any sequence of attempts; see checkBreaker.
func FuzzBreaker(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed), uint8(seed%4), uint16(600))
	}
	f.Fuzz(func(t *testing.T, seed uint64, failing, probes uint8, ops uint16) {
		synctest.Test(t, func(t *testing.T) {
			config := Config{MinFailures: 1 + int(seed%9), HalfOpenProbes: 1 + int(probes%5)}
			checkBreaker(t, rand.New(rand.NewPCG(seed, 2)), config, 0.5+float64(failing)/511, int(ops%3000))
		})
	})
}

// checkBreaker begins and ends attempts in random order, of which the given share fails, and
// checks after each step:
//
//   - while open, no attempt is admitted before the Wait it returns is over, which is never
//     shorter than the open duration and the last Retry-After;
//   - while half-open, there are never more probes in flight than allowed, except for those
//     that have been in flight for longer than the maximum open duration;
//   - only failing attempts of the current epoch open it, and only the necessary number of
//     probes of the current epoch close it; throttled, canceled and late ones do neither;
//   - each change is reported to one caller;
//   - once the attempts in flight have ended it admits one, after its open duration at the
//     latest.
func checkBreaker(t *testing.T, random *rand.Rand, c Config, failing float64, ops int) {
	type running struct {
		Admission
		at time.Time
	}
	var (
		b           = New(c)
		inFlight    []running
		state       = Closed
		notBefore   time.Time // of the next admission
		failures    int       // since it closed
		probesOK    int
		retryAfters = []time.Duration{0, 0, 0, time.Second, 7 * time.Second, 40 * time.Second}
	)
	changeTo := func(to State) {
		state, failures, probesOK = to, 0, 0
	}
	for range ops {
		if random.IntN(3) == 0 {
			testkit.Sleep(time.Duration(random.ExpFloat64() * float64(time.Second)))
		}
		if random.IntN(100) == 0 {
			testkit.Sleep(time.Duration(random.ExpFloat64() * float64(20*time.Second)))
		}
		if len(inFlight) == 0 || len(inFlight) < 30 && random.IntN(2) == 0 {
			a := b.enter()
			if a.Changed {
				assert.Equal(t, Open, state)
				changeTo(HalfOpen)
			}
			assert.Equal(t, state != Closed, a.Probe || !a.Admitted(), "all are admitted while it is closed, otherwise only probes")
			assert.Equal(t, a.Admitted(), a.Wait == 0)
			if a.Admitted() && !assert.False(t, time.Now().Before(notBefore), "too early") {
				return
			}
			if a.Admitted() {
				inFlight = append(inFlight, running{a, time.Now()})
			}
			probes := 0
			for _, r := range inFlight {
				if r.Probe && time.Since(r.at) < defaultMaxOpen {
					probes++
				}
			}
			if !assert.LessOrEqual(t, probes, c.HalfOpenProbes, "probes in flight") {
				return
			}
		} else {
			i := random.IntN(len(inFlight))
			r := inFlight[i]
			inFlight = append(inFlight[:i], inFlight[i+1:]...)
			h, retryAfter := health.Healthy, time.Duration(0)
			if random.Float64() < failing {
				h = []health.Health{health.Failing, health.Failing, health.Unreachable, health.Unreachable, health.Throttled, health.Unknown}[random.IntN(6)]
				if h != health.Unknown {
					retryAfter = retryAfters[random.IntN(len(retryAfters))]
				}
			}
			current := r.Epoch == b.epoch()
			if state == Closed && (h == health.Failing || h == health.Unreachable) {
				failures++
			}
			if current && r.Probe && h == health.Healthy {
				probesOK++
			}
			changed, to := b.leave(r.Admission, h, retryAfter, errDown)
			assert.Equal(t, changed, to != state)
			if !changed {
				if state == Open && retryAfter > 0 {
					notBefore = later(notBefore, time.Now().Add(retryAfter))
				}
			} else if to == Open {
				assert.Contains(t, []health.Health{health.Failing, health.Unreachable, health.Throttled}, h)
				if state == HalfOpen {
					assert.True(t, current && r.Probe, "an attempt of another epoch has opened it")
				} else {
					assert.NotEqual(t, health.Throttled, h)
					assert.GreaterOrEqual(t, failures, c.MinFailures)
				}
				notBefore = time.Now().Add(max(defaultOpenDuration, retryAfter))
			} else {
				assert.Equal(t, Closed, to)
				assert.True(t, current && r.Probe && h == health.Healthy, "only a probe of the current epoch closes it")
				assert.GreaterOrEqual(t, probesOK, c.HalfOpenProbes)
				notBefore = time.Time{}
			}
			if changed {
				changeTo(to)
			}
		}
		assert.Equal(t, state, b.State())
		assert.Equal(t, state != Closed, b.lastError() != nil)
		if t.Failed() {
			return
		}
	}
	for _, r := range inFlight {
		b.leave(r.Admission, health.Unknown, 0, nil)
	}
	if a := b.enter(); !a.Admitted() {
		assert.LessOrEqual(t, a.Wait, 60*time.Second)
		testkit.Sleep(a.Wait)
		assert.True(t, b.enter().Admitted(), "it admits nothing any more")
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// With concurrent callers there are never too many probes, and the reported changes are those
// that happened.
func TestConcurrentCallers(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			b := New(Config{HalfOpenProbes: 2})
			var probes, most, opened, halfOpened, closed atomic.Int64
			var down atomic.Bool
			var wg sync.WaitGroup
			for i := range uint64(1000) {
				random := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 100 {
						testkit.Sleep(time.Duration(random.ExpFloat64() * float64(5*time.Second)))
						a := b.enter()
						if a.Changed {
							halfOpened.Add(1)
						}
						if !a.Admitted() {
							continue
						}
						if a.Probe {
							for n := probes.Add(1); ; {
								if was := most.Load(); n <= was || most.CompareAndSwap(was, n) {
									break
								}
							}
						}
						testkit.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
						h := health.Healthy
						if down.Load() {
							h = []health.Health{health.Failing, health.Unreachable, health.Throttled, health.Unknown}[random.IntN(4)]
						}
						if a.Probe {
							probes.Add(-1)
						}
						if changed, to := b.leave(a, h, 0, errDown); changed && to == Open {
							opened.Add(1)
						} else if changed {
							closed.Add(1)
						}
					}
				})
			}
			for range 10 {
				testkit.Sleep(20 * time.Second)
				down.Store(true)
				testkit.Sleep(20 * time.Second)
				down.Store(false)
			}
			wg.Wait()
			assert.GreaterOrEqual(t, closed.Load(), int64(5), "outages and their ends were noticed")
			assert.LessOrEqual(t, most.Load(), int64(2), "probes at a time")
			stillOpen := int64(0)
			if b.State() == Open {
				stillOpen = 1
			}
			assert.Equal(t, halfOpened.Load()+stillOpen, opened.Load(), "each open state but the last has ended")
			assert.LessOrEqual(t, closed.Load(), halfOpened.Load())
		})
	}
}

// The probability that one attempt opens a Breaker with the defaults, if a fault hits 30 % of all
// attempts at random: at the worst number of attempts in the window about one in two hundred
// million. At a hundred attempts per second it is negligible.
func TestHardlyEverOpensByChance(t *testing.T) {
	const fault, failures, ratio = 0.3, defaultMinFailures, defaultFailureRatio
	// tail is the probability of k failures or more among n attempts.
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
	assert.Equal(t, 22, worstN, "two attempts per second")
	assert.Less(t, worst+inARow, 1.0/200e6)
	assert.Less(t, tail(1000, 900), 1e-100)
}
