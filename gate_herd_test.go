package k8sretry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// rateLimit is a server that serves so many requests a second, with bursts of half of that,
// and refuses all others.
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
	time.Sleep(5 * time.Millisecond)
	if !served {
		return apierrors.NewTooManyRequests("too many", 1)
	}
	return nil
}

// Many processes with a call now and then, which know nothing of each other, together ask
// for more than a server gives. Each has few attempts to learn from, and still their calls
// do not run out of them.
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
			time.Sleep(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
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
		assert.LessOrEqual(t, failed.Load(), int32(2), "hardly ever one")
		assert.Less(t, float64(s.attempts)/float64(calls), 1.3, "refusals are not asked for again and again")
	})
}

// trouble is a server that answers 429 to everybody for a time, but for one attempt in so
// many, or to so many attempts, and is well before and after.
type trouble struct {
	from, to time.Duration
	oneIn    int
	refusals int

	mu       sync.Mutex
	begin    time.Time
	attempts int
	refused  []time.Time
	served   []time.Time
}

func (s *trouble) serve(context.Context) error {
	time.Sleep(5 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	since := now.Sub(s.begin)
	s.attempts++
	lucky := s.oneIn > 0 && s.attempts%s.oneIn == 0
	if since >= s.from && (since < s.to && !lucky || len(s.refused) < s.refusals) {
		s.refused = append(s.refused, now)
		return apierrors.NewTooManyRequests("too many", 1)
	}
	s.served = append(s.served, now)
	return nil
}

// back is when the first attempt after the trouble was served.
func (s *trouble) back() time.Time {
	last := s.refused[len(s.refused)-1]
	i := slices.IndexFunc(s.served, last.Before)
	return s.served[i]
}

// outcome is when a call began, how long it took, and whether it succeeded.
type outcome struct {
	began time.Time
	took  time.Duration
	well  bool
}

// callers lets a process call a server for five minutes: so many calls at once or one
// after the other, then a pause.
func callers(t *testing.T, s *trouble, calls int, atOnce bool, pause func() time.Duration, opts ...k8sretry.Option) (outcomes []outcome) {
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
		outcomes = append(outcomes, outcome{began, time.Since(began), err == nil})
	}
	for time.Since(s.begin) < 5*time.Minute {
		time.Sleep(pause())
		for range calls {
			if atOnce {
				wg.Go(call)
			} else {
				call()
			}
		}
	}
	wg.Wait()
	return outcomes
}

// A process of many calls has as few successes as one of few while everything is refused.
// Once the server is well it is as fast as before, at once; or soon, if the outage was so
// short that what it had measured still counts.
func TestLimiterOfManyCallsAfterAnOutage(t *testing.T) {
	for _, outage := range []struct {
		takes, slowFor time.Duration
		oneIn          int
	}{
		{time.Minute, 3 * time.Second, 0},
		{time.Minute, 3 * time.Second, 20},
		{15 * time.Second, 8 * time.Second, 0},
		{10 * time.Second, 12 * time.Second, 0},
		{5 * time.Second, 12 * time.Second, 0},
	} {
		for _, rate := range []float64{1, 5, 200} {
			t.Run(fmt.Sprint(rate, " calls a second, an outage of ", outage.takes, ", served is one in ", outage.oneIn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(1, 6))
					s := &trouble{from: 30 * time.Second, to: 30*time.Second + outage.takes, oneIn: outage.oneIn}
					outcomes := callers(t, s, 1, true, func() time.Duration { return time.Duration(random.ExpFloat64() / rate * float64(time.Second)) })
					back, longest := s.back(), time.Duration(0)
					assert.Less(t, back.Sub(s.begin), s.to+maxRest+time.Second)
					for _, o := range outcomes {
						if o.began.Sub(back) > outage.slowFor {
							longest = max(longest, o.took)
						}
					}
					t.Logf("back after %v; of the calls made %v later and on none took more than %v", back.Sub(s.begin)-s.to, outage.slowFor, longest)
					assert.Less(t, longest, time.Second)
				})
			})
		}
	}
}

// Who fails fast has nobody in line, and is no process of few calls for that. After a short
// outage its successes still count: they set the pace of a process of many calls, which
// grows by the second, or is forgotten.
func TestLimiterOfManyImpatientCallsAfterAnOutage(t *testing.T) {
	for _, c := range []struct{ outage, patience, after time.Duration }{
		{time.Minute, 0, 3 * time.Second},
		{time.Minute, time.Second, 3 * time.Second},
		{10 * time.Second, 0, 11 * time.Second},
		{10 * time.Second, time.Second, 19 * time.Second},
	} {
		t.Run(fmt.Sprint("an outage of ", c.outage, ", calls that wait ", c.patience), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &trouble{from: 30 * time.Second, to: 30*time.Second + c.outage}
				outcomes := callers(t, s, 1, true, func() time.Duration { return time.Second / 20 }, k8sretry.WithMaxQueueTime(c.patience))
				back, failed := s.back(), 0
				for _, o := range outcomes {
					if o.began.Sub(back) > c.after && !o.well {
						failed++
					}
				}
				t.Logf("back after %v; of the calls made %v later and on %d failed", back.Sub(s.begin)-s.to, c.after, failed)
				assert.Zero(t, failed)
			})
		})
	}
}

// maxRest is the longest rest, spread as far as it may be.
const maxRest = 45 * time.Second

// Two or three 429 to a process of few calls are no reason for it to crawl for minutes.
func TestLimiterOfFewCallsAfterABlip(t *testing.T) {
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
					s := &trouble{from: 100 * time.Second, refusals: refusals}
					outcomes := callers(t, s, c.calls, c.atOnce, func() time.Duration { return c.pause })
					var longest, waited, until time.Duration
					for _, o := range outcomes {
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
