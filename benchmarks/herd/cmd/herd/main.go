// SPDX-License-Identifier: Apache-2.0

// Command herd simulates an overloaded or failing API server and its clients, which use
// k8sretry or another retry library:
//
//	go run ./cmd/herd                                  # all scenarios: tables
//	go run ./cmd/herd -write                           # RESULTS.md and pictures/
//	go run ./cmd/herd -check                           # compares the figures with the targets
//	go run ./cmd/herd -ablate -write                   # the table of the law in docs/overload.md
//	go run ./cmd/herd -scenario S2 -contender limiter  # a part
//	go run ./cmd/herd -scenario S2 -contender 'k8sretry$' -series -processes 20
//	go run ./cmd/herd -exact -scenario S4 -contender 'limiter$'   # deterministic
//
// Time is virtual. The seed determines the calls and the server, but not the delays of the
// libraries, because their random number generators cannot be seeded. So two runs differ a
// little; with -runs, tables show medians. With -exact the same flags give exactly the same
// output: the command builds itself for WebAssembly and runs there, which takes ten to
// thirty times as long.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/everyday"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/scenario"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// settings are the flags.
type settings struct {
	scenarios, contenders []string
	processes             []int
	seed                  uint64
	runs                  int
	load                  float64
	series, write, check  bool
	ablates               bool
	exact                 bool
}

// usualProcesses are the numbers of processes for which there are targets.
var usualProcesses = []int{20, 2000}

func main() {
	s, err := parse(flag.CommandLine, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "herd:", err)
		os.Exit(2)
	}
	if s.ablates {
		if err := s.ablate(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "herd:", err)
			os.Exit(1)
		}
		return
	}
	if s.exact {
		code, err := runExactly(os.Args[1:], os.Stdout, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, "herd:", err)
		}
		os.Exit(code)
	}
	sim.Main(func(t *testing.T) int {
		if err := s.run(t, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "herd:", err)
			return 1
		}
		return 0
	})
}

// parse reads the flags.
func parse(flags *flag.FlagSet, args []string) (*settings, error) {
	var s settings
	scenarios := flags.String("scenario", "", "names of scenarios: S1, S2, ... (default all)")
	contenders := flags.String("contender", "", "parts of names of contenders; a part that ends in $ matches the end of a name (default all)")
	processes := flags.String("processes", "20,2000", "numbers of processes for the 2000 clients")
	flags.Uint64Var(&s.seed, "seed", 1, "seed for calls and server")
	flags.IntVar(&s.runs, "runs", 0, "number of runs, each with the next seed; tables show medians (default 1, with -write and -check 3)")
	flags.Float64Var(&s.load, "load", 0, "offered load as a share of the capacity (default that of the scenario)")
	flags.BoolVar(&s.series, "series", false, "also print the figures over time")
	flags.BoolVar(&s.write, "write", false, "write RESULTS.md and pictures/ in the current directory")
	flags.BoolVar(&s.check, "check", false, "compare "+contender.Main+" with the targets; the exit status is 1 if one is missed")
	flags.BoolVar(&s.ablates, "ablate", false, "run the scenarios without each rule of the law in turn; with -write, write docs/overload.md")
	flags.BoolVar(&s.exact, "exact", false, "run deterministically: the same flags give the same output; ten to thirty times slower")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s.scenarios, s.contenders = list(*scenarios), list(*contenders)
	for _, p := range list(*processes) {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-processes: %q is not a number of processes", p)
		}
		s.processes = append(s.processes, n)
	}
	if s.check && len(s.contenders) == 0 {
		s.contenders = []string{contender.Main + "$"}
	}
	switch {
	case s.runs != 0:
	case s.write || s.check:
		s.runs = 3
	default:
		s.runs = 1
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("%q is not a flag", flags.Arg(0))
	case s.runs < 1:
		return nil, fmt.Errorf("-runs: %d", s.runs)
	case !(s.load >= 0 && s.load <= 10):
		return nil, fmt.Errorf("-load: %v is not a share of the capacity", s.load)
	case (s.write || s.check) && !slices.Equal(s.processes, usualProcesses):
		return nil, fmt.Errorf("-processes: targets and RESULTS.md are for 20,2000")
	case s.exact && s.write:
		return nil, fmt.Errorf("-exact cannot be used with -write, because it would take hours")
	case len(contender.Named(s.contenders)) == 0:
		return nil, fmt.Errorf("-contender: no contender has such a name")
	}
	known := []string{contentionName}
	for _, sc := range scenario.All() {
		known = append(known, sc.Name)
	}
	for _, sc := range everyday.All() {
		known = append(known, sc.Name)
	}
	for _, name := range s.scenarios {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("-scenario: %q is not one of %s", name, strings.Join(known, ", "))
		}
	}
	return &s, nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// wants reports whether a scenario is selected.
func (s *settings) wants(name string) bool {
	return len(s.scenarios) == 0 || slices.Contains(s.scenarios, name)
}

// run runs the selected scenarios and prints their tables.
func (s *settings) run(t *testing.T, out io.Writer) error {
	var missed []string
	if s.write {
		return s.writeResults(t, out)
	}
	if s.wants(contentionName) {
		table, misses := s.contention(t)
		fmt.Fprintf(out, "## %s: %s\n\n%s\n", contentionName, contentionTitle, table.Markdown())
		missed = append(missed, misses...)
	}
	for _, sc := range scenario.All() {
		if !s.wants(sc.Name) {
			continue
		}
		r := s.scenario(t, sc, contender.Named(s.contenders))
		fmt.Fprintf(out, "## %s: %s\n\n%s\n", sc.Name, sc.Title, r.table().Markdown())
		if s.series {
			r.printSeries(out)
		}
		missed = append(missed, r.misses()...)
	}
	for _, sc := range everyday.All() {
		if !s.wants(sc.Name) {
			continue
		}
		r := s.everyday(t, sc)
		fmt.Fprintf(out, "## %s\n\n%s.\n\n%s\n", sc.Name, sc.Title, r.table().Markdown())
		missed = append(missed, r.misses()...)
	}
	if !s.check {
		return nil
	}
	for _, m := range missed {
		fmt.Fprintln(out, "missed:", m)
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d targets missed", len(missed))
	}
	fmt.Fprintln(out, "all targets met")
	return nil
}
