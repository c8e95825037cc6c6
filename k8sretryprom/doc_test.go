// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the generated tables into doc.go and README.md")

// TestMetricTables compares the tables of metrics in doc.go and README.md with the
// metrics, or updates them:
//
//	go test -run TestMetricTables . -update
func TestMetricTables(t *testing.T) {
	descs := make(chan *prometheus.Desc, 100)
	c := full(t)
	c.Describe(descs)
	close(descs)
	labels := map[string]string{}
	for d := range descs {
		parts := regexp.MustCompile(`fqName: "(.*?)".*variableLabels: \{(.*?)\}`).FindStringSubmatch(d.String())
		require.NotNil(t, parts, d)
		labels[parts[1]] = strings.ReplaceAll(parts[2], ",", ", ")
	}
	families := gather(t, c)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	var text, markdown strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	markdown.WriteString("| metric | labels | |\n| --- | --- | --- |\n")
	for _, f := range families {
		fmt.Fprintf(w, "//\t%s\t%s\t%s\n", f.GetName(), strings.ToLower(f.GetType().String()), labels[f.GetName()])
		fmt.Fprintf(&markdown, "| `%s` | %s | %s |\n", f.GetName(), labels[f.GetName()], f.GetHelp())
	}
	require.NoError(t, w.Flush())
	doc := regexp.MustCompile(`(?m)^// +`).ReplaceAllString(text.String(), "//\t")
	generated(t, "doc.go", "// metrics:begin\n", "//\n"+doc+"//\n", "// metrics:end\n")
	generated(t, "README.md", "<!-- metrics:begin -->\n", markdown.String(), "<!-- metrics:end -->\n")
}

// generated compares the text between two marks of a file, or replaces it.
func generated(t *testing.T, file, begin, want, end string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := bytes.Cut(content, []byte(begin))
	require.True(t, ok, "%s has no %q", file, begin)
	got, after, ok := bytes.Cut(rest, []byte(end))
	require.True(t, ok, "%s has no %q", file, end)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(string(before)+begin+want+end+string(after)), 0o644))
		return
	}
	assert.Equal(t, want, string(got), "%s is out of date: go test -run %s . -update", file, t.Name())
}

// The Go code of the README is part of example_test.go, which is compiled.
func TestREADMECodeCompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, blocks, 2)
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			assert.Contains(t, string(examples), strings.TrimSpace(line))
		}
	}
}
