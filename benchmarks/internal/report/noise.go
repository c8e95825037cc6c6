// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"strings"
)

// noise returns the number of rounds and how far half of the rounds lie from
// their median, in parts of it: of the middle row, and of the worst.
func (r *Results) noise() (rounds int, typical, worst float64) {
	var spreads []float64
	for k := range r.series {
		if k.unit != Time || isWaiting(k.benchmark) {
			continue
		}
		s, _ := r.Get(k.benchmark, k.unit)
		rounds = max(rounds, s.Rounds)
		spreads = append(spreads, s.Spread()/2)
	}
	if len(spreads) == 0 {
		return 0, 0, 0
	}
	slices.Sort(spreads)
	return rounds, quantile(spreads, 0.5), spreads[len(spreads)-1]
}

func isWaiting(benchmark string) bool { return strings.HasPrefix(benchmark, "Waiting/") }

// rounds returns the number of rounds.
func (r *Results) rounds() int {
	n, _, _ := r.noise()
	return n
}
