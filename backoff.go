// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
)

// Backoff determines the delay before a retry. Implementations must be safe for concurrent
// use and keep no state between calls, because one Backoff serves any number of calls at a
// time.
type Backoff interface {
	// Delay returns the delay before the given retry; retry 1 is the one after the first
	// attempt. A negative delay counts as 0.
	Delay(retry int) time.Duration
}

// BackoffFunc is a func as a [Backoff]:
//
//	k8sretry.WithBackoff(k8sretry.BackoffFunc(func(retry int) time.Duration { return time.Second }))
//
// It has no jitter and no maximum. A func that grows has to bound its result: a duration that
// overflows may be negative, and a negative delay is none.
type BackoffFunc func(retry int) time.Duration

// Delay calls f.
func (f BackoffFunc) Delay(retry int) time.Duration { return f(retry) }

// Jitter is a way to spread delays, so that clients that failed together do not retry together.
// With any Jitter a delay is at most [Exponential.Max], and delays are still spread once the
// schedule has reached it.
type Jitter uint8

// The ways to spread a delay d under a cap.
const (
	// JitterProportional, the default, draws from [d, 1.2 d], and from [0.8 cap, cap] once d
	// has reached the cap. Below the cap no delay is shorter than d, and the schedule can be
	// recognized in a log.
	JitterProportional Jitter = iota
	// JitterFull draws from [0, d]. It spreads retries the most, but half of them wait for
	// less than half of d.
	JitterFull
	// JitterEqual draws from [d/2, d].
	JitterEqual
	// JitterNone makes every delay exactly d, for tests and for callers that never fail
	// together.
	JitterNone
	jitters
)

var jitterNames = [jitters]string{"proportional", "full", "equal", "none"}

// String returns the name of the constant in lower case, such as "full".
func (j Jitter) String() string {
	if j < jitters {
		return jitterNames[j]
	}
	return "invalid"
}

// Exponential is a capped exponential backoff: Initial, Initial × Multiplier,
// Initial × Multiplier², and so on, up to Max, each spread by Jitter.
//
// The zero value waits 1 s, 2 s, 4 s, ... 30 s with [JitterProportional]. An Exponential is
// plain data, safe for concurrent use, and can be used by itself:
//
//	delay := k8sretry.Exponential{Initial: 2 * time.Second}.Delay(retry)
//
// No field value makes it panic or overflow.
type Exponential struct {
	// Initial is the delay before the first retry. Default, for 0: 1 s. Negative: no delays.
	Initial time.Duration
	// Max is the longest delay, jitter included. Default, for 0: 30 s. Negative: no delays.
	Max time.Duration
	// Multiplier is the growth from one delay to the next. Default, for 0: 2. Below 1 or
	// NaN: constant delays. +Inf: Max from the second retry on.
	Multiplier float64
	// Jitter spreads the delays. Default, also for a value that is none of the constants:
	// JitterProportional.
	Jitter Jitter
}

// Delay returns the delay before the given retry, counted from 1. It is 0 if retry is less than
// 1, and in [0, Max] otherwise.
func (e Exponential) Delay(retry int) time.Duration { return e.scaled(retry, 1) }

// scaled is Delay with the schedule multiplied by factor. The factor applies before cap and
// jitter, so both hold for the result.
func (e Exponential) scaled(retry int, factor float64) time.Duration {
	return e.schedule().Scaled(retry, factor)
}

func (e Exponential) schedule() delay.Exponential {
	return delay.Exponential{Initial: e.Initial, Max: e.Max, Multiplier: e.Multiplier, Jitter: delay.Jitter(e.Jitter)}
}

// withDefaults returns e with its defaults filled in.
func (e Exponential) withDefaults() Exponential {
	d := e.schedule().WithDefaults()
	return Exponential{Initial: d.Initial, Max: d.Max, Multiplier: d.Multiplier, Jitter: Jitter(d.Jitter)}
}

// classFactor returns the share of the schedule that a retry waits after a failure of class c. An
// attempt that timed out or got no connection has waited already. A server that answers 429
// without a Retry-After needs more time.
func classFactor(c Class) float64 {
	switch c {
	case ClassTimeout, ClassRefused:
		return 0.5
	case ClassThrottled:
		return 2
	default:
		return 1
	}
}

// disruptionDelay is the schedule for a PodDisruptionBudget. Other pods take tens of seconds to
// become ready, and nothing is overloaded meanwhile.
var disruptionDelay = Exponential{Initial: 5 * time.Second, Max: 20 * time.Second, Multiplier: 1.5}
