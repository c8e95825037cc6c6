// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

// example returns a table of two kinds and the killed server. Every cell of plain client-go
// has 3 false failures in 5 calls, of retry.OnError 2 calls done twice, and one cell of
// k8sretry has an unknown outcome.
func example() table {
	cells := new(runner).cells()
	for i := range cells {
		switch c := &cells[i]; c.client {
		case plain:
			c.Result = storm.Result{Ops: 5, FalseFailures: 3}
		case onError:
			c.Result = storm.Result{Ops: 5, Twice: 2}
		case ours:
			c.Result = storm.Result{Ops: 5, Expected: 2, Reported: 1, Ambiguous: 1}
			if c.http1 && c.mode == (storm.Mode{Limiter: true}) {
				c.Result = storm.Result{Ops: 5, Unknown: 1, Expected: 1, ExpectedUnknown: 1}
			}
		}
	}
	return table{
		seed: 3, rows: []row{{name: "deletes", cells: cells}, {name: "updates", cells: cells}, {name: "creates", cells: cells}}, early: cells,
		throttled: 6, throttledPlain: 66,
	}
}

func TestFullTable(t *testing.T) {
	text := example().full()
	for _, name := range []string{"deletes", "updates", "creates"} {
		assert.Contains(t, text, "| "+name+" | 40 | 6 / 0 / 0 | 0 / 4 / 0 | **0 / 0 / 0** | 1 |\n")
		assert.Contains(t, text, "| "+name+" | with a Transport | 10 | 0 / 0 / 0 | 0 | 0 / 0 / 0 | 0 |\n")
		assert.Contains(t, text, "| "+name+" | with a Limiter | 10 | 0 / 0 / 0 | 0 | 0 / 0 / 0 | 1 |\n")
	}
	assert.Contains(t, text, "Unknown outcomes of k8sretry: 3 of 120 calls, 2.50 %.\n")
	assert.Contains(t, text, "Failed calls: plain client-go 60.0 %, retry.OnError 0.0 %, k8sretry 0.0 %.\n")
	assert.Contains(t, text, "\n66 requests in 0 s")
	assert.NoError(t, example().wrong())
}

func TestReadmeTableHasOnlyItsRows(t *testing.T) {
	text := example().readme()
	assert.Contains(t, text, "| deletes | 40 |")
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

func TestOurWrongAnswersAreErrors(t *testing.T) {
	for name, change := range map[string]func(row *row, ours *storm.Result){
		"false failure":      func(_ *row, r *storm.Result) { r.FalseFailures++ },
		"done twice":         func(_ *row, r *storm.Result) { r.Twice++ },
		"lost":               func(_ *row, r *storm.Result) { r.Lost++ },
		"unreported failure": func(_ *row, r *storm.Result) { r.Reported-- },
		"provable outcome":   func(row *row, _ *storm.Result) { row.provable = true },
	} {
		t.Run(name, func(t *testing.T) {
			e := example()
			e.rows[0].cells = slices.Clone(e.rows[0].cells)
			at := slices.IndexFunc(e.rows[0].cells, of(ours))
			change(&e.rows[0], &e.rows[0].cells[at].Result)
			assert.Error(t, e.wrong())
		})
	}
}

// Together the cells of k8sretry make the calls of one cell of another client.
func TestAllClientsMakeTheSameCalls(t *testing.T) {
	r := &runner{setup: storm.Setup{Ops: 1024}}
	calls := map[client]map[int]int{}
	for _, c := range r.cells() {
		s := r.of(c, 1)
		if calls[c.client] == nil {
			calls[c.client] = map[int]int{}
		}
		for i := range s.Ops {
			calls[c.client][s.Offset+i]++
		}
	}
	assert.Len(t, calls[plain], 512)
	assert.Equal(t, calls[plain], calls[onError])
	assert.Equal(t, calls[plain], calls[ours])
}
