// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The exported API is written down in api/, as go doc prints it, so that a change of it is
// made on purpose and seen in a review:
//
//	go test -run TestAPI . -update
func TestAPI(t *testing.T) {
	for file, pkg := range map[string]string{
		"api/k8sretry.txt":     ".",
		"api/k8sretrytest.txt": "./k8sretrytest",
	} {
		command := exec.Command("go", "doc", "-all", pkg)
		command.Stderr = os.Stderr
		doc, err := command.Output()
		require.NoError(t, err)
		if flag.Lookup("update").Value.String() == "true" {
			require.NoError(t, os.WriteFile(file, doc, 0o644))
			continue
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Empty(t, changedLines(unlinked(string(want)), unlinked(string(doc))), "%s is out of date; if the change is wanted: go test -run TestAPI . -update", file)
	}
}

// unlinked returns the text without the brackets of links to methods and fields, which go doc
// of Go 1.25 leaves out in places.
func unlinked(text string) string {
	return regexp.MustCompile(`\[(\w+\.\w+)\]`).ReplaceAllString(text, "$1")
}

// changedLines returns the lines of which one text has more than the other, with a minus
// in front of those that are gone and a plus in front of those that are new.
func changedLines(before, after string) string {
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[line]--
	}
	for line := range strings.Lines(after) {
		count[line]++
	}
	var changed strings.Builder
	for line := range strings.Lines(before) {
		if count[line] < 0 {
			count[line]++
			changed.WriteString("-" + line)
		}
	}
	for line := range strings.Lines(after) {
		if count[line] > 0 {
			count[line]--
			changed.WriteString("+" + line)
		}
	}
	if changed.Len() == 0 && before != after {
		return "the same lines in another order"
	}
	return changed.String()
}

func TestChangedLines(t *testing.T) {
	for _, test := range []struct{ name, before, after, want string }{
		{"no change", "a\nb\n", "a\nb\n", ""},
		{"a new line", "a\nc\n", "a\nb\nc\n", "+b\n"},
		{"a line is gone", "a\nb\na\n", "a\nb\n", "-a\n"},
		{"another line", "a\nb\n", "a\nc\n", "-b\n+c\n"},
		{"another order", "a\nb\n", "b\na\n", "the same lines in another order"},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, changedLines(test.before, test.after))
		})
	}
}
