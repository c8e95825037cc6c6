// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/window"
)

// leave is Calls.Leave. The attempt may have been admitted in an earlier epoch: then what it
// says about the server is out of date.
func (b *Breaker) leave(a Admission, h health.Health, retryAfter time.Duration, err error) (changed bool, state State) {
	if !a.Probe && (h == health.Unknown || h == health.Healthy && b.idle()) {
		return false, b.State()
	}
	return b.learn(a, h, retryAfter, err)
}

// learn is leave for an attempt that may change the state.
func (b *Breaker) learn(a Admission, h health.Health, retryAfter time.Duration, err error) (changed bool, state State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, before := b.clock.Now(), b.State()
	if a.Probe && a.Epoch >= b.probesEpoch {
		b.probes = max(0, b.probes-1)
	}
	switch before {
	case Closed:
		b.count(now, a, h, retryAfter, err)
	case Open:
		b.extend(now, h, retryAfter, err)
	case HalfOpen:
		if a.Probe && a.Epoch == b.epoch() {
			b.countProbe(now, h, retryAfter, err)
		}
	}
	state = b.State()
	return state != before, state
}

// count adds an attempt that ended while the Breaker is closed.
func (b *Breaker) count(now time.Duration, a Admission, h health.Health, retryAfter time.Duration, err error) {
	current := b.window.At(now)
	switch h {
	case health.Healthy:
		current.succeeded++
		b.streak = 0
		if failed, _ := b.attempts(window.Parts); failed == 0 && !b.recovering(now) {
			b.word.Store(b.epoch() << epochShift) // nothing to count
		}
	case health.Failing, health.Unreachable, health.Down:
		if a.Epoch != b.epoch() {
			return // it began before the Breaker opened
		}
		current.failed++
		if b.streak == 0 {
			b.streakSince = now
		}
		b.streak++
		b.noteRetryAfter(now, retryAfter)
		b.word.Store(b.epoch()<<epochShift | counting)
		if b.failed(now) {
			if !b.recovering(now) {
				b.openings = 0
			}
			b.openings++
			b.trip(now, err)
		}
	default: // says nothing, or only how many calls the server accepts
	}
}

// failed reports whether a closed Breaker has to open.
func (b *Breaker) failed(now time.Duration) bool {
	if b.streak >= b.minFailures && now-b.streakSince >= recentParts*b.window.Width() {
		return true
	}
	failed, succeeded := b.attempts(window.Parts)
	if failed < b.minFailures || !b.mostly(failed, succeeded) {
		return false
	}
	// The failures in the window may be those of a moment that is over.
	recentFailed, recentSucceeded := b.attempts(recentParts)
	return failed > recentFailed && b.mostly(recentFailed, recentSucceeded)
}

// mostly reports whether the share of failures reaches the configured ratio.
func (b *Breaker) mostly(failed, succeeded int) bool {
	return float64(failed) >= b.ratio*float64(failed+succeeded)
}

// attempts returns the attempts in the current part of the window and the given number of
// parts before it.
func (b *Breaker) attempts(parts int) (failed, succeeded int) {
	for i := range parts + 1 {
		p := b.window.Back(i)
		failed += p.failed
		succeeded += p.succeeded
	}
	return failed, succeeded
}

// recovering reports whether the Breaker has closed recently.
func (b *Breaker) recovering(now time.Duration) bool {
	return b.epoch() > 1 && now-b.closedAt < recovery
}

// noteRetryAfter remembers the latest time that the server asked to wait for.
func (b *Breaker) noteRetryAfter(now, retryAfter time.Duration) {
	b.notBefore = max(b.notBefore, now+min(retryAfter, delay.MaxSharedRetryAfter))
}

// trip opens the Breaker, also from half-open.
func (b *Breaker) trip(now time.Duration, err error) {
	b.become(Open)
	b.openedAt = now
	b.openFor = delay.AtLeast(b.open.Delay(b.openings), b.notBefore-now, false)
	b.notBefore = 0
	b.err = err
}

// extend applies the Retry-After of an attempt that ends while the Breaker is open.
func (b *Breaker) extend(now time.Duration, h health.Health, retryAfter time.Duration, err error) {
	if h == health.Unknown || h == health.Healthy || now < b.openedAt {
		return
	}
	asked := min(retryAfter, delay.MaxSharedRetryAfter)
	if open := now - b.openedAt; open+asked > b.openFor {
		b.openFor = open + delay.AtLeast(0, asked, false)
		b.err = err
	}
}

// countProbe adds a probe of the current epoch that ended while the Breaker is half-open.
func (b *Breaker) countProbe(now time.Duration, h health.Health, retryAfter time.Duration, err error) {
	switch h {
	case health.Healthy:
		if b.succeeded++; b.succeeded < b.maxProbes {
			return
		}
		b.become(Closed)
		b.window.At(now)
		b.window.Clear()
		b.streak, b.notBefore, b.err = 0, 0, nil
		b.closedAt = now
		b.probes, b.probesEpoch = 0, b.epoch()
	case health.Failing, health.Unreachable, health.Down:
		b.noteRetryAfter(now, retryAfter)
		b.openings++
		b.trip(now, err)
	case health.Throttled, health.Exhausted: // the server is back, but not for all: the open duration does not grow
		b.noteRetryAfter(now, retryAfter)
		b.trip(now, err)
	default: // says nothing
	}
}
