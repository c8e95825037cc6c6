package k8sretry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// concurrencyLimit is a server that processes a number of requests at a time, each for a while, and refuses
// all others at once, as API Priority and Fairness does without a queue.
type concurrencyLimit struct {
	free    atomic.Int64
	takes   time.Duration
	refused atomic.Int64
}

func (s *concurrencyLimit) serve(context.Context) error {
	if s.free.Add(-1) < 0 {
		s.free.Add(1)
		testkit.Sleep(5 * time.Millisecond)
		s.refused.Add(1)
		return apierrors.NewTooManyRequests("too many", 1)
	}
	testkit.Sleep(5*time.Millisecond + s.takes)
	s.free.Add(1)
	return nil
}

// A process that knows nothing of the server sends everything at once. Refused calls then wait, without
// leaving the server idle.
func TestLimiterUsesAConcurrencyLimit(t *testing.T) {
	for _, n := range []int64{1, 3, 20} {
		t.Run(strconv.FormatInt(n, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const calls = 200
				s := &concurrencyLimit{takes: 60 * time.Millisecond}
				s.free.Store(n)
				policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
				begin := time.Now()
				var wg sync.WaitGroup
				for range calls {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
						defer cancel()
						assert.NoError(t, k8sretry.Run(ctx, s.serve, policy))
					})
				}
				wg.Wait()
				took, alone := time.Since(begin), calls*65*time.Millisecond/time.Duration(n)
				t.Logf("%v, %d refused", took, s.refused.Load())
				assert.Less(t, took, 5*time.Second+2*alone, "the server is idle")
				assert.Less(t, s.refused.Load(), int64(calls+30), "few calls are refused more than once")
			})
		})
	}
}

// rateLimit is a server that processes a number of requests per second, with bursts of half of that, and
// refuses all others.
type rateLimit struct {
	mu       sync.Mutex
	rate     float64
	stored   float64
	at       time.Time
	attempts int
}

func (s *rateLimit) serve(context.Context) error {
	s.mu.Lock()
	now := time.Now()
	s.stored = min(s.stored+s.rate*now.Sub(s.at).Seconds(), s.rate/2)
	s.at = now
	s.attempts++
	served := s.stored >= 1
	if served {
		s.stored--
	}
	s.mu.Unlock()
	testkit.Sleep(5 * time.Millisecond)
	if !served {
		return apierrors.NewTooManyRequests("too many", 1)
	}
	return nil
}

// Many processes, each with a call from time to time, together send more than a server accepts. Each has few
// attempts to learn from, and still their calls do not reach their maximum of retries.
func TestLimiterOfManySmallProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const processes, limit = 400, 40
		s := &rateLimit{rate: limit, at: time.Now()}
		policies := make([]*k8sretry.Policy, processes)
		for i := range policies {
			policies[i] = k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
		}
		random := rand.New(rand.NewPCG(1, 5))
		begin := time.Now()
		var wg sync.WaitGroup
		var failed atomic.Int32
		calls := 0
		for since := time.Duration(0); since < 3*time.Minute; since = time.Since(begin) {
			rate := 0.7 * limit
			if since < time.Minute {
				rate *= 2
			}
			testkit.Sleep(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
			policy := policies[random.IntN(processes)]
			calls++
			wg.Go(func() {
				if k8sretry.Run(t.Context(), s.serve, policy) != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		t.Logf("%d calls, %d attempts, %d failed", calls, s.attempts, failed.Load())
		assert.LessOrEqual(t, failed.Load(), int32(2), "hardly any")
		assert.Less(t, float64(s.attempts)/float64(calls), 1.3, "few calls are refused more than once")
	})
}

// outage is a server that for a time answers all requests with 429, except for one in oneIn, or that does so
// for a number of requests, and that is healthy before and after.
type outage struct {
	from, to time.Duration
	oneIn    int
	refusals int

	mu       sync.Mutex
	begin    time.Time
	attempts int
	refused  []time.Time
	served   []time.Time
}

func (s *outage) serve(context.Context) error {
	testkit.Sleep(5 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	since := now.Sub(s.begin)
	s.attempts++
	exempt := s.oneIn > 0 && s.attempts%s.oneIn == 0
	if since >= s.from && (since < s.to && !exempt || len(s.refused) < s.refusals) {
		s.refused = append(s.refused, now)
		return apierrors.NewTooManyRequests("too many", 1)
	}
	s.served = append(s.served, now)
	return nil
}

// end returns when the first request after the outage was served.
func (s *outage) end() time.Time {
	last := s.refused[len(s.refused)-1]
	i := slices.IndexFunc(s.served, last.Before)
	return s.served[i]
}

// result is when a call began, how long it took, and whether it succeeded.
type result struct {
	began time.Time
	took  time.Duration
	ok    bool
}

// callServer calls a server for five minutes: a number of calls, at once or one after the other, then a
// pause.
func callServer(t *testing.T, s *outage, calls int, atOnce bool, pause func() time.Duration, opts ...k8sretry.Option) (results []result) {
	policy := k8sretry.NewPolicy(append(opts, k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))...)
	s.begin = time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	call := func() {
		began := time.Now()
		err := k8sretry.Run(t.Context(), s.serve, policy)
		mu.Lock()
		defer mu.Unlock()
		if len(opts) == 0 {
			assert.NoError(t, err)
		}
		results = append(results, result{began, time.Since(began), err == nil})
	}
	for time.Since(s.begin) < 5*time.Minute {
		testkit.Sleep(pause())
		for range calls {
			if atOnce {
				wg.Go(call)
			} else {
				call()
			}
		}
	}
	wg.Wait()
	return results
}

// While everything is refused, a process of many calls has as few successes as one of few. After the outage
// it is as fast as before, at once, or soon if the outage was so short that an earlier measurement still
// counts.
func TestLimiterOfManyCallsAfterAnOutage(t *testing.T) {
	for _, c := range []struct {
		duration, slowFor time.Duration
		oneIn             int
	}{
		{time.Minute, 3 * time.Second, 0},
		{time.Minute, 3 * time.Second, 20},
		{15 * time.Second, 8 * time.Second, 0},
		{10 * time.Second, 12 * time.Second, 0},
		{5 * time.Second, 12 * time.Second, 0},
	} {
		for _, rate := range []float64{1, 5, 200} {
			t.Run(fmt.Sprint(rate, " calls per second, an outage of ", c.duration, ", accepted is one in ", c.oneIn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(1, 6))
					s := &outage{from: 30 * time.Second, to: 30*time.Second + c.duration, oneIn: c.oneIn}
					results := callServer(t, s, 1, true, func() time.Duration { return time.Duration(random.ExpFloat64() / rate * float64(time.Second)) })
					end, longest := s.end(), time.Duration(0)
					assert.Less(t, end.Sub(s.begin), s.to+maxPause+time.Second)
					for _, o := range results {
						if o.began.Sub(end) > c.slowFor {
							longest = max(longest, o.took)
						}
					}
					t.Logf("served after %v; of the calls made %v later and on none took more than %v", end.Sub(s.begin)-s.to, c.slowFor, longest)
					assert.Less(t, longest, time.Second)
				})
			})
		}
	}
}

