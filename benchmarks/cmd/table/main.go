// SPDX-License-Identifier: Apache-2.0

// Command table runs the benchmarks and writes their tables: a short one into the
// README, between its markers, and all figures into RESULTS.md.
//
//	go run ./cmd/table            # in benchmarks/
//	go run ./cmd/table -check     # compares the figures with the targets
//
// The benchmarks are compiled once and run in rounds. Every contender runs once per
// round, so that other load on the machine affects all contenders equally.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/benchmarks/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	count, waiting  int
	benchtime       string
	readme, results string
	save, from      string
	check           bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.count, "count", 20, "number of rounds; the tables show medians")
	flags.IntVar(&s.waiting, "waiting", 3, "number of rounds for the memory of waiting calls")
	flags.StringVar(&s.benchtime, "benchtime", "20ms", "time per benchmark and round")
	flags.StringVar(&s.readme, "readme", "../README.md", "document in which the text between the markers is replaced; without markers the text is printed")
	flags.StringVar(&s.results, "results", "RESULTS.md", "document for all figures")
	flags.StringVar(&s.save, "save", "", "file to which the output of the benchmarks is written")
	flags.StringVar(&s.from, "from", "", "file written by -save, used instead of running the benchmarks")
	flags.BoolVar(&s.check, "check", false, "print the targets and whether they are met; write nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}

	output, err := measure(ctx, s, stderr)
	if err != nil {
		return err
	}
	var results report.Results
	if err := results.Parse(bytes.NewReader(output)); err != nil {
		return err
	}
	if s.check {
		for _, target := range results.Targets() {
			fmt.Fprintln(stdout, target)
		}
		return nil
	}

	c := circumstances(ctx, s)
	if err := os.WriteFile(s.results, []byte(results.Full(c)), 0o644); err != nil {
		return err
	}
	text := results.Readme(c)
	document, err := os.ReadFile(s.readme)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	updated, marked := report.Splice(string(document), text)
	if !marked {
		fmt.Fprintf(stderr, "%s has no markers %s and %s: not written\n", s.readme, report.Begin, report.End)
		_, err := io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(s.readme, []byte(updated), 0o644)
}

// measure returns the output of the benchmarks.
func measure(ctx context.Context, s settings, progress io.Writer) ([]byte, error) {
	if s.from != "" {
		return os.ReadFile(s.from)
	}
	dir, err := os.MkdirTemp("", "k8sretry-benchmarks")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "benchmarks.test")
	fmt.Fprintln(progress, "compiling")
	if _, err := command(ctx, "go", "test", "-c", "-o", binary, "."); err != nil {
		return nil, err
	}

	var output []byte
	bench := func(pattern, benchtime string) error {
		out, err := command(ctx, binary, "-test.run=^$", "-test.bench="+pattern, "-test.benchtime="+benchtime)
		output = append(output, out...)
		return err
	}
	for round := range s.count {
		fmt.Fprintf(progress, "round %d of %d\n", round+1, s.count)
		if err := bench("^Benchmark(Success|NotFound|TwoFailures|Get|Classify|Condition|Delay)$", s.benchtime); err != nil {
			return nil, err
		}
	}
	for round := range s.waiting {
		fmt.Fprintf(progress, "memory, round %d of %d\n", round+1, s.waiting)
		for _, name := range report.Contenders() {
			if err := bench("^BenchmarkWaiting$/^"+name+"$", "1x"); err != nil {
				return nil, err
			}
		}
	}
	if s.save != "" {
		return output, os.WriteFile(s.save, output, 0o644)
	}
	return output, nil
}

// command runs a program and returns its output.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return out, nil
}

func circumstances(ctx context.Context, s settings) report.Circumstances {
	c := report.Circumstances{
		Go:         runtime.Version(),
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		Processors: runtime.GOMAXPROCS(0),
		Date:       time.Now().UTC().Format(time.DateOnly),
		Command:    fmt.Sprintf("go run ./cmd/table -count=%d -benchtime=%s", s.count, s.benchtime),
		Versions:   map[string]string{},
	}
	// The versions are optional; go.mod pins them.
	out, err := command(ctx, "go", append([]string{"list", "-m"}, report.Peers...)...)
	if err != nil {
		return c
	}
	for line := range strings.Lines(string(out)) {
		if module, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			c.Versions[module] = version
		}
	}
	return c
}
