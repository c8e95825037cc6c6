// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// mode is a way of running a suite.
type mode string

const (
	plain         mode = "plain"
	library       mode = "with k8sretry"
	plainFaults   mode = "plain, faults"
	libraryFaults mode = "with k8sretry, faults"
)

func (m mode) faults() bool { return m == plainFaults || m == libraryFaults }

// outcome is that of one run of a suite.
type outcome struct {
	Results  []result
	Requests int // of clients
	Faults   int
}

// merge adds another run of the same tests: a test has failed if it failed in one of them, and
// took the least time of both.
func (o outcome) merge(other outcome) outcome {
	if o.Results == nil {
		return other
	}
	for i, r := range o.Results {
		at := slices.IndexFunc(other.Results, func(again result) bool { return again.Name == r.Name })
		if at < 0 {
			continue
		}
		again := other.Results[at]
		if again.State == failed {
			o.Results[i].State, o.Results[i].Failure = failed, again.Failure
		}
		o.Results[i].Took = min(r.Took, again.Took)
	}
	return o
}

func (o outcome) count(s state) (n int) {
	for _, r := range o.Results {
		if r.State == s {
			n++
		}
	}
	return n
}

func (o outcome) took() (sum time.Duration) {
	for _, r := range o.Results {
		sum += r.Took
	}
	return sum
}

func (o outcome) of(name string) state {
	if i := slices.IndexFunc(o.Results, func(r result) bool { return r.Name == name }); i >= 0 {
		return o.Results[i].State
	}
	return skipped
}

type table struct {
	versions []string
	faults   float64
	seed     uint64
	rows     []row
}

// row is a suite with its runs.
type row struct {
	suite suite
	runs  map[mode]outcome
}

// ratio is the time with k8sretry of the tests that passed in both runs without faults,
// divided by their time without it.
func (r row) ratio() float64 {
	var with, without time.Duration
	for _, test := range r.runs[plain].Results {
		if test.State != passed || r.runs[library].of(test.Name) != passed {
			continue
		}
		without += test.Took
		i := slices.IndexFunc(r.runs[library].Results, func(r result) bool { return r.Name == test.Name })
		with += r.runs[library].Results[i].Took
	}
	if without == 0 {
		return 1
	}
	return with.Seconds() / without.Seconds()
}

// lost are the tests that fail in a run and not without faults and without k8sretry. The end
// of a suite is a test only if it fails.
func (r row) lost(m mode) (tests []result) {
	for _, test := range r.runs[m].Results {
		if test.State == failed && r.runs[plain].of(test.Name) != failed {
			tests = append(tests, test)
		}
	}
	return tests
}

func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %.0f %% faults, seed %d.\n\n", strings.Join(t.versions, ", "), 100*t.faults, t.seed)
	b.WriteString("| suite | tests | passed plain | with k8sretry | time | requests | faults: passed plain | with k8sretry | faults |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range t.rows {
		p := r.runs[plain]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %.2f | %d |", r.suite.name(), p.count(passed)+p.count(failed), p.count(passed), r.runs[library].count(passed), r.ratio(), r.runs[library].Requests)
		if faults, ok := r.runs[libraryFaults]; ok {
			fmt.Fprintf(&b, " %d | %d | %d |\n", r.runs[plainFaults].count(passed), faults.count(passed), faults.Faults)
		} else {
			b.WriteString(" - | - | - |\n")
		}
	}
	b.WriteString("\nTests that pass without k8sretry and fail with it without faults, and why:")
	t.list(&b, library)
	b.WriteString("\nTests that fail with k8sretry under faults, and why:")
	t.list(&b, libraryFaults)
	return b.String()
}

// list renders the lost tests of a mode, by their reasons.
func (t table) list(b *strings.Builder, m mode) {
	const unknown = "No reason is known."
	tests := map[string][]string{}
	for _, r := range t.rows {
		for _, test := range r.lost(m) {
			why := reason(test)
			if why == "" {
				why = unknown
			}
			tests[why] = append(tests[why], r.suite.dir+": "+strings.TrimSpace(test.Name))
		}
	}
	if len(tests) == 0 {
		b.WriteString(" none.\n")
		return
	}
	b.WriteString("\n\n")
	part := func(why string) {
		if tests[why] == nil {
			return
		}
		fmt.Fprintf(b, "- %s\n", why)
		const most = 20
		if n := len(tests[why]); n > most {
			fmt.Fprintf(b, "  - %d tests, the first of them %s\n", n, tests[why][0])
			return
		}
		for _, test := range tests[why] {
			fmt.Fprintf(b, "  - %s\n", test)
		}
	}
	for _, r := range reasons {
		part(r.reason)
	}
	part(unknown)
}

// verdict is an error if a test fails with k8sretry for no known reason.
func (t table) verdict() error {
	n := 0
	for _, r := range t.rows {
		for _, test := range append(r.lost(library), r.lost(libraryFaults)...) {
			if reason(test) == "" {
				n++
			}
		}
	}
	if n > 0 {
		return fmt.Errorf("%d tests fail with k8sretry for no known reason", n)
	}
	return nil
}

// shortened is the beginning of a failure.
func shortened(text string) string {
	const limit = 1500
	if len(text) <= limit {
		return text
	}
	return text[:limit] + " ..."
}
