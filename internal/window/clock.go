// SPDX-License-Identifier: Apache-2.0

package window

import "time"

// Epoch is what a new [Clock] reads. It is a century, so that readings stay positive in a
// bubble of testing/synctest, where the year is 2000, for a Clock made outside of it.
const Epoch = 100 * 365 * 24 * time.Hour

// Clock is a monotonic clock. Its readings are durations: smaller than a time.Time, and
// comparable without its methods.
type Clock struct{ base time.Time }

// NewClock returns a Clock that reads [Epoch] now.
func NewClock() Clock { return Clock{time.Now()} }

// Now returns the current reading, which is never 0.
func (c Clock) Now() time.Duration { return time.Since(c.base) + Epoch }

// At returns the reading at a given time.
func (c Clock) At(t time.Time) time.Duration { return t.Sub(c.base) + Epoch }
