package k8sretry

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a Limiter with calls in line and attempts under way, moved by single operations.
// After each, everybody stands still, and what must hold is looked at.
type world struct {
	t     *testing.T
	g     *Limiter
	under []ticket // way
	next  int      // number of the next call
	line  []*inLine
	limit float64 // after the operation before; 0 if there was none
	came  chan arrival

	settled time.Time

	// What has been met on the way.
	slow, slower, urgent bool // the pace of a process of few successes
	drained, opened      time.Duration
}

type inLine struct {
	number int
	until  time.Time
	cancel context.CancelFunc
}

type arrival struct {
	number int
	ticket ticket
	ok     bool
}

// call comes to the Limiter.
func (w *world) call(patience time.Duration) {
	ctx, cancel := context.WithCancel(w.t.Context())
	c := &inLine{w.next, time.Now().Add(patience), cancel}
	w.next++
	w.line = append(w.line, c)
	go func() {
		ticket, held, ok := w.g.enter(ctx, patience)
		if held > max(0, patience) {
			w.t.Errorf("held for %v, with a patience of %v", held, patience)
		}
		w.came <- arrival{c.number, ticket, ok}
	}()
}

// settle lets everybody go who can, and looks at what must hold. It returns how many
// attempts have started.
func (w *world) settle() (started int) {
	started, late := w.look()
	for late {
		time.Sleep(tick)
		var more int
		more, late = w.look()
		require.Positive(w.t, more, "the first could go, and sleeps")
		started += more
	}
	return started
}

// look does that for this moment. late tells that the first in line could go, and has not
// noticed: seats and a pace grow while one sleeps. The next tick wakes him.
func (w *world) look() (started int, late bool) {
	limit := w.limit
	synctest.Wait()
	first := -1
	for len(w.came) > 0 {
		a := <-w.came
		for i, c := range w.line {
			if c.number == a.number {
				c.cancel()
				w.line = append(w.line[:i], w.line[i+1:]...)
				break
			}
		}
		if a.ok {
			first = max(first, a.number)
			started++
			w.under = append(w.under, a.ticket)
		}
	}
	now := time.Now()
	for _, c := range w.line {
		require.Greater(w.t, c.number, first, "first come, first served")
		require.False(w.t, now.After(c.until), "nobody waits longer than it would")
	}
	g := w.g
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Equal(w.t, len(w.under), g.inFlight(), "in flight")
	require.Equal(w.t, len(w.line), g.line.waiting, "waiting")
	limited := g.mode.Load() == gateLimited
	if w.limit = g.law.limit; limited && started > 0 && limit > 0 {
		// Beyond it goes one where nobody has for long.
		room := max(0, max(limit, w.limit)-float64(len(w.under)-started))
		require.LessOrEqual(w.t, float64(started), room+1+float64(now.Sub(w.settled)/stuck))
	}
	w.settled = now
	if !limited {
		w.limit = 0
	}
	require.True(w.t, limited || g.line.waiting == 0, "who waits although there is no limit?")
	if g.line.waiting > 0 {
		late = g.law.wait(g, now) == 0
		require.True(w.t, !late || g.law.pace > 0 || g.law.seats > 0, "the first could go, and sleeps")
		require.True(w.t, g.ticking)
	}
	if limited && g.law.slowly && g.law.pace > 0 {
		w.slow = true
		w.slower = w.slower || g.law.pace < firstPace
		w.urgent = w.urgent || g.line.waiting > 0 && g.law.urgentPace(g, now) > 2*g.law.pace
	}
	require.GreaterOrEqual(w.t, max(g.law.limit, 1), 1.0)
	require.False(w.t, math.IsNaN(g.law.limit) || math.IsNaN(g.law.pace) || math.IsInf(g.law.pace, 0))
	return started, late
}

// end ends one of the attempts under way.
func (w *world) end(i int, h health, key uint32, timeout, retryAfter time.Duration) {
	ticket := w.under[i]
	w.under = append(w.under[:i], w.under[i+1:]...)
	w.g.leave(ticket, h, key, timeout, retryAfter)
}

// step makes one operation of four numbers.
func (w *world) step(op, a, b, c byte) {
	switch {
	case op < 100:
		w.call([]time.Duration{0, time.Millisecond, time.Second, time.Minute, time.Hour, math.MaxInt64, -1}[a%7])
	case op < 200 && len(w.under) > 0:
		key := []uint32{0, keyOf("get pods"), keyOf("list pods")}[b%3]
		timeout := []time.Duration{0, time.Second, 10 * time.Second, math.MaxInt64}[b>>2%4]
		retryAfter := []time.Duration{0, 0, time.Second, 5 * time.Second, time.Hour, math.MaxInt64}[c%6]
		w.end(int(c)%len(w.under), health(a)%(throttled+1), key, timeout, retryAfter)
	case op < 215 && len(w.line) > 0:
		w.line[int(a)%len(w.line)].cancel()
	default:
		time.Sleep(time.Duration(a) * []time.Duration{time.Microsecond, time.Millisecond, 50 * time.Millisecond, time.Second}[b%4])
	}
	w.settle()
}

