// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const round = `goos: linux
goarch: amd64
pkg: github.com/k8sretry/k8sretry/benchmarks
cpu: AMD EPYC
BenchmarkSuccess/hand-2         	 5092274	         6.25 ns/op	       0 B/op	       0 allocs/op
BenchmarkSuccess/k8sretry-prepared-2 	 4131649	 7.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkClassify/wrapped503/hand 	 1934859	        18.19 ns/op	       0 B/op	       0 allocs/op
BenchmarkWaiting/hand-2         	       1	 143675565 ns/op	      3268 B/waiting
BenchmarkNoise said something at length here
PASS
`

func parsed(t *testing.T, outputs ...string) *Results {
	t.Helper()
	r := new(Results)
	for _, out := range outputs {
		require.NoError(t, r.Parse(strings.NewReader(out)))
	}
	return r
}

func median(t *testing.T, r *Results, benchmark, unit string) float64 {
	t.Helper()
	s, ok := r.Get(benchmark, unit)
	require.True(t, ok, "%s in %s", benchmark, unit)
	return s.Median
}

func TestParse(t *testing.T) {
	r := parsed(t, round)
	assert.Equal(t, "AMD EPYC", r.CPU)
	assert.Equal(t, 6.25, median(t, r, "Success/hand", Time))
	assert.Equal(t, 0.0, median(t, r, "Success/hand", Allocs))
	assert.Equal(t, 7.5, median(t, r, "Success/k8sretry-prepared", Time), "only the number of processors is cut")
	assert.Equal(t, 18.19, median(t, r, "Classify/wrapped503/hand", Time), "one processor: no suffix, and 503 is no such")
	assert.Equal(t, 3268.0, median(t, r, "Waiting/hand", Waiting))
	_, ok := r.Get("Success/plain", Time)
	assert.False(t, ok, "not measured")
}

func TestParseRefusesFailures(t *testing.T) {
	for _, line := range []string{
		"--- FAIL: BenchmarkSuccess/hand",
		"    --- FAIL: BenchmarkSuccess/hand",
		"panic: runtime error",
		"BenchmarkSuccess/hand 	 10	 fast ns/op",
	} {
		assert.Error(t, new(Results).Parse(strings.NewReader(round+line+"\n")), line)
	}
}

func TestSummaryOverRounds(t *testing.T) {
	for _, c := range []struct {
		name              string
		values            []float64
		median, low, high float64
	}{
		{"one round", []float64{7}, 7, 7, 7},
		{"two rounds meet in the middle", []float64{4, 8}, 6, 5, 7},
		{"an odd number, unsorted", []float64{9, 1, 5}, 5, 3, 7},
		{"one wild round changes little", []float64{5, 5, 5, 5, 900}, 5, 5, 5},
		{"an even number", []float64{1, 2, 3, 4}, 2.5, 1.75, 3.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := new(Results)
			for _, v := range c.values {
				r.add("x", Time, v)
			}
			s, ok := r.Get("x", Time)
			require.True(t, ok)
			assert.Equal(t, Summary{c.median, c.low, c.high, len(c.values)}, s)
		})
	}
}

func TestRatioIsTakenWithinEachRound(t *testing.T) {
	r := new(Results)
	for _, slow := range []float64{1, 3, 1, 3, 3} { // the machine is slow for both
		r.add("a", Time, 15*slow)
		r.add("b", Time, 10*slow)
	}
	ratio, ok := r.Ratio("a", "b", Time)
	assert.True(t, ok)
	assert.Equal(t, 1.5, ratio)

	_, ok = r.Ratio("a", "nobody", Time)
	assert.False(t, ok)
	r.add("zero", Allocs, 0)
	_, ok = r.Ratio("zero", "zero", Allocs)
	assert.False(t, ok, "nothing is no measure")
}

func TestSpread(t *testing.T) {
	assert.Equal(t, 0.5, Summary{Median: 8, Low: 6, High: 10}.Spread())
	assert.Zero(t, Summary{}.Spread())
}

func TestNoiseLeavesOutWaiting(t *testing.T) {
	r := new(Results)
	for _, v := range []float64{1, 2, 3} {
		r.add("Success/hand", Time, v)
		r.add("Waiting/hand", Time, v*v*100)
	}
	rounds, typical, worst := r.noise()
	assert.Equal(t, 3, rounds)
	assert.Equal(t, 0.25, typical)
	assert.Equal(t, 0.25, worst)
}

// rounds adds the same benchmark three times, around v.
func rounds(r *Results, benchmark, unit string, v float64) {
	r.add(benchmark, unit, v*0.99)
	r.add(benchmark, unit, v)
	r.add(benchmark, unit, v*1.01)
}

func TestDefeats(t *testing.T) {
	measured := func(values map[string]float64) *Results {
		r := new(Results)
		for name, v := range values {
			rounds(r, name, Time, v)
		}
		return r
	}
	for _, c := range []struct {
		name   string
		values map[string]float64
		lost   []string
	}{
		{"the fastest library", map[string]float64{"Success/k8sretry-prepared": 7, "Success/avast-best": 20}, nil},
		{"a peer is ahead", map[string]float64{"Success/k8sretry-prepared": 20, "Success/avast-best": 7}, []string{"avast/retry-go, best"}},
		{"a peer is ahead within the noise", map[string]float64{"Success/k8sretry-prepared": 20, "Success/avast-best": 19.9}, nil},
		{"usual forms meet options, not policies", map[string]float64{"Success/k8sretry-prepared": 20, "Success/k8sretry-options": 5, "Success/avast-usual": 7}, nil},
		{"the loop by hand is no library", map[string]float64{"Success/k8sretry-prepared": 20, "Success/hand": 5, "Success/plain": 1}, nil},
		{"a piece of the work", map[string]float64{"Delay/k8sretry": 20, "Delay/wait": 5, "Delay/hand": 5}, []string{"apimachinery wait.Backoff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lost []string
			for _, d := range measured(c.values).Defeats() {
				lost = append(lost, d.Peer)
			}
			assert.Equal(t, c.lost, lost)
		})
	}
}

func TestDefeatsAreMarked(t *testing.T) {
	r := new(Results)
	rounds(r, "Success/k8sretry-prepared", Time, 20)
	rounds(r, "Success/avast-best", Time, 7)
	rounds(r, "NotFound/k8sretry-prepared", Time, 20)
	full := r.Full(Circumstances{})
	assert.Contains(t, full, "| 20.0 ns ✗<br>-, 0 B, 0 | 20.0 ns<br>-, 0 B, 0 |", "only the column that is lost is marked")
	assert.Contains(t, full, "success: k8sretry, policy prepared takes 20.0 ns, avast/retry-go, best takes 7.00 ns")
	assert.Contains(t, full, "✗ lost")

	rounds(r, "TwoFailures/k8sretry-prepared", Time, 5)
	rounds(r, "TwoFailures/avast-best", Time, 7)
	assert.NotContains(t, r.Full(Circumstances{}), "5.00 ns ✗", "the label of this column ends with that of the lost one")
}

func TestReadmeHasFiveRowsAndTheLosses(t *testing.T) {
	r := new(Results)
	rounds(r, "Success/hand", Time, 10)
	rounds(r, "Success/k8sretry-prepared", Time, 20)
	rounds(r, "Success/avast-best", Time, 7)
	rounds(r, "Success/gax-usual", Time, 6)
	rounds(r, "Success/gax-usual", Allocs, 2)
	readme := r.Readme(Circumstances{})
	assert.Equal(t, 1+5, strings.Count(readme, "\n| "), "the delimiter row and five rows")
	assert.Contains(t, readme, "| **k8sretry**, policy prepared | 20.0 ns ✗, 2.00×, 0 |")
	assert.Contains(t, readme, "| the best other library of each column | 6.00 ns, 0.60×, 2<br>gax-go Invoke, usual | - |", "the lowest median of all forms")
	assert.Contains(t, readme, "\nk8sretry loses (✗, beyond the noise): \"success\", policy prepared (against avast/retry-go, best).\n")
}

func TestReadmeWithoutLosses(t *testing.T) {
	assert.Contains(t, new(Results).Readme(Circumstances{}), "No library is faster or smaller than k8sretry")
}

func TestBeyond(t *testing.T) {
	alike := func(v float64) Summary { return Summary{Median: v, Low: v, High: v} }
	assert.True(t, alike(5200).Beyond(alike(5100)))
	assert.False(t, alike(5077).Beyond(alike(5074)), "less than a hundredth")
	assert.False(t, alike(5).Beyond(alike(5)))
	assert.False(t, Summary{Median: 8, Low: 6, High: 10}.Beyond(Summary{Median: 5, Low: 4, High: 6}), "they overlap")
}

func TestTargets(t *testing.T) {
	r := new(Results)
	rounds(r, "Success/hand", Time, 6)
	rounds(r, "Success/k8sretry-prepared", Time, 9)
	rounds(r, "Success/k8sretry-options", Time, 12.2)
	rounds(r, "NotFound/k8sretry-prepared", Allocs, 1)
	rounds(r, "Waiting/k8sretry-prepared", Waiting, 3300)
	rounds(r, "Waiting/k8sretry-options", Waiting, 4001)
	verdicts := map[string]bool{}
	for _, target := range r.Targets() {
		verdicts[target.Name] = target.Pass()
	}
	assert.True(t, verdicts["success, policy prepared, to the loop by hand"], "1.5 is at most 1.5")
	assert.False(t, verdicts["success, three options in the call, to the loop by hand"])
	assert.False(t, verdicts["NotFound, k8sretry-prepared"], "an allocation")
	assert.True(t, verdicts["a waiting call, policy prepared"])
	assert.False(t, verdicts["a waiting call, three options in the call"])
	assert.False(t, verdicts["two failures then success, policy prepared, to the loop by hand"], "not measured is not kept")
	assert.Contains(t, Target{Name: "x", Measured: 1.234, Limit: 1, Unit: "×"}.String(), "LOSS  x")
	assert.Contains(t, Target{Name: "x", Missing: true}.String(), "not measured")
}

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0.891, Time, "0.89 ns"},
		{7.5, Time, "7.50 ns"},
		{17.25, Time, "17.2 ns"},
		{511.7, Time, "512 ns"},
		{9999, Time, "9,999 ns"},
		{203994, Time, "204 µs"},
		{1234567890, Time, "1,234,568 µs"},
		{3268, Waiting, "3,268 B"},
		{999, Waiting, "999 B"},
	} {
		assert.Equal(t, c.want, amount(c.v, c.unit))
	}
}

func TestSplice(t *testing.T) {
	for _, c := range []struct {
		name, document, want string
		marked               bool
	}{
		{"between markers", "a\n" + Begin + "\nold\n" + End + "\nb\n", "a\n" + Begin + "\nnew\n" + End + "\nb\n", true},
		{"nothing between them yet", Begin + End, Begin + "\nnew\n" + End, true},
		{"no markers", "a\n", "a\n", false},
		{"no end", "a" + Begin + "b", "a" + Begin + "b", false},
		{"wrong order", End + Begin, End + Begin, false},
		{"twice", Begin + End + Begin + End, Begin + End + Begin + End, false},
		{"no document", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, marked := Splice(c.document, "new\n")
			assert.Equal(t, c.marked, marked)
			assert.Equal(t, c.want, got)
		})
	}
	t.Run("twice gives the same", func(t *testing.T) {
		once, _ := Splice("a"+Begin+End+"b", "new")
		twice, _ := Splice(once, "new")
		assert.Equal(t, once, twice)
	})
}
