// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMutantsOfAFunction(t *testing.T) {
	for _, test := range []struct {
		situation, body string
		want            []string // the bodies of the mutants
	}{
		{"a comparison moves its bound, and turns", "_ = a < b", []string{"_ = a <= b", "_ = a >= b"}},
		{"equality turns", "_ = a == b", []string{"_ = a != b"}},
		{"and becomes or", "_ = c && d", []string{"_ = c || d"}},
		{"a sum becomes a difference", "_ = a + b", []string{"_ = a - b"}},
		{"a negation goes", "_ = !c", []string{"_ = c"}},
		{"a condition becomes constant", "if c { }", []string{"if (c) || true { }", "if (c) && false { }"}},
		{"a loop is never entered", "for c { }", []string{"for false && (c) { }"}},
		{"a call goes", "f()", []string{""}},
		{"an assignment goes", "a = b", []string{""}},
		{"a declaration stays", "a := b", nil},
		{"what is deferred goes", "defer f()", []string{""}},
		{"a count goes", "a++", []string{""}},
		{"a constant turns", "_ = true", []string{"_ = false"}},
		{"a number grows", "_ = 3", []string{"_ = 4"}},
		{"a way out of a loop goes", "for { break }", []string{"for {  }"}},
		{"text stays", `_ = "a < b"`, nil},
	} {
		t.Run(test.situation, func(t *testing.T) {
			const begin, end = "package p\n\nfunc (r *T[K]) do() { ", " }\n"
			src := []byte(begin + test.body + end)
			mutants, err := mutantsOf("p.go", src)
			require.NoError(t, err)
			var got []string
			for _, m := range mutants {
				assert.Equal(t, "T.do", m.function)
				assert.Equal(t, 3, m.line)
				body := string(m.body(src))
				got = append(got, body[len("{ "):len(body)-len(" }")])
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestASampleIsAFunctionOfTheSeed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.go")
	write := func(source string) {
		require.NoError(t, os.WriteFile(file, []byte("package p\n\n"+source), 0o600))
	}
	keys := func(n int, seed uint64) (keys []string) {
		mutants, err := mutantsIn([]string{file})
		require.NoError(t, err)
		for _, m := range sample(mutants, n, seed) {
			keys = append(keys, m.key())
		}
		return keys
	}
	const f = "func f() int { return 1 + 2 + 3 + 4 + 5 }\n"
	write(f)
	assert.Len(t, keys(0, 1), 9, "five numbers, four operators")
	first := keys(4, 1)
	assert.Len(t, first, 4)
	assert.Equal(t, first, keys(4, 1))
	assert.NotEqual(t, first, keys(4, 2))

	t.Run("other code changes it only by its own mutants", func(t *testing.T) {
		write("func added() int { return 6 + 7 }\n\n" + f)
		of := slices.DeleteFunc(keys(7, 1), func(key string) bool { return strings.Contains(key, "added") })
		assert.Subset(t, of, first)
	})
}

func TestKeysTellEqualMutantsOfAFunctionApart(t *testing.T) {
	mutants, err := mutantsOf("p.go", []byte("package p\n\nfunc f() int { return 1 + 2 + 3 }\n"))
	require.NoError(t, err)
	keys := map[string]bool{}
	for _, m := range mutants {
		keys[m.key()] = true
	}
	assert.Len(t, keys, len(mutants))
}

func TestEquivalentMutantsNeedAReason(t *testing.T) {
	got := equivalents("# a comment\t no key\n\np.go: f: + -> - #1\tthe sum is 0\np.go: f: + -> - #2\np.go: f: 1 -> 2 #1\t\n")
	assert.Equal(t, map[string]bool{"p.go: f: + -> - #1": true}, got)
}

// moduleOf writes a module and makes it the working directory. Its package k8sretrytest is
// empty: what tests the root package of this module has one.
func moduleOf(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	files["go.mod"] = "module example.test/p\n\ngo 1.25\n"
	files["k8sretrytest/doc.go"] = "package k8sretrytest\n"
	for name, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
}

func TestMutantsAreKilledBySomeTest(t *testing.T) {
	moduleOf(t, map[string]string{
		"p.go": `package p

import "example.test/p/internal/q"

func larger(a, b int) int {
	if a > b {
		return a
	}
	return b
}

func lowest(n int) int {
	for {
		if !q.Above(n) {
			break
		}
		n--
	}
	return n
}

func sum(values ...int) (total int) {
values:
	for _, v := range values {
		_ = v
		total += v
		continue values
	}
	return total
}

func untested() bool { return true }

func alone() bool { return true }

func sometimes() bool { return true }

func refused() int { return 6 / (1 - 0) }
`,
		"p_test.go": `package p

import (
	"os"
	"testing"
)

func TestLarger(t *testing.T) {
	if larger(2, 1) != 2 || larger(1, 2) != 2 {
		t.Fatal("not the larger one")
	}
}

func TestLowest(t *testing.T) {
	if lowest(7) != 3 {
		t.Fatal("not the lowest")
	}
}

func TestSum(t *testing.T) {
	if sum(1, 2) != 3 {
		t.Fatal("not the sum")
	}
}

// Fails once with a mutant, and not again.
func TestSometimes(t *testing.T) {
	_ = sometimes()
	if _, err := os.Stat("seen"); err != nil && os.Getenv("MUTATE") != "0" {
		_ = os.WriteFile("seen", nil, 0o600)
		t.Fatal("once")
	}
}

func TestAlone(t *testing.T) {
	if !alone() || os.Getenv("MUTATE") != "" {
		t.Fatal("not alone")
	}
}
`,
		"internal/q/q.go": `package q

func Above(n int) bool { return n > 3 }
`,
		"internal/q/q_test.go": `package q

import "testing"

func TestAbove(t *testing.T) {
	if !Above(5) {
		t.Fatal("not above")
	}
}
`,
	})
	listed := equivalentList
	defer func() { equivalentList = listed }()
	equivalentList = "p.go: larger: > -> >= #1\tboth are as large\np.go: gone: > -> >= #1\tno longer there\n"
	var out, messages bytes.Buffer
	status := mutate(t.Context(), []string{
		"-n", "0", "-jobs", "2", "-timeout", "1s", "-alone", "Alone",
		"-run", "larger|lowest: (n--|!q)|sum|untested|alone|sometimes|refused: [01]|Above", "p.go", "internal/q/q.go",
	}, &out, &messages)
	assert.Equal(t, 1, status, messages.String())
	got := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^ *\d+/\d+ (.*\S) +(\S+\.go:\d+: .*) \((.*)\)$`).FindAllStringSubmatch(out.String(), -1) {
		got[line[2]] = strings.TrimSpace(line[1]) + ", " + line[3]
	}
	assert.Equal(t, map[string]string{
		"p.go:6: larger: > -> >=":                                "equivalent, listed",
		"p.go:6: larger: > -> <=":                                "killed, . TestLarger",
		"p.go:6: larger: a > b -> (a > b) || true":               "killed, . TestLarger",
		"p.go:6: larger: a > b -> (a > b) && false":              "killed, . TestLarger",
		"p.go:14: lowest: !q.Above(n) -> (!q.Above(n)) || true":  "killed, . TestLowest",
		"p.go:14: lowest: !q.Above(n) -> (!q.Above(n)) && false": "killed, . timeout",
		"p.go:17: lowest: n-- -> nothing":                        "killed, . timeout",
		"p.go:26: sum: total += v -> nothing":                    "killed, . TestSum",
		"p.go:32: untested: true -> false":                       "SURVIVED, 0 tests execute it",
		"p.go:34: alone: true -> false":                          "killed, . ^(TestAlone)$",
		"p.go:36: sometimes: true -> false":                      "SURVIVED, 1 tests execute it",
		"p.go:38: refused: 0 -> 1":                               "does not compile, the compiler",
		"p.go:38: refused: 1 -> 2":                               "SURVIVED, 0 tests execute it",
		"internal/q/q.go:3: Above: > -> >=":                      "killed, . TestLowest",
		"internal/q/q.go:3: Above: > -> <=":                      "killed, ./internal/q TestAbove",
		"internal/q/q.go:3: Above: 3 -> 4":                       "killed, . TestLowest",
	}, got, out.String())
	assert.Contains(t, messages.String(), "equivalent.txt: no such mutant: p.go: gone: > -> >= #1\n")
	assert.NotContains(t, messages.String(), "no such mutant: p.go: larger")
	assert.Contains(t, out.String(), "\n78.6 % killed of the mutants that are not equivalent\n")
	assert.Contains(t, out.String(), "survived: p.go:32: untested: true -> false\n          p.go: untested: true -> false #1\n")
}

func TestTestsThatFailWithoutAMutantAreAnError(t *testing.T) {
	for _, test := range []struct{ situation, tests, want string }{
		{"always", `func TestTrue(t *testing.T) { t.Fatal("never passes") }`, "never passes"},
		{"alone", "func TestFirst(*testing.T) { before = true }\n" + `func TestTrue(t *testing.T) { if !before { t.Fatal("nothing before") } }` + "\nvar before bool", "TestTrue alone"},
		{"together", "func TestFirst(*testing.T) { before = true }\n" + `func TestTrue(t *testing.T) { if before { t.Fatal("not the first") } }` + "\nvar before bool", "not the first"},
		{"at compile time", "func TestTrue(t *testing.T) { none() }", "undefined: none"},
	} {
		t.Run(test.situation, func(t *testing.T) {
			moduleOf(t, map[string]string{
				"p.go":      "package p\n\nfunc yes() bool { return true }\n",
				"p_test.go": "package p\n\nimport \"testing\"\n\n" + test.tests + "\n",
			})
			var out, messages bytes.Buffer
			assert.Equal(t, 2, mutate(t.Context(), []string{"p.go"}, &out, &messages))
			assert.Contains(t, messages.String(), test.want)
			assert.Empty(t, out.String())
		})
	}
}

// A file has a copy of a function for each of its mutants, with labels of its own, and none for what is no Go.
func TestSchemata(t *testing.T) {
	const src = `package p

func f(n int) {
again:
	n++
	if n < 3 {
		goto again
	}
}

func g() int { return 1 }
`
	all, err := mutantsOf("p.go", []byte(src))
	require.NoError(t, err)
	mutants := map[int]mutant{}
	for i, m := range all {
		mutants[i+1] = m
	}
	noGo := all[0]
	noGo.new = "no statement"
	mutants[99] = noGo
	out, broken := schemata("p.go", []byte(src), mutants)
	assert.Equal(t, []int{99}, broken)
	parsed, err := parser.ParseFile(token.NewFileSet(), "p.go", out, 0)
	require.NoError(t, err, string(out))
	assert.Len(t, parsed.Decls, 2)
	for i, m := range all {
		body, err := relabel(m.body([]byte(src)), i+1)
		require.NoError(t, err)
		assert.Contains(t, string(out), fmt.Sprintf("case %d:\n//line mutant%d:1\n%s\n", i+1, i+1, body))
		assert.Equal(t, m.function == "f", strings.Contains(string(body), fmt.Sprintf("again_%d:", i+1)))
	}
	assert.Contains(t, string(out), "default:\n//line p.go:3\n{\nagain:\n\tn++\n")
}

func TestWhatATestExecutes(t *testing.T) {
	const src = `package p

func f(n int) bool {
	if n > 0 {
		return true
	}
	switch {
	case n < -9:
		return false
	}
	return false
}
`
	mutants, err := mutantsOf("internal/q/q.go", []byte(src))
	require.NoError(t, err)
	profile := func(first, inner, rest, inCase, last int) string {
		return fmt.Sprintf("mode: set\np/internal/q/q.go:3.20,4.11 1 %d\np/internal/q/q.go:4.11,6.3 1 %d\np/internal/q/q.go:7.2,7.9 1 %d\n"+
			"p/internal/q/q.go:8.15,9.15 1 %d\np/internal/q/q.go:11.2,11.14 1 %d\np/other.go:3.20,11.14 1 1\n", first, inner, rest, inCase, last)
	}
	for _, test := range []struct {
		situation, profile string
		want               []int // lines
	}{
		{"nothing", profile(0, 0, 0, 0, 0), nil},
		{"a positive number", profile(1, 1, 0, 0, 0), []int{4, 5, 8}}, // the expression of the case is in no block
		{"another number", profile(1, 0, 1, 0, 1), []int{4, 8, 11}},
		{"a low number", profile(1, 0, 1, 1, 0), []int{4, 8, 9}},
	} {
		t.Run(test.situation, func(t *testing.T) {
			c := parseCoverage("p", test.profile)
			var got []int
			for _, m := range mutants {
				if c.executes(m) {
					got = append(got, m.line)
				}
			}
			assert.Equal(t, test.want, slices.Compact(got))
		})
	}
}
