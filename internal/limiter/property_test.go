// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"context"
	"errors"
	"fmt"
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
	entered  chan entry

	room    map[*scope]float64 // for attempts, before the operation
	settled time.Time

	// What has happened, for the coverage of the scripts.
	began Scopes
	gap   bool
	rode  bool
}

type queuedCall struct {
	number int
	kind   uint64
	until  time.Time
	cancel context.CancelFunc
}

// entry is what Enter has returned to a call.
type entry struct {
	number int
	ticket Ticket
	ok     bool
}

// call enters the Limiter, within an attempt if outer is not nil.
func (w *world) call(kind uint64, timeout time.Duration, outer *Place) {
	ctx, cancel := context.WithCancel(w.t.Context())
	c := &queuedCall{w.next, kind, time.Now().Add(timeout), cancel}
	w.next++
	w.queued = append(w.queued, c)
	if outer != nil {
		ctx = WithPlace(ctx, outer)
	}
	go func() {
		ticket, queued, ok := w.l.enter(ctx, kind, timeout)
		if queued > max(0, timeout) {
			w.t.Errorf("queued for %v, with a timeout of %v", queued, timeout)
		}
		w.entered <- entry{c.number, ticket, ok}
	}()
}

// scopes returns all scopes.
func (w *world) scopes() (all []*scope) {
	all = append(all, &w.l.server.scope)
	for _, v := range w.l.levels {
		all = append(all, &v.scope)
	}
	for _, k := range w.l.kinds {
		all = append(all, &k.scope)
	}
	return all
}

// note remembers the room that there is.
func (w *world) note() {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.room = map[*scope]float64{}
	for _, sc := range w.scopes() {
		if sc.limit > 0 {
			w.room[sc] = max(0, math.Floor(sc.limitNow(w.l.last))-float64(sc.inFlight))
		}
	}
}

// settle lets all calls start that may, and checks the invariants. It returns how many attempts
// have started.
func (w *world) settle() (started int) {
	synctest.Wait()
	first := map[uint64]int{}
	by := map[*scope]int{}
	for len(w.entered) > 0 {
		e := <-w.entered
		for i, c := range w.queued {
			if c.number == e.number {
				c.cancel()
				w.queued = append(w.queued[:i], w.queued[i+1:]...)
				break
			}
		}
		if !e.ok {
			continue
		}
		started++
		w.inFlight = append(w.inFlight, e.ticket)
		if p := e.ticket.place; p != nil && p.outer == nil {
			first[e.ticket.kind.key] = max(first[e.ticket.kind.key], e.number)
			by[&e.ticket.kind.scope]++
		} else if p != nil {
			w.rode = true
		}
	}
	now := time.Now()
	l := w.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range w.queued {
		if n, ok := first[c.kind]; ok {
			require.Greater(w.t, c.number, n, "first in, first out")
		}
		require.False(w.t, now.After(c.until), "no call is queued for longer than its timeout")
	}
	require.Equal(w.t, len(w.inFlight), l.inFlightIn(nil)+l.riders, "in flight")
	require.Equal(w.t, len(w.queued), l.queued(nil), "queued")
	unsettled := 0
	for _, sc := range w.scopes() {
		require.GreaterOrEqual(w.t, sc.inFlight, 0)
		require.False(w.t, math.IsNaN(sc.limit) || math.IsInf(sc.limit, 0) || sc.limit < 0 || sc.gap < 0)
		require.True(w.t, l.settled || (sc.active() || sc.failures > 0) == sc.counted)
		if sc.counted {
			unsettled++
		}
		w.gap = w.gap || sc.gap > 0
	}
	require.Equal(w.t, unsettled, l.unsettled)
	require.Equal(w.t, unsettled > 0, l.mode.Load() == watching)
	for sc, n := range by {
		if room, limited := w.room[sc]; limited && sc.limit > 0 && w.settled == now {
			// One more than the limit may start where none has for long, and a success may have raised it.
			require.LessOrEqual(w.t, n, int(room)+3, "in flight is within the limit")
		}
	}
	w.settled = now
	reading := l.now()
	for _, k := range l.kinds {
		if k.queue.head != nil {
			gap := k.gap > 0 || l.server.gap > 0 || k.level != nil && k.level.gap > 0 // it shrinks; the next tick wakes the head
			require.True(w.t, gap || l.wait(k.queue.head, reading) > 0, "the head of the queue may start, and sleeps")
			require.True(w.t, l.ticking)
		}
	}
	return started
}

// end ends one of the attempts in flight.
func (w *world) end(i int, e End) {
	ticket := w.inFlight[i]
	w.inFlight = append(w.inFlight[:i], w.inFlight[i+1:]...)
	w.began |= w.l.leave(ticket, e).Began
}

