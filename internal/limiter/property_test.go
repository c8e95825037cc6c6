package limiter

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// world is a Limiter with queued calls and attempts in flight, changed by single operations. After
// each, once all goroutines are blocked, the invariants are checked.
type world struct {
	t        *testing.T
	l        *Limiter
	inFlight []Ticket
	next     int // number of the next call
	queued   []*queuedCall
	limit    float64 // after the previous operation; 0 if there was none
	entered  chan entry

	settled time.Time

	// What has happened, for the coverage of the scripts.
	low, lower, urgent bool // the rate of a process of few successes
	drained, opened    time.Duration
}

type queuedCall struct {
	number int
	until  time.Time
	cancel context.CancelFunc
}

// entry is what Enter has returned to a call.
type entry struct {
	number int
	ticket Ticket
	ok     bool
}

// call enters the Limiter.
func (w *world) call(timeout time.Duration) {
	ctx, cancel := context.WithCancel(w.t.Context())
	c := &queuedCall{w.next, time.Now().Add(timeout), cancel}
	w.next++
	w.queued = append(w.queued, c)
	go func() {
		ticket, queued, ok := w.l.enter(ctx, timeout)
		if queued > max(0, timeout) {
			w.t.Errorf("queued for %v, with a timeout of %v", queued, timeout)
		}
		w.entered <- entry{c.number, ticket, ok}
	}()
}

// settle lets all calls start that may, and checks the invariants. It returns how many attempts
// have started.
func (w *world) settle() (started int) {
	started, late := w.check()
	for late {
		testkit.Sleep(tick)
		var more int
		more, late = w.check()
		require.Positive(w.t, more, "the head of the queue may start, and sleeps")
		started += more
	}
	return started
}

// check does that at this moment. late tells that the head of the queue may start and has not
// noticed: cap and rate grow while it sleeps. The next tick wakes it.
func (w *world) check() (started int, late bool) {
	limit := w.limit
	synctest.Wait()
	first := -1
	for len(w.entered) > 0 {
		e := <-w.entered
		for i, c := range w.queued {
			if c.number == e.number {
				c.cancel()
				w.queued = append(w.queued[:i], w.queued[i+1:]...)
				break
			}
		}
		if e.ok {
			first = max(first, e.number)
			started++
			w.inFlight = append(w.inFlight, e.ticket)
		}
	}
	now := time.Now()
	for _, c := range w.queued {
		require.Greater(w.t, c.number, first, "first in, first out")
		require.False(w.t, now.After(c.until), "no call is queued for longer than its timeout")
	}
	l := w.l
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Equal(w.t, len(w.inFlight), l.inFlight(), "in flight")
	require.Equal(w.t, len(w.queued), l.queue.len, "queued")
	limited := l.mode.Load() == limiting
	if w.limit = l.control.limit; limited && started > 0 && limit > 0 {
		// One more than the limit may start where none has for long.
		room := max(0, max(limit, w.limit)-float64(len(w.inFlight)-started))
		require.LessOrEqual(w.t, float64(started), room+1+float64(now.Sub(w.settled)/stuck))
	}
	w.settled = now
	if !limited {
		w.limit = 0
	}
	require.True(w.t, limited || l.queue.len == 0, "calls are queued although there is no limit")
	if l.queue.len > 0 {
		late = l.control.wait(l, now) == 0
		require.True(w.t, !late || l.control.rate > 0 || l.control.inFlightCap > 0, "the head of the queue may start, and sleeps")
		require.True(w.t, l.ticking)
	}
	if limited && l.control.lowVolume && l.control.rate > 0 {
		w.low = true
		w.lower = w.lower || l.control.rate < firstRate
		w.urgent = w.urgent || l.queue.len > 0 && l.control.effectiveRate(l, now) > 2*l.control.rate
	}
	require.GreaterOrEqual(w.t, max(l.control.limit, 1), 1.0)
	require.False(w.t, math.IsNaN(l.control.limit) || math.IsNaN(l.control.rate) || math.IsInf(l.control.rate, 0))
	return started, late
}

// end ends one of the attempts in flight.
func (w *world) end(i int, h health.Health, key uint32, timeout, retryAfter time.Duration) {
	ticket := w.inFlight[i]
	w.inFlight = append(w.inFlight[:i], w.inFlight[i+1:]...)
	w.l.leave(ticket, h, key, timeout, retryAfter)
}

// step makes one operation, encoded in four numbers.
func (w *world) step(op, a, b, c byte) {
	switch {
	case op < 100:
		w.call([]time.Duration{0, time.Millisecond, time.Second, time.Minute, time.Hour, math.MaxInt64, -1}[a%7])
	case op < 200 && len(w.inFlight) > 0:
		key := []uint32{0, getPods, listPods}[b%3]
		timeout := []time.Duration{0, time.Second, 10 * time.Second, math.MaxInt64}[b>>2%4]
		retryAfter := []time.Duration{0, 0, time.Second, 5 * time.Second, time.Hour, math.MaxInt64}[c%6]
		w.end(int(c)%len(w.inFlight), health.Health(a)%(health.Throttled+1), key, timeout, retryAfter)
	case op < 215 && len(w.queued) > 0:
		w.queued[int(a)%len(w.queued)].cancel()
	default:
		testkit.Sleep(time.Duration(a) * []time.Duration{time.Microsecond, time.Millisecond, 50 * time.Millisecond, time.Second}[b%4])
	}
	w.settle()
}

