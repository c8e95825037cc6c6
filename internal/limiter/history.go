package limiter

import "time"

// history is what is known about the answers of the last seconds.
type history struct {
	samples [historyLen]sample // one for each tick
	next    int

	// Of the answers in good time: when the last of their attempts to begin did so, at the
	// earliest; how many answers that covers; and how many were late.
	newest           time.Time
	covered, ignored uint32
}

// sample is the number of successes so far at a time.
type sample struct {
	at        time.Time
	successes uint32
}

const (
	recent     = 10 * time.Second // the time over which successes are counted
	historyLen = int(recent/tick) + 1
)

// add records the number of successes so far. It reports whether there were none since the
// previous sample.
func (h *history) add(now time.Time, successes uint32) (none bool) {
	last := h.samples[(h.next+historyLen-1)%historyLen]
	h.samples[h.next%historyLen] = sample{now, successes}
	h.next = (h.next + 1) % historyLen
	return last.successes == successes
}

// successRate is the number of successes per second of late.
func (h *history) successRate(now time.Time, successes uint32) float64 {
	oldest := sample{at: now, successes: successes}
	for _, s := range h.samples {
		if !s.at.IsZero() && now.Sub(s.at) <= recent && s.at.Before(oldest.at) {
			oldest = s
		}
	}
	if span := now.Sub(oldest.at); span > 0 {
		return float64(successes-oldest.successes) / max(span, recent/10).Seconds()
	}
	return 0
}

// answered records a success that took the given time, with an uncertainty.
func (h *history) answered(now time.Time, took, uncertainty time.Duration) {
	if took > NeverLate {
		h.ignored++
		return
	}
	h.began(now.Add(-took - uncertainty))
}

// answeredFast records the successes of the fast path, of which is known only that they took
// less than two ticks and ended after the previous call.
func (h *history) answeredFast(now time.Time, successes uint32) {
	if fast := successes - h.ignored; fast != h.covered {
		h.covered = fast
		h.began(now.Add(-3 * tick))
	}
}

func (h *history) began(at time.Time) {
	if at.After(h.newest) {
		h.newest = at
	}
}

// overtaken reports whether an attempt that began after one that has taken the given time was
// answered in good time before it. Then the server is not overloaded: it is slow with requests
// of this kind, or has lost this one.
func (h *history) overtaken(now time.Time, successes uint32, took, uncertainty time.Duration) bool {
	h.answeredFast(now, successes)
	if h.newest.After(now) { // the clock has gone backwards
		h.newest = time.Time{}
	}
	return h.newest.After(now.Add(uncertainty - took))
}