var errTest = errors.New("test")

// step makes one operation, encoded in four numbers.
func (w *world) step(op, a, b, c byte) {
	w.note()
	kind := uint64(1 + b%5)
	switch {
	case op < 100:
		var outer *Place
		if len(w.inFlight) > 0 && c%4 == 0 {
			outer = w.inFlight[int(c/4)%len(w.inFlight)].place
		}
		w.call(kind, []time.Duration{0, time.Millisecond, time.Second, time.Minute, time.Hour, math.MaxInt64, -1}[a%7], outer)
	case op < 200 && len(w.inFlight) > 0:
		retryAfter := []time.Duration{0, 0, time.Second, 5 * time.Second, time.Hour, math.MaxInt64}[c%6]
		w.end(int(c)%len(w.inFlight), End{Health: health.Health(a) % (health.Exhausted + 1), RetryAfter: retryAfter, Err: errTest})
	case op < 210:
		w.l.learn(kind, fmt.Sprint("level", a%3))
	case op < 220 && len(w.queued) > 0:
		w.queued[int(a)%len(w.queued)].cancel()
	default:
		testkit.Sleep(time.Duration(a) * []time.Duration{time.Microsecond, time.Millisecond, 50 * time.Millisecond, time.Second}[b%4])
	}
	w.settle()
}

// pause is the longest pause of all scopes.
func (w *world) pause() (longest time.Duration) {
	server, limited := w.l.State()
	longest = server.Pause
	for _, s := range limited {
		longest = max(longest, s.Pause)
	}
	return longest
}

// drain ends all attempts with success: then all queued calls start soon after the pauses.
func (w *world) drain() {
	began, pause := time.Now(), w.pause()
	for len(w.inFlight)+len(w.queued) > 0 {
		for len(w.inFlight) > 0 {
			w.end(0, End{Health: health.Healthy})
		}
		testkit.Sleep(tick)
		w.settle()
		require.LessOrEqual(w.t, time.Since(began)-pause, 4*time.Minute, "all calls start")
	}
}

// finish ends all attempts and calls, and then the server is healthy.
func (w *world) finish() {
	for _, c := range w.queued {
		c.cancel()
	}
	w.settle()
	require.Empty(w.t, w.queued, "canceled calls leave the queue")
	for len(w.inFlight) > 0 {
		w.end(0, End{})
	}
	w.settle()
	began, pause := time.Now(), w.pause()
	for _, limited := w.l.State(); len(limited) > 0; _, limited = w.l.State() {
		require.Less(w.t, time.Since(began)-pause, 3*time.Minute, "the limits are removed")
		for kind := range uint64(5) {
			if ticket, _, ok := w.l.enter(w.t.Context(), kind+1, 0); ok {
				w.l.leave(ticket, End{Health: health.Healthy})
			}
		}
		testkit.Sleep(time.Second)
	}
	testkit.Sleep(3 * tick)
	synctest.Wait()
	w.l.mu.Lock()
	for _, sc := range w.scopes() {
		require.Zero(w.t, sc.inFlight)
	}
	for _, k := range w.l.kinds {
		require.Nil(w.t, k.queue.head)
		require.Nil(w.t, k.queue.tail)
	}
	require.Zero(w.t, w.l.riders)
	require.False(w.t, w.l.ticking)
	w.l.mu.Unlock()
	testkit.Sleep(idleAfter + time.Second)
	synctest.Wait()
	require.Empty(w.t, w.l.kinds, "an idle Limiter forgets")
	require.Equal(w.t, idle, w.l.mode.Load())
}

// play runs a script of operations.
func play(t *testing.T, script []byte) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = &world{t: t, l: New(nil), entered: make(chan entry, len(script)+1)}
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
// timeout; the queue of a kind is first in, first out; the limits hold; nothing leaks; all calls start
// once the server is healthy, and the limits are removed.
func TestProperties(t *testing.T) {
	var began [OfServer + 1]int
	var gaps, rides int
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 4*(50+random.IntN(150))+random.IntN(2))
		mix := random.IntN(4)
		for i := range script {
			script[i] = byte(random.Uint32())
			if i%4 != 1 || random.IntN(4) == 0 {
				continue
			}
			switch mix {
			case 1: // mostly successes
				script[i] = byte(health.Healthy)
			case 2: // mostly a rate limit
				script[i] = []byte{byte(health.Healthy), byte(health.Throttled), byte(health.Throttled)}[random.IntN(3)]
			case 3: // mostly failures
				script[i] = []byte{byte(health.Down), byte(health.Failing), byte(health.Unreachable), byte(health.Exhausted)}[random.IntN(4)]
			}
		}
		w := play(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for s := range began {
			if w.began.Has(Scope(s)) {
				began[s]++
			}
		}
		if w.gap {
			gaps++
		}
		if w.rode {
			rides++
		}
	}
	t.Logf("%d with a limited kind, %d level, %d server, %d with a gap, %d with calls within calls", began[OfKind], began[OfLevel], began[OfServer], gaps, rides)
	require.Greater(t, min(began[OfKind], began[OfLevel], began[OfServer], gaps, rides), 3, "the scripts reach all of the law")
}

