// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

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

// allErrors makes the compiler report more than ten errors of a package.
const allErrors = "-gcflags=./...=-e"

// atOnce is how much of tests one process runs. The less, the sooner a test that hangs has
// failed.
const atOnce = 2 * time.Second

// trial tries mutants.
type trial struct {
	ctx         context.Context
	timeout     time.Duration
	alone       *regexp.Regexp // tests that cannot pass with the schemata
	equivalents map[string]bool

	left     map[int]bool // the mutants that the compiler refuses, by number
	binaries map[string]*binary
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
				f, by := t.one(i+1, mutants[i])
				if t.ctx.Err() != nil {
					return
				}
				printing.Lock()
				fates[i] = f
				fmt.Fprintf(stdout, "%4d/%d %-16s %s (%s)\n", i+1, len(mutants), fateNames[f], mutants[i], by)
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

// one tries a mutant, and says which test has killed it.
func (t *trial) one(number int, m mutant) (f fate, by string) {
	switch {
	case t.equivalents[m.key()]:
		return equivalent, "listed"
	case t.left[number]:
		return invalid, "the compiler"
	}
	executed := 0
	for _, p := range m.testedBy() {
		b := t.binaries[p]
		if b == nil {
			continue
		}
		all := executing(b.tests, number)
		executed += len(all)
		for len(all) > 0 {
			n, took := 0, time.Duration(0)
			for ; n < len(all) && took < atOnce; n++ {
				took += all[n].took
			}
			if by, failed := t.fails(b, number, all[:n]); failed {
				return killed, p + " " + by
			}
			all = all[n:]
		}
		if alone := executing(b.alone, number); len(alone) > 0 && t.failsAlone(b, m, alone) {
			return killed, p + " " + pattern(alone)
		}
	}
	return survived, fmt.Sprintf("%d tests execute it", executed)
}

// executing returns the tests that execute a mutant.
func executing(tests []*test, number int) []*test {
	return slices.DeleteFunc(slices.Clone(tests), func(one *test) bool { return !one.executes[number] })
}

// pattern is the regular expression for some tests.
func pattern(tests []*test) string {
	names := make([]string, len(tests))
	for i, one := range tests {
		names[i] = one.name
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// fails reports whether one of the tests fails with the mutant, and which, if it does not end the
// process. A test that fails does so twice: some fail once in a while on a machine that is busy.
func (t *trial) fails(b *binary, number int, tests []*test) (by string, fails bool) {
	for len(tests) > 0 {
		output, err := t.try(b, number, tests)
		if err == nil {
			return "", false
		}
		i := -1
		if match := failedTest.FindSubmatch(output); match != nil {
			i = slices.IndexFunc(tests, func(one *test) bool { return one.name == string(match[1]) })
		}
		suspects, by := tests, "crash"
		if i >= 0 {
			suspects, by = tests[i:i+1], tests[i].name
		} else if bytes.Contains(output, []byte("panic: test timed out")) {
			by = "timeout"
		}
		if _, err := t.try(b, number, suspects); err != nil || i < 0 {
			return by, err != nil
		}
		tests = slices.Delete(slices.Clone(tests), i, i+1)
	}
	return "", false
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// try runs tests with a mutant, until one fails.
func (t *trial) try(b *binary, number int, tests []*test) ([]byte, error) {
	limit := t.timeout
	for _, one := range tests {
		limit += 4 * one.took
	}
	return t.run(b.dir, b.path, number, "-test.failfast", "-test.timeout", limit.String(), "-test.run", pattern(tests))
}

// failsAlone reports whether tests fail with a mutant that is compiled without the others.
func (t *trial) failsAlone(b *binary, m mutant, tests []*test) bool {
	overlay, err := overlayOf(filepath.Dir(b.path), m)
	if err == nil {
		_, err = t.goCommand("test", "-vet=off", "-count=1", "-timeout", "5m", "-overlay", overlay, "-run", pattern(tests), b.dir)
	}
	return err != nil
}

// run runs a test binary in the directory of its package. A mutant may use up the memory of
// the machine, so that it has a limit.
func (t *trial) run(dir, path string, number int, args ...string) ([]byte, error) {
	args = append([]string{"-c", `ulimit -v 8000000; exec "$0" "$@"`, path, "-test.paniconexit0"}, args...)
	cmd := exec.CommandContext(t.ctx, "sh", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment+"="+strconv.Itoa(number))
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

func (t *trial) goCommand(args ...string) ([]byte, error) {
	cmd := exec.CommandContext(t.ctx, "go", args...)
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}
