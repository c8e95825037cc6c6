package k8sretry

import (
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
)

// Backoff says how long to wait before a retry. Implementations must be safe
// for concurrent use and keep no state between calls: one Backoff serves any
// number of calls at a time.
type Backoff interface {
	// Delay returns the wait before the given retry; retry 1 is the one after
	// the first attempt. A negative answer counts as 0.
	Delay(retry int) time.Duration
}

// BackoffFunc is a func as a [Backoff]:
//
//	k8sretry.WithBackoff(k8sretry.BackoffFunc(func(retry int) time.Duration { return time.Second }))
type BackoffFunc func(retry int) time.Duration

// Delay calls f.
func (f BackoffFunc) Delay(retry int) time.Duration { return f(retry) }

// Jitter says how delays are spread, so that clients that failed together do not
// come back together. Whatever the jitter, a delay is never above
// [Exponential.Max], and the spread goes on once the schedule has reached it.
type Jitter uint8

// The ways to spread a delay d under a cap.
const (
	// JitterProportional, the default, draws from [d, 1.2 d], and from
	// [0.8 cap, cap] once d has reached the cap. It is never early, and the
	// schedule stays recognisable in a log.
	JitterProportional Jitter = iota
	// JitterFull draws from [0, d]: the least work for a server under contention,
	// but half of the retries come early.
	JitterFull
	// JitterEqual draws from [d/2, d].
	JitterEqual
	// JitterNone draws nothing: every delay is exact. For tests and for callers
	// that never fail together.
	JitterNone
	jitters
)

// Exponential is a capped exponential backoff: Initial, Initial × Multiplier,
// Initial × Multiplier², ... up to Max, then Max for ever, each spread by Jitter.
//
// The zero value waits 1 s, 2 s, 4 s, ... 30 s with [JitterProportional]. An
// Exponential is plain data, safe for concurrent use and usable alone:
//
//	wait := k8sretry.Exponential{Initial: 2 * time.Second}.Delay(retry)
//
// No input makes it panic or overflow, every delay is in [0, Max].
type Exponential struct {
	// Initial is the delay before the first retry. 0 stands for 1 s; negative
	// means no delay at all.
	Initial time.Duration
	// Max is the longest delay, jitter included. 0 stands for 30 s; negative
	// means no delay at all.
	Max time.Duration
	// Multiplier is the growth from one delay to the next. 0 stands for 2. Below
	// 1, and for NaN, delays do not grow; +Inf reaches Max at the second retry.
	Multiplier float64
	// Jitter spreads the delays. The zero value is JitterProportional, and so is
	// a value that is none of the constants.
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

// draw returns a delay and the least that could have been drawn for it.
func (e Exponential) draw(retry int, factor float64) (drawn, least time.Duration) {
	s := e.schedule()
	return s.Scaled(retry, factor), s.Least(retry, factor)
}

func (e Exponential) schedule() delay.Exponential {
	return delay.Exponential{Initial: e.Initial, Max: e.Max, Multiplier: e.Multiplier, Jitter: delay.Jitter(e.Jitter)}
}

// withDefaults returns e with its defaults filled in.
func (e Exponential) withDefaults() Exponential {
	d := e.schedule().WithDefaults()
	return Exponential{Initial: d.Initial, Max: d.Max, Multiplier: d.Multiplier, Jitter: Jitter(d.Jitter)}
}

// The cause decides how much of the schedule a retry waits: who was never
// connected or timed out has waited already, and a server that says "too many"
// without saying for how long needs more.
func classFactor(c Class) float64 {
	switch c {
	case ClassTimeout, ClassRefused:
		return 0.5
	case ClassThrottled:
		return 2
	}
	return 1
}

// disruptionDelay polls a PodDisruptionBudget: what it waits for, pods becoming
// ready elsewhere, takes tens of seconds, and nothing is overloaded meanwhile.
var disruptionDelay = Exponential{Initial: 5 * time.Second, Max: 20 * time.Second, Multiplier: 1.5}
