// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
)

// How long the pause is after another sign, where one attempt at a time is allowed and the trouble has
// lasted for ten seconds.
func TestPauses(t *testing.T) {
	const began, now = time.Hour, time.Hour + 10*time.Second
	for situation, c := range map[string]struct {
		sign  sign
		about time.Duration
	}{
		"no answer":                                  {sign{result: failed, took: 2 * time.Second}, 10 * time.Second},
		"no answer, many calls are queued":           {sign{result: failed, took: 2 * time.Second, queued: 100}, 10 * time.Second},
		"a late answer":                              {sign{result: late, took: 2 * time.Second}, 10 * time.Second},
		"a late answer, many calls are queued":       {sign{result: late, took: 2 * time.Second, queued: 100}, 2 * time.Second},
		"a late answer, ten calls are queued":        {sign{result: late, took: 2 * time.Second, queued: manyQueued}, 10 * time.Second},
		"a 429":                                      {sign{result: refused, retryAfter: time.Second}, 2 * time.Second},
		"a 429 with a Retry-After that is longer":    {sign{result: refused, retryAfter: 20 * time.Second}, 25 * time.Second},
		"a 5xx or a lost connection":                 {sign{result: broken}, 10 * time.Second},
		"a refused connection":                       {sign{result: down}, 15 * time.Second},
		"a late answer to an attempt before the cut": {sign{result: late, took: 2 * time.Second, old: true}, 0},
		"a late answer that others have overtaken":   {sign{result: late, took: 2 * time.Second, overtaken: true}, 0},
		"a late answer that may be that of a part":   {sign{result: late, took: 2 * time.Second, partial: true}, 0},
	} {
		t.Run(situation, func(t *testing.T) {
			l := law{limit: 1, threshold: 1, failures: fewFailures - 1, since: began}
			c.sign.around, c.sign.spread = math.Inf(1), 0.5
			l.end(now, c.sign)
			assert.Equal(t, c.about, l.start(now, 0))
		})
	}
}

// The pause grows with the trouble, up to a limit, and is spread. A few failures in a short time make none.
func TestPausesGrowWithTheTrouble(t *testing.T) {
	const now = time.Hour
	for situation, c := range map[string]struct {
		result         result
		lasted         time.Duration
		least, longest time.Duration
	}{
		"four 5xx in less than four seconds":                 {broken, 3900 * time.Millisecond, 0, 0},
		"four refused connections in less than four seconds": {down, 3900 * time.Millisecond, 0, 0},
		"5xx for six seconds":                                {broken, 6 * time.Second, 3 * time.Second, 9 * time.Second},
		"refused connections for six seconds":                {down, 6 * time.Second, 4500 * time.Millisecond, 13500 * time.Millisecond},
		"5xx for a minute":                                   {broken, time.Minute, maxPause / 2, maxPause * 3 / 2},
		"refused connections for a minute":                   {down, time.Minute, maxPause / 2, maxPause * 3 / 2},
	} {
		t.Run(situation, func(t *testing.T) {
			for spread, want := range map[float64]time.Duration{0: c.least, 1: c.longest} {
				l := law{limit: 1, threshold: 1, failures: fewFailures - 1, since: now - c.lasted}
				l.end(now, sign{result: c.result, around: math.Inf(1), spread: spread})
				assert.Equal(t, want, l.start(now, 0))
			}
		})
	}
}

// In a process of few calls four failures over four seconds are a sign, unless single failures were
// chance a short time before: then as many are needed as in any other process.
func TestFailuresThatWereChanceBefore(t *testing.T) {
	const begin = time.Second
	for situation, c := range map[string]struct {
		before   []result      // of attempts that end at the begin
		after    time.Duration // when the attempts that count start
		of       result
		failures int // that are a sign
	}{
		"nothing before":                              {nil, time.Second, broken, fewFailures},
		"a success before":                            {[]result{good}, time.Second, broken, fewFailures},
		"a 503 and a success before":                  {[]result{broken, good}, time.Second, broken, manyFailures},
		"a minute before":                             {[]result{broken, good}, time.Minute, broken, manyFailures},
		"three 503 and a success before":              {[]result{broken, broken, broken, good}, time.Second, broken, manyFailures},
		"a refused connection and a success before":   {[]result{down, good}, time.Second, broken, manyFailures},
		"a 503, then successes":                       {[]result{broken, good, good, good}, time.Second, broken, manyFailures},
		"a 503 and a success, then one more 503":      {[]result{broken, good, broken}, time.Second, broken, manyFailures - 1},
		"two minutes before":                          {[]result{broken, good}, 2 * time.Minute, broken, fewFailures},
		"a 503 and a success, then no connection":     {[]result{broken, good}, time.Second, down, fewFailures},
		"a 503 and a success, then a late answer":     {[]result{broken, good}, time.Second, late, 1},
		"a 503 and a success, then no answer":         {[]result{broken, good}, time.Second, failed, 1},
		"an overload that has ended":                  {[]result{failed, good}, time.Second, broken, fewFailures},
		"an overload that has ended, then successes":  {[]result{failed, good, good, good}, time.Second, broken, fewFailures},
		"an overload that has ended, after a 503":     {[]result{broken, good, failed, good}, time.Second, broken, manyFailures},
		"an overload that has not ended, after a 503": {[]result{broken, good, failed}, time.Second, broken, fewFailures - 1},
	} {
		t.Run(situation, func(t *testing.T) {
			var l law
			for i, r := range c.before {
				l.end(begin-time.Duration(len(c.before)-1-i)*time.Millisecond, sign{result: r, took: time.Millisecond, around: math.Inf(1)})
			}
			now, limit, next := begin+c.after, l.limit, l.next
			for n := 1; ; n++ {
				now += 1500 * time.Millisecond
				if l.end(now, sign{result: c.of, took: 1500 * time.Millisecond, around: math.Inf(1), spread: 0.5}); l.limit != limit || l.next != next {
					assert.Equal(t, c.failures, n)
					return
				}
				require.Less(t, n, 100)
			}
		})
	}
}

