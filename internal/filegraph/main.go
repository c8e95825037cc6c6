// SPDX-License-Identifier: Apache-2.0

// Filegraph prints which files of a Go package refer to which, and the circles of
// these references.
//
//	go run ./internal/filegraph [-names] [-max files] [-lines lines] [package ...]
//
// A file refers to another one if it uses an identifier that the other one declares: at
// package level, as a method, or as a field. A method belongs to the file in which it is
// declared, not to that of its type. A promoted field or method counts as its own
// declaration, not as the embedded fields on the way to it. Test files are left out; files
// that the build constraints exclude are only counted.
//
// Two files are in one circle if each reaches the other by references. The larger a
// circle, the more of the package one has to know to change a file of it.
//
// The exit status is 1 if a circle has more files than -max or a file more lines than
// -lines, and 2 if a package cannot be checked.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("filegraph", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.Bool("names", false, "print the names that each reference uses")
	maxFiles := flags.Int("max", 0, "the largest circle that is allowed, in files; 0 allows any")
	maxLines := flags.Int("lines", 0, "the longest file that is allowed, in lines; 0 allows any")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: filegraph [-names] [-max files] [-lines lines] [package ...]")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = []string{"."}
	}
	status := 0
	for _, dir := range packages {
		graph, err := load(dir)
		if err != nil {
			fmt.Fprintf(stderr, "filegraph: %s: %v\n", dir, err)
			return 2
		}
		graph.print(stdout, *names)
		for _, violation := range graph.violations(*maxFiles, *maxLines) {
			fmt.Fprintf(stderr, "filegraph: %s: %s\n", dir, violation)
			status = 1
		}
	}
	return status
}

// print writes the files with their references, and the circles.
func (g *graph) print(w io.Writer, names bool) {
	width := 0
	for _, f := range g.files {
		width = max(width, len(f.name))
	}
	fmt.Fprintf(w, "%s: %d files, %d lines\n\n", g.path, len(g.files), lines(g.files))
	for _, f := range g.files {
		fmt.Fprintf(w, "%-*s %5d", width, f.name, f.lines)
		if len(f.uses) > 0 {
			fmt.Fprint(w, "  ->")
		}
		for _, to := range f.references() {
			used := slices.Sorted(maps.Keys(f.uses[to]))
			if names {
				fmt.Fprintf(w, "\n%*s %s: %s", width+10, "", to.name, strings.Join(used, ", "))
			} else {
				fmt.Fprintf(w, " %s(%d)", to.name, len(used))
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	alone := 0
	for _, circle := range g.circles() {
		if len(circle) == 1 {
			alone++
			continue
		}
		fmt.Fprintf(w, "circle of %d files, %d lines:", len(circle), lines(circle))
		for _, f := range circle {
			fmt.Fprintf(w, " %s", f.name)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "in no circle: %d files\n", alone)
}

// violations describes each circle with more than maxFiles files and each file with
// more than maxLines lines. A limit of 0 allows everything.
func (g *graph) violations(maxFiles, maxLines int) []string {
	var found []string
	for _, circle := range g.circles() {
		if maxFiles > 0 && len(circle) > maxFiles {
			found = append(found, fmt.Sprintf("a circle of %d files, at most %d are allowed", len(circle), maxFiles))
		}
	}
	for _, f := range g.files {
		if maxLines > 0 && f.lines > maxLines {
			found = append(found, fmt.Sprintf("%s has %d lines, at most %d are allowed", f.name, f.lines, maxLines))
		}
	}
	return found
}

func lines(files []*file) int {
	n := 0
	for _, f := range files {
		n += f.lines
	}
	return n
}
