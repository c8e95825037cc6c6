// SPDX-License-Identifier: Apache-2.0

package main

import (
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

// binary is the tests of a package, compiled with the mutants.
type binary struct {
	dir, path string
	tests     []*test // the quickest first
	alone     []*test // that cannot pass with the schemata
}

// test is a test function.
type test struct {
	name     string
	took     time.Duration
	executes map[int]bool // which mutants it would execute, by number
}

// prepare compiles the tests, runs them without a mutant, and sees what each of them executes.
func (t *trial) prepare(dir string, mutants []mutant, progress io.Writer) error {
	t.left, t.binaries = map[int]bool{}, map[string]*binary{}
	overlay, err := t.compilable(dir, mutants, t.left)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "%d mutants, %d of them do not compile\n", len(mutants), len(t.left))
	var mutated, tested []string
	for _, m := range mutants {
		for _, p := range m.testedBy() {
			if !slices.Contains(tested, p) {
				tested = append(tested, p)
			}
		}
		if !slices.Contains(mutated, m.dir()) {
			mutated = append(mutated, m.dir())
		}
	}
	for i, p := range tested {
		b := &binary{dir: p, path: filepath.Join(dir, strconv.Itoa(i)+".test")}
		plain := filepath.Join(dir, "cover.test")
		if output, err := t.goCommand("test", "-c", "-vet=off", "-o", b.path, "-overlay", overlay, allErrors, p); err != nil {
			return fmt.Errorf("compiling the tests of %s: %w\n%s", p, err, output)
		}
		if _, err := os.Stat(b.path); err != nil {
			continue // no tests
		}
		if output, err := t.goCommand("test", "-c", "-vet=off", "-o", plain, "-cover", "-covermode=set", "-coverpkg="+strings.Join(mutated, ","), p); err != nil {
			return fmt.Errorf("compiling the tests of %s: %w\n%s", p, err, output)
		}
		start := time.Now()
		if output, err := t.run(b.dir, b.path, 0, "-test.skip", t.alone.String()); err != nil {
			return fmt.Errorf("the tests of %s: %w\n%s", p, err, output)
		}
		fmt.Fprintf(progress, "%s: the tests pass in %v", p, time.Since(start).Round(time.Millisecond))
		if err := t.record(b, plain, filepath.Join(dir, "profile"), mutants); err != nil {
			return err
		}
		fmt.Fprintf(progress, ", one by one in %v\n", time.Since(start).Round(time.Millisecond))
		t.binaries[p] = b
	}
	return nil
}

// record runs the tests one by one.
func (t *trial) record(b *binary, plain, profile string, mutants []mutant) error {
	module, err := t.goCommand("list", "-m")
	if err != nil {
		return err
	}
	names, err := t.run(b.dir, b.path, 0, "-test.list", ".")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(names)) {
		if strings.HasPrefix(name, "Benchmark") {
			continue
		}
		alone := t.alone.MatchString(name)
		start := time.Now()
		if output, err := t.run(b.dir, plain, 0, "-test.run", "^"+name+"$", "-test.coverprofile", profile); err != nil && !alone {
			return fmt.Errorf("%s alone: %w\n%s", name, err, output)
		}
		took := time.Since(start)
		content, err := os.ReadFile(profile)
		if err != nil {
			return err
		}
		c := parseCoverage(strings.TrimSpace(string(module)), string(content))
		one := &test{name: name, took: took, executes: map[int]bool{}}
		for i, m := range mutants {
			if c.executes(m) {
				one.executes[i+1] = true
			}
		}
		if alone {
			b.alone = append(b.alone, one)
		} else {
			b.tests = append(b.tests, one)
		}
	}
	if len(b.alone) > 0 {
		if output, err := t.goCommand("test", "-vet=off", "-count=1", "-run", pattern(b.alone), b.dir); err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
	}
	slices.SortStableFunc(b.tests, func(x, y *test) int { return int(x.took - y.took) })
	for _, one := range slices.Backward(b.tests) {
		one.took -= b.tests[0].took // the quickest does little but start
	}
	return nil
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

// fails reports whether one of the tests fails with the mutant, and which. A test that fails
// does so twice: some fail once in a while on a machine that is busy.
func (t *trial) fails(b *binary, number int, tests []*test) (by string, fails bool) {
	for len(tests) > 0 {
		output, err := t.try(b, number, tests)
		if err == nil {
			return "", false
		}
		match := failedTest.FindSubmatch(output)
		if match == nil {
			return "timeout", true
		}
		i := slices.IndexFunc(tests, func(one *test) bool { return one.name == string(match[1]) })
		if i < 0 {
			return string(match[1]), true
		}
		if _, err := t.try(b, number, tests[i:i+1]); err != nil {
			return tests[i].name, true
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