// Calls that are not queued for long must not be taken for few calls. After a short outage the earlier
// successes still count: they set the rate of a process of many calls, which grows with time, or expires.
func TestLimiterOfManyCallsWithoutAQueueAfterAnOutage(t *testing.T) {
	for _, c := range []struct{ duration, queueTime, after time.Duration }{
		{time.Minute, 0, 3 * time.Second},
		{time.Minute, time.Second, 3 * time.Second},
		{10 * time.Second, 0, 11 * time.Second},
		{10 * time.Second, time.Second, 19 * time.Second},
	} {
		t.Run(fmt.Sprint("an outage of ", c.duration, ", calls that are queued for ", c.queueTime), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &outage{from: 30 * time.Second, to: 30*time.Second + c.duration}
				results := callServer(t, s, 1, true, func() time.Duration { return time.Second / 20 }, k8sretry.WithMaxQueueTime(c.queueTime))
				end, failed := s.end(), 0
				for _, o := range results {
					if o.began.Sub(end) > c.after && !o.ok {
						failed++
					}
				}
				t.Logf("served after %v; of the calls made %v later and on %d failed", end.Sub(s.begin)-s.to, c.after, failed)
				assert.Zero(t, failed)
			})
		})
	}
}

// maxPause is the longest pause, with its jitter.
const maxPause = 45 * time.Second

// Two or three 429 do not slow down a process of few calls for minutes.
func TestLimiterOfFewCallsAfterAFew429(t *testing.T) {
	for _, c := range []struct {
		situation string
		calls     int
		atOnce    bool
		pause     time.Duration
	}{
		{"one call in 5 s", 1, true, 5 * time.Second},
		{"20 at once, each minute", 20, true, time.Minute},
		{"20 one after the other, each minute", 20, false, time.Minute},
	} {
		for _, refusals := range []int{1, 2, 3} {
			t.Run(fmt.Sprint(c.situation, ", ", refusals), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &outage{from: 100 * time.Second, refusals: refusals}
					results := callServer(t, s, c.calls, c.atOnce, func() time.Duration { return c.pause })
					var longest, waited, until time.Duration
					for _, o := range results {
						longest, waited = max(longest, o.took), waited+o.took-5*time.Millisecond
						if o.took > time.Second {
							until = max(until, o.began.Add(o.took).Sub(s.refused[0]))
						}
					}
					t.Logf("none took more than %v, all together waited %v, the last until %v after the first 429", longest, waited, until)
					assert.Less(t, longest, 35*time.Second)
					assert.Less(t, until, time.Minute)
				})
			})
		}
	}
}

// A tenth of the attempts fails at random, in all ways, while the server is healthy: that must not be taken for
// overload.
func TestLimiterDuringARandomFault(t *testing.T) {
	faults := []error{unavailable(), unavailable(), noConnection(), lostReply(), gatewayTimeout()}
	done := func(opts ...k8sretry.Option) (n int64) {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			var all sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for range 6 {
				all.Go(func() {
					for ctx.Err() == nil {
						err := k8sretry.Run(ctx, func(context.Context) error {
							testkit.Sleep(20 * time.Millisecond)
							if rand.IntN(10) == 0 {
								return faults[rand.IntN(len(faults))]
							}
							return nil
						}, append(opts, k8sretry.ForRead())...)
						if err == nil {
							calls.Add(1)
						}
						testkit.Sleep(100 * time.Millisecond)
					}
				})
			}
			all.Wait()
			n = calls.Load()
		})
		return n
	}
	without, with := done(), done(k8sretry.WithLimiter(k8sretry.NewLimiter()))
	t.Log(without, with)
	assert.Greater(t, with, without*6/10, "three quarters, usually more")
}
