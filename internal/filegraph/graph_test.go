// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// write makes a module of the files and returns its folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/p\n\ngo 1.25.0\n"), 0o600))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func TestReferencesAndCircles(t *testing.T) {
	for _, test := range []struct {
		name    string
		files   map[string]string
		refers  map[string]string // by file: the others and what it uses of them
		circles []string          // of more than one file
	}{
		{
			name: "functions, variables, constants and types",
			files: map[string]string{
				"a.go": "package p\n\nfunc a() int { return b + c }\n\nvar _ d = a\n",
				"b.go": "package p\n\nvar b int\n",
				"c.go": "package p\n\nconst c = 1\n",
				"d.go": "package p\n\ntype d func() int\n",
			},
			refers: map[string]string{"a.go": "b.go(b) c.go(c) d.go(d)"},
		},
		{
			name: "a circle of two and one beside it",
			files: map[string]string{
				"a.go": "package p\n\nfunc a() { b() }\n",
				"b.go": "package p\n\nfunc b() { a() }\n",
				"c.go": "package p\n\nfunc c() { a(); b() }\n",
			},
			refers:  map[string]string{"a.go": "b.go(b)", "b.go": "a.go(a)", "c.go": "a.go(a) b.go(b)"},
			circles: []string{"a.go b.go"},
		},
		{
			name: "two circles, the larger one first",
			files: map[string]string{
				"a.go": "package p\n\nfunc a() { b() }\n",
				"b.go": "package p\n\nfunc b() { a(); c() }\n",
				"c.go": "package p\n\nfunc c() { d() }\n",
				"d.go": "package p\n\nfunc d() { e() }\n",
				"e.go": "package p\n\nfunc e() { c() }\n",
			},
			refers: map[string]string{
				"a.go": "b.go(b)", "b.go": "a.go(a) c.go(c)", "c.go": "d.go(d)", "d.go": "e.go(e)", "e.go": "c.go(c)",
			},
			circles: []string{"c.go d.go e.go", "a.go b.go"},
		},
		{
			name: "a method belongs to the file that declares it",
			files: map[string]string{
				"a.go": "package p\n\ntype T struct{}\n\nfunc a(t *T) { t.m() }\n",
				"b.go": "package p\n\nfunc (t *T) m() {}\n",
			},
			refers:  map[string]string{"a.go": "b.go(m)", "b.go": "a.go(T)"},
			circles: []string{"a.go b.go"},
		},
		{
			name: "fields, in a selector and in a literal",
			files: map[string]string{
				"a.go": "package p\n\ntype T struct{ f, g int }\n\nvar t T\n",
				"b.go": "package p\n\nfunc b() int { return t.f }\n",
				"c.go": "package p\n\nvar c = T{g: 1}\n",
			},
			refers: map[string]string{"b.go": "a.go(f,t)", "c.go": "a.go(T,g)"},
		},
		{
			name: "a promoted method is a reference to its declaration alone",
			files: map[string]string{
				"a.go": "package p\n\ntype inner struct{}\n\nfunc (inner) m() {}\n",
				"b.go": "package p\n\ntype outer struct{ inner }\n",
				"c.go": "package p\n\nfunc c(o interface{ m() }) { o.m() }\n",
				"d.go": "package p\n\nfunc d(o *outer) { o.m() }\n",
			},
			refers: map[string]string{"b.go": "a.go(inner)", "d.go": "a.go(m) b.go(outer)"},
		},
		{
			name: "a method of an interface",
			files: map[string]string{
				"a.go": "package p\n\ntype I interface{ m() }\n",
				"b.go": "package p\n\nfunc b(i I) { i.m() }\n",
			},
			refers: map[string]string{"b.go": "a.go(I,m)"},
		},
		{
			name: "fields and methods of an instantiated type",
			files: map[string]string{
				"a.go": "package p\n\ntype G[T any] struct{ f T }\n",
				"b.go": "package p\n\nfunc (g G[T]) m() T { return g.f }\n",
				"c.go": "package p\n\nfunc c(g G[int]) int { return g.m() + g.f }\n",
			},
			refers: map[string]string{"b.go": "a.go(G,f)", "c.go": "a.go(G,f) b.go(m)"},
		},
		{
			name: "local names and those of other packages are no references",
			files: map[string]string{
				"a.go": "package p\n\nimport \"errors\"\n\nfunc a() error { New := errors.New; return New(\"\") }\n",
				"b.go": "package p\n\nfunc New() { b := 1; _ = b }\n\nfunc b() {}\n",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g, err := load(write(t, test.files))
			require.NoError(t, err)
			refers := map[string]string{}
			for _, f := range g.files {
				var others []string
				for _, to := range f.references() {
					names := slices.Sorted(maps.Keys(f.uses[to]))
					others = append(others, to.name+"("+strings.Join(names, ",")+")")
				}
				if len(others) > 0 {
					refers[f.name] = strings.Join(others, " ")
				}
			}
			if len(test.refers) == 0 {
				assert.Empty(t, refers)
			} else {
				assert.Equal(t, test.refers, refers)
			}
			var circles []string
			for _, circle := range g.circles() {
				if len(circle) > 1 {
					circles = append(circles, strings.Join(fileNames(circle), " "))
				}
			}
			assert.Equal(t, test.circles, circles)
		})
	}
}

