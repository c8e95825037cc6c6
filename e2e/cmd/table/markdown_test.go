package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

func example() table {
	results := []storm.Result{{Ops: 10, FalseFailures: 3}, {Ops: 10, Twice: 2}, {Ops: 10, Expected: 2, Reported: 1, Ambiguous: 1}}
	return table{
		seed: 3, ops: 5, lost: []row{{"deletes", results}, {"updates", results}}, killed: row{"creates", results}, early: results,
		throttled: 6, throttledPlain: 66,
	}
}

func TestFullTable(t *testing.T) {
	text := example().full()
	for _, name := range []string{"deletes", "updates", "creates"} {
		assert.Contains(t, text, "| "+name+" | 10 | 3 / 0 / 0 | 0 / 2 / 0 | **0 / 0 / 0** |\n")
	}
	assert.Contains(t, text, "Failed calls: plain client-go 30.0 %, retry.OnError 0.0 %, k8sretry 0.0 %.\n")
	assert.Contains(t, text, "\n66 requests in 0 s")
	assert.Zero(t, example().wrong())
}

func TestReadmeTableHasOnlyItsRows(t *testing.T) {
	text := example().readme()
	assert.Contains(t, text, "| deletes | 10 |")
	assert.NotContains(t, text, "| updates |")
	assert.NotContains(t, text, "| creates |")
	assert.Contains(t, text, "SEED=3 go run ./cmd/table")
}

func TestReadmeRowsAreKindsOfWrites(t *testing.T) {
	var kinds []string
	for _, kind := range storm.Kinds() {
		kinds = append(kinds, kind.Name)
	}
	assert.Subset(t, kinds, readmeRows)
}

func TestAnUnreportedRightFailureIsWrong(t *testing.T) {
	e := example()
	e.lost[0].results[2].Reported--
	assert.Equal(t, 3, e.wrong(), "all three rows share the result")
}