// An answer or a lost connection shows that there is a server; a refused connection shows that there is none.
func TestRefusedConnectionIsNotA5xx(t *testing.T) {
	for result, healths := range map[result][]health.Health{
		down:   {health.Down},
		broken: {health.Unreachable, health.Failing, health.Throttled},
	} {
		for _, h := range healths {
			got, ok := resultOf(End{Health: h}, false, time.Millisecond, true)
			assert.True(t, ok)
			assert.Equal(t, result, got)
		}
	}
}

// An attempt that finds the limit reached waits until the limit has grown, or until the others are taken to hang.
func TestTheWaitForRoom(t *testing.T) {
	const now = time.Hour
	after429 := law{limit: 4, threshold: 4, limitedAt: now, lastStart: now}
	wait := after429.start(now, 4)
	assert.InDelta(t, 3.536, wait.Seconds(), 0.002, "1 + 0.02 t^2 = 5/4")
	assert.Equal(t, wait-time.Second, after429.start(now+time.Second, 4))
	assert.Zero(t, after429.start(now+wait, 4))
	assert.Zero(t, after429.start(now, 3))

	afterFailures := law{limit: 4, threshold: 4, lastStart: now}
	assert.Equal(t, stuck, afterFailures.start(now, 4))
	assert.Equal(t, stuck-time.Second, afterFailures.start(now+time.Second, 4))
}

// The 429 of attempts that had others beside them say how many requests the server takes, not how many per second.
func TestA429ToALoneAttempt(t *testing.T) {
	const now = time.Hour
	l := law{}
	for range 3 {
		l.end(now, sign{result: refused, rate: 5, inFlight: 3, around: math.Inf(1)})
	}
	assert.EqualValues(t, 3, l.limit)
	l.end(now, sign{result: refused, rate: 5, lone: true, around: math.Inf(1)})
	assert.Zero(t, l.gap, "one may be an accident")
	l.end(now, sign{result: refused, rate: 5, lone: true, around: math.Inf(1)})
	assert.InDelta(t, 1/(rateShare*5.1), l.gap.Seconds(), 0.001)
}

// A 429 to an attempt that began before the last change of the limit does not lower it, but the time that it asks for
// is kept, and that is a change.
func TestA429ToAnOldAttempt(t *testing.T) {
	const now = time.Hour
	l := law{limit: 8, threshold: 8, lastStart: now}
	assert.True(t, l.end(now, sign{result: refused, old: true, inFlight: 7, retryAfter: 3 * time.Second, around: math.Inf(1)}))
	assert.EqualValues(t, 8, l.limit)
	assert.Equal(t, 3*time.Second, l.start(now, 0))
}

// How long no attempt has started is counted from the last start, or from when the limit was set for the first time.
func TestANewLimitIsNoStart(t *testing.T) {
	const now = time.Hour
	l := law{lastStart: now}
	l.end(now+time.Second, sign{result: refused, rate: 5, inFlight: 3, around: math.Inf(1)})
	assert.Equal(t, now+time.Second, l.lastStart)
	l.end(now+2*time.Second, sign{result: refused, rate: 5, inFlight: 2, around: math.Inf(1)})
	assert.EqualValues(t, 2, l.limit)
	assert.Equal(t, now+time.Second, l.lastStart)
}

// The parts of a group that have failed are those since its last answer in good time.
func TestAGroupForgetsItsParts(t *testing.T) {
	var g group
	a, b := new(kind), new(kind)
	for range 3 {
		g.count(a)
		g.failures++
	}
	assert.False(t, g.several())
	g.law = law{}
	for range 2 {
		g.count(b)
		g.failures++
	}
	assert.False(t, g.several(), "one part, more than once")
	assert.Equal(t, [2]part{{b, 2}, {}}, g.parts)
	for range 2 {
		g.count(a)
		g.failures++
	}
	assert.True(t, g.several())
}

// Successes of long ago are no rate.
func TestTheRateIsThatOfLate(t *testing.T) {
	const now = time.Hour
	l := New(nil)
	k := l.kindOf(7, now)
	k.fast.add(100 * oneSuccess)
	assert.InDelta(t, 25, k.rate(now+4*time.Second), 0.001)
	assert.InDelta(t, 25, l.rateOf(nil, now+4*time.Second), 0.001)
	k.level = new(level)
	assert.InDelta(t, 25, l.rateOf(nil, now+4*time.Second), 0.001)
	assert.InDelta(t, 25, l.rateOf(k.level, now+4*time.Second), 0.001)
	assert.Zero(t, l.rateOf(new(level), now+4*time.Second))
	k.remember(now + recent/2)
	assert.Equal(t, mark{now + recent/2, 100}, k.marks[1])
	assert.InDelta(t, 10, k.rate(now+recent), 0.001)
	k.fast.add(100 * oneSuccess)
	k.remember(now + time.Minute)
	assert.Zero(t, k.rate(now+time.Minute))
}
