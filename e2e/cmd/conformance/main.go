// SPDX-License-Identifier: Apache-2.0

// Command conformance runs test suites of controller-runtime and client-go without and with
// k8sretry in their clients, each without and with faults below, on a real kube-apiserver
// where the suite uses one.
//
//	go run ./cmd/conformance                      # in e2e/, about an hour on 2 cores
//	go run ./cmd/conformance -suites pkg/client$  # one suite
//	go run ./cmd/conformance -dir /tmp/c -doc ''  # keeps sources, programs and results, changes no document
//
// It copies the modules from the module cache to a temporary directory, adds the files of
// plan.go to the copies, and compiles the tests with them. With -dir the table has the results of
// earlier runs with the same directory, too.
//
// It fails if a test that passes without k8sretry and without faults fails with k8sretry, or
// fails with k8sretry under faults without a reason in plan.go.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/k8sretry/k8sretry/e2e/cmd/conformance/seam"
	"github.com/k8sretry/k8sretry/e2e/internal/marked"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// runner runs suites in a directory.
type runner struct {
	dir    string
	faults float64
	seed   uint64
	times  int
	log    io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("suites", "", "regular expression of the packages whose suites are run (default: all)")
	doc := flags.String("doc", "../docs/conformance.md", "document that gets the table between its markers")
	dir := flags.String("dir", "", "directory that is kept (default: a temporary one)")
	r := &runner{log: stderr}
	flags.Float64Var(&r.faults, "faults", 0.08, "share of the requests that get a fault")
	flags.Uint64Var(&r.seed, "seed", 1, "seed of the faults and of the order of Ginkgo's specs")
	flags.IntVar(&r.times, "times", 3, "runs without faults, without and with k8sretry in turns; the least time of each test counts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if r.dir, err = filepath.Abs(*dir); err != nil {
		return err
	}
	if *dir == "" {
		if r.dir, err = os.MkdirTemp("", "k8sretry-conformance-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	}
	t := table{faults: r.faults, seed: r.seed}
	if t.versions, err = r.prepare(ctx); err != nil {
		return err
	}
	for _, s := range suites() {
		if match.MatchString(s.pkg()) {
			if err := r.suite(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s.pkg(), err)
			}
		}
		row := row{suite: s}
		text, err := os.ReadFile(r.saved(s))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err = errors.Join(err, json.Unmarshal(text, &row.runs)); err != nil {
			return err
		}
		t.rows = append(t.rows, row)
	}
	if err := marked.Write(*doc, "conformance", t.markdown(), stdout); err != nil {
		return err
	}
	return t.verdict()
}

// prepare copies and changes the modules, and builds the programs.
func (r *runner) prepare(ctx context.Context) (versions []string, err error) {
	replace := []string{"mod", "edit"}
	for _, module := range []string{controllerRuntime, clientGo} {
		out, err := r.goes(ctx, "list", "-m", "-f", "{{.Version}} {{with .Replace}}{{.Dir}}{{else}}{{.Dir}}{{end}}", module)
		if err != nil {
			return nil, err
		}
		version, from, _ := strings.Cut(strings.TrimSpace(out), " ")
		versions = append(versions, module+" "+version)
		to := filepath.Join(r.dir, filepath.Base(module))
		if err := os.RemoveAll(to); err != nil {
			return nil, err
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			return nil, err
		}
		replace = append(replace, "-replace", module+"="+to)
	}
	for _, rename := range renames {
		path := r.path(rename.module, rename.file)
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if bytes.Count(text, []byte(rename.from)) != 1 {
			return nil, fmt.Errorf("%s: not once: %s", path, rename.from)
		}
		if err := os.WriteFile(path, bytes.Replace(text, []byte(rename.from), []byte(rename.to), 1), 0o600); err != nil {
			return nil, err
		}
	}
	for _, file := range added {
		if err := os.WriteFile(r.path(file.module, file.file), []byte(file.text), 0o600); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("not in the directory of the module e2e: %w", err)
		}
		if err := os.WriteFile(filepath.Join(r.dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	for name, pkg := range programs {
		fmt.Fprintln(r.log, "building", pkg)
		if _, err := r.goes(ctx, "build", "-modfile="+filepath.Join(r.dir, "go.mod"), "-mod=mod", "-ldflags=-s -w", "-o", filepath.Join(r.dir, "bin", name), pkg); err != nil {
			return nil, err
		}
	}
	_, err = r.goes(ctx, append(replace, filepath.Join(r.dir, "go.mod"))...)
	return versions, err
}

// path is that of a file of a copied module.
func (r *runner) path(module, file string) string {
	return filepath.Join(r.dir, filepath.Base(module), filepath.FromSlash(file))
}

func (r *runner) saved(s suite) string { return filepath.Join(r.dir, s.file()+".json") }

// goes runs the go command.
func (r *runner) goes(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "go", args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String(), nil
}

// suite runs the tests of a package in all modes, and saves the results of each.
func (r *runner) suite(ctx context.Context, s suite) error {
	if err := os.WriteFile(r.path(s.module, s.dir+"/conformance_test.go"), []byte(s.testFile()), 0o600); err != nil {
		return err
	}
	binary := filepath.Join(r.dir, s.file()+".test")
	fmt.Fprintln(r.log, "building the tests of", s.pkg())
	// -trimpath: what does not depend on the temporary directory stays in the build cache.
	if _, err := r.goes(ctx, "test", "-c", "-vet=off", "-trimpath", "-modfile="+filepath.Join(r.dir, "go.mod"), "-mod=mod", "-o", binary, s.pkg()); err != nil {
		return err
	}
	defer os.Remove(binary)
	runs := map[mode]outcome{}
	modes := slices.Repeat([]mode{plain, library}, r.times)
	if !s.fake { // the clients of others send no request
		modes = append(modes, plainFaults, libraryFaults)
	}
	for _, m := range modes {
		o, err := r.mode(ctx, s, m, binary)
		if err != nil {
			return err
		}
		runs[m] = runs[m].merge(o)
		text, err := json.Marshal(runs)
		if err = errors.Join(err, os.WriteFile(r.saved(s), text, 0o600)); err != nil {
			return err
		}
		fmt.Fprintf(r.log, "%s, %s: %d of %d passed, %d requests, %d faults, %.1f s\n", s.name(), m, o.count(passed), o.count(passed)+o.count(failed), o.Requests, o.Faults, o.took().Seconds())
		if m == plain || m == library || m == libraryFaults {
			for _, test := range o.Results {
				if test.State == failed {
					fmt.Fprintf(r.log, "--- %s\n%s\n", test.Name, shortened(test.Failure))
				}
			}
		}
	}
	return nil
}

// mode runs the tests of a package.
func (r *runner) mode(ctx context.Context, s suite, m mode, binary string) (o outcome, err error) {
	counts, report := filepath.Join(r.dir, "counts"), filepath.Join(r.dir, "report.json")
	for _, file := range []string{counts, report} {
		if err := os.RemoveAll(file); err != nil {
			return o, err
		}
	}
	args := []string{"tool", "test2json", "-t", binary, "-test.v=test2json", "-test.timeout=20m"}
	if s.ginkgo != "" {
		args = append(args, "-ginkgo.json-report="+report, "-ginkgo.timeout=15m", "-ginkgo.no-color", "-ginkgo.seed="+strconv.FormatUint(r.seed, 10))
	}
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = r.path(s.module, s.dir)
	c.Env = append(os.Environ(), "KUBEBUILDER_ASSETS="+filepath.Join(r.dir, "bin"),
		"KUBEBUILDER_CONTROLPLANE_START_TIMEOUT=2m", "KUBEBUILDER_CONTROLPLANE_STOP_TIMEOUT=2m", seam.EnvCounts+"="+counts)
	if m == library || m == libraryFaults {
		c.Env = append(c.Env, seam.EnvLibrary+"=1")
	}
	if m.faults() {
		c.Env = append(c.Env, fmt.Sprintf("%s=%v", seam.EnvFaults, r.faults), fmt.Sprintf("%s=%v", seam.EnvSeed, r.seed))
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	_ = c.Run() // a failed test is a result
	if o.Results, err = goResults(&out, s.ginkgo); err != nil {
		return o, err
	}
	if s.ginkgo != "" {
		file, err := os.Open(report)
		if err != nil {
			return o, fmt.Errorf("%s: %w", m, err)
		}
		defer file.Close()
		specs, err := ginkgoResults(file)
		if err != nil {
			return o, err
		}
		o.Results = append(o.Results, specs...)
	}
	if len(o.Results) == 0 {
		return o, fmt.Errorf("%s: no test was run", m)
	}
	lines, err := os.ReadFile(counts)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return o, err
	}
	o.Requests, o.Faults = bytes.Count(lines, []byte("r\n")), bytes.Count(lines, []byte("fault "))
	return o, nil
}
