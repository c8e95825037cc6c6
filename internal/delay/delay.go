// SPDX-License-Identifier: Apache-2.0

// Package delay computes how long to wait: exponential schedules, their jitter and their
// cap, and waits that a server asked for.
package delay

import (
	"math"
	"math/rand/v2"
	"time"
)

// MaxSharedRetryAfter is the longest Retry-After that applies to calls other than the one
// that received it. A longer one may be a mistake.
const MaxSharedRetryAfter = 5 * time.Minute

// Between returns a random number in [low, high).
func Between(low, high float64) float64 { return low + rand.Float64()*(high-low) }

// Clamp returns d nanoseconds, at most limit. A float64 holds only 53 bits of a duration:
// rounding up must neither exceed the limit nor overflow.
func Clamp(d float64, limit time.Duration) time.Duration {
	if d >= float64(limit) {
		return limit
	}
	return time.Duration(d)
}

// Around spreads d over [d/2, 3d/2). It returns 0 if d is not positive.
func Around(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

// AtLeast raises d to what the server asked for with a Retry-After. All clients that are
// rejected within the same second receive the same whole number of seconds. So that they do
// not return together, the Retry-After is extended by a random share of up to a half, unless
// exact is set.
func AtLeast(d, retryAfter time.Duration, exact bool) time.Duration {
	if retryAfter <= 0 {
		return d
	}
	if !exact {
		room := min(retryAfter/2, math.MaxInt64-retryAfter)
		retryAfter += Clamp(Between(0, float64(room)), room)
	}
	return max(d, retryAfter)
}

// Within returns d if it is at most left. Else it draws another delay, from the least that d
// could have been up to the middle between that and left, so that some time remains after
// it. It returns left if not even the least is shorter.
func Within(d, least, left time.Duration) time.Duration {
	if d <= left {
		return d
	}
	room := max(0, left-least) / 2
	return min(least+Clamp(Between(0, float64(room)), room), left)
}
