// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// What is usual follows a server that has become slow permanently, within minutes, but not a queue in
// it, however many answers that delays, and however slowly it grows.
func TestUsualLatency(t *testing.T) {
	var s latency
	now := time.Hour
	answers := func(took time.Duration) bool {
		late := s.late(took)
		s.learn(took, now)
		now += 20 * time.Millisecond
		return late
	}
	for range 100 {
		assert.False(t, answers(10*time.Millisecond))
	}
	var lateFrom time.Duration
	for took := 10 * time.Millisecond; took < 10*time.Second; took += 20 * time.Millisecond {
		if answers(took) && lateFrom == 0 {
			lateFrom = took
		}
	}
	assert.Less(t, lateFrom, 1200*time.Millisecond, "a queue that grows step by step")
	assert.True(t, answers(10*time.Second))
	for n := range 100_000 {
		if !answers(10 * time.Second) {
			assert.InDelta(t, 1, float64(n)*0.02/60, 1, "it is usual after minutes")
			return
		}
	}
	assert.Fail(t, "10 s never become usual")
}

// A server that is slow with every request differs from an overloaded one in that its answers come no
// sooner when few attempts are in flight.
func TestSlowWithEveryRequest(t *testing.T) {
	type answers struct {
		n        int
		took     time.Duration
		inFlight int
		queued   int
	}
	const long = manyQueued + 1
	inTime := func(took time.Duration) answers { return answers{1, took, 0, 0} }
	for situation, c := range map[string]struct {
		answers []answers
		want    bool
	}{
		"four as late, one at a time":                      {[]answers{{1, 2 * time.Second, 5, 0}, {4, 2 * time.Second, 1, long}}, true},
		"three":                                            {[]answers{{1, 2 * time.Second, 5, 0}, {3, 2 * time.Second, 1, long}}, false},
		"four as late, an eighth at a time":                {[]answers{{1, 2 * time.Second, 80, 0}, {4, 2 * time.Second, 10, long}}, true},
		"four as late, a seventh at a time":                {[]answers{{1, 2 * time.Second, 80, 0}, {4, 2 * time.Second, 11, long}}, false},
		"a process of few calls":                           {[]answers{{1, 2 * time.Second, 5, 0}, {40, 2 * time.Second, 1, manyQueued}}, false},
		"half as late":                                     {[]answers{{1, 4 * time.Second, 80, 0}, {4, 2 * time.Second, 10, long}}, true},
		"late, but less than half as late":                 {[]answers{{1, 4100 * time.Millisecond, 80, 0}, {40, 2 * time.Second, 10, long}}, false},
		"one that came much sooner, then late ones":        {[]answers{{1, 2 * time.Second, 5, 0}, inTime(900 * time.Millisecond), {40, 2 * time.Second, 1, long}}, false},
		"one that came much sooner, then many fewer":       {[]answers{{1, 2 * time.Second, 80, 0}, inTime(900 * time.Millisecond), {4, 2 * time.Second, 1, long}}, true},
		"one that came much sooner between them":           {[]answers{{1, 2 * time.Second, 80, 0}, {3, 2 * time.Second, 1, long}, inTime(900 * time.Millisecond), {3, 2 * time.Second, 1, long}}, false},
		"one in time that came little sooner between them": {[]answers{{1, 1800 * time.Millisecond, 5, 0}, {3, 1800 * time.Millisecond, 1, long}, inTime(time.Second), {1, 1800 * time.Millisecond, 1, long}}, true},
		"a failure between them":                           {[]answers{{1, 2 * time.Second, 5, 0}, {3, 2 * time.Second, 1, long}, {}, {3, 2 * time.Second, 1, long}}, false},
		"four after a failure":                             {[]answers{{1, 2 * time.Second, 5, 0}, {}, {4, 2 * time.Second, 1, long}}, true},
	} {
		t.Run(situation, func(t *testing.T) {
			var s slowness
			slow := false
			for _, a := range c.answers {
				switch {
				case a.n == 0:
					s.failed()
				case a.inFlight == 0:
					s.inTime(a.took)
				}
				for i := 0; i < a.n && a.inFlight > 0; i++ {
					slow = slow || s.late(a.took, a.inFlight, a.queued)
				}
			}
			assert.Equal(t, c.want, slow)
		})
	}
}

