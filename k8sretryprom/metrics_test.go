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
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
)

var update = flag.Bool("update", false, "write the generated tables into doc.go and README.md")

// full has counted one of everything.
func full(t testing.TB) *k8sretryprom.Collector {
	c := k8sretryprom.New(
		k8sretryprom.WithBudget("default", k8sretry.NewBudget(k8sretry.BudgetConfig{})),
		k8sretryprom.WithBreaker("default", k8sretry.NewBreaker(k8sretry.BreakerConfig{})),
		k8sretryprom.WithLimiter("default", k8sretry.NewLimiter()),
	)
	success(t, c, "f", k8sretry.VerbGet)
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventRetry, Attempt: 1, Function: "f", Class: k8sretry.ClassServer, StatusCode: 503})
	_, _ = c.CountSends(answers(200)).RoundTrip(request(t))
	return c
}

// What Prometheus' own linter asks of names, units, types and help texts.
func TestConventions(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(gather(t, full(t))).Lint()
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// A registry learns by Describe what may come: it refuses what it was not told of.
func TestDescribesAllThatItCollects(t *testing.T) {
	c := full(t)
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	assert.Len(t, gather(t, c), len(descs))
	assert.Error(t, func() error {
		registry := prometheus.NewRegistry()
		registry.MustRegister(c)
		return registry.Register(k8sretryprom.New())
	}(), "two Collectors in one registry")
}

// The attempts are a native histogram for a Prometheus that reads such, and have buckets
// for others.
func TestAttemptsAreANativeHistogram(t *testing.T) {
	for _, family := range gather(t, full(t)) {
		if family.GetName() != "k8sretry_call_attempts" {
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		assert.NotEmpty(t, h.GetPositiveSpan())
		assert.Len(t, h.GetBucket(), 6)
		return
	}
	t.Error("there is no such metric")
}

// The tables of the metrics in doc.go and README.md:
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

// generated compares what stands between two marks of a file, or writes it there.
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
