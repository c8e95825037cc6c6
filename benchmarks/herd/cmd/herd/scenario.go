// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/report"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/scenario"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// oracleRetries is the maximum number of retries of the oracle, as of all contenders.
const oracleRetries = 5

// result is the result of a scenario.
type result struct {
	scenario  scenario.Scenario
	setup     *sim.Setup
	processes []int
	usual     bool // load and numbers of processes are those of the targets
	oracle    outcome
	outcomes  []outcome
}

// outcome is the result of one contender, by number of processes. If the calls of a
// process share no state, there is only one, because the number makes no difference.
type outcome struct {
	contender contender.Contender
	figures   [][]scenario.Figures // of each number of processes, of each run
	records   []*sim.Record        // of the first run
}

// scenario runs a scenario with some contenders.
func (s *settings) scenario(t *testing.T, sc scenario.Scenario, contenders []contender.Contender) *result {
	share := sc.Load
	if s.load > 0 {
		share = s.load
	}
	setup := func(run int) *sim.Setup {
		setup := sc.Setup(share)
		setup.Seed = s.seed + uint64(run)
		return setup
	}
	r := &result{scenario: sc, setup: setup(0), processes: s.processes, usual: s.load == 0 && slices.Equal(s.processes, usualProcesses)}
	r.oracle = outcome{contender: contender.Contender{Name: "oracle"}, figures: [][]scenario.Figures{nil}}
	for run := range s.runs {
		record := sim.Oracle(*setup(run), oracleRetries)
		r.oracle.figures[0] = append(r.oracle.figures[0], sc.Measure(setup(run), record))
		r.oracle.records = append(r.oracle.records, record)
	}
	var runs []func()
	r.outcomes = make([]outcome, len(contenders))
	for i, c := range contenders {
		o := &r.outcomes[i]
		o.contender = c
		processes := s.processes
		if !c.Shares {
			processes = processes[len(processes)-1:]
		}
		o.figures = make([][]scenario.Figures, len(processes))
		o.records = make([]*sim.Record, len(processes))
		for j, p := range processes {
			o.figures[j] = make([]scenario.Figures, s.runs)
			for run := range s.runs {
				runs = append(runs, func() {
					setup := setup(run)
					record := sim.Run(*setup, p, c.Process)
					o.figures[j][run] = sc.Measure(setup, record)
					if run == 0 {
						record.Calls = nil
						o.records[j] = record
					}
				})
			}
		}
	}
	if !sim.InBubbles(t, runs) {
		panic("a run has failed, see above")
	}
	return r
}

