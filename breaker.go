// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"time"

	"github.com/k8sretry/k8sretry/internal/breaker"
	"github.com/k8sretry/k8sretry/internal/health"
)

// BreakerConfig says when a [Breaker] opens and for how long. The zero value stands for the
// defaults.
type BreakerConfig struct {
	// MinFailures is the number of failures that are necessary: within the Window, or in a
	// row without a success over any time. Default, for 0: 20. Negative: an error.
	MinFailures int
	// FailureRatio is the share of attempts within the Window that have to fail, above 0 and
	// up to 1. Default, for 0: 0.9. Other values, and NaN: an error.
	FailureRatio float64
	// Window is how long an attempt counts, up to a tenth longer. Failures that last for
	// less than three tenths of it do not open the breaker. Default, for 0: 10 s. Negative:
	// an error.
	Window time.Duration
	// OpenDuration is how long the breaker stays open at first. It doubles, up to
	// MaxOpenDuration, each time the breaker opens again before it has been closed for a
	// minute. It is spread as by [JitterProportional], and never shorter than a Retry-After
	// of the server, up to 5 minutes. Default, for 0: 2 s. Negative: an error.
	OpenDuration time.Duration
	// MaxOpenDuration is the longest open duration, except for a Retry-After. It is also
	// how long a probe that does not end counts as in flight. Default, for 0: 30 s, or
	// OpenDuration if that is longer. Less than OpenDuration: the breaker stays open for
	// MaxOpenDuration. Negative: an error.
	MaxOpenDuration time.Duration
	// HalfOpenProbes is the number of attempts that may be in flight while the breaker is
	// half-open, and the number of them that have to succeed, without a failure between
	// them, to close it. Default, for 0: 1. Negative: an error.
	HalfOpenProbes int
}

// problem describes what is invalid, "" if nothing is.
func (c BreakerConfig) problem() string {
	switch {
	case c.MinFailures < 0:
		return "NewBreaker: MinFailures must not be negative"
	case c.FailureRatio != 0 && !(c.FailureRatio > 0 && c.FailureRatio <= 1):
		return "NewBreaker: FailureRatio must be above 0 and at most 1"
	case c.Window < 0:
		return "NewBreaker: Window must not be negative"
	case c.OpenDuration < 0:
		return "NewBreaker: OpenDuration must not be negative"
	case c.MaxOpenDuration < 0:
		return "NewBreaker: MaxOpenDuration must not be negative"
	case c.HalfOpenProbes < 0:
		return "NewBreaker: HalfOpenProbes must not be negative"
	}
	return ""
}

// BreakerState is the state of a [Breaker].
type BreakerState uint8

// The states of a Breaker.
const (
	BreakerClosed   BreakerState = iota // admits all attempts
	BreakerOpen                         // admits none
	BreakerHalfOpen                     // admits a few, to find out whether the server is back
)

var breakerNames = [...]string{"closed", "open", "half_open"}

// String returns the state as logs and metrics name it: "half_open".
func (s BreakerState) String() string {
	if int(s) < len(breakerNames) {
		return breakerNames[s]
	}
	return "invalid"
}

// Breaker is a circuit breaker for all calls that share it; see [WithBreaker]. While the
// server is down it admits no attempt: a call returns at once, with the last error of the
// API and [ErrBreakerOpen].
//
// A Breaker has one scope: one resource that always fails can open it for all calls that
// share it, if it makes most of the attempts. So share one among calls to the same resource. A
// [Limiter] tells them apart.
//
// Only what says something about the health of the server counts:
//
//   - Failures are 408, 500, 502, 503, 504, timeouts, and connections that were refused
//     or lost.
//   - Every other answer is a success, including 404, 409 and 422: only a server that
//     works gives it.
//   - A 429 is neither: the server works and asks to wait. It never opens the breaker, but
//     a probe that gets it keeps the breaker open.
//   - Failures of webhooks and of servers behind the API server, calls that were canceled
//     by the caller and requests that were never sent do not count. A webhook that denies
//     a request is an answer.
//
// A closed breaker opens when nearly all attempts of some seconds have failed; see
// [BreakerConfig]. It does not open for a fault that hits a part of the attempts at random,
// for which retries are the better remedy. An open breaker becomes half-open with the first
// attempt after its open duration. While it is half-open, one failure opens it again.
//
// A Breaker is made by [NewBreaker], safe for concurrent use and must not be copied. It
// starts no goroutine and no timer. The zero value never opens.
type Breaker struct {
	problem string           // what is invalid in the config
	inner   *breaker.Breaker // nil if it never opens
	calls   breaker.Calls
}

// NewBreaker returns a closed Breaker. If the config is invalid, calls that use the Breaker
// return an error without calling fn.
func NewBreaker(c BreakerConfig) *Breaker {
	if problem := c.problem(); problem != "" {
		return &Breaker{problem: problem}
	}
	inner := breaker.New(breaker.Config(c))
	return &Breaker{inner: inner, calls: inner.Calls()}
}

// State returns the state. An open Breaker stays open until the first attempt after its open
// duration. State is safe for concurrent use. For a nil Breaker it is BreakerClosed.
func (b *Breaker) State() BreakerState {
	if b == nil || b.inner == nil {
		return BreakerClosed
	}
	return BreakerState(b.inner.State())
}

// enter asks whether an attempt may be made. Each admitted attempt must be passed to leave,
// once.
func (b *Breaker) enter() breaker.Admission {
	if b.calls.Enter == nil {
		return breaker.Admission{}
	}
	return b.calls.Enter()
}

// leave reports the end of an attempt. It returns whether the state has changed, and the
// state.
func (b *Breaker) leave(a breaker.Admission, h health.Health, retryAfter time.Duration, err error) (changed bool, state BreakerState) {
	if b.calls.Leave == nil {
		return false, BreakerClosed
	}
	changed, s := b.calls.Leave(a, h, retryAfter, err)
	return changed, BreakerState(s)
}

// lastError returns the last error that opened the breaker or kept it open, nil if it is
// closed.
func (b *Breaker) lastError() error {
	if b.calls.LastError == nil {
		return nil
	}
	return b.calls.LastError()
}
