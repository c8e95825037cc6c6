// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"
	"time"
)

// Point is a rate per second at a time.
type Point struct {
	At   time.Duration
	Rate float64
}

// Curve is a rate over time. It is linear between its points, and constant before the first
// and after the last. Two points at the same time are a step.
type Curve []Point

// Constant returns a constant rate.
func Constant(rate float64) Curve { return Curve{{0, rate}} }

// At returns the rate at t. At a step, it returns the rate after the step.
func (c Curve) At(t time.Duration) float64 {
	for i := len(c) - 1; i >= 0; i-- {
		if t < c[i].At {
			continue
		}
		if i == len(c)-1 {
			return c[i].Rate
		}
		share := float64(t-c[i].At) / float64(c[i+1].At-c[i].At)
		return c[i].Rate + share*(c[i+1].Rate-c[i].Rate)
	}
	return c[0].Rate
}

// Total returns the area under the curve from 0 to t.
func (c Curve) Total(t time.Duration) float64 {
	var total float64
	for from := time.Duration(0); from < t; {
		to := min(c.segmentEnd(from), t)
		total += c.area(from, to)
		from = to
	}
	return total
}

// Reach returns the time at which the area under the curve from 0 reaches total.
func (c Curve) Reach(total float64) time.Duration {
	from := time.Duration(0)
	for {
		to := c.segmentEnd(from)
		if to == math.MaxInt64 {
			rate := c.At(from)
			if rate <= 0 {
				return math.MaxInt64
			}
			return from + seconds(total/rate)
		}
		area := c.area(from, to)
		if area >= total {
			return from + c.within(from, to, total)
		}
		total -= area
		from = to
	}
}

// segmentEnd returns the end of the linear segment at t.
func (c Curve) segmentEnd(t time.Duration) time.Duration {
	for _, p := range c {
		if p.At > t {
			return p.At
		}
	}
	return math.MaxInt64
}

// area returns the area between two times of one segment.
func (c Curve) area(from, to time.Duration) float64 {
	return (c.At(from) + c.before(to)) / 2 * (to - from).Seconds()
}

// before returns the rate just before t.
func (c Curve) before(t time.Duration) float64 {
	for i, p := range c {
		if p.At == t && i > 0 {
			return p.Rate
		}
	}
	return c.At(t)
}

// within returns the time after from at which the area within a segment is reached.
func (c Curve) within(from, to time.Duration, area float64) time.Duration {
	rate := c.At(from)
	slope := (c.before(to) - rate) / (to - from).Seconds()
	if math.Abs(slope) < 1e-9 {
		return seconds(area / rate)
	}
	return seconds((math.Sqrt(rate*rate+2*slope*area) - rate) / slope)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
