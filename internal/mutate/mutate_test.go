// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

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
				changed := string(m.apply(src))
				got = append(got, changed[len(begin):len(changed)-len(end)])
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestASampleIsAFunctionOfTheSeed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.go")
	require.NoError(t, os.WriteFile(file, []byte("package p\n\nfunc f() int { return 1 + 2 + 3 + 4 + 5 }\n"), 0o600))
	all, err := sample([]string{file}, 0, 1)
	require.NoError(t, err)
	require.Len(t, all, 9, "five numbers, four operators")
	one, err := sample([]string{file}, 4, 1)
	require.NoError(t, err)
	again, err := sample([]string{file}, 4, 1)
	require.NoError(t, err)
	assert.Len(t, one, 4)
	assert.Equal(t, one, again)
	other, err := sample([]string{file}, 4, 2)
	require.NoError(t, err)
	assert.NotEqual(t, one, other)
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

// A module with one function and one test: of the mutants one is killed, one survives, one does
// not compile and one never ends.
func TestMutantsAreKilledBySomeTest(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod": "module example.test/p\n\ngo 1.25\n",
		"p.go": `package p

func larger(a, b int) int {
	if a > b {
		return a
	}
	return b
}
`,
		"p_test.go": `package p

import "testing"

func TestLarger(t *testing.T) {
	if larger(2, 1) != 2 || larger(1, 2) != 2 {
		t.Fatal("not the larger one")
	}
}
`,
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	mutants, err := sample([]string{"p.go"}, 0, 1)
	require.NoError(t, err)
	trial := &trial{ctx: t.Context(), timeout: time.Minute, packages: []string{"."}}
	_, err = trial.unchanged(mutants)
	require.NoError(t, err)
	var out bytes.Buffer
	fates := trial.all(mutants, 2, &out)
	got := map[string]fate{}
	for i, m := range mutants {
		got[m.new] = fates[i]
	}
	assert.Equal(t, map[string]fate{
		">=":               survived, // both are as large
		"<=":               killed,
		"(a > b) || true":  killed,
		"(a > b) && false": killed,
	}, got, out.String())

	out.Reset()
	assert.InDelta(t, 75, report(&out, mutants, fates), 0.01)
	assert.Contains(t, out.String(), "survived: p.go:4: larger: > -> >=")

	t.Run("an equivalent one is not tried", func(t *testing.T) {
		trial.equivalents = map[string]bool{"p.go: larger: > -> >= #1": true}
		fates := trial.all(mutants, 1, &out)
		assert.Contains(t, fates, equivalent)
		assert.NotContains(t, fates, survived)
		assert.InDelta(t, 100, report(&out, mutants, fates), 0.01)
	})
	t.Run("one that does not compile does not count", func(t *testing.T) {
		broken := mutants[0]
		broken.new = "no operator"
		f, err := trial.one(broken)
		require.NoError(t, err)
		assert.Equal(t, invalid, f)
	})
}
