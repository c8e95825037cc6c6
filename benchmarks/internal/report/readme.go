// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
)

// readmeRows are the contenders that README.md shows beside the best library of each
// column.
var readmeRows = []string{alone, byHand, prepared, options}

// Readme renders the short table for README.md, in Markdown: four contenders, the best
// library of each column, and a sentence that lists where k8sretry loses.
func (r *Results) Readme(c Circumstances) string {
	var b strings.Builder
	b.WriteString("| time, × the loop written by hand, allocations |")
	for _, s := range situations {
		fmt.Fprintf(&b, " %s |", s.label)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(situations)) + "\n")
	for _, name := range readmeRows {
		who := find(contenders, name)
		fmt.Fprintf(&b, "| %s |", who.label)
		for _, s := range situations {
			fmt.Fprintf(&b, " %s |", r.shortCell(s, who))
		}
		b.WriteString("\n")
	}
	b.WriteString("| the best other library of each column |")
	for _, s := range situations {
		peer, ok := r.bestPeer(s)
		if !ok {
			b.WriteString(" - |")
			continue
		}
		fmt.Fprintf(&b, " %s<br>%s |", r.shortCell(s, peer), peer.label)
	}
	fmt.Fprintf(&b, "\n\n%s\n[All libraries, and the reasons](benchmarks/RESULTS.md). Medians of %d rounds on %s, %s, %s, %s (`%s` in benchmarks/).\n",
		r.readmeLosses(), r.rounds(), r.CPU, c.System, c.Go, c.Date, c.Command)
	return b.String()
}

// shortCell renders one measurement for README.md.
func (r *Results) shortCell(s situation, who contender) string {
	measured, ok := r.Get(s.name+"/"+who.name, s.unit)
	if !ok {
		return "-"
	}
	text := amount(measured.Median, s.unit)
	if r.loses(s, who) {
		text += " ✗"
	}
	text += ", " + r.times(s, who, byHand)
	if s.unit == Time {
		allocs, _ := r.Get(s.name+"/"+who.name, Allocs)
		text += ", " + thousands(allocs.Median)
	}
	return text
}

// bestPeer returns the library with the lowest median of a situation.
func (r *Results) bestPeer(s situation) (contender, bool) {
	var found contender
	var least float64
	for _, who := range contenders {
		if who.peer == "" {
			continue
		}
		if m, ok := r.Get(s.name+"/"+who.name, s.unit); ok && (found.name == "" || m.Median < least) {
			found, least = who, m.Median
		}
	}
	return found, found.name != ""
}

// readmeLosses lists in one sentence where k8sretry loses, and against whom.
func (r *Results) readmeLosses() string {
	var columns []string
	peers := map[string][]string{}
	for _, d := range r.Defeats() {
		column := fmt.Sprintf("%q, %s", d.Situation, strings.TrimPrefix(plainText(d.Ours), "k8sretry, "))
		if peers[column] == nil {
			columns = append(columns, column)
		}
		peers[column] = append(peers[column], d.Peer)
	}
	if len(columns) == 0 {
		return "No library is faster or smaller than k8sretry beyond the noise."
	}
	for i, column := range columns {
		columns[i] = column + " (against " + strings.Join(peers[column], "; ") + ")"
	}
	return "k8sretry loses (✗, beyond the noise): " + strings.Join(columns, ", ") + "."
}
