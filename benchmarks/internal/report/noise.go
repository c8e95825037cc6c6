package report

import (
	"cmp"
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

// quiet is a median over the third of the rounds in which the loop by hand was fastest.
// Where a processor is a thread of a core that is shared with others, everything takes half
// as long again while they work, and short code suffers more than a call of a function. The
// loop by hand tells when nobody did; whether ours was fast has no say.
func (r *Results) quiet(hand string, of func(round int) float64) float64 {
	times := r.series[key{hand, Time}]
	quiet := make([]int, len(times))
	for i := range quiet {
		quiet[i] = i
	}
	slices.SortStableFunc(quiet, func(a, b int) int { return cmp.Compare(times[a], times[b]) })
	quiet = quiet[:(len(quiet)+2)/3]
	values := make([]float64, len(quiet))
	for i, round := range quiet {
		values[i] = of(round)
	}
	slices.Sort(values)
	return quantile(values, 0.5)
}

func isWaiting(benchmark string) bool { return strings.HasPrefix(benchmark, "Waiting/") }
