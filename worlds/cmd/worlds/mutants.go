// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// runMutants applies each patch of testdata/mutants to a copy of the library and runs worlds on
// it until one has a violation, or only those that have a word in their name. It has to be started in the folder of the module.
func runMutants(out io.Writer, only string, seeds uint64) int {
	patches, err := filepath.Glob("testdata/mutants/*" + only + "*.patch")
	if err != nil || len(patches) == 0 {
		fmt.Fprintln(os.Stderr, "no patches in testdata/mutants: start the command in the folder worlds")
		return 2
	}
	dir, err := os.MkdirTemp("", "worlds-mutants-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := copyModules("..", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	survivors := 0
	fmt.Fprintf(out, "| without | worlds until it was found | rule |\n| --- | --- | --- |\n")
	for _, patch := range patches {
		name := strings.TrimSuffix(filepath.Base(patch), ".patch")
		found, rule, err := runMutant(dir, patch, seeds)
		switch {
		case err != nil:
			survivors++
			fmt.Fprintf(out, "| %s | %v | |\n", name, err)
		case found == 0:
			survivors++
			fmt.Fprintf(out, "| %s | not found in %d | |\n", name, seeds)
		default:
			fmt.Fprintf(out, "| %s | %d | %s |\n", name, found, rule)
		}
	}
	return min(survivors, 1)
}

var violated = regexp.MustCompile(`(?m)^seed (\d+), call \d+: ([^:]*): `)

// runMutant returns how many worlds it took to find the change, 0 if none has found it.
func runMutant(dir, patch string, seeds uint64) (worlds uint64, rule string, err error) {
	patch, err = filepath.Abs(patch)
	if err != nil {
		return 0, "", err
	}
	if out, err := command(dir, "git", "apply", patch); err != nil {
		return 0, "", fmt.Errorf("the patch does not apply: %s", out)
	}
	defer func() {
		if out, undo := command(dir, "git", "apply", "--reverse", patch); undo != nil {
			err = fmt.Errorf("%s", out)
		}
	}()
	module := filepath.Join(dir, "worlds")
	binary := filepath.Join(dir, "mutant")
	if out, err := command(module, "go", "build", "-o", binary, "./cmd/worlds"); err != nil {
		return 0, "", fmt.Errorf("does not build: %s", out)
	}
	out, err := command(module, binary, "-first", "-again", "0", "-seeds", strconv.FormatUint(seeds, 10))
	if err == nil {
		return 0, "", nil
	}
	first := uint64(0)
	for _, match := range violated.FindAllSubmatch(out, -1) {
		if seed, err := strconv.ParseUint(string(match[1]), 10, 64); err == nil && (first == 0 || seed+1 < first) {
			first, rule = seed+1, string(match[2])
		}
	}
	if first == 0 {
		return 0, "", fmt.Errorf("the run failed: %s", bytes.TrimSpace(out[max(0, len(out)-300):]))
	}
	return first, rule, nil
}

func command(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

// copyModules copies what a mutant is built from: the library, k8sretryctrl and this module.
func copyModules(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		top, _, nested := strings.Cut(rel, string(filepath.Separator))
		switch {
		case d.IsDir() && rel != "." && top != "internal" && top != "k8sretryctrl" && top != "worlds":
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !nested && filepath.Ext(rel) != ".go" && filepath.Ext(rel) != ".mod" && filepath.Ext(rel) != ".sum":
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}
