package limiter

import (
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
)

// rates are the limits for a server that answers 429: a cap of attempts in flight, and a rate
// at which attempts start.
type rates struct {
	inFlightCap  float64 // attempts that the server accepted beside one that it refused, at the time cappedAt; 0: none
	cappedAt     time.Time
	loneRefusals float64 // 429 to attempts without others in flight, less a share of the successes

	rate        float64 // starts per second, at the time ratedAt; 0: none
	ratedAt     time.Time
	lowVolume   bool    // the rate is that of a process of few successes, see lowVolumeRate
	gained      float64 // successes since ratedAt, more where many calls wait
	abandoned   int     // calls that gave up waiting, since the last success
	throttledAt time.Time
}

const (
	rateShare       = 0.85 // of the successes
	growthFactor    = 0.02 // times the square of the seconds
	rateCutInterval = time.Second

	// Of a process with fewer successes per second, ten seconds are too short to measure.
	fewSuccesses = 1.0
	firstRate    = 0.2              // of a process of few successes, at least
	lowShare     = 0.25             // of its own rate, after a 429 that followed a success
	lowestRate   = 0.025            // after any number of them
	expireStarts = 4                // starts at the rate without a 429, and it expires,
	expireAfter  = 80 * time.Second // or as long
	urgentAfter  = 20 * time.Second // in the queue: twice the rate, see effectiveRate
	manyWaiting  = 10               // calls that wait or gave up: a success counts twice, see succeeded

	loneShare = 16 // successes for one 429 to a lone attempt: its predecessor may not have been removed yet
)

// throttled lowers the limits after a 429.
func (c *control) throttled(l *Limiter, now time.Time, t Ticket, took, retryAfter time.Duration) {
	c.throttledAt = now
	measured, others := c.history.successRate(now, l.successes()), l.inFlight()
	lone := others == 0 && t.kind != beside
	if lone {
		c.loneRefusals++
	}
	again := lone && c.loneRefusals > 1
	if measured == 0 {
		c.overload(l, now, t, took, false)
	}
	switch {
	case again:
		c.lowerRate(l, now, measured)
	case measured > 0:
		c.capInFlight(l, now, float64(others))
	}
	if measured*retryAfter.Seconds() < 1 && (measured == 0 || lone) {
		asked := min(retryAfter, delay.MaxSharedRetryAfter) // it applies to other calls, too
		if until := now.Add(delay.AtLeast(0, asked, false)); until.After(c.pausedUntil) {
			c.pausedUntil = until
		}
	}
}

// lowerRate sets the rate: a server that answers some requests with 429 and others with success
// is sent fewer than it has just accepted. It does so once for all 429 without a success between
// them, because pauses grow with the others: what is measured while nothing succeeds is the
// outage, not the capacity of the server.
func (c *control) lowerRate(l *Limiter, now time.Time, measured float64) {
	if c.rateAt(now) > 0 {
		if now.Sub(c.ratedAt).Abs() < rateCutInterval {
			return
		}
		if c.gained == 0 {
			if c.lowVolume {
				c.ratedAt = now // it grows from here
			}
			return
		}
	}
	c.restrict(l, now)
	rate, lowVolume := rateShare*measured, measured < fewSuccesses
	if lowVolume {
		rate = c.lowVolumeRate(now, rate)
	}
	c.rate, c.lowVolume, c.ratedAt, c.gained = rate, lowVolume, now, 0
}

// capInFlight limits the attempts in flight to those beside which one was refused: a server that
// processes as many requests of a user at a time is sent no more, and no fewer.
func (c *control) capInFlight(l *Limiter, now time.Time, others float64) {
	if c.inFlightCap > 0 && others >= grown(c.inFlightCap, now.Sub(c.cappedAt)) {
		return // it began before the last decrease
	}
	c.restrict(l, now)
	c.inFlightCap, c.cappedAt = max(1, others), now
}

// lowVolumeRate is the rate of a process of few successes. One or two successes in ten seconds
// do not tell what the server accepts, so such a process lowers its own rate instead of
// following the measured one.
func (r *rates) lowVolumeRate(now time.Time, measured float64) float64 {
	rate := r.rateAt(now)
	if rate == 0 {
		return max(firstRate, measured)
	}
	return max(lowestRate, lowShare*min(rate, fewSuccesses))
}

// succeeded counts a success. Where many calls wait or gave up waiting, the process makes many
// calls and has learned little only because they were limited: it counts for more, so that the
// process is soon as fast as before an outage.
func (r *rates) succeeded(queued int) {
	r.loneRefusals = max(0, r.loneRefusals-1.0/loneShare)
	r.gained += 1 + float64(queued+r.abandoned)/manyWaiting
	r.abandoned = 0
}

// rateAt is the rate at a time, 0 if there is none. It grows with time. That of a process of few
// successes grows with its successes, or with the starts for which there was time if those are
// more, because between them it learns nothing.
func (r *rates) rateAt(now time.Time) float64 {
	switch after := now.Sub(r.ratedAt); {
	case r.rate == 0:
		return 0
	case r.lowVolume:
		starts := max(after.Seconds()*r.rate, r.gained)
		return r.rate * (1 + growthFactor*starts*starts)
	default:
		return grown(r.rate, after)
	}
}

// effectiveRate is the rate at which attempts start. Processes of few successes find their rates
// by chance and know nothing of each other, but all can measure how long a call has waited. The
// longer that is, the faster the process: others then meet more 429 and become slower, and no
// call waits much longer than those of other processes.
func (c *control) effectiveRate(l *Limiter, now time.Time) float64 {
	rate := c.rateAt(now)
	if c.lowVolume && l.queue.head != nil {
		waited := max(0, now.Sub(l.queue.head.since).Seconds()) / urgentAfter.Seconds()
		rate *= 1 + waited*waited
	}
	return rate
}

// expire removes cap and rate if there has been no 429 for long enough.
func (r *rates) expire(now time.Time) {
	if now.Sub(r.throttledAt).Abs() > r.lifetime() {
		r.rate, r.inFlightCap, r.loneRefusals = 0, 0, 0
	}
}

// lifetime is how long cap and rate outlast the last 429.
func (r *rates) lifetime() time.Duration {
	if r.rate == 0 || !r.lowVolume {
		return recent
	}
	return max(recent, time.Duration(min(expireStarts/r.rate, expireAfter.Seconds())*float64(time.Second)))
}

// limited reports whether there is a cap or a rate.
func (r *rates) limited() bool { return r.rate != 0 || r.inFlightCap != 0 }

// grown is what rate and cap have grown to after a time.
func grown(from float64, after time.Duration) float64 {
	t := after.Seconds()
	return from * (1 + growthFactor*t*t)
}

// timeToGrow is the time in which they grow by a factor, and a millisecond more.
func timeToGrow(factor float64) time.Duration {
	return time.Duration(math.Sqrt(max(0, factor-1)/growthFactor)*float64(time.Second)) + time.Millisecond
}
