// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

// report is what a soak has seen.
type report struct {
	seed         uint64
	began        time.Time
	took         time.Duration
	rounds       int
	byTrouble    [troubles]storm.Result
	wrongUnknown int // unknown outcomes of calls whose outcome can always be determined
	restarts     int
	etcdStops    int
	greedyServed int
	greedyFailed int
	// greedyRejected counts the answers 429 to the greedy user, which were repeated.
	greedyRejected int
	samples        []sample
}

// sample is what the process holds after a round.
type sample struct {
	at     time.Duration
	values [len(measured)]float64
}

// measured says what is measured, in which unit, and by how much it may grow from the first
// third of a soak to the last.
var measured = [...]struct {
	name, unit string
	growth     float64
}{
	{"memory", "MiB", 4},
	{"goroutines", "", 20},
	{"open files", "", 20},
	{"connections", "", 20},
}

// measure returns what the process holds when nothing runs.
func measure(at time.Duration) (sample, error) {
	debug.FreeOSMemory() // collects what is garbage
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := sample{at: at}
	s.values[0] = float64(m.HeapAlloc+m.StackInuse) / (1 << 20)
	s.values[1] = float64(runtime.NumGoroutine())
	const fds = "/proc/self/fd"
	entries, err := os.ReadDir(fds)
	if err != nil {
		return s, err
	}
	s.values[2] = float64(len(entries))
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			s.values[3]++
		}
	}
	return s, nil
}

func (s sample) String() string {
	var b strings.Builder
	for i, m := range measured {
		fmt.Fprintf(&b, "%s %.4g%s, ", m.name, s.values[i], space(m.unit))
	}
	return strings.TrimSuffix(b.String(), ", ")
}

func space(unit string) string {
	if unit == "" {
		return ""
	}
	return " " + unit
}

// slope is the growth of a value in an hour, by the least squares.
func slope(samples []sample, value int) float64 {
	var sumX, sumY float64
	for _, s := range samples {
		sumX += s.at.Hours()
		sumY += s.values[value]
	}
	n := float64(len(samples))
	var xy, xx float64
	for _, s := range samples {
		dx := s.at.Hours() - sumX/n
		xy += dx * (s.values[value] - sumY/n)
		xx += dx * dx
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

// thirds returns the median of a value over the first third of the samples and over the last.
func thirds(samples []sample, value int) (first, last float64) {
	third := max(1, len(samples)/3)
	median := func(part []sample) float64 {
		values := make([]float64, len(part))
		for i, s := range part {
			values[i] = s.values[value]
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return median(samples[:third]), median(samples[len(samples)-third:])
}

func (r report) all() (all storm.Result) {
	for _, one := range r.byTrouble {
		all = all.Add(one)
	}
	return all
}

// verdict returns what the soak has found to be wrong.
func (r report) verdict() error {
	var errs []error
	if wrong := r.all().Wrong(); wrong > 0 {
		errs = append(errs, fmt.Errorf("%d wrong answers", wrong))
	}
	if r.wrongUnknown > 0 {
		errs = append(errs, fmt.Errorf("%d unknown outcomes that can be determined", r.wrongUnknown))
	}
	for i, m := range measured {
		if first, last := thirds(r.samples, i); last-first > m.growth {
			errs = append(errs, fmt.Errorf("%s: grown from %.4g to %.4g%s", m.name, first, last, space(m.unit)))
		}
	}
	return errors.Join(errs...)
}

// markdown returns the report for a document.
func (r report) markdown() string {
	var b strings.Builder
	all := r.all()
	fmt.Fprintf(&b, "%d rounds in %v, seeds %d to %d, %s. The server was killed and started %d times, etcd stopped and continued %d times.\n",
		r.rounds, r.took.Round(time.Second), r.seed, r.seed+uint64(max(1, r.rounds))-1, r.began.Format(time.DateOnly), r.restarts, r.etcdStops)
	fmt.Fprintf(&b, "Beside it a user with the smallest share of the seats of Priority and Fairness made %d LISTs that were served and %d that failed; %d answers were 429.\n\n", r.greedyServed, r.greedyFailed, r.greedyRejected)
	b.WriteString("| round with | calls | requests | with a fault | false failures | done twice | lost | unknown |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	row := func(name string, r storm.Result) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", name, r.Ops, r.Sends, r.Faulty, r.FalseFailures, r.Twice, r.Lost, r.Unknown)
	}
	for t, one := range r.byTrouble {
		if one.Ops > 0 {
			row(troubleNames[t], one)
		}
	}
	row("all", all)
	b.WriteString("\nWhat the process held after each round, when nothing ran:\n\n| | first third | last third | slope per hour |\n| --- | ---: | ---: | ---: |\n")
	for i, m := range measured {
		first, last := thirds(r.samples, i)
		fmt.Fprintf(&b, "| %s%s | %.4g | %.4g | %+.2g |\n", m.name, space(m.unit), first, last, slope(r.samples, i))
	}
	return b.String()
}
