// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// A call within an attempt uses its place, one at a time; others wait, and so do calls outside of it.
func TestCallsWithinAnAttemptUseItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		for range manyFailures {
			ticket, _, ok := l.enter(t.Context(), 1, 0)
			require.True(t, ok)
			l.leave(ticket, End{Health: health.Down, Err: errTest})
		}
		outer, _, ok := l.enter(t.Context(), 1, 0)
		require.True(t, ok)
		_, _, ok = l.enter(t.Context(), 1, 0)
		require.False(t, ok, "one attempt at a time")

		ctx := WithPlace(t.Context(), outer.Place())
		inner, queued, ok := l.enter(ctx, 1, time.Minute)
		require.True(t, ok)
		assert.Zero(t, queued)
		assert.Equal(t, 1, l.server.inFlight, "in flight stays within the limit")
		_, _, ok = l.enter(ctx, 1, time.Second)
		assert.False(t, ok, "one at a time")
		time.AfterFunc(time.Second, func() { l.leave(inner, End{}) })
		next, queued, ok := l.enter(ctx, 1, time.Minute)
		require.True(t, ok)
		assert.Equal(t, time.Second, queued)
		l.leave(next, End{})
		l.leave(outer, End{})
		_, _, ok = l.enter(ctx, 1, 0)
		assert.True(t, ok, "the place of an attempt that has ended is no longer used")
	})
}

var (
	succeeded = End{Health: health.Healthy}
	failure   = End{Health: health.Failing, Err: errors.New("503")}
	paused    = End{Health: health.Throttled, RetryAfter: 2 * time.Second, Err: errors.New("429")}
)

// underWay returns an attempt of a kind that is in flight during a pause.
func underWay(t *testing.T, l *Limiter, kind uint64) Ticket {
	t.Helper()
	first, _, _ := l.enter(t.Context(), kind, time.Hour)
	l.leave(first, failure)
	attempt, _, ok := l.enter(t.Context(), kind, time.Hour)
	require.True(t, ok)
	require.NotNil(t, attempt.Place())
	other, _, _ := l.enter(t.Context(), kind, time.Hour)
	l.leave(other, paused)
	return attempt
}

// The assumption was that a call that uses the place of its attempt is never queued. During a
// pause it is, and its attempt must not have to wait for a call that queued before.
func TestACallWithinAnAttemptDoesNotWaitForTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		attempt := underWay(t, l, 7)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			before, _, ok := l.enter(context.Background(), 7, time.Hour)
			assert.True(t, ok)
			l.leave(before, succeeded)
		}()
		synctest.Wait()
		within, queued, ok := l.enter(WithPlace(t.Context(), attempt.Place()), 7, time.Hour)
		assert.True(t, ok)
		assert.Less(t, queued, 4*time.Second, "the pause")
		l.leave(within, succeeded)
		l.leave(attempt, succeeded)
		<-ended
		testkit.Sleep(5 * time.Minute)
	})
}

func TestACallOfTheKindOfAnOuterAttemptUsesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		outer := underWay(t, l, 7)
		ctx := WithPlace(t.Context(), outer.Place())
		middle, _, ok := l.enter(ctx, 8, time.Hour)
		require.True(t, ok)
		testkit.Sleep(4 * time.Second) // the pause ends
		inner, queued, ok := l.enter(WithPlace(ctx, middle.Place()), 7, time.Hour)
		assert.True(t, ok)
		assert.Zero(t, queued)
		for _, ticket := range []Ticket{inner, middle, outer} {
			l.leave(ticket, succeeded)
		}
		testkit.Sleep(5 * time.Minute)
	})
}

// An outage of the server must not count once it is forgotten.
func TestAWellKindDoesNotWaitAfterAnOutageLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		call := func(kind uint64, end End, takes time.Duration) time.Duration {
			ticket, queued, ok := l.enter(t.Context(), kind, time.Hour)
			require.True(t, ok)
			testkit.Sleep(takes)
			l.leave(ticket, end)
			return queued
		}
		for range 10 {
			for kind := range uint64(3) {
				call(kind+1, succeeded, time.Millisecond)
			}
		}
		for range 4 {
			call(1, End{Health: health.Down, Err: errors.New("refused")}, 0)
			testkit.Sleep(time.Second)
		}
		testkit.Sleep(90 * time.Second)
		for i := range uint64(14) {
			call(1+i%2, failure, time.Second)
		}
		assert.Zero(t, call(3, succeeded, time.Millisecond))
		testkit.Sleep(5 * time.Minute)
	})
}

