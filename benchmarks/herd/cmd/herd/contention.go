package main

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contention"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/report"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// The scenario that is a model of its own.
const (
	contentionName  = "S1"
	contentionTitle = "Contention: N clients add one to one object, with optimistic concurrency; writes, and seconds until all are done"
)

// trials are averaged, three times as many where there is a target: one is short, and
// much of it is chance.
const trials = 20

// crowds are the numbers of clients; the targets are for one of them.
var crowds = []int{10, 50, 100, 190}

const targetCrowd = 100

// The targets, with the clients in processes of their own and in one.
var (
	targetApart    = contention.Figures{Writes: 810, Seconds: 5.0}
	targetTogether = contention.Figures{Writes: 200, Seconds: 4.2}
)

// crowd is what became of one caller.
type crowd struct {
	caller   contention.Caller
	apart    []contention.Figures // by crowds
	together contention.Figures   // of targetCrowd
}

// contention runs S1.
func (s *settings) contention(t *testing.T) (report.Table, []string) {
	var all []*crowd
	var runs []func()
	for _, caller := range contention.Callers() {
		if !s.takesPart(caller.Name) {
			continue
		}
		c := &crowd{caller: caller, apart: make([]contention.Figures, len(crowds))}
		all = append(all, c)
		for i, n := range crowds {
			runs = append(runs, func() { c.apart[i] = mean(n, n, s.seed, caller) })
		}
		runs = append(runs, func() { c.together = mean(targetCrowd, 1, s.seed, caller) })
	}
	if !sim.InBubbles(t, runs) {
		panic("a run has failed; what it said stands above")
	}
	var table report.Table
	head := []string{"N clients"}
	for _, n := range crowds {
		head = append(head, fmt.Sprintf("N = %d", n))
	}
	table.Row(append(head, fmt.Sprintf("N = %d, in one process", targetCrowd), "fail at N = 100")...)
	oracle := []string{"oracle"}
	for _, n := range append(crowds, targetCrowd) {
		// One write after the other, by whoever has read what the one before has stored.
		oracle = append(oracle, fmt.Sprintf("%d / %.2f s", n, 0.02*float64(n)+0.02))
	}
	table.Row(append(oracle, "0 %")...)
	var missed []string
	for _, c := range all {
		row := []string{c.caller.Name}
		if c.caller.Ours {
			row[0] = "**" + row[0] + "**"
		}
		for i, n := range crowds {
			row = append(row, c.cell(c.apart[i], n == targetCrowd, targetApart, "apart", &missed))
		}
		row = append(row, c.cell(c.together, true, targetTogether, "in one process", &missed))
		table.Row(append(row, fmt.Sprintf("%d %%", 100-100*c.apart[2].Done/crowds[2]))...)
	}
	table.Row("target", "", "", fmt.Sprintf("≤ %.0f / %.1f s", targetApart.Writes, targetApart.Seconds), "",
		fmt.Sprintf("≤ %.0f / %.1f s", targetTogether.Writes, targetTogether.Seconds), "")
	return table, missed
}

// takesPart reports whether a caller is asked for. It has the name of the contender, and
// more.
func (s *settings) takesPart(name string) bool {
	for _, pattern := range s.contenders {
		if end, whole := strings.CutSuffix(pattern, "$"); whole && strings.HasSuffix(strings.TrimSuffix(name, ", Modify"), end) ||
			!whole && strings.Contains(name, pattern) {
			return true
		}
	}
	return len(s.contenders) == 0
}

// cell shows figures, and notes where a target is missed.
func (c *crowd) cell(f contention.Figures, targeted bool, target contention.Figures, where string, missed *[]string) string {
	text := fmt.Sprintf("%.0f / %.2f s", f.Writes, f.Seconds)
	if targeted && c.caller.Name == contender.Champion+", Modify" && (f.Writes > target.Writes || math.Round(10*f.Seconds)/10 > target.Seconds || f.Done < targetCrowd) {
		*missed = append(*missed, fmt.Sprintf("%s, %d clients %s: %s, target %.0f / %.1f s", contentionName, targetCrowd, where, text, target.Writes, target.Seconds))
		text += " ✗"
	}
	return text
}

// mean is that of all trials. They run one after the other in the caller's bubble.
func mean(n, processes int, seed uint64, c contention.Caller) (mean contention.Figures) {
	times := trials
	if n == targetCrowd {
		times *= 3
	}
	done := 0
	for trial := range times {
		f := contention.Run(n, processes, seed+uint64(trial), c.Process)
		mean.Writes += f.Writes / float64(times)
		mean.Seconds += f.Seconds / float64(times)
		done += f.Done
	}
	mean.Done = (done + times/2) / times // rounded
	return mean
}
