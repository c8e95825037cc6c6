// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTable(t *testing.T) {
	test := func(name string, state state, took time.Duration) result {
		return result{Name: name, State: state, Took: took}
	}
	known := test("a", failed, 1)
	known.Failure = "unexpected error when reading response body"
	tab := table{versions: []string{"m v1"}, faults: 0.08, seed: 3, rows: []row{{
		suite: suite{module: clientGo, dir: "tools/x"},
		runs: map[mode]outcome{
			plain:         {Results: []result{test("a", passed, 40), test("b", passed, 60), test("c", failed, 7), test("d", skipped, 0)}},
			library:       {Results: []result{test("a", passed, 60), test("b", passed, 60), test("c", passed, 7), test("d", skipped, 0)}, Requests: 8},
			plainFaults:   {Results: []result{test("a", failed, 1), test("b", failed, 1), test("c", failed, 1)}},
			libraryFaults: {Results: []result{known, test("b", passed, 1), test("c", failed, 1)}, Faults: 2},
		},
	}}}
	text := tab.markdown()
	assert.Contains(t, text, "m v1; 8 % faults, seed 3.")
	assert.Contains(t, text, "| client-go tools/x | 3 | 2 | 3 | 1.20 | 8 | 0 | 1 | 2 |\n")
	assert.Contains(t, text, "without faults, and why: none.\n")
	assert.Contains(t, text, "\n  - tools/x: a\n")
	assert.NotContains(t, text, "tools/x: c", "it fails without k8sretry, too")
	assert.NoError(t, tab.verdict())

	tab.rows[0].runs[libraryFaults].Results[0].Failure = "something else"
	assert.Error(t, tab.verdict())
	assert.Contains(t, tab.markdown(), "No reason is known.\n  - tools/x: a\n")
	tab.rows[0].runs[libraryFaults] = outcome{}
	assert.NoError(t, tab.verdict())
	tab.rows[0].runs[library].Results[1].State = failed
	assert.Error(t, tab.verdict())
	assert.Contains(t, tab.markdown(), "\n  - tools/x: b\n")
}

func TestRepeatedRunsAreMerged(t *testing.T) {
	first := outcome{Results: []result{{Name: "a", State: passed, Took: 3}, {Name: "b", State: passed, Took: 3}, {Name: "c", State: failed, Took: 3}}, Requests: 5}
	assert.Equal(t, first, outcome{}.merge(first))
	merged := first.merge(outcome{Results: []result{{Name: "b", State: failed, Took: 2, Failure: "x"}, {Name: "a", State: passed, Took: 4}, {Name: "c", State: passed, Took: 1}}, Requests: 6})
	assert.Equal(t, outcome{Results: []result{{Name: "a", State: passed, Took: 3}, {Name: "b", State: failed, Took: 2, Failure: "x"}, {Name: "c", State: failed, Took: 1}}, Requests: 5}, merged)
}
