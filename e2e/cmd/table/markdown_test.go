package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

func example() table {
	results := []storm.Result{{Ops: 10, FalseFailures: 3}, {Ops: 10, Twice: 2}, {Ops: 10, Expected: 2, Reported: 1, Ambiguous: 1}}
	return table{
		seed: 3, ops: 5, lost: []row{{"deletes", results}}, killed: row{"creates", results}, early: results,
		throttled: 6, throttledPlain: 66,
	}
}

func TestMarkdownContainsAllResults(t *testing.T) {
	text := example().markdown()
	assert.Contains(t, text, "| deletes | 10 | 3 / 0 / 0 | 0 / 2 / 0 | **0 / 0 / 0** |\n")
	assert.Contains(t, text, "these fail: plain client-go 30.0 %, retry.OnError 0.0 %, k8sretry 0.0 %.\n")
	assert.Contains(t, text, "gets 66 requests")
	assert.Zero(t, example().wrong())
}

func TestUnreportedExpectedFailureIsWrong(t *testing.T) {
	e := example()
	e.lost[0].results[2].Reported--
	assert.Equal(t, 2, e.wrong(), "both rows share the result")
}
