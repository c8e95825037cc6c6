// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/everyday"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/report"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// everydayList are the contenders in the scenarios of everyday trouble.
var everydayList = []string{"k8sretry$", contender.Main + "$", contender.Main + " without names", "Transport with", "client-go jitter 1.0", "failsafe eager breaker", "failsafe queue and eager breaker"}

// limiters are the contenders for which everyday trouble has targets.
var limiters = []string{contender.Main, contender.Main + " without names", "k8sretry Transport with limiter"}

// everydayResult is the result of a scenario of everyday trouble.
type everydayResult struct {
	everyday.Scenario
	contenders []contender.Contender
	without    []*everyday.Record   // of k8sretry without a limiter, by row
	records    [][]*everyday.Record // by row and contender
}

// everyday runs a scenario of everyday trouble.
func (s *settings) everyday(t *testing.T, sc everyday.Scenario) *everydayResult {
	patterns := s.contenders
	if len(patterns) == 0 || s.write {
		patterns = everydayList
	}
	r := &everydayResult{Scenario: sc, contenders: contender.Named(patterns)}
	plain := contender.Named([]string{"k8sretry$"})[0]
	var runs []func()
	r.without = make([]*everyday.Record, len(sc.Rows))
	r.records = make([][]*everyday.Record, len(sc.Rows))
	for i, row := range sc.Rows {
		r.records[i] = make([]*everyday.Record, len(r.contenders))
		runs = append(runs, func() { r.without[i] = row.Run(plain.Process, s.seed) })
		for j, c := range r.contenders {
			runs = append(runs, func() { r.records[i][j] = row.Run(c.Process, s.seed) })
		}
	}
	if !sim.InBubbles(t, runs) {
		panic("a run has failed, see above")
	}
	return r
}

// table has a row for each situation, and marks the targets that a limiter misses.
func (r *everydayResult) table() report.Table {
	var t report.Table
	head := []string{"one process"}
	for _, c := range r.contenders {
		name := c.Name
		if c.Ours {
			name = "**" + name + "**"
		}
		head = append(head, name)
	}
	t.Row(append(head, "target")...)
	for i, row := range r.Rows {
		cells := []string{row.Name}
		for j, c := range r.contenders {
			cell := r.Cell(r.records[i][j])
			if slices.Contains(limiters, c.Name) && !r.Met(r.records[i][j], r.without[i]) {
				cell += " ✗"
			}
			cells = append(cells, cell)
		}
		t.Row(append(cells, r.Target)...)
	}
	return t
}

// misses returns the targets that the limiters miss.
func (r *everydayResult) misses() (missed []string) {
	for i, row := range r.Rows {
		for j, c := range r.contenders {
			if slices.Contains(limiters, c.Name) && !r.Met(r.records[i][j], r.without[i]) {
				missed = append(missed, fmt.Sprintf("%s, %s, %s: %s, target %s", r.Name, row.Name, c.Name, r.Cell(r.records[i][j]), r.Target))
			}
		}
	}
	return missed
}

// draw draws the first row over time.
func (r *everydayResult) draw() (file string, err error) {
	seconds := 0
	for _, record := range r.records[0] {
		for _, c := range record.Calls {
			seconds = max(seconds, min(300, int(c.At.Seconds())+1))
		}
	}
	well := report.Panel{Title: "longest time of a call that began in a second, in seconds, of those that are well"}
	renewals := report.Panel{Title: "the same of the renewals of a lease"}
	sent := report.Panel{Title: "requests per second of the resource that is in trouble"}
	thin := 0
	for j, c := range r.contenders {
		style := report.Bold
		switch {
		case c.Name == "k8sretry":
			style = report.Grey
		case c.Name == contender.Main:
		case c.Ours:
			continue
		default:
			style = report.Thins[thin%len(report.Thins)]
			thin++
		}
		record := r.records[0][j]
		well.Lines = append(well.Lines, report.Line{Name: c.Name, Style: style, Values: record.Longest(sim.Get, seconds)})
		renewals.Lines = append(renewals.Lines, report.Line{Name: c.Name, Style: style, Values: record.Longest(sim.Renew, seconds)})
		sent.Lines = append(sent.Lines, report.Line{Name: c.Name, Style: style, Values: record.Sent(seconds)})
	}
	panels := []report.Panel{well}
	if _, all := r.records[0][0].Failed(sim.Renew); all > 0 {
		panels = append(panels, renewals)
	}
	if len(r.records[0][0].Attempts) > 0 {
		panels = append(panels, sent)
	}
	file = filepath.Join(picturesDir, r.Name+".svg")
	return file, report.Draw(file, r.Name+": "+r.Rows[0].Name, panels)
}
