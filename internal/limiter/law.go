// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
)

// The constants of the law. The table in doc.go says what each is for.
const (
	manyFailures = 8                // failures in a row that are no chance,
	fewFailures  = 4                // and so are as many over as many seconds
	maxPause     = 20 * time.Second // between two attempts to a server that answers nothing
	rateShare    = 0.85             // of the rate that was accepted, after a 429
	growth       = 0.02             // of a limit that a 429 has set, times the square of the seconds
	recent       = 10 * time.Second // how long a 429 and a success count
	loneShare    = 16               // successes for each 429 that may be an accident
	manyQueued   = 10               // queued calls that show that a process makes many calls
)

// stuck is how long no attempt has started when one more may start than the limit: those in
// flight may never end, such as a log that is followed.
const stuck = 5 * maxPause / 2

// law decides when the attempts of one scope may start. It controls two quantities: the number
// of attempts in flight, and the time between two starts. It is a pure function of what it is
// given: it has no clock, no lock, no random numbers, and knows nothing of its owner. Times are
// readings of one clock, which are never 0.
type law struct {
	limit     float64       // of attempts in flight; 0: none
	threshold float64       // the limit after the last failure: up to it the limit grows fast
	limitedAt time.Duration // when a 429 set the limit, which then grows with time; 0: a failure did

	next      time.Duration // no attempt starts before
	gap       time.Duration // between two starts after a 429, which shrinks with time; 0: none
	gapAt     time.Duration
	lastStart time.Duration

	// The failures since the last answer in good time.
	failures int
	since    time.Duration // when the first of them began
	failedAt time.Duration // when the last of them ended
	chanceAt time.Duration // when the last failures ended that were chance, because a success followed; 0: none

	refusedAt time.Duration // when the last 429 came
	lone      float64       // 429 to attempts without others in flight, less a share of the successes
	relapsed  bool          // there was a success since the gap was set
}

// result is how an attempt ended.
type result uint8

const (
	good    result = iota // an answer in good time
	late                  // an answer, or a caller that left, after an unusually long time
	failed                // no answer in an unusually long time
	broken                // a lost connection, or a 5xx
	down                  // a refused connection
	refused               // a 429 with a Retry-After
)

// sign is what the end of an attempt says about its scope.
type sign struct {
	result     result
	took       time.Duration
	retryAfter time.Duration
	inFlight   int     // attempts in flight beside it
	lone       bool    // there were none at its beginning either
	queued     int     // calls that wait for the scope
	rate       float64 // successes per second of late
	old        bool    // it began before the last change of the law
	overtaken  bool    // one that began later was answered in good time before
	partial    bool    // it may be the trouble of a part of the scope
	around     float64 // the limit of the scopes around it
	spread     float64 // a random number in [0, 1)
}

// active reports whether the law limits anything.
func (l *law) active() bool { return l.limit > 0 || l.gap > 0 || l.next > 0 }

// start returns how long the next attempt has to wait: 0 if it may start now. If one in flight
// has to end first, it is as long as that can take at most.
func (l *law) start(now time.Duration, inFlight int) time.Duration {
	wait := l.next - now
	if l.limit > 0 && inFlight >= int(l.limitNow(now)) {
		room := l.lastStart + stuck
		if l.limitedAt > 0 {
			room = min(room, l.limitedAt+timeToGrow(float64(inFlight+1)/l.limit))
		}
		wait = max(wait, room-now)
	}
	if l.gap > 0 {
		wait = max(wait, l.lastStart+l.gapNow(now)-now)
	}
	return max(0, wait)
}

// started records the start of an attempt.
func (l *law) started(now time.Duration) { l.lastStart = now }

// end updates the law after the end of an attempt. It reports whether the limits have become
// lower.
func (l *law) end(now time.Duration, s sign) (lowered bool) {
	switch {
	case s.result == good:
		l.succeeded(s)
	case s.overtaken:
		// The server is slow with this request only, or has lost it.
	default:
		if l.failures == 0 {
			l.since = now - s.took
		}
		l.failures++
		l.failedAt = now
		if s.result == refused {
			lowered = l.refuse(now, s)
		} else if !s.partial && !s.old && l.overloaded(now, s) {
			l.lower(now, s)
			lowered = true
		}
	}
	l.expire(now, s.queued)
	return lowered
}

// overloaded reports whether the failures so far are no chance. Where many attempts begin at
// the same time, those that fail may end first. A few failures are enough unless single ones
// have come and gone of late.
func (l *law) overloaded(now time.Duration, s sign) bool {
	byChance := s.result == broken && l.limit == 0 && l.chanceAt > 0 && l.since-l.chanceAt < idleAfter
	return s.result == late || s.result == failed || l.failures >= manyFailures && l.failures > s.inFlight ||
		!byChance && l.failures >= fewFailures && now-l.since >= fewFailures*time.Second
}

