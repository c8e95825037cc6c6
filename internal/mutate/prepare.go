// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
