// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"math"
)

// Metric is one column of a table.
type Metric struct {
	Name   string
	Of     func(Figures) float64
	Format func(float64) string
	// More is set if greater figures are better.
	More bool
	// Target contains the targets for 20 and for 2000 processes. NaN stands for none.
	Target [2]float64
}

// within returns the metric with targets for 20 and 2000 processes.
func (m Metric) within(few, many float64) Metric {
	m.Target = [2]float64{few, many}
	return m
}

// Meets reports whether a figure meets the target, and whether there is one. Figures are
// compared as they are printed, after rounding.
func (m Metric) Meets(figure float64, processes int) (met, hasTarget bool) {
	target := m.Target[processes]
	if math.IsNaN(target) {
		return true, false
	}
	if m.Format(figure) == m.Format(target) {
		return true, true
	}
	return !m.Better(target, figure), true
}

// NearlyMeets reports whether a figure misses the target by no more than a tenth of it.
func (m Metric) NearlyMeets(figure float64, processes int) bool {
	tenth := m.Target[processes] / 10
	if m.More {
		tenth = -tenth
	}
	m.Target[processes] += tenth
	met, _ := m.Meets(figure, processes)
	return met
}

// Better reports whether the first figure is better than the second.
func (m Metric) Better(a, b float64) bool {
	if m.More {
		return a > b
	}
	return a < b
}

// The formats of figures.
func times(x float64) string { return fmt.Sprintf("%.2f×", x) }
func count(x float64) string { return fmt.Sprintf("%.2f", x) }

func percent(x float64) string {
	if x > 0.995 && x < 1 {
		return fmt.Sprintf("%.2f %%", math.Floor(1e4*x)/100)
	}
	return fmt.Sprintf("%.1f %%", 100*x)
}

func elapsed(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return "never"
	case math.IsNaN(x):
		return "none"
	case x < 0.1:
		return fmt.Sprintf("%.0f ms", 1000*x)
	case x < 10:
		return fmt.Sprintf("%.2g s", x)
	}
	return fmt.Sprintf("%.0f s", x)
}

func metric(name string, format func(float64) string, more bool, of func(Figures) float64) Metric {
	return Metric{Name: name, Format: format, More: more, Of: of, Target: [2]float64{math.NaN(), math.NaN()}}
}

// The columns.
var (
	peak      = metric("peak load relative to offered load", times, false, func(f Figures) float64 { return f.Peak })
	limitPeak = metric("busiest second relative to the limit", times, false, func(f Figures) float64 { return f.LimitPeak })
	busiest   = metric("busiest second after the fault relative to capacity", times, false, func(f Figures) float64 { return f.Busiest })
	goodput   = metric("goodput during the fault, % of capacity", percent, true, func(f Figures) float64 { return f.Goodput })
	inTime    = metric("calls completed within 1 s", percent, true, func(f Figures) float64 { return f.InTime })
	recovery  = metric("recovery time", elapsed, false, func(f Figures) float64 { return f.Recovery })
	success   = metric("success of calls started during the fault", percent, true, func(f Figures) float64 { return f.Success })

	done99      = metric("time until 99 % of them succeeded", elapsed, false, func(f Figures) float64 { return f.Done99 })
	successAll  = metric("success", percent, true, func(f Figures) float64 { return f.SuccessAll })
	attempts    = metric("attempts per call started during the fault", count, false, func(f Figures) float64 { return f.Attempts })
	attemptsAll = metric("attempts per call", count, false, func(f Figures) float64 { return f.AttemptsAll })
	early       = metric("Retry-After ignored", percent, false, func(f Figures) float64 { return f.Early })
	meanTime    = metric("mean duration", elapsed, false, func(f Figures) float64 { return f.Mean })
	median      = metric("median duration", elapsed, false, func(f Figures) float64 { return f.Median })
	p99         = metric("p99 duration", elapsed, false, func(f Figures) float64 { return f.P99 })
)