// drain ends all attempts well: then whoever waits goes soon, after the rest there may be.
func (w *world) drain() {
	began, rest := time.Now(), w.g.State().Rest
	for len(w.under)+len(w.line) > 0 {
		for len(w.under) > 0 {
			w.end(0, well, 0, 0, 0)
		}
		time.Sleep(tick)
		w.settle()
		w.drained = max(w.drained, time.Since(began)-rest)
		require.LessOrEqual(w.t, time.Since(began)-rest, stuck, "everybody goes")
	}
}

// slowestStart is how long the slowest pace lets an attempt wait, if nothing hurries it.
const slowestStart = time.Duration(float64(time.Second) / slowestPace)

// finish ends all attempts and calls, and then the server is well.
func (w *world) finish() {
	for _, c := range w.line {
		c.cancel()
	}
	w.settle()
	require.Empty(w.t, w.line, "whoever leaves is gone")
	for len(w.under) > 0 {
		w.end(0, unsaid, 0, 0, 0)
	}
	w.settle()
	began, rest := time.Now(), w.g.State().Rest
	for w.g.State().Limited {
		require.Less(w.t, time.Since(began)-rest, surelyForgot+slowestStart, "the gate opens again")
		ticket, _, ok := w.g.enter(w.t.Context(), time.Hour)
		require.True(w.t, ok)
		time.Sleep(time.Second)
		w.g.leave(ticket, well, 0, 0, 0)
		w.opened = max(w.opened, time.Since(began)-rest)
	}
	require.Equal(w.t, LimiterState{}, w.g.State())
	require.Nil(w.t, w.g.line.first)
	require.Nil(w.t, w.g.line.last)
	time.Sleep(3 * tick)
	synctest.Wait()
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	require.False(w.t, w.g.ticking)
}

func play(t *testing.T, script []byte) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = &world{t: t, g: NewLimiter(), came: make(chan arrival, len(script)+1)}
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

// Whatever happens in whatever order: nobody waits who could go, or longer than it would,
// nobody overtakes, what is limited is limited, nothing leaks, everybody goes once the
// server is well, and the gate opens again.
func TestLimiterProperties(t *testing.T) {
	var slow, slower, urgent int
	var drained, opened time.Duration
	count := func(n *int, met bool) {
		if met {
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
				script[i] = byte(well)
			case 2: // mostly a rate limit
				script[i] = []byte{byte(well), byte(throttled), byte(throttled)}[random.IntN(3)]
			}
		}
		w := play(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		count(&slow, w.slow)
		count(&slower, w.slower)
		count(&urgent, w.urgent)
		drained, opened = max(drained, w.drained), max(opened, w.opened)
	}
	t.Logf("%d with a slow pace, %d with a slower one, %d in a hurry; drained within %v, open within %v", slow, slower, urgent, drained, opened)
	require.Greater(t, min(slow, slower, urgent), 3, "the scripts reach the paces of processes of few successes")
}

func FuzzLimiter(f *testing.F) {
	f.Add([]byte{0, 4, 0, 0, 100, 3, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 200, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 4*300 {
			play(t, script)
		}
	})
}

// While the server is dead, a process sends what was under way, as much again at most,
// and then one attempt in each rest, whatever its calls do.
func TestLimiterBeforeADeadServer(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			w := &world{t: t, g: NewLimiter(), came: make(chan arrival, 10000)}
			for range 1 + random.IntN(200) {
				w.call(time.Hour)
			}
			w.settle()
			under, sent := len(w.under), 0
			took := time.Duration(random.IntN(10000)) * time.Millisecond
			time.Sleep(took)
			w.end(0, lost, 0, 0, 0)
			began := time.Now()
			sent += w.settle()
			for time.Since(began) < 10*time.Minute {
				switch n := random.IntN(10); {
				case n < 5 && len(w.line) < 300:
					w.call(time.Duration(random.IntN(60)) * time.Second)
				case n < 8 && len(w.under) > 0:
					w.end(random.IntN(len(w.under)), []health{lost, failing}[random.IntN(2)], 0, 0, 0)
				default:
					time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
				}
				sent += w.settle()
				rests := 5 + time.Since(began)/(maxRest/2) // the first are shorter
				require.LessOrEqual(t, sent, under+1+int(rests), "seed %d, %v after the first sign", seed, time.Since(began))
			}
			w.finish()
		})
	}
}
