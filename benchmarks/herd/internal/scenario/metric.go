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
	// More says that a greater figure is a better one.
	More bool
	// Target is the bound with state shared by 20 processes and by 2000; NaN is none.
	Target [2]float64
}

// within is the metric with targets.
func (m Metric) within(few, many float64) Metric {
	m.Target = [2]float64{few, many}
	return m
}

// Meets reports whether a figure reaches a target, and whether there is one. A figure
// counts as it is shown: what rounds to the target has reached it.
func (m Metric) Meets(figure float64, processes int) (met, asked bool) {
	target := m.Target[processes]
	if math.IsNaN(target) {
		return true, false
	}
	if m.Format(figure) == m.Format(target) {
		return true, true
	}
	return !m.Better(target, figure), true
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
	peak        = metric("peak load, of the offered", times, false, func(f Figures) float64 { return f.Peak })
	limitPeak   = metric("busiest second, of the limit", times, false, func(f Figures) float64 { return f.LimitPeak })
	busiest     = metric("busiest second after the return, of the capacity", times, false, func(f Figures) float64 { return f.Busiest })
	goodput     = metric("goodput in the trouble, of the capacity", percent, true, func(f Figures) float64 { return f.Goodput })
	inTime      = metric("calls done within 1 s", percent, true, func(f Figures) float64 { return f.InTime })
	recovery    = metric("recovery after", elapsed, false, func(f Figures) float64 { return f.Recovery })
	success     = metric("success of the calls made in the trouble", percent, true, func(f Figures) float64 { return f.Success })
	done        = metric("calls waiting at the return that are done", percent, true, func(f Figures) float64 { return f.Success })
	done99      = metric("99 % of them after", elapsed, false, func(f Figures) float64 { return f.Done99 })
	successAll  = metric("success", percent, true, func(f Figures) float64 { return f.SuccessAll })
	attempts    = metric("attempts per call made in the trouble", count, false, func(f Figures) float64 { return f.Attempts })
	attemptsAll = metric("attempts per call", count, false, func(f Figures) float64 { return f.AttemptsAll })
	early       = metric("Retry-After ignored", percent, false, func(f Figures) float64 { return f.Early })
	added       = metric("mean time of a call", elapsed, false, func(f Figures) float64 { return f.Mean })
	median      = metric("median", elapsed, false, func(f Figures) float64 { return f.Median })
	p99         = metric("p99", elapsed, false, func(f Figures) float64 { return f.P99 })
)