// median returns the median of a figure over the runs.
func (o outcome) median(j int, of func(scenario.Figures) float64) float64 {
	var values []float64
	for _, f := range o.figures[min(j, len(o.figures)-1)] {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// worst returns the worst figure of all runs.
func (o outcome) worst(j int, m scenario.Metric) float64 {
	runs := o.figures[min(j, len(o.figures)-1)]
	worst := m.Of(runs[0])
	for _, f := range runs[1:] {
		if figure := m.Of(f); m.Better(worst, figure) {
			worst = figure
		}
	}
	return worst
}

// cell formats a metric for each number of processes, and marks a target that the main
// contender misses.
func (o outcome) cell(m scenario.Metric) string {
	var cells []string
	for j := range o.figures {
		figure := o.median(j, m.Of)
		cell := m.Format(figure)
		if met, _ := m.Meets(figure, j); !met && o.contender.Name == contender.Main && len(o.figures) == 2 {
			cell += " ✗"
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, " / ")
}

// plain is like cell without targets.
func (o outcome) plain(m scenario.Metric) string {
	m.Target = [2]float64{math.NaN(), math.NaN()}
	return o.cell(m)
}

// table returns the table of the oracle, all contenders and the targets.
func (r *result) table() report.Table {
	var t report.Table
	head, target := []string{r.title()}, []string{"target"}
	targets := false
	for _, m := range r.scenario.Metrics {
		head = append(head, m.Name)
		if math.IsNaN(m.Target[0]) {
			target = append(target, "")
			continue
		}
		targets = true
		sign := "≤ "
		if m.More {
			sign = "≥ "
		}
		cell := sign + m.Format(m.Target[0])
		if m.Target[0] != m.Target[1] {
			cell += " / " + m.Format(m.Target[1])
		}
		target = append(target, cell)
	}
	t.Row(head...)
	for _, o := range append([]outcome{r.oracle}, r.outcomes...) {
		name := o.contender.Name
		if o.contender.Ours {
			name = "**" + name + "**"
		}
		row := []string{name}
		for _, m := range r.scenario.Metrics {
			if r.usual {
				row = append(row, o.cell(m))
			} else {
				row = append(row, o.plain(m))
			}
		}
		t.Row(row...)
	}
	if targets && r.usual {
		t.Row(target...)
	}
	return t
}

func (r *result) title() string {
	var numbers []string
	for _, p := range r.processes {
		numbers = append(numbers, fmt.Sprint(p))
	}
	return strings.Join(numbers, " / ") + " processes"
}

// misses returns the targets that the limiters miss by their medians, and those that a single
// run misses by more than a tenth.
func (r *result) misses() (missed []string) {
	for _, o := range r.outcomes {
		if !slices.Contains(limiters, o.contender.Name) || !r.usual {
			continue
		}
		miss := func(j int, m scenario.Metric, what string, figure float64) {
			missed = append(missed, fmt.Sprintf("%s, %d processes, %s%s%s: %s, target %s", r.scenario.Name, r.processes[j],
				m.Name, strings.TrimPrefix(", "+o.contender.Name, ", "+contender.Main), what, m.Format(figure), m.Format(m.Target[j])))
		}
		for _, m := range r.scenario.Metrics {
			for j := range r.processes {
				figure := o.median(j, m.Of)
				if met, _ := m.Meets(figure, j); !met {
					miss(j, m, "", figure)
				} else if figure = o.worst(j, m); !m.NearlyMeets(figure, j) {
					miss(j, m, ", one run", figure)
				}
			}
		}
	}
	return missed
}

// printSeries prints the figures over time, one line per 5 s.
func (r *result) printSeries(out io.Writer) {
	for _, o := range append([]outcome{r.oracle}, r.outcomes...) {
		for j, record := range o.records {
			if j >= len(o.figures) {
				break
			}
			var t report.Table
			t.Row("second", "calls/s", "attempts/s", "refused/s", "rejected/s", "good/s", "failed/s", "wasted/s", "queue", "calls in flight")
			inFlight := 0
			for i := 0; i < len(record.Seconds); i += 5 {
				var sum sim.Second
				for _, s := range record.Seconds[i:min(i+5, len(record.Seconds))] {
					sum.Calls += s.Calls
					sum.Attempts += s.Attempts
					sum.Refused += s.Refused
					sum.Rejected += s.Rejected
					sum.Good += s.Good
					sum.Bad += s.Bad
					sum.Wasted += s.Wasted
					sum.Queue = s.Queue
				}
				inFlight += sum.Calls - sum.Good - sum.Bad
				row := []string{fmt.Sprint(i)}
				for _, n := range []int{sum.Calls, sum.Attempts, sum.Refused, sum.Rejected, sum.Good, sum.Bad, sum.Wasted} {
					row = append(row, fmt.Sprintf("%.1f", float64(n)/5))
				}
				t.Row(append(row, fmt.Sprint(sum.Queue), fmt.Sprint(inFlight))...)
			}
			processes := "any number of"
			if len(o.figures) == len(r.processes) {
				processes = fmt.Sprint(r.processes[j])
			}
			fmt.Fprintf(out, "%s, %s processes\n\n%s\n", o.contender.Name, processes, t.Markdown())
		}
	}
}
