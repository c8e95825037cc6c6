package limiter

import (
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
)

// control decides how many attempts may be in flight, by additive increase and multiplicative
// decrease, and how long to pause where even one at a time is too many. rates adds limits for
// servers that answer 429. It is guarded by Limiter.mu.
type control struct {
	epoch uint32 // counts the decreases and pauses: an attempt that began before the last one is no new sign

	limit       float64 // of attempts in flight; meaningful while the Limiter is limiting
	threshold   float64 // the limit after the last decrease: up to it the limit grows fast
	pause       time.Duration
	late        int // late answers in a row
	pausedUntil time.Time
	lastStart   time.Time

	noSuccess bool // nothing has succeeded since the last decrease or pause

	serverErrors      int // 5xx in a row
	serverErrorsSince time.Time

	quickSpent int // half tokens, see quick

	rates
	history history
}

const (
	noLimit = math.MaxInt64

	manyServerErrors = 8 // in a row: a sign of overload,
	someServerErrors = 3 // and so are as many
	serverErrorsSpan = 3 * time.Second

	firstPause = 2 * time.Second
	maxPause   = 30 * time.Second

	// stuck is how long no attempt has started when one more may start than the limit.
	stuck = 3 * maxPause / 2
	// longestPause is the longest Retry-After, spread.
	longestPause = 3 * delay.MaxSharedRetryAfter / 2

	quickTokens = 3
)

// wait returns how long the next attempt has to wait: 0 if it may start now. If an attempt in
// flight has to end first, which wakes the queue, it is at least as long as that can take.
func (c *control) wait(l *Limiter, now time.Time) time.Duration {
	if l.mode.Load() != limiting {
		return 0
	}
	inFlight := float64(l.inFlight())
	wait := c.pausedUntil.Sub(now)
	if wait > longestPause || c.lastStart.After(now) {
		// The clock has gone backwards, as it does between two bubbles of testing/synctest.
		c.pausedUntil, c.lastStart, c.rate, wait = time.Time{}, now, 0, 0
	}
	if inFlight >= math.Floor(c.limit) {
		// Those in flight may never end: a lost connection, a log that is followed. They must
		// not keep the others from noticing that the server is back.
		wait = max(wait, stuck-now.Sub(c.lastStart))
	}
	if c.inFlightCap > 0 && inFlight >= math.Floor(grown(c.inFlightCap, now.Sub(c.cappedAt))) {
		wait = max(wait, c.cappedAt.Add(timeToGrow((inFlight+1)/c.inFlightCap)).Sub(now))
	}
	if rate := c.effectiveRate(l, now); rate > 0 {
		wait = max(wait, c.lastStart.Add(time.Duration(float64(time.Second)/rate)).Sub(now))
	}
	return max(0, wait)
}

// observe updates the limits after the end of an attempt.
func (c *control) observe(l *Limiter, now time.Time, t Ticket, h health.Health, took, retryAfter time.Duration, late bool) {
	if (late || h == health.Unreachable && took > NeverLate) && c.history.overtaken(now, l.successes(), took, t.uncertainty()) {
		if h == health.Healthy {
			c.succeeded(l)
		}
		return
	}
	switch {
	case h == health.Healthy && !late:
		c.succeeded(l)
	case h == health.Healthy || h == health.Unknown && late:
		// A late answer is of no use to a caller that has left. If a caller has left without
		// an answer, it is not known whether there would have been one.
		if h == health.Healthy {
			c.serverErrors = 0
		}
		c.overload(l, now, t, took, true)
	case h == health.Unreachable:
		c.serverErrors++
		c.overload(l, now, t, took, false)
	case h == health.Failing:
		if c.serverErrors++; c.serverErrors == 1 {
			c.serverErrorsSince = now
		}
		l.needsReset.Store(true)
		if c.serverErrors >= manyServerErrors || c.limit < noLimit && c.noSuccess ||
			c.serverErrors >= someServerErrors && now.Sub(c.serverErrorsSince) >= serverErrorsSpan {
			c.overload(l, now, t, took, false)
		}
	case h == health.Throttled:
		c.throttled(l, now, t, took, retryAfter)
	}
	if l.queue.len > 0 {
		return
	}
	c.expire(now)
	if l.mode.Load() == limiting && c.limit >= noLimit && !c.limited() {
		c.limit, c.loneRefusals, c.pausedUntil = noLimit, 0, time.Time{}
		l.mode.Store(open)
	}
}

// succeeded raises the limit after an answer in good time.
func (c *control) succeeded(l *Limiter) {
	c.serverErrors, c.late, c.pause, c.noSuccess = 0, 0, 0, false
	c.pausedUntil = time.Time{}
	c.rates.succeeded(l.queue.len)
	if c.quickSpent = max(0, c.quickSpent-1); c.quickSpent == 0 {
		l.needsReset.Store(false)
	}
	if l.mode.Load() != limiting || c.limit >= noLimit {
		return
	}
	switch {
	case l.queue.len == 0:
		c.limit = noLimit
	case c.limit < c.threshold:
		c.limit++
	default:
		c.limit += 1 / c.limit
	}
}

// overload lowers the limit or pauses after a sign of overload. answered tells that there was
// an answer that came too late, or a caller that left after a long time.
func (c *control) overload(l *Limiter, now time.Time, t Ticket, took time.Duration, answered bool) {
	limited := l.mode.Load() == limiting
	if limited && t.epoch != c.epoch {
		return // it began before the last decrease
	}
	if limited && c.limit < 2 {
		c.startPause(now, took, answered)
	} else {
		l.mode.Store(limiting) // before attempts are counted: see enterFast
		if !limited {
			c.limit, c.lastStart = noLimit, now
		}
		c.limit = max(1, math.Floor(min(c.limit, float64(l.inFlight()+1))/2))
		c.threshold = c.limit
		if !answered {
			c.pause = max(c.pause, min(took/2, maxPause)) // the first pause doubles it
		}
	}
	c.epoch++
	c.noSuccess = true
}

// startPause stops all attempts for a while.
func (c *control) startPause(now time.Time, took time.Duration, answered bool) {
	c.limit = 1
	if answered {
		// The server works but is slow: many processes with one attempt each are enough to
		// keep it slow. Each late answer in a row doubles the pause.
		c.late = min(c.late+1, 16)
		pause := min(min(took, maxPause)<<(c.late-1), maxPause)
		c.pausedUntil = now.Add(delay.Around(pause))
		return
	}
	c.pause = min(max(2*c.pause, firstPause, took), maxPause)
	c.pausedUntil = now.Add(delay.Around(c.pause))
}

// restrict makes each attempt ask the control, without a limit yet.
func (c *control) restrict(l *Limiter, now time.Time) {
	if l.mode.Load() != limiting {
		l.mode.Store(limiting)
		c.limit = noLimit
		c.lastStart = now
	}
}

// quick takes a token for a retry that waits a tenth of its delay. Tokens make retries
// faster, they do not permit them: there are three, and each success adds a half. Where
// failures are random most retries get one; where the server is down none does.
func (l *Limiter) quick() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mode.Load() == limiting || l.control.quickSpent > 2*(quickTokens-1) {
		return false
	}
	l.control.quickSpent += 2
	l.needsReset.Store(true)
	return true
}
