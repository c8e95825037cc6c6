// SPDX-License-Identifier: Apache-2.0

// Mutate measures whether the tests notice wrong code. It changes one place of the code at a
// time, a mutant, and runs the tests: a mutant is killed if they fail.
//
//	go run ./internal/mutate [-n mutants] [-seed seed] [-jobs jobs] [-timeout duration] [-alone regexp] [-run regexp] [-list] [file ...]
//
// Without files, it takes its sample from the spine of the library: the files of the root
// package that decide, and the packages under internal/ that they use. The sample is a
// function of the seed and the code; a change of the code changes little of it.
//
// All mutants are compiled into one test binary of each package, and an environment variable
// chooses one (schemata). A mutant that the compiler refuses does not count. The code without the
// mutants is in the binary, too, so that an import which only a mutant does not use is no reason
// to refuse it.
//
// Each test is run once without a mutant to see what it executes, and a mutant is tried by the
// tests that execute it, the quickest first: a mutant in the root package by the tests of that
// package, then by those of k8sretrytest; one in a package under internal/ by the tests of that
// package, then by those of the root package. To kill a mutant, a test has to fail twice, or to
// take too long (-timeout), or to end the process. Tests that measure what the compiler makes of the
// code (-alone) try what has survived the others, compiled by itself.
//
// A mutant that is listed in equivalent.txt, with the reason why no test can tell it from the
// code, does not count and is not tried.
//
// The work tree is not changed: mutants are given to the go command as an overlay. The exit
// status is 1 if fewer than -least percent of the mutants are killed, 2 if the tests fail
// without a mutant.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// compiled are the tests that measure what the compiler makes of the code, which the mutants
// beside it change.
const compiled = "^TestNoAllocation$"

//go:embed equivalent.txt
var equivalentList string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(mutate(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func mutate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	n := flags.Int("n", 800, "how many mutants to try; 0 tries all")
	seed := flags.Uint64("seed", 1, "of the sample")
	jobs := flags.Int("jobs", 1, "how many mutants to try at a time")
	timeout := flags.Duration("timeout", 10*time.Second, "how long the tests of a mutant may take beyond four times what they take without one; a mutant that exceeds it is killed")
	alone := flags.String("alone", compiled, "the tests that cannot pass beside other mutants, a regular expression; empty: none")
	only := flags.String("run", "", "try only the mutants of the sample whose key matches this regular expression")
	least := flags.Float64("least", 92, "the percentage of mutants that must be killed")
	list := flags.Bool("list", false, "print the sample and try nothing")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	failed := func(err error) int {
		fmt.Fprintln(stderr, "mutate:", err)
		return 2
	}
	wanted, errOnly := regexp.Compile(*only)
	notWith, errAlone := regexp.Compile(cmp.Or(*alone, "^$")) // the empty expression matches all
	if err := errors.Join(errOnly, errAlone); err != nil {
		return failed(err)
	}
	files := flags.Args()
	if len(files) == 0 {
		var err error
		if files, err = spine(); err != nil {
			return failed(err)
		}
	}
	all, err := mutantsIn(files)
	if err != nil {
		return failed(err)
	}
	listed := equivalents(equivalentList)
	for _, key := range unknown(listed, all, files) {
		fmt.Fprintln(stderr, "equivalent.txt: no such mutant:", key)
	}
	mutants := slices.DeleteFunc(sample(all, *n, *seed), func(m mutant) bool { return !wanted.MatchString(m.key()) })
	if *list {
		for _, m := range mutants {
			fmt.Fprintln(stdout, m)
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return failed(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t := trial{ctx: ctx, timeout: *timeout, alone: notWith, equivalents: listed}
	if err := t.prepare(dir, mutants, stderr); err != nil {
		return failed(fmt.Errorf("without a mutant: %w", err))
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

// mutantsIn returns all mutants of the files.
func mutantsIn(files []string) ([]mutant, error) {
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
	return all, nil
}

// sample returns n of the mutants, all for n = 0, in their order. It draws by key, so that
// a change of the code changes little of the sample.
func sample(all []mutant, n int, seed uint64) []mutant {
	if n == 0 || n >= len(all) {
		return all
	}
	lots := make([][sha256.Size]byte, len(all))
	order := make([]int, len(all))
	for i, m := range all {
		lots[i] = sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, m.key()))
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(lots[a][:], lots[b][:]) })
	chosen := order[:n]
	slices.Sort(chosen)
	mutants := make([]mutant, n)
	for i, k := range chosen {
		mutants[i] = all[k]
	}
	return mutants
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

// unknown returns the keys of the files that name none of all their mutants.
func unknown(listed map[string]bool, all []mutant, files []string) []string {
	known := map[string]bool{}
	for _, m := range all {
		known[m.key()] = true
	}
	var keys []string
	for key := range listed {
		if file, _, _ := strings.Cut(key, ": "); slices.Contains(files, file) && !known[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
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