// drain ends all attempts with success: then all queued calls start soon after the pause.
func (w *world) drain() {
	began, pause := time.Now(), w.l.State().Pause
	for len(w.inFlight)+len(w.queued) > 0 {
		for len(w.inFlight) > 0 {
			w.end(0, health.Healthy, 0, 0, 0)
		}
		testkit.Sleep(tick)
		w.settle()
		w.drained = max(w.drained, time.Since(began)-pause)
		require.LessOrEqual(w.t, time.Since(began)-pause, stuck, "all calls start")
	}
}

// longestInterval is how long the lowest rate makes an attempt wait, without urgency.
const longestInterval = time.Duration(float64(time.Second) / lowestRate)

// finish ends all attempts and calls, and then the server is healthy.
func (w *world) finish() {
	for _, c := range w.queued {
		c.cancel()
	}
	w.settle()
	require.Empty(w.t, w.queued, "canceled calls leave the queue")
	for len(w.inFlight) > 0 {
		w.end(0, health.Unknown, 0, 0, 0)
	}
	w.settle()
	began, pause := time.Now(), w.l.State().Pause
	for w.l.State().Limited {
		require.Less(w.t, time.Since(began)-pause, expireAfter+longestInterval, "the limits are removed")
		ticket, _, ok := w.l.enter(w.t.Context(), time.Hour)
		require.True(w.t, ok)
		testkit.Sleep(time.Second)
		w.l.leave(ticket, health.Healthy, 0, 0, 0)
		w.opened = max(w.opened, time.Since(began)-pause)
	}
	require.Equal(w.t, State{}, w.l.State())
	require.Nil(w.t, w.l.queue.head)
	require.Nil(w.t, w.l.queue.tail)
	testkit.Sleep(3 * tick)
	synctest.Wait()
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	require.False(w.t, w.l.ticking)
}

// play runs a script of operations.
func play(t *testing.T, script []byte) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = &world{t: t, l: New(), entered: make(chan entry, len(script)+1)}
		for s := script; len(s) >= 4; s = s[4:] {
			w.step(s[0], s[1], s[2], s[3])
		}
		if len(script)%2 == 0 {
			w.drain()
		}
		w.finish()
	})
	return w
}

// For any sequence of operations: no call waits although it may start, or for longer than its
// timeout; the queue is first in, first out; the limits hold; nothing leaks; all calls start once
// the server is healthy, and the limits are removed.
func TestProperties(t *testing.T) {
	var low, lower, urgent int
	var drained, opened time.Duration
	count := func(n *int, happened bool) {
		if happened {
			*n++
		}
	}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 4*(50+random.IntN(150))+random.IntN(2))
		kind := random.IntN(3)
		for i := range script {
			script[i] = byte(random.Uint32())
			if i%4 != 1 || random.IntN(4) == 0 {
				continue
			}
			switch kind {
			case 1: // mostly successes
				script[i] = byte(health.Healthy)
			case 2: // mostly a rate limit
				script[i] = []byte{byte(health.Healthy), byte(health.Throttled), byte(health.Throttled)}[random.IntN(3)]
			}
		}
		w := play(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		count(&low, w.low)
		count(&lower, w.lower)
		count(&urgent, w.urgent)
		drained, opened = max(drained, w.drained), max(opened, w.opened)
	}
	t.Logf("%d with a low rate, %d with a lower one, %d with urgency; drained within %v, open within %v", low, lower, urgent, drained, opened)
	require.Greater(t, min(low, lower, urgent), 3, "the scripts reach the rates of processes of few successes")
}

func FuzzLimiter(f *testing.F) {
	f.Add([]byte{0, 4, 0, 0, 100, 3, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 200, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 4*300 {
			play(t, script)
		}
	})
}

// While the server is down, a process sends what was in flight, as much again at most, and then one
// attempt per pause, whatever its calls do.
func TestServerIsDown(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			w := &world{t: t, l: New(), entered: make(chan entry, 10000)}
			for range 1 + random.IntN(200) {
				w.call(time.Hour)
			}
			w.settle()
			inFlight, sent := len(w.inFlight), 0
			took := time.Duration(random.IntN(10000)) * time.Millisecond
			testkit.Sleep(took)
			w.end(0, health.Unreachable, 0, 0, 0)
			began := time.Now()
			sent += w.settle()
			for time.Since(began) < 10*time.Minute {
				switch n := random.IntN(10); {
				case n < 5 && len(w.queued) < 300:
					w.call(time.Duration(random.IntN(60)) * time.Second)
				case n < 8 && len(w.inFlight) > 0:
					w.end(random.IntN(len(w.inFlight)), []health.Health{health.Unreachable, health.Failing}[random.IntN(2)], 0, 0, 0)
				default:
					testkit.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
				}
				sent += w.settle()
				pauses := 5 + time.Since(began)/(maxPause/2) // the first ones are shorter
				require.LessOrEqual(t, sent, inFlight+1+int(pauses), "seed %d, %v after the first sign", seed, time.Since(began))
			}
			w.finish()
		})
	}
}
