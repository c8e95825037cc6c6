package k8sretry

import (
	"math"
	"math/rand/v2"
	"time"
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

// The defaults of [Exponential] and of the options named alike.
const (
	defaultInitial    = time.Second
	defaultMax        = 30 * time.Second
	defaultMultiplier = 2.0
)

// spread is the share of a delay that JitterProportional adds or, at the cap, takes.
const spread = 0.2

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

// Delay returns the wait before the given retry, counted from 1, and 0 for
// retry 0 and less. It is the same for every call but for the jitter.
func (e Exponential) Delay(retry int) time.Duration { return e.scaled(retry, 1) }

// scaled is Delay with the schedule multiplied by factor below the cap. The
// factor comes before cap and jitter, so that both hold for what is waited.
func (e Exponential) scaled(retry int, factor float64) time.Duration {
	// The commonest case, all fields given, the default jitter, and the cap not yet near,
	// takes a fraction of the time.
	if e.Jitter == JitterProportional && e.Initial > 0 && e.Multiplier >= 1 && 1 <= retry && retry <= 16 {
		d := float64(e.Initial) * factor
		for range retry - 1 {
			d *= e.Multiplier
		}
		if (1+spread)*d < float64(e.Max) {
			return time.Duration(d + spread*d*rand.Float64())
		}
	}
	return e.scaledToCap(retry, factor)
}

func (e Exponential) scaledToCap(retry int, factor float64) time.Duration {
	e = e.withDefaults()
	if retry < 1 || e.Initial < 0 || e.Max <= 0 {
		return 0
	}
	limit := float64(e.Max)
	d := min(min(e.nominal(retry), limit)*factor, limit)
	switch {
	case e.Jitter == JitterNone:
	case e.Jitter == JitterFull:
		d = between(0, d)
	case e.Jitter == JitterEqual:
		d = between(d/2, d)
	case d < limit:
		d = between(d, min((1+spread)*d, limit))
	default:
		d = between((1-spread)*limit, limit)
	}
	return duration(d, e.Max)
}

// withDefaults replaces what stands for something else.
func (e Exponential) withDefaults() Exponential {
	if e.Initial == 0 {
		e.Initial = defaultInitial
	}
	if e.Max == 0 {
		e.Max = defaultMax
	}
	if e.Multiplier == 0 {
		e.Multiplier = defaultMultiplier
	}
	if !(e.Multiplier >= 1) { // true for NaN, too
		e.Multiplier = 1
	}
	return e
}

// nominal is the delay before cap and jitter, possibly +Inf. A short product is
// cheaper than math.Pow; past the cap its value no longer matters.
func (e Exponential) nominal(retry int) float64 {
	d, limit := float64(e.Initial), float64(e.Max)
	if retry > 16 {
		return d * math.Pow(e.Multiplier, float64(retry-1))
	}
	for ; retry > 1 && d < limit; retry-- {
		d *= e.Multiplier
	}
	return d
}

func between(low, high float64) float64 { return low + rand.Float64()*(high-low) }

// duration is d nanoseconds, at most limit: a float64 holds no more than 53 bits
// of a duration, and rounding up must neither pass the limit nor overflow.
func duration(d float64, limit time.Duration) time.Duration {
	if d >= float64(limit) {
		return limit
	}
	return time.Duration(d)
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

// afterServer raises a delay to what the server asked for. All clients that were
// turned away in one second are told the same whole number of seconds, so the
// wait is spread upwards, never downwards. An exact schedule stays exact.
func afterServer(delay, retryAfter time.Duration, exact bool) time.Duration {
	if retryAfter <= 0 {
		return delay
	}
	if !exact {
		room := min(retryAfter/2, math.MaxInt64-retryAfter)
		retryAfter += duration(between(0, float64(room)), room)
	}
	return max(delay, retryAfter)
}