// The assumption was that an attempt takes as long as the server does. Calls within it may queue, or wait
// for a retry.
func TestTheTimeThatCallsWaitIsNotLatency(t *testing.T) {
	const outer, inner = 1, 2
	for situation, c := range map[string]struct {
		before  bool // the outer attempt begins before anything has failed
		another bool // the inner call queues at another Limiter
		retries bool // the inner call waits for a retry instead of a place
	}{
		"in a queue": {},
		"in a queue, the outer call began before the trouble": {before: true},
		"in the queue of another Limiter":                     {another: true},
		"between two attempts":                                {retries: true},
		"between two attempts, the outer call began before":   {before: true, retries: true},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(nil)
				below := l
				if c.another {
					below = New(nil)
				}
				enter := func(l *Limiter, ctx context.Context, kind uint64) Ticket {
					ticket, _, ok := l.enter(ctx, kind, time.Hour)
					require.True(t, ok)
					return ticket
				}
				for range 20 {
					ticket := enter(l, t.Context(), outer)
					testkit.Sleep(10 * time.Millisecond)
					l.leave(ticket, succeeded)
				}
				fail := func(l *Limiter) {
					for range manyFailures {
						l.leave(enter(l, t.Context(), inner), failure)
					}
				}
				if !c.before {
					fail(l)
				}
				ticket := enter(l, t.Context(), outer)
				ctx := t.Context()
				if p := ticket.Place(); p != nil {
					ctx = WithPlace(ctx, p)
				}
				if c.before || c.another {
					fail(below)
				}
				if c.retries {
					Waits(ctx, 30*time.Second)
					testkit.Sleep(30 * time.Second)
				} else {
					first := enter(below, t.Context(), inner)
					time.AfterFunc(30*time.Second, func() { below.leave(first, succeeded) })
					below.leave(enter(below, ctx, inner), succeeded)
				}
				l.leave(ticket, succeeded)
				l.mu.Lock()
				k := l.table.Load().find(outer)
				assert.False(t, k.active())
				assert.Zero(t, k.failures)
				l.mu.Unlock()
				testkit.Sleep(5 * time.Minute)
			})
		})
	}
}

// A clock that goes backwards, as it does from one bubble of testing/synctest to the next, makes the Limiter forget.
func TestAClockThatGoesBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		for range manyFailures {
			ticket, _, _ := l.enter(t.Context(), 1, 0)
			l.leave(ticket, End{Health: health.Down, Err: errTest})
		}
		server, _ := l.State()
		require.True(t, server.Limited)
		l.mu.Lock()
		l.last += time.Hour
		l.mu.Unlock()
		server, limited := l.State()
		assert.False(t, server.Limited)
		assert.Empty(t, limited)
	})
}

// The places of calls within an attempt count once in each scope.
func TestAPlaceCountsOnceInAScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		for _, kind := range []uint64{7, 8} {
			first, _, _ := l.enter(t.Context(), kind, 0)
			l.learn(kind, "workload")
			l.leave(first, failure)
		}
		enter := func(ctx context.Context, kind uint64) Ticket {
			ticket, _, ok := l.enter(ctx, kind, 0)
			require.True(t, ok)
			require.NotNil(t, ticket.Place())
			return ticket
		}
		inFlight := func() [4]int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return [4]int{l.table.Load().find(7).inFlight, l.table.Load().find(8).inFlight, l.levels[0].inFlight, l.server.inFlight}
		}
		outer := enter(t.Context(), 7)
		assert.Equal(t, [4]int{1, 0, 1, 1}, inFlight())
		middle := enter(WithPlace(t.Context(), outer.Place()), 8)
		assert.Equal(t, [4]int{1, 1, 1, 1}, inFlight(), "of another kind of the level")
		inner := enter(WithPlace(t.Context(), middle.Place()), 7)
		assert.Equal(t, [4]int{1, 1, 1, 1}, inFlight(), "of a kind that counts already")
		assert.Equal(t, 1, inner.Place().takesLevel(middle.Place().level))
		for _, ticket := range []Ticket{inner, middle, outer} {
			l.leave(ticket, succeeded)
		}
		assert.Equal(t, [4]int{}, inFlight())
		testkit.Sleep(5 * time.Minute)
	})
}

