// SPDX-License-Identifier: Apache-2.0

// Mutate measures whether the tests notice wrong code. It changes one place of the code at a
// time, a mutant, and runs the tests: a mutant is killed if they fail.
//
//	go run ./internal/mutate [-n mutants] [-seed seed] [-jobs jobs] [-timeout duration] [-list] [file ...]
//
// Without files, it takes its sample from the spine of the library: the files of the root
// package that decide, and the packages under internal/ that they use. The sample is a
// function of the seed and the code.
//
// A mutant in the root package is tried by the tests of the root package, then by those of the
// packages beside it that use it; one in a package under internal/ first by the tests of that
// package. A mutant that the compiler refuses does not count, nor does one that is listed as
// equivalent in equivalent.txt, with the reason why no test can tell it from the code.
//
// The work tree is not changed: mutants are given to the go command as an overlay. The exit
// status is 1 if fewer than -least percent of the mutants are killed, 2 if the tests fail
// without a mutant.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed equivalent.txt
var equivalentList string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	n := flags.Int("n", 800, "how many mutants to try; 0 tries all")
	seed := flags.Uint64("seed", 1, "of the sample")
	jobs := flags.Int("jobs", 1, "how many mutants to try at a time")
	timeout := flags.Duration("timeout", 3*time.Minute, "how long the tests of a package may take; a mutant that exceeds it is killed")
	least := flags.Float64("least", 92, "the percentage of mutants that must be killed")
	list := flags.Bool("list", false, "print the sample and try nothing")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	files := flags.Args()
	if len(files) == 0 {
		var err error
		if files, err = spine(); err != nil {
			fmt.Fprintln(stderr, "mutate:", err)
			return 2
		}
	}
	mutants, err := sample(files, *n, *seed)
	if err != nil {
		fmt.Fprintln(stderr, "mutate:", err)
		return 2
	}
	if *list {
		for _, m := range mutants {
			fmt.Fprintln(stdout, m)
		}
		return 0
	}
	t := trial{ctx: ctx, timeout: *timeout, equivalents: equivalents(equivalentList)}
	if output, err := t.unchanged(mutants); err != nil {
		fmt.Fprintf(stderr, "mutate: the tests fail without a mutant: %v\n%s", err, output)
		return 2
	}
	fates := t.all(mutants, *jobs, stdout)
	if ctx.Err() != nil {
		fmt.Fprintln(stdout, "interrupted")
	}
	if report(stdout, mutants, fates) < *least {
		return 1
	}
	return 0
}

// sample returns n of all mutants of the files, all for n = 0, in the order of the code.
func sample(files []string, n int, seed uint64) ([]mutant, error) {
	var all []mutant
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		of, err := mutantsOf(file, src)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	if n == 0 || n >= len(all) {
		return all, nil
	}
	r := rand.New(rand.NewPCG(seed, 0))
	chosen := r.Perm(len(all))[:n]
	slices.Sort(chosen)
	mutants := make([]mutant, n)
	for i, k := range chosen {
		mutants[i] = all[k]
	}
	return mutants, nil
}

// fate is what became of a mutant.
type fate int

const (
	notTried   fate = iota
	invalid         // the compiler refuses it
	equivalent      // no test can tell it from the code
	killed
	survived
)

var fateNames = [...]string{"not tried", "does not compile", "equivalent", "killed", "SURVIVED"}

// trial tries mutants.
type trial struct {
	ctx         context.Context
	timeout     time.Duration
	equivalents map[string]bool
	packages    []string // whose tests are run, instead of those that a mutant names
}

// testsFor returns the packages whose tests must notice the mutant.
func (t *trial) testsFor(m mutant) []string {
	if t.packages != nil {
		return t.packages
	}
	return m.testedBy()
}

// unchanged runs the tests without a mutant.
func (t *trial) unchanged(mutants []mutant) (output []byte, err error) {
	var packages []string
	for _, m := range mutants {
		for _, p := range t.testsFor(m) {
			if !slices.Contains(packages, p) {
				packages = append(packages, p)
			}
		}
	}
	for _, p := range packages {
		if output, err = t.test(p, ""); err != nil {
			return output, err
		}
	}
	return nil, nil
}

