// SPDX-License-Identifier: Apache-2.0

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

// The contention scenario has its own model.
const (
	contentionName  = "S1"
	contentionTitle = "Contention: N clients increment one object with optimistic concurrency; number of writes, and seconds until all clients are done"
)

// trials is the number of trials that are averaged. Where there is a target, it is three
// times as many. A single trial is short and varies a lot.
const trials = 20

// clientCounts are the numbers of clients. The targets are for targetClients.
var clientCounts = []int{10, 50, 100, 190}

const targetClients = 100

// The targets, for clients in separate processes and in one process.
var (
	targetSeparate = contention.Figures{Writes: 810, Seconds: 5.0}
	targetTogether = contention.Figures{Writes: 200, Seconds: 4.2}
)

// contentionResult is the result of one caller.
type contentionResult struct {
	caller   contention.Caller
	separate []contention.Figures // in separate processes, by clientCounts
	together contention.Figures   // targetClients in one process
}

// contention runs S1.
func (s *settings) contention(t *testing.T) (report.Table, []string) {
	var all []*contentionResult
	var runs []func()
	for _, caller := range contention.Callers() {
		if !s.wantsCaller(caller.Name) {
			continue
		}
		c := &contentionResult{caller: caller, separate: make([]contention.Figures, len(clientCounts))}
		all = append(all, c)
		for i, n := range clientCounts {
			runs = append(runs, func() { c.separate[i] = mean(n, n, s.seed, caller) })
		}
		runs = append(runs, func() { c.together = mean(targetClients, 1, s.seed, caller) })
	}
	if !sim.InBubbles(t, runs) {
		panic("a run has failed, see above")
	}
	var table report.Table
	head := []string{"N clients"}
	for _, n := range clientCounts {
		head = append(head, fmt.Sprintf("N = %d", n))
	}
	table.Row(append(head, fmt.Sprintf("N = %d, in one process", targetClients), "failed at N = 100")...)
	oracle := []string{"oracle"}
	for _, n := range append(clientCounts, targetClients) {
		// One write after the other, each by a client that has read the previous write.
		oracle = append(oracle, fmt.Sprintf("%d / %.2f s", n, 0.02*float64(n)+0.02))
	}
	table.Row(append(oracle, "0 %")...)
	var missed []string
	for _, c := range all {
		row := []string{c.caller.Name}
		if c.caller.Ours {
			row[0] = "**" + row[0] + "**"
		}
		for i, n := range clientCounts {
			row = append(row, c.cell(c.separate[i], n == targetClients, targetSeparate, "in separate processes", &missed))
		}
		row = append(row, c.cell(c.together, true, targetTogether, "in one process", &missed))
		table.Row(append(row, fmt.Sprintf("%d %%", 100-100*c.separate[2].Done/clientCounts[2]))...)
	}
	table.Row("target", "", "", fmt.Sprintf("≤ %.0f / %.1f s", targetSeparate.Writes, targetSeparate.Seconds), "",
		fmt.Sprintf("≤ %.0f / %.1f s", targetTogether.Writes, targetTogether.Seconds), "")
	return table, missed
}

// wantsCaller reports whether a caller is selected. Its name starts with the name of the
// contender.
func (s *settings) wantsCaller(name string) bool {
	for _, pattern := range s.contenders {
		if end, whole := strings.CutSuffix(pattern, "$"); whole && strings.HasSuffix(strings.TrimSuffix(name, ", Modify"), end) ||
			!whole && strings.Contains(name, pattern) {
			return true
		}
	}
	return len(s.contenders) == 0
}

// cell formats figures, and adds to missed if they miss the target.
func (c *contentionResult) cell(f contention.Figures, targeted bool, target contention.Figures, where string, missed *[]string) string {
	text := fmt.Sprintf("%.0f / %.2f s", f.Writes, f.Seconds)
	if targeted && c.caller.Name == contender.Main+", Modify" && (f.Writes > target.Writes || math.Round(10*f.Seconds)/10 > target.Seconds || f.Done < targetClients) {
		*missed = append(*missed, fmt.Sprintf("%s, %d clients %s: %s, target %.0f / %.1f s", contentionName, targetClients, where, text, target.Writes, target.Seconds))
		text += " ✗"
	}
	return text
}

// mean returns the mean of all trials. They run one after the other in the bubble of the
// caller.
func mean(n, processes int, seed uint64, c contention.Caller) (mean contention.Figures) {
	times := trials
	if n == targetClients {
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
