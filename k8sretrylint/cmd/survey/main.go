// SPDX-License-Identifier: Apache-2.0

// Command survey runs the checks over the modules of a list, one module@version a line, and
// prints what they find: a table of findings by check and, with -sample, some of them with
// the code around, to be judged by a reader. It downloads the modules with the go command. A module
// that the module proxy lacks can be put into -dir, as a copy of its repository in a folder of its name with _ for /.
//
//	go run ./cmd/survey -dir /tmp/survey -sample 30 -seed 1
//
// Everything is type-checked from source, the bodies of functions of other modules left out,
// so that nothing is compiled.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/token"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"

	"github.com/k8sretry/k8sretry/k8sretrylint"
)

// modules.txt has the modules of the published figures.
//
//go:embed modules.txt
var modules string

var migrate bool

// analyzers are the checks, or what looks for retries of other libraries.
func analyzers() []*analysis.Analyzer {
	if migrate {
		return []*analysis.Analyzer{k8sretrylint.Migrate()}
	}
	return k8sretrylint.Analyzers()
}

type finding struct {
	module, check, message string
	pos                    token.Position // relative to the module
	dir                    string
}

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "", "where copies of the modules are kept (default: a new temporary folder)")
	list := flag.String("modules", "", "a file with module@version lines in place of the built-in list")
	only := flag.String("only", "", "only modules whose path contains this text")
	sample := flag.Int("sample", 0, "print this many findings, chosen at random, with the code around them")
	seed := flag.Uint64("seed", 1, "of the random choice")
	all := flag.Bool("all", false, "print all findings")
	flag.BoolVar(&migrate, "migrate", false, "look for retries that can be rewritten to k8sretry, in place of the checks")
	around := flag.Int("around", 12, "lines of code before and after a finding")
	flag.Parse()
	if err := survey(*dir, *list, *only, *sample, *seed, *all, *around); err != nil {
		log.Fatal(err)
	}
}

func survey(dir, list, only string, sample int, seed uint64, all bool, around int) error {
	if dir == "" {
		temp, err := os.MkdirTemp("", "survey")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temp) }()
		dir = temp
	}
	text := modules
	if list != "" {
		content, err := os.ReadFile(list)
		if err != nil {
			return err
		}
		text = string(content)
	}
	var found []finding
	lines := bufio.NewScanner(strings.NewReader(text))
	var surveyed []string
	for lines.Scan() {
		module, _, _ := strings.Cut(lines.Text(), "#")
		module = strings.TrimSpace(module)
		if module == "" || !strings.Contains(module, only) {
			continue
		}
		findings, packages, err := run(dir, module)
		if err != nil {
			log.Printf("%s: %v", module, err)
			continue
		}
		log.Printf("%s: %d packages, %d findings", module, packages, len(findings))
		surveyed = append(surveyed, module)
		found = append(found, findings...)
	}
	printTable(surveyed, found)
	if all {
		for _, f := range found {
			fmt.Printf("%s %s:%d:%d: %s: %s\n", f.module, f.pos.Filename, f.pos.Line, f.pos.Column, f.check, f.message)
		}
	}
	chosen := slices.Clone(found)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	for i, f := range chosen[:min(sample, len(chosen))] {
		fmt.Printf("\n### %d. %s\n%s:%d: %s: %s\n", i+1, f.module, f.pos.Filename, f.pos.Line, f.check, f.message)
		printCode(f, around)
	}
	return nil
}

// run analyzes the packages of one module.
func run(dir, module string) ([]finding, int, error) {
	root, err := fetch(dir, module)
	if err != nil {
		return nil, 0, err
	}
	mod := "-mod=mod"
	if _, err := os.Stat(filepath.Join(root, "vendor", "modules.txt")); err == nil {
		mod = "-mod=vendor" // a copy of a repository, not of a module
	}
	config := &packages.Config{
		Mode: packages.LoadAllSyntax | packages.NeedModule, Dir: root, Fset: token.NewFileSet(),
		Env: append(os.Environ(), "GOFLAGS="+mod, "GOWORK=off", "CGO_ENABLED=0"),
	}
	pkgs, err := packages.Load(config, "./...")
	if err != nil {
		return nil, 0, err
	}
	broken := 0
	for _, p := range pkgs {
		if len(p.Errors) > 0 || p.IllTyped {
			broken++
		}
	}
	if broken > 0 {
		log.Printf("  %d packages with errors, such as a dependency that cannot be downloaded: not all of them is seen", broken)
	}
	for _, a := range analyzers() {
		a.RunDespiteErrors = true
		for _, required := range a.Requires {
			required.RunDespiteErrors = true
		}
	}
	graph, err := checker.Analyze(analyzers(), pkgs, &checker.Options{})
	if err != nil {
		return nil, 0, err
	}
	var found []finding
	for _, action := range graph.Roots {
		if action.Err != nil {
			log.Printf("  %s: %v", action, action.Err)
		}
		for _, d := range action.Diagnostics {
			pos := config.Fset.Position(d.Pos)
			relative, err := filepath.Rel(root, pos.Filename)
			if err != nil {
				return nil, 0, err
			}
			pos.Filename = relative
			found = append(found, finding{module, action.Analyzer.Name, d.Message, pos, root})
		}
	}
	slices.SortFunc(found, func(a, b finding) int {
		if c := strings.Compare(a.pos.Filename, b.pos.Filename); c != 0 {
			return c
		}
		return a.pos.Offset - b.pos.Offset
	})
	return found, len(pkgs), nil
}

// fetch downloads a module and copies it to where the go command may complete its go.sum.
func fetch(dir, module string) (string, error) {
	root, err := filepath.Abs(filepath.Join(dir, strings.ReplaceAll(module, "/", "_")))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	command := exec.Command("go", "mod", "download", "-json", module)
	command.Dir = os.TempDir()
	command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download: %w\n%s", err, out)
	}
	var downloaded struct{ Dir, Error string }
	if err := json.Unmarshal(out, &downloaded); err != nil {
		return "", err
	}
	if downloaded.Error != "" {
		return "", errors.New(downloaded.Error)
	}
	return root, copyTree(root, downloaded.Dir)
}

// copyTree copies a folder of the module cache, whose files cannot be written, without what is no source.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}

func printTable(modules []string, found []finding) {
	fmt.Print("| module |")
	var checks []string
	for _, a := range analyzers() {
		if slices.ContainsFunc(found, func(f finding) bool { return f.check == a.Name }) {
			checks = append(checks, a.Name)
			fmt.Printf(" %s |", a.Name)
		}
	}
	fmt.Print("\n| --- |", strings.Repeat(" ---: |", len(checks)), "\n")
	row := func(name string, of func(finding) bool) {
		fmt.Printf("| %s |", name)
		for _, check := range checks {
			n := 0
			for _, f := range found {
				if of(f) && f.check == check {
					n++
				}
			}
			fmt.Printf(" %d |", n)
		}
		fmt.Println()
	}
	for _, module := range modules {
		row(module, func(f finding) bool { return f.module == module })
	}
	row("all", func(finding) bool { return true })
}

func printCode(f finding, around int) {
	content, err := os.ReadFile(filepath.Join(f.dir, f.pos.Filename))
	if err != nil {
		log.Print(err)
		return
	}
	lines := bytes.Split(content, []byte("\n"))
	for i := max(0, f.pos.Line-1-around); i < min(len(lines), f.pos.Line+around); i++ {
		mark := " "
		if i == f.pos.Line-1 {
			mark = ">"
		}
		fmt.Printf("%s %5d %s\n", mark, i+1, lines[i])
	}
}