// all tries the mutants, some at a time, and prints the fate of each.
func (t *trial) all(mutants []mutant, jobs int, stdout io.Writer) []fate {
	fates := make([]fate, len(mutants))
	next := make(chan int)
	var workers sync.WaitGroup
	var printing sync.Mutex
	for range max(jobs, 1) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range next {
				f, err := t.one(mutants[i])
				if t.ctx.Err() != nil {
					return
				}
				printing.Lock()
				fates[i] = f
				fmt.Fprintf(stdout, "%4d/%d %-16s %s\n", i+1, len(mutants), fateNames[f], mutants[i])
				if err != nil {
					fmt.Fprintln(stdout, "     ", err)
				}
				printing.Unlock()
			}
		}()
	}
	for i := range mutants {
		select {
		case next <- i:
			continue
		case <-t.ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	return fates
}

// one tries a mutant.
func (t *trial) one(m mutant) (fate, error) {
	if t.equivalents[m.key()] {
		return equivalent, nil
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return notTried, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	src, err := os.ReadFile(m.file)
	if err != nil {
		return notTried, err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return notTried, err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return notTried, err
	}
	if err := errors.Join(os.WriteFile(changed, m.apply(src), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return notTried, err
	}
	if _, err := t.command(t.ctx, "build", "-overlay", overlay, m.dir()); err != nil {
		return invalid, nil
	}
	for _, p := range t.testsFor(m) {
		if _, err := t.test(p, overlay); err != nil {
			return killed, nil
		}
	}
	return survived, nil
}

// test runs the tests of a package.
func (t *trial) test(dir, overlay string) ([]byte, error) {
	// The tests end by themselves before the go command is killed.
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout+time.Minute)
	defer cancel()
	args := []string{"test", "-vet=off", "-failfast", "-count=1", "-timeout", t.timeout.String()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	return t.command(ctx, append(args, dir)...)
}

func (t *trial) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

// report prints the figures by file and all survivors. It returns the percentage killed.
func report(stdout io.Writer, mutants []mutant, fates []fate) float64 {
	var total [len(fateNames)]int
	perFile := map[string]*[len(fateNames)]int{}
	var files []string
	for i, m := range mutants {
		if perFile[m.file] == nil {
			perFile[m.file] = new([len(fateNames)]int)
			files = append(files, m.file)
		}
		perFile[m.file][fates[i]]++
		total[fates[i]]++
	}
	fmt.Fprintf(stdout, "\n%-40s %7s %9s %11s %12s\n", "file", "killed", "survived", "equivalent", "not compiled")
	for _, f := range files {
		c := perFile[f]
		fmt.Fprintf(stdout, "%-40s %7d %9d %11d %12d\n", f, c[killed], c[survived], c[equivalent], c[invalid])
	}
	percent := 100.0
	if tried := total[killed] + total[survived]; tried > 0 {
		percent = 100 * float64(total[killed]) / float64(tried)
	}
	fmt.Fprintf(stdout, "%-40s %7d %9d %11d %12d\n", "all", total[killed], total[survived], total[equivalent], total[invalid])
	fmt.Fprintf(stdout, "%.1f %% killed of the mutants that are not equivalent\n", percent)
	for i, m := range mutants {
		if fates[i] == survived {
			fmt.Fprintf(stdout, "survived: %s\n          %s\n", m, m.key())
		}
	}
	return percent
}

// equivalents reads the list of equivalent mutants: a line for each, its key and after a tab
// the reason. Empty lines and those that begin with # are ignored.
func equivalents(list string) map[string]bool {
	keys := map[string]bool{}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if key, reason, ok := strings.Cut(line, "\t"); ok && !strings.HasPrefix(line, "#") && reason != "" {
			keys[key] = true
		}
	}
	return keys
}

// spine returns the files whose mutants are tried if no others are given.
func spine() ([]string, error) {
	var files []string
	for _, pattern := range []string{"*.go", "internal/*/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return slices.DeleteFunc(files, func(f string) bool {
		switch filepath.Dir(f) {
		case "internal/filegraph", "internal/mutate", "internal/testkit":
			return true // tools, not the library
		}
		src, err := os.ReadFile(f)
		return strings.HasSuffix(f, "_test.go") || err != nil || bytes.HasPrefix(src, []byte("//go:build ")) ||
			strings.HasSuffix(f, "_wasip1.go") || filepath.Base(f) == "doc.go"
	}), nil
}
