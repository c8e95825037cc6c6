// SPDX-License-Identifier: Apache-2.0

// Package report turns the output of `go test -bench` into the tables of README.md and
// RESULTS.md: it parses, takes medians, compares and renders. It runs nothing.
package report

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// The units of measurements.
const (
	Time    = "ns/op"
	Bytes   = "B/op"
	Allocs  = "allocs/op"
	Waiting = "B/waiting"
)

// Results holds all measurements of all benchmarks. The zero value is empty and
// ready. It is for one goroutine.
type Results struct {
	// CPU is what the benchmarks said about the processor, "" if nothing.
	CPU    string
	series map[key][]float64
}

type key struct{ benchmark, unit string }

// procs is the suffix by which the testing package says GOMAXPROCS.
var procs = regexp.MustCompile(`-\d+$`)

// Parse adds what a benchmark binary or `go test -bench` printed; calling it for
// each of several rounds collects them. Lines that are no measurement are passed
// over; a failed benchmark is an error.
func (r *Results) Parse(in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if cpu, ok := strings.CutPrefix(line, "cpu: "); ok {
			r.CPU = cpu
		}
		if strings.HasPrefix(strings.TrimSpace(line), "--- FAIL") || strings.HasPrefix(line, "panic:") {
			return fmt.Errorf("a benchmark failed: %s", line)
		}
		if err := r.measurement(strings.Fields(line)); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
	}
	return lines.Err()
}

// measurement adds one line: the name, the number of iterations, then pairs of
// value and unit.
func (r *Results) measurement(fields []string) error {
	if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
		return nil
	}
	if _, err := strconv.Atoi(fields[1]); err != nil {
		return nil //nolint:nilerr // a log line that begins like one
	}
	name := procs.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
	for i := 2; i < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		r.add(name, fields[i+1], value)
	}
	return nil
}

func (r *Results) add(benchmark, unit string, value float64) {
	if r.series == nil {
		r.series = make(map[key][]float64)
	}
	k := key{benchmark, unit}
	r.series[k] = append(r.series[k], value)
}