func FuzzLimiter(f *testing.F) {
	f.Add([]byte{0, 4, 0, 0, 100, 3, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 200, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 4*300 {
			play(t, script)
		}
	})
}

// A kind of requests that is well is never delayed by others that are not, whatever their faults and
// whenever they are called.
func TestWellKindsNeverWait(t *testing.T) {
	limited := 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			l := New(nil)
			done := make(chan struct{})
			kinds := 2 + random.IntN(8)
			well := 1 + random.IntN(kinds-1)
			for kind := range kinds {
				healthy := kind < well
				// The levels of those that are exhausted have no kind that is well.
				level := ""
				if random.IntN(2) == 0 {
					level = fmt.Sprint(healthy, random.IntN(2))
				}
				random := rand.New(rand.NewPCG(seed, uint64(100+kind)))
				every := time.Duration(1+random.IntN(3000)) * time.Millisecond
				usual := time.Duration(random.IntN(300)) * time.Millisecond
				rate := []float64{0.5, 0.9, 1}[random.IntN(3)]
				failing := []health.Health{health.Failing, health.Unreachable, health.Throttled, health.Exhausted, health.Unknown}
				if level == "" {
					failing = failing[:3] // exhausted is then the trouble of the kind, too
				}
				go func() {
					defer func() { done <- struct{}{} }()
					calls := make(chan struct{})
					n := 0
					for began := time.Now(); time.Since(began) < 3*time.Minute; n++ {
						testkit.Sleep(time.Duration(random.ExpFloat64() * float64(every)))
						e, took := End{Health: health.Healthy}, usual
						if !healthy && random.Float64() < rate {
							e = End{Health: failing[random.IntN(len(failing))], RetryAfter: time.Duration(random.IntN(3)) * time.Second, Err: errTest}
							took = time.Duration(random.IntN(4)) * usual * 10
						}
						go func() {
							defer func() { calls <- struct{}{} }()
							ticket, queued, ok := l.enter(t.Context(), uint64(kind+1), time.Minute)
							if healthy && (queued > 0 || !ok) {
								t.Errorf("seed %d: a call of a kind that is well waits %v", seed, queued)
							}
							if !ok {
								return
							}
							testkit.Sleep(took)
							if level != "" {
								l.learn(uint64(kind+1), level)
							}
							l.leave(ticket, e)
						}()
					}
					for range n {
						<-calls
					}
				}()
			}
			for range kinds {
				<-done
			}
			_, scopes := l.State()
			for _, s := range scopes {
				if s.Scope != OfKind {
					limited++
				}
			}
			testkit.Sleep(idleAfter * 2)
			synctest.Wait()
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d scopes above a kind were limited", limited)
	require.Positive(t, limited, "the trouble of several kinds reaches the scopes above them")
}

// While the server is down, a process sends what was in flight, as much again at most, and then one
// attempt per pause, whatever its calls do.
func TestServerIsDown(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			w := &world{t: t, l: New(nil), entered: make(chan entry, 10000)}
			for range 1 + random.IntN(200) {
				w.call(1, time.Hour, nil)
			}
			w.settle()
			inFlight, sent := len(w.inFlight), 0
			took := time.Duration(random.IntN(10000)) * time.Millisecond
			testkit.Sleep(took)
			w.note()
			w.end(0, End{Health: health.Unreachable})
			began := time.Now()
			sent += w.settle()
			for time.Since(began) < 10*time.Minute {
				w.note()
				switch n := random.IntN(10); {
				case n < 5 && len(w.queued) < 300:
					w.call(1, time.Duration(random.IntN(60))*time.Second, nil)
				case n < 8 && len(w.inFlight) > 0:
					w.end(random.IntN(len(w.inFlight)), End{Health: []health.Health{health.Unreachable, health.Failing}[random.IntN(2)]})
				default:
					testkit.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
				}
				sent += w.settle()
				pauses := 20 + time.Since(began)/(maxPause*6/10) // the first ones are shorter
				require.LessOrEqual(t, sent, inFlight+manyFailures+int(pauses), "seed %d, %v after the first sign", seed, time.Since(began))
			}
			w.finish()
		})
	}
}
