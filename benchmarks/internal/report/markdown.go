// SPDX-License-Identifier: Apache-2.0

package report

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// why explains the losses. It is written by hand and must be checked when the figures change.
//
//go:embed why.md
var why string

// Circumstances describe the machine and the run that the figures come from.
type Circumstances struct {
	Go, System, Date, Command string
	Processors                int
	// Versions holds the version of each of [Peers], by module.
	Versions map[string]string
}

// overview renders the table of all contenders and those of the parts.
func (r *Results) overview() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, s := range situations {
		fmt.Fprintf(&b, " %s |", s.label)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(situations)) + "\n")
	for _, who := range contenders {
		fmt.Fprintf(&b, "| %s |", who.label)
		for _, s := range situations {
			fmt.Fprintf(&b, " %s |", r.cell(s, who))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nEach cell: the time per call; the ratio to the loop written by hand, bytes and allocations per call.\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "\n| %s |", p.label)
		for _, s := range p.columns {
			fmt.Fprintf(&b, " %s |", s.label)
		}
		b.WriteString("\n|---|" + strings.Repeat("---:|", len(p.columns)) + "\n")
		for _, who := range p.rows {
			fmt.Fprintf(&b, "| %s |", who.label)
			for _, s := range p.columns {
				fmt.Fprintf(&b, " %s |", r.cell(s, who))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// cell renders one measurement of the overview.
func (r *Results) cell(s situation, who contender) string {
	measured, ok := r.Get(s.name+"/"+who.name, s.unit)
	if !ok {
		return "-"
	}
	text := amount(measured.Median, s.unit)
	if r.loses(s, who) {
		text += " ✗"
	}
	text += "<br>" + r.times(s, who, byHand)
	if s.unit == Time {
		allocs, _ := r.Get(s.name+"/"+who.name, Allocs)
		bytes, _ := r.Get(s.name+"/"+who.name, Bytes)
		text += fmt.Sprintf(", %s B, %s", thousands(bytes.Median), thousands(allocs.Median))
	}
	return text
}

// loses reports whether a library is clearly ahead of this row of ours.
func (r *Results) loses(s situation, who contender) bool {
	for _, d := range r.Defeats() {
		if d.Ours == who.label && d.benchmark == s.name {
			return true
		}
	}
	return false
}

// times renders the ratio of a measurement to another row of its situation.
func (r *Results) times(s situation, who contender, base string) string {
	ratio, ok := r.Ratio(s.name+"/"+who.name, s.name+"/"+base, s.unit)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f×", ratio)
}

func (r *Results) losses() string {
	defeats := r.Defeats()
	if len(defeats) == 0 {
		return "No library is faster or smaller than k8sretry beyond the noise: wherever a median is lower, the middle halves of the rounds overlap.\n"
	}
	var b strings.Builder
	b.WriteString("What a library does better than k8sretry beyond the noise (✗ in the tables):\n\n")
	for _, d := range defeats {
		fmt.Fprintf(&b, "- %s.\n", d)
	}
	return b.String()
}

func (r *Results) circumstances(c Circumstances) string {
	versions := make([]string, 0, len(Peers))
	for _, peer := range Peers {
		versions = append(versions, strings.TrimSpace(peer+" "+c.Versions[peer]))
	}
	rounds, low, high := r.noise()
	return fmt.Sprintf("Medians of %d rounds; every round runs all contenders. Half of the rounds of a row are within %.0f %% of its median in the typical case, "+
		"within %.0f %% in the worst. %s, %d processors, %s, %s, %s. Peers: %s. Regenerate with `%s` in benchmarks/.\n",
		rounds, 100*low, 100*high, r.CPU, c.Processors, c.System, c.Go, c.Date, strings.Join(versions, ", "), c.Command)
}

// Full renders every figure, in Markdown.
func (r *Results) Full(c Circumstances) string {
	var b strings.Builder
	b.WriteString("# Benchmark results\n\nThis file is generated. [doc.go](doc.go) describes what is measured and how.\n\n" + r.circumstances(c) +
		"\n## Overview\n\n" + r.overview() + "\n## Losses\n\n" + r.losses() + "\n" + why)
	for _, s := range situations {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", upper(s.label), s.about)
		r.table(&b, s, contenders)
	}
	for _, p := range parts {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", p.label, p.about)
		for _, s := range p.columns {
			fmt.Fprintf(&b, "\n### %s\n\n", upper(s.label))
			r.table(&b, s, p.rows)
		}
	}
	b.WriteString("\n## Targets\n\nThe limits that the project sets itself, checked by `go run ./cmd/table -check`:\n\n```\n")
	for _, t := range r.Targets() {
		fmt.Fprintln(&b, t)
	}
	b.WriteString("```\n")
	return b.String()
}

func (r *Results) table(b *strings.Builder, s situation, rows []contender) {
	b.WriteString("| | " + s.unit + " | ± | B/op | allocs/op | to the call alone | to the loop by hand | |\n|---|---:|---:|---:|---:|---:|---:|---|\n")
	for _, who := range rows {
		measured, ok := r.Get(s.name+"/"+who.name, s.unit)
		if !ok {
			continue
		}
		bytes, allocs := "-", "-"
		if s.unit == Time {
			if v, ok := r.Get(s.name+"/"+who.name, Bytes); ok {
				bytes = thousands(v.Median)
			}
			if v, ok := r.Get(s.name+"/"+who.name, Allocs); ok {
				allocs = thousands(v.Median)
			}
		}
		note := who.note
		if r.loses(s, who) {
			note = "✗ lost"
		}
		fmt.Fprintf(b, "| %s | %s | %.0f %% | %s | %s | %s | %s | %s |\n", who.label, figure(measured.Median),
			100*measured.Spread()/2, bytes, allocs, r.times(s, who, alone), r.times(s, who, byHand), note)
	}
}

// amount renders a median with its unit.
func amount(v float64, unit string) string {
	switch {
	case unit == Waiting:
		return thousands(v) + " B"
	case v >= 10_000:
		return figure(v/1000) + " µs"
	default:
		return figure(v) + " ns"
	}
}

// figure renders a number with about three digits.
func figure(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return thousands(v)
	}
}

// thousands renders a whole number with commas.
func thousands(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func plainText(s string) string { return strings.ReplaceAll(s, "**", "") }
