package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

type table struct {
	seed   uint64
	ops    int
	lost   []row
	killed row
	early  []storm.Result

	throttled, throttledPlain         int
	throttledTook, throttledPlainTook time.Duration
}

type row struct {
	name    string
	results []storm.Result // in the order of callers
}

// readmeRows are the rows that README.md shows.
var readmeRows = []string{"creates, fixed names", "creates, generateName", "deletes", "read-modify-writes"}

// wrong returns how many answers of k8sretry were wrong.
func (t table) wrong() (n int) {
	ours := len(callers) - 1
	for _, line := range append(t.lost, t.killed) {
		r := line.results[ours]
		n += r.Wrong() + r.Expected - r.Reported - r.Ambiguous
	}
	return n + t.early[ours].Wrong()
}

// readme renders the table of README.md.
func (t table) readme() string {
	var rows []row
	for _, line := range t.lost {
		if slices.Contains(readmeRows, line.name) {
			rows = append(rows, line)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "False failures / done twice / lost, on a real kube-apiserver that loses one answer in five after the commit "+
		"(`cd e2e && SEED=%d go run ./cmd/table`; [all rows](docs/safe-writes.md#measured)):\n\n", t.seed)
	t.rows(&b, rows)
	return b.String()
}

// full renders the tables of docs/safe-writes.md.
func (t table) full() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Each cell: false failures / done twice / lost. One answer in five is lost after the commit (connection closed or reset, body\n"+
		"truncated, 504, no answer). %d operations over HTTP/2 and %d over HTTP/1.1, 16 at once, while other clients hold some of the names,\n"+
		"write the same objects and recreate them. In the last row the server is killed during the creates (seed %d;\n"+
		"`cd e2e && SEED=%d go run ./cmd/table` writes this).\n\n", t.ops, t.ops, t.seed, t.seed)
	t.rows(&b, append(t.lost, t.killed))
	fmt.Fprintf(&b, "\n%d mixed calls while 30 %% of the requests fail before they reach the server. Failed calls:", t.early[0].Ops)
	for i, caller := range callers {
		r := t.early[i]
		separator := ","
		if i == len(callers)-1 {
			separator = "."
		}
		fmt.Fprintf(&b, " %s %.1f %%%s", caller().Name(), 100*float64(r.FalseFailures)/float64(r.Ops), separator)
	}
	fmt.Fprintf(&b, "\n\nA server that answers every request with 429 and `Retry-After: 1`, and a policy of five retries: client-go in a retry loop sends\n"+
		"%d requests in %.0f s, client-go on a `Transport` sends %d in %.1f s (with JitterNone; by default up to half of a Retry-After is added\n"+
		"as jitter).\n", t.throttledPlain, t.throttledPlainTook.Seconds(), t.throttled, t.throttledTook.Seconds())
	return b.String()
}

func (t table) rows(b *strings.Builder, rows []row) {
	b.WriteString("| | operations | plain client-go | client-go's `retry.OnError` | k8sretry |\n| --- | --- | --- | --- | --- |\n")
	for _, line := range rows {
		fmt.Fprintf(b, "| %s | %d |", line.name, line.results[0].Ops)
		for i, r := range line.results {
			cell := fmt.Sprintf("%d / %d / %d", r.FalseFailures, r.Twice, r.Lost)
			if i == len(callers)-1 {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
}
