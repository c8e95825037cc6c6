// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/scenario"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parseArgs(args ...string) (*settings, error) {
	flags := flag.NewFlagSet("herd", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return parse(flags, args)
}

func TestParse(t *testing.T) {
	s, err := parseArgs()
	require.NoError(t, err)
	assert.Equal(t, []int{20, 2000}, s.processes)
	assert.Equal(t, 1, s.runs)
	assert.True(t, s.wants("S2"))
	s, err = parseArgs("-check", "-scenario", "S3,S4")
	require.NoError(t, err)
	assert.Equal(t, 3, s.runs)
	assert.Equal(t, []string{"k8sretry limiter$"}, s.contenders)
	assert.True(t, s.wants("S4"))
	assert.False(t, s.wants("S2"))
	s, err = parseArgs("-write", "-runs", "1")
	require.NoError(t, err)
	assert.Equal(t, 1, s.runs)
	for _, args := range [][]string{
		{"-scenario", "S9"}, {"-processes", "0"}, {"-processes", "many"}, {"-runs", "-1"}, {"-load", "-0.1"}, {"-load", "NaN"},
		{"-contender", "unknown"}, {"-check", "-processes", "5"}, {"-unknown"},
		{"-exact", "-write"}, {"S2"},
	} {
		_, err := parseArgs(args...)
		assert.Error(t, err, args)
	}
}

// One scenario, from the flags to the table and the figures over time.
func TestScenarioTable(t *testing.T) {
	s, err := parseArgs("-scenario", "S4", "-contender", "one attempt,k8sretry$", "-processes", "20", "-series")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, s.run(t, &out))
	assert.Contains(t, out.String(), "## S4: Partial fault")
	assert.Regexp(t, `\| oracle +\| +99.9\d %`, out.String())
	assert.Regexp(t, `\| one attempt +\| +(69|70)\.\d %`, out.String())
	assert.Regexp(t, `\| \*\*k8sretry\*\* +\| +99\.\d\d %`, out.String())
	assert.Contains(t, out.String(), "calls in flight")
	assert.NotContains(t, out.String(), "target", "targets are for 20 and 2000 processes")
}

func TestContentionTable(t *testing.T) {
	s, err := parseArgs("-scenario", "S1", "-contender", "k8sretry$,DefaultRetry")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, s.run(t, &out))
	assert.Regexp(t, `\*\*k8sretry, Modify\*\* .* 0 %`, out.String())
	assert.Regexp(t, `DefaultRetry .* (89|90|91) %`, out.String())
}

func TestTargetsAreCompared(t *testing.T) {
	s, err := parseArgs("-scenario", "S4", "-check", "-runs", "1")
	require.NoError(t, err)
	var out bytes.Buffer
	if err := s.run(t, &out); err != nil {
		assert.Contains(t, out.String(), "missed: S4")
	} else {
		assert.Contains(t, out.String(), "all targets met")
	}
	assert.Contains(t, out.String(), "target")
}

// The rules that -ablate takes away are in the law as it is.
func TestRulesAreThoseOfTheLaw(t *testing.T) {
	t.Chdir("../..")
	for _, r := range rules {
		_, err := r.source()
		assert.NoError(t, err)
	}
}

// A row of everyday trouble for each contender, with a mark for a target that is missed.
func TestEverydayTable(t *testing.T) {
	s, err := parseArgs("-scenario", "nested", "-contender", "k8sretry limiter$,Transport with")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, s.run(t, &out))
	assert.Contains(t, out.String(), "0 of 80 failed")
	assert.NotContains(t, out.String(), "\u2717")
}

// Medians must meet a target, and each run must miss it by no more than a tenth.
func TestMissesOfMediansAndOfSingleRuns(t *testing.T) {
	busiest := scenario.Metric{
		Name: "busiest", Of: func(f scenario.Figures) float64 { return f.Busiest },
		Format: func(x float64) string { return fmt.Sprintf("%.2f", x) }, Target: [2]float64{2.5, 2.5},
	}
	missed := func(name string, runs ...float64) []string {
		var figures []scenario.Figures
		for _, x := range runs {
			figures = append(figures, scenario.Figures{Busiest: x})
		}
		r := &result{
			scenario: scenario.Scenario{Name: "X", Metrics: []scenario.Metric{busiest}}, processes: []int{20}, usual: true,
			outcomes: []outcome{{contender: contender.Contender{Name: name}, figures: [][]scenario.Figures{figures}}},
		}
		return r.misses()
	}
	assert.Empty(t, missed(contender.Main, 2.75, 2.5, 1))
	assert.Equal(t, []string{"X, 20 processes, busiest: 2.60, target 2.50"}, missed(contender.Main, 2.6, 2.6, 1))
	assert.Equal(t, []string{"X, 20 processes, busiest, one run: 2.76, target 2.50"}, missed(contender.Main, 1, 2.76, 1))
	assert.Len(t, missed("k8sretry Transport with limiter", 3, 3, 3), 1)
	assert.Empty(t, missed("k8sretry", 3, 3, 3))
}