// succeeded raises the limits after an answer in good time.
func (l *law) succeeded(s sign) {
	if l.failures > 0 && l.limit == 0 {
		l.chanceAt = l.failedAt
	}
	l.failures, l.since, l.next, l.relapsed = 0, 0, 0, true
	l.lone = max(0, l.lone-1.0/loneShare)
	if l.gap > time.Second {
		// A long queue shows that the process makes many calls, and has learned little only
		// because they were limited: an outage must not be taken for its share.
		l.gapAt -= time.Duration(float64(l.gap) * float64(s.queued) / manyQueued)
	}
	switch {
	case l.limit == 0 || l.limitedAt > 0:
	case s.queued == 0:
		l.limit = 0
	case l.limit < l.threshold:
		l.limit++
	default:
		l.limit += 1 / l.limit
	}
}

// lower halves the number of attempts in flight. Where even one at a time fails, it makes a
// pause, about as long as the trouble has lasted, and half as long again where connections are
// refused: when the server returns, the attempts of all processes meet one that has just begun.
func (l *law) lower(now time.Duration, s sign) {
	limit := s.around
	if l.limit > 0 {
		limit = min(limit, l.limitNow(now))
	}
	if limit < 2 {
		about := now - l.since
		if s.result == down {
			about = about * 3 / 2
		}
		about = min(about, maxPause)
		switch {
		case s.result == late && s.queued > manyQueued:
			about = min(about, s.took) // a process of many calls is slow enough with one at a time
		case s.result == refused:
			about = min(about, 2*s.retryAfter) // the server knows better
		}
		l.pause(now, about, s.spread)
		return
	}
	if l.limit == 0 {
		l.lastStart = now
	}
	l.limit = max(1, math.Floor(min(limit, float64(s.inFlight+1))/2))
	l.threshold, l.limitedAt = l.limit, 0
}

func (l *law) pause(now, about time.Duration, spread float64) {
	l.limit, l.threshold, l.limitedAt = 1, 1, 0
	l.next = max(l.next, now+time.Duration((0.5+spread)*float64(about)))
}

// refuse lowers the limits after a 429. If others succeed beside it, the server takes so many
// at a time; if there are none, it takes so many per second.
func (l *law) refuse(now time.Duration, s sign) (lowered bool) {
	l.refusedAt = now
	if s.lone {
		l.lone++
	}
	switch {
	case s.partial:
		return false
	case s.rate == 0:
		if lowered = !s.old; lowered {
			l.lower(now, s)
		}
	case s.lone && l.lone > 1: // one may be an accident
		lowered = l.slow(now, s)
	case l.limit == 0 || float64(s.inFlight) < l.limitNow(now):
		if l.limit == 0 {
			l.lastStart = now
		}
		l.limit, l.limitedAt, lowered = max(1, float64(s.inFlight)), now, true
		l.threshold = l.limit
	}
	if s.rate*s.retryAfter.Seconds() < 1 && (s.rate == 0 || s.lone) {
		asked := min(s.retryAfter, delay.MaxSharedRetryAfter)
		l.next = max(l.next, now+asked+time.Duration(s.spread*float64(asked)/2))
		lowered = true
	}
	return lowered
}

// slow sets the time between two starts, to more than that between two successes. After that
// it does so for a 429 that follows a success, and at most once in a second. Where successes are
// too few to measure, it doubles the time.
func (l *law) slow(now time.Duration, s sign) bool {
	gap := time.Duration(float64(time.Second) / (rateShare * (s.rate + 1/recent.Seconds()))) // one more, because few may be fewer than usual
	if l.gap > 0 {
		if now-l.gapAt < time.Second || !l.relapsed {
			return false
		}
		if l.gap > time.Second {
			gap = min(2*l.gapNow(now), maxPause)
		}
	}
	l.gap, l.gapAt, l.relapsed = gap, now, false
	return true
}

// expire removes what a 429 has set after a time without another.
func (l *law) expire(now time.Duration, queued int) {
	if queued > 0 || (l.gap == 0 && l.limitedAt == 0) {
		return
	}
	if now-l.refusedAt >= max(recent, 4*l.gap) {
		l.gap = 0
		if l.limitedAt > 0 {
			l.limit, l.limitedAt = 0, 0
		}
	}
}

// limitNow is what the limit has grown to.
func (l *law) limitNow(now time.Duration) float64 {
	if l.limitedAt == 0 {
		return l.limit
	}
	return l.limit * grown(now-l.limitedAt)
}

// gapNow is what the gap has shrunk to. A long gap shrinks more slowly, because the process
// learns nothing between two starts.
func (l *law) gapNow(now time.Duration) time.Duration {
	since := float64(now-l.gapAt) / max(1, l.gap.Seconds())
	return time.Duration(float64(l.gap) / grown(time.Duration(since)))
}

func grown(after time.Duration) float64 {
	t := after.Seconds()
	return 1 + growth*t*t
}

// timeToGrow is the time in which a limit grows by a factor, and a millisecond more.
func timeToGrow(factor float64) time.Duration {
	return time.Duration(math.Sqrt(max(0, factor-1)/growth)*float64(time.Second)) + time.Millisecond
}