// What ends between four late answers, with one attempt in flight at a time.
func TestSlowWithEveryRequestAndOtherEnds(t *testing.T) {
	const took = 2 * time.Second
	for situation, c := range map[string]struct {
		between End
		took    time.Duration
		open    bool // nothing is limited meanwhile
		want    bool
	}{
		"a failure":                          {failure, took, false, false},
		"no answer":                          {End{Health: health.Unreachable}, took, false, false},
		"a 429":                              {End{Health: health.Throttled, RetryAfter: time.Second}, took, false, false},
		"a caller that left":                 {End{Health: health.Unknown}, took, false, true},
		"an answer that came much sooner":    {succeeded, took/2 - 1, false, false},
		"an answer that came little sooner":  {succeeded, took / 2, false, true},
		"the same while nothing is limited":  {succeeded, took / 2, true, false},
		"a failure while nothing is limited": {failure, took, true, false},
	} {
		t.Run(situation, func(t *testing.T) {
			l, k := New(nil), &kind{}
			k.limit = 1
			ticket := Ticket{kind: k, place: &Place{}}
			queued := sign{queued: manyQueued + 1}
			for range fewFailures - 1 {
				assert.False(t, l.slowAlways(ticket, succeeded, true, took, queued))
			}
			if c.open {
				k.limit = 0
			}
			assert.False(t, l.slowAlways(ticket, c.between, c.took > neverLate, c.took, queued))
			assert.Equal(t, c.want, l.slowAlways(ticket, succeeded, true, took, queued))
		})
	}
}

// Attempts that began together and end one after the other say nothing of few attempts in flight. The new
// latency has to be found again if it rises once more.
func TestSlowWithEveryRequestIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		const kind = 1
		enter := func() Ticket {
			ticket, _, ok := l.enter(t.Context(), kind, time.Hour)
			require.True(t, ok)
			return ticket
		}
		for range 20 {
			ticket := enter()
			testkit.Sleep(10 * time.Millisecond)
			l.leave(ticket, succeeded)
		}
		l.leave(enter(), failure) // from now on attempts have places
		var began []Ticket
		for range 40 {
			began = append(began, enter())
		}
		var takes atomic.Int64
		takes.Store(int64(2 * time.Second))
		took := func() time.Duration { return time.Duration(takes.Load()) }
		testkit.Sleep(took())
		l.leave(began[0], succeeded)
		for range 200 {
			go func() {
				ticket, _, ok := l.enter(t.Context(), kind, time.Hour)
				assert.True(t, ok)
				testkit.Sleep(took())
				l.leave(ticket, succeeded)
			}()
		}
		isLate := func(took time.Duration) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.table.Load().find(kind).usual.late(took)
		}
		synctest.Wait()
		l.mu.Lock()
		l.table.Load().find(kind).pause(l.now(), 5*time.Second, 0.5) // none of the queued calls starts meanwhile
		l.mu.Unlock()
		for _, ticket := range began[1:] {
			l.leave(ticket, succeeded)
		}
		assert.True(t, isLate(took()), "nothing is known of few attempts in flight")
		found := func() bool {
			for n := 0; n < 60 && isLate(took()); n++ {
				testkit.Sleep(time.Second)
			}
			return !isLate(took())
		}
		assert.True(t, found())
		assert.True(t, isLate(3*took()))
		takes.Store(3 * takes.Load())
		testkit.Sleep(took() + 3*time.Second)
		assert.True(t, isLate(took()), "one late answer is not enough")
		assert.True(t, found())
		testkit.Sleep(time.Hour)
		_, limited := l.State()
		assert.Empty(t, limited)
	})
}

// From the first answer on there is something that is usual.
func TestOneAnswerIsKnown(t *testing.T) {
	var s latency
	assert.False(t, s.known())
	assert.False(t, s.late(time.Hour))
	s.learn(10*time.Millisecond, time.Hour)
	assert.True(t, s.known())
	assert.True(t, s.late(2*time.Second))
}
