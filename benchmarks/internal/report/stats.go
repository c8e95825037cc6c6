// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"slices"
)

// Summary says what many rounds of one measurement come to. Half of the rounds
// lie between Low and High.
type Summary struct {
	Median, Low, High float64
	Rounds            int
}

// Spread returns the width of the middle half in parts of the median: the noise
// of the machine. It is 0 for a median of 0.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.High - s.Low) / s.Median
}

// Beyond reports whether s is clearly more than t: their middle halves do not
// overlap, and more than a hundredth lies between them. Of two others, neither can
// be called the faster.
func (s Summary) Beyond(t Summary) bool { return s.Low > t.High && s.Median > 1.01*t.Median }

// Ratio returns how many times of the other benchmark a benchmark takes, and
// whether both were measured. It is the median of the ratios within each round:
// what slows the machine for a while slows both.
func (r *Results) Ratio(benchmark, other, unit string) (float64, bool) {
	a, b := r.series[key{benchmark, unit}], r.series[key{other, unit}]
	if len(a) == 0 || len(a) != len(b) {
		return 0, false
	}
	ratios := make([]float64, len(a))
	for i := range a {
		if b[i] == 0 {
			return 0, false
		}
		ratios[i] = a[i] / b[i]
	}
	slices.Sort(ratios)
	return quantile(ratios, 0.5), true
}

// Get returns the summary of a benchmark's measurements in the given unit, and
// whether there are any. Names have neither "Benchmark" nor the number of
// processors: "Success/hand".
func (r *Results) Get(benchmark, unit string) (Summary, bool) {
	values := r.series[key{benchmark, unit}]
	if len(values) == 0 {
		return Summary{}, false
	}
	sorted := slices.Sorted(slices.Values(values))
	return Summary{
		Median: quantile(sorted, 0.5),
		Low:    quantile(sorted, 0.25),
		High:   quantile(sorted, 0.75),
		Rounds: len(sorted),
	}, true
}

// quantile returns the value below which the given part of the sorted values
// lies, between two values in proportion.
func quantile(sorted []float64, part float64) float64 {
	at := part * float64(len(sorted)-1)
	below := math.Floor(at)
	low := sorted[int(below)]
	high := sorted[int(math.Ceil(at))]
	return low + (at-below)*(high-low)
}