// An attempt that has no answer is no sign if one that began later was answered in good time.
func TestAnOvertakenAttemptIsNoSign(t *testing.T) {
	lost := End{Health: health.Unreachable, Err: errors.New("no answer")}
	for _, watched := range []bool{false, true} { // while something has failed, attempts hold places
		synctest.Test(t, func(t *testing.T) {
			l := New(nil)
			enter := func(kind uint64) Ticket {
				ticket, _, ok := l.enter(t.Context(), kind, 0)
				require.True(t, ok)
				return ticket
			}
			l.leave(enter(7), succeeded)
			if watched {
				l.leave(enter(8), failure)
			}
			slow := enter(7)
			testkit.Sleep(2 * time.Second)
			l.leave(enter(7), succeeded)
			testkit.Sleep(time.Second)
			l.leave(slow, lost)
			failures := func() int {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.table.Load().find(7).failures
			}
			assert.Zero(t, failures())

			// One that was not answered either overtakes nothing.
			first := enter(7)
			testkit.Sleep(2 * time.Second)
			second := enter(7)
			testkit.Sleep(2 * time.Second)
			l.leave(second, lost)
			l.leave(first, lost)
			assert.Equal(t, 2, failures())
			testkit.Sleep(5 * time.Minute)
		})
	}
}

// While connections are refused, a 5xx is about the server, too.
func TestA5xxWhileTheServerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		for range manyFailures {
			ticket, _, _ := l.enter(t.Context(), 7, 0)
			l.leave(ticket, End{Health: health.Down, Err: errTest})
		}
		ticket, _, ok := l.enter(t.Context(), 8, 0)
		require.True(t, ok)
		l.leave(ticket, failure)
		l.mu.Lock()
		assert.Equal(t, manyFailures+1, l.server.failures)
		assert.Zero(t, l.table.Load().find(8).failures)
		l.mu.Unlock()
		testkit.Sleep(5 * time.Minute)
	})
}

// A level is known as long as a kind belongs to it.
func TestALevelWithoutKindsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		for kind := range uint64(2) {
			ticket, _, _ := l.enter(t.Context(), kind+7, 0)
			l.leave(ticket, succeeded)
			l.learn(kind+7, "a")
		}
		l.learn(7, "b")
		l.learn(8, "b")
		l.mu.Lock()
		require.Len(t, l.levels, 1)
		assert.Equal(t, "b", l.levels[0].uid)
		assert.Equal(t, 2, l.levels[0].kinds)
		l.mu.Unlock()
		testkit.Sleep(5 * time.Minute)
	})
}

// Of many kinds, those that were used last are kept, and those in use.
func TestTheKindThatWasNotUsedForLongestIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		var busy Ticket
		for kind := range uint64(maxKinds) {
			ticket, _, _ := l.enter(t.Context(), kind+1, 0)
			if kind == 0 {
				busy = ticket
			} else {
				l.leave(ticket, succeeded)
			}
			testkit.Sleep(time.Second)
		}
		used, _, _ := l.enter(t.Context(), 2, 0)
		l.leave(used, succeeded)
		more, _, _ := l.enter(t.Context(), 100, 0)
		l.leave(more, succeeded)
		l.leave(busy, succeeded)
		for kind, known := range map[uint64]bool{1: true, 2: true, 3: false, 4: true, 64: true, 100: true} {
			assert.Equal(t, known, l.table.Load().find(kind) != nil, "%d", kind)
		}
		l.mu.Lock()
		assert.Len(t, l.kinds, maxKinds)
		l.mu.Unlock()
		testkit.Sleep(5 * time.Minute)
	})
}

// While nothing has failed, attempts take neither the lock nor the clock.
func TestTheFastPathIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		ticket, _, _ := l.enter(t.Context(), 7, 0)
		fast, ok := l.enterFast(7)
		assert.True(t, ok)
		assert.True(t, l.leaveFast(fast))
		l.leave(ticket, succeeded)
		testkit.Sleep(5 * time.Minute)
		_, ok = l.enterFast(7)
		assert.False(t, ok, "the ticks have stopped")
	})
}

// A kind that has failed with others, and gets no answer while one attempt at a time is allowed to all of them, makes a
// pause.
func TestAKindThatFailsWhileItsServerIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		call := func(kind uint64, end End, takes time.Duration) {
			ticket, _, ok := l.enter(t.Context(), kind, time.Hour)
			require.True(t, ok)
			testkit.Sleep(takes)
			l.leave(ticket, end)
		}
		for i := range uint64(14) {
			call(1+i%2, failure, time.Second)
		}
		l.mu.Lock()
		limit := l.server.limit
		l.mu.Unlock()
		require.EqualValues(t, 1, limit)
		call(3, failure, 0)
		call(3, End{Health: health.Unreachable, Err: errors.New("no answer")}, 2*time.Second)
		l.mu.Lock()
		assert.Greater(t, l.table.Load().find(3).next, l.now())
		l.mu.Unlock()
		testkit.Sleep(5 * time.Minute)
	})
}
