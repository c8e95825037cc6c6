package k8sretryprom_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/k8sretryprom"
)

// gather is what a scrape of the Collector alone would get.
func gather(t testing.TB, c *k8sretryprom.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	return families
}

// values are the series of the named metrics as lines, without those that are 0. A
// histogram is shown by its count and its sum.
func values(t testing.TB, c *k8sretryprom.Collector, names ...string) []string {
	t.Helper()
	lines := []string{}
	for _, family := range gather(t, c) {
		if !slices.Contains(names, strings.TrimPrefix(family.GetName(), "k8sretry_")) {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			line := fmt.Sprintf("%s{%s} ", strings.TrimPrefix(family.GetName(), "k8sretry_"), strings.Join(labels, ","))
			switch h := m.GetHistogram(); {
			case h != nil && h.GetSampleCount() > 0:
				lines = append(lines, fmt.Sprintf("%s%d calls, %v attempts", line, h.GetSampleCount(), h.GetSampleSum()))
			case m.GetCounter().GetValue()+m.GetGauge().GetValue() != 0:
				lines = append(lines, fmt.Sprint(line, m.GetCounter().GetValue()+m.GetGauge().GetValue()))
			}
		}
	}
	return lines
}

// waitedFor are those of the lines that are about a cause.
func waitedFor(lines []string, cause string) (found []string) {
	for _, line := range lines {
		if strings.Contains(line, "cause="+cause) {
			found = append(found, line)
		}
	}
	return found
}
