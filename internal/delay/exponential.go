// SPDX-License-Identifier: Apache-2.0

package delay

import (
	"math"
	"math/rand/v2"
	"time"
)

// Jitter is a way to spread a delay d below a cap.
type Jitter uint8

// The ways to spread a delay.
const (
	Proportional Jitter = iota // [d, 1.2d], and [0.8cap, cap] once d has reached the cap
	Full                       // [0, d]
	Equal                      // [d/2, d]
	None                       // d
)

// Spread is the share of a delay that Proportional adds or, at the cap, subtracts.
const Spread = 0.2

// The defaults of an Exponential.
const (
	DefaultInitial    = time.Second
	DefaultMax        = 30 * time.Second
	DefaultMultiplier = 2.0
)

// Exponential is a capped exponential schedule. A field that is 0 stands for its default,
// a negative Initial or Max for 0, a Multiplier below 1 or NaN for 1, an unknown Jitter
// for Proportional. No input makes it panic or overflow.
type Exponential struct {
	Initial    time.Duration
	Max        time.Duration
	Multiplier float64
	Jitter     Jitter
}

// Delay returns the delay before the given retry, counted from 1, in [0, Max]. It is 0 if
// retry is less than 1.
func (e Exponential) Delay(retry int) time.Duration { return e.Scaled(retry, 1) }

// Scaled is Delay with the schedule multiplied by factor. The factor applies before cap and
// jitter, so both hold for the result.
func (e Exponential) Scaled(retry int, factor float64) time.Duration {
	// The common case: all fields are set, the default jitter, and the cap is not near.
	if e.Jitter == Proportional && e.Initial > 0 && e.Multiplier >= 1 && 1 <= retry && retry <= 16 {
		d := float64(e.Initial) * factor
		for range retry - 1 {
			d *= e.Multiplier
		}
		if (1+Spread)*d < float64(e.Max) {
			return time.Duration(d + Spread*d*rand.Float64())
		}
	}
	return e.scaledToCap(retry, factor)
}

// Least returns the least that Scaled returns for the same arguments.
func (e Exponential) Least(retry int, factor float64) time.Duration {
	jitter := e.Jitter
	e.Jitter = None
	d := e.scaledToCap(retry, factor)
	switch limit := e.WithDefaults().Max; {
	case jitter == None || d == 0:
	case jitter == Full:
		return 0
	case jitter == Equal:
		return d / 2
	case d >= limit:
		return Clamp((1-Spread)*float64(limit), limit)
	}
	return d
}

func (e Exponential) scaledToCap(retry int, factor float64) time.Duration {
	e = e.WithDefaults()
	if retry < 1 || e.Initial < 0 || e.Max <= 0 {
		return 0
	}
	limit := float64(e.Max)
	d := min(min(e.nominal(retry), limit)*factor, limit)
	switch {
	case e.Jitter == None:
	case e.Jitter == Full:
		d = Between(0, d)
	case e.Jitter == Equal:
		d = Between(d/2, d)
	case d < limit:
		d = Between(d, min((1+Spread)*d, limit))
	default:
		d = Between((1-Spread)*limit, limit)
	}
	return Clamp(d, e.Max)
}

// Sum returns the sum of the delays before the given number of retries without jitter, in
// nanoseconds. Delays are taken to be constant from the 64th on.
func (e Exponential) Sum(retries int) (sum float64) {
	e = e.WithDefaults()
	d, limit := max(0, float64(e.Initial)), max(0, float64(e.Max))
	for retry := 1; retry <= retries; retry++ {
		if d >= limit || retry == 64 {
			return sum + float64(retries-retry+1)*min(d, limit)
		}
		sum += d
		d *= e.Multiplier
	}
	return sum
}

// WithDefaults returns e with its defaults filled in.
func (e Exponential) WithDefaults() Exponential {
	if e.Initial == 0 {
		e.Initial = DefaultInitial
	}
	if e.Max == 0 {
		e.Max = DefaultMax
	}
	if e.Multiplier == 0 {
		e.Multiplier = DefaultMultiplier
	}
	if !(e.Multiplier >= 1) { // also true for NaN
		e.Multiplier = 1
	}
	return e
}

// nominal is the delay before cap and jitter, possibly +Inf. A short product is cheaper
// than math.Pow; beyond the cap its value does not matter.
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