func fileNames(files []*file) []string {
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	return names
}

func TestExcludedFilesAreCountedAndTestFilesAreNot(t *testing.T) {
	g, err := load(write(t, map[string]string{
		"a.go":        "package p\n\nfunc a() {}\n",
		"a_test.go":   "package p\n\nfunc init() { a() }\n",
		"b_plan9.go":  "package p\n\nfunc b() { a() }\n",
		"c_test.go":   "//go:build plan9\n\npackage p\n",
		"d_test.go":   "package p_test\n",
		"b_others.go": "//go:build !plan9\n\npackage p\n\nfunc b() {}\n",
	}))
	require.NoError(t, err)
	assert.Equal(t, []string{"a.go", "b_others.go", "b_plan9.go"}, fileNames(g.files))
	assert.Equal(t, 11, lines(g.files))
}

func TestExitStatus(t *testing.T) {
	dir := write(t, map[string]string{
		"a.go": "package p\n\nfunc a() { b() }\n",
		"b.go": "package p\n\nfunc b() { a() }\n",
		"c.go": "package p\n\nfunc c() { a() }\n\nfunc d() { b() }\n",
	})
	small := write(t, map[string]string{"a.go": "package p\n"})
	broken := write(t, map[string]string{"a.go": "package p\n\nfunc a() { b() }\n"})
	for _, test := range []struct {
		name   string
		args   []string
		status int
		stdout string // a part of it
		stderr string
	}{
		{"no limits", []string{dir}, 0, "circle of 2 files, 6 lines: a.go b.go\nin no circle: 1 files\n", ""},
		{"within the limits", []string{"-max", "2", "-lines", "5", dir}, 0, "c.go     5  -> a.go(1) b.go(1)\n", ""},
		{"a circle too large", []string{"-max", "1", dir}, 1, "circle of 2 files", "a circle of 2 files, at most 1 are allowed"},
		{"a file too long", []string{"-lines", "4", dir}, 1, "", "c.go has 5 lines, at most 4 are allowed"},
		{"the second package breaks a limit", []string{"-lines", "3", small, dir}, 1, "example.com/p: 1 files", "c.go has 5 lines"},
		{"names", []string{"-names", dir}, 0, "b.go: b\n", ""},
		{"does not compile", []string{broken}, 2, "", "undefined: b"},
		{"no package", []string{t.TempDir()}, 2, "", "go list"},
		{"no such flag", []string{"-no"}, 2, "", "usage: filegraph"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, test.status, run(test.args, &stdout, &stderr))
			assert.Contains(t, stdout.String(), test.stdout)
			if test.stderr == "" {
				assert.Empty(t, stderr.String())
			} else {
				assert.Contains(t, stderr.String(), test.stderr)
			}
		})
	}
}
