// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

type table struct {
	seed  uint64
	rows  []row
	early []cell

	throttled, throttledPlain         int
	throttledTook, throttledPlainTook time.Duration
}

type row struct {
	name     string
	provable bool // no outcome may be unknown
	cells    []cell
}

// cell is the result of one client over one protocol.
type cell struct {
	client client
	http1  bool
	mode   storm.Mode // of k8sretry
	storm.Result
}

type client int

const (
	plain client = iota
	onError
	ours
)

func (c cell) by() storm.Caller {
	switch c.client {
	case plain:
		return storm.Plain()
	case onError:
		return storm.OnError()
	default:
		return storm.Ours(c.mode)
	}
}

func (c cell) protocol() string {
	if c.http1 {
		return "HTTP/1.1"
	}
	return "HTTP/2"
}

func (c cell) String() string {
	text := c.by().Name() + ", " + c.protocol()
	if c.client == ours {
		text += ", " + c.mode.String()
	}
	return text
}

// sum adds the results of the matching cells.
func sum(cells []cell, match func(cell) bool) (total storm.Result) {
	for _, c := range cells {
		if match(c) {
			total = total.Add(c.Result)
		}
	}
	return total
}

func of(by client) func(cell) bool { return func(c cell) bool { return c.client == by } }

// readmeRows are the rows that README.md shows.
var readmeRows = []string{"creates, fixed names", "creates, generateName", "deletes", "read-modify-writes"}

// wrong returns an error if an answer of k8sretry was wrong.
func (t table) wrong() error {
	wrong, unreported, unknown := 0, 0, 0
	for _, line := range append(t.rows, row{cells: t.early}) {
		r := sum(line.cells, of(ours))
		wrong += r.Wrong()
		unreported += r.Expected - r.Reported - r.Ambiguous - r.ExpectedUnknown
		if line.provable {
			unknown += r.Unknown
		}
	}
	if wrong+unreported+unknown > 0 {
		return fmt.Errorf("k8sretry gave %d wrong answers, did not report %d failures, and %d outcomes are unknown that can be determined", wrong, unreported, unknown)
	}
	return nil
}

// share says how many outcomes were unknown to the caller of k8sretry.
func (t table) share() string {
	var unknown, ops int
	for _, line := range t.rows {
		r := sum(line.cells, of(ours))
		unknown, ops = unknown+r.Unknown, ops+r.Ops
	}
	return fmt.Sprintf("Unknown outcomes of k8sretry: %d of %d calls, %.2f %%.\n", unknown, ops, 100*float64(unknown)/float64(ops))
}

// readme renders the table of README.md.
func (t table) readme() string {
	var b strings.Builder
	fmt.Fprintf(&b, "False failures / done twice / lost, on a real kube-apiserver that loses one answer in five after the commit while other controllers "+
		"write the same objects (`cd e2e && SEED=%d go run ./cmd/table`; [all rows](docs/storm.md)):\n\n", t.seed)
	t.summary(&b, func(line row) bool { return slices.Contains(readmeRows, line.name) })
	return b.String()
}

// full renders the tables of docs/storm.md.
func (t table) full() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d; `cd e2e && SEED=%d go run ./cmd/table` writes this part of the page.\n\n", t.seed, t.seed)
	t.summary(&b, func(row) bool { return true })
	b.WriteString("\n" + t.share() + "\n## k8sretry in detail\n\n")
	t.details(&b)
	b.WriteString("\n## Other faults\n\n")
	fmt.Fprintf(&b, "%d mixed calls of each client while 30 %% of the requests fail before they reach the server, without other controllers. Failed calls:", sum(t.early, of(ours)).Ops)
	for by, separator := range []string{",", ",", "."} {
		r := sum(t.early, of(client(by)))
		fmt.Fprintf(&b, " %s %.1f %%%s", cell{client: client(by)}.by().Name(), 100*float64(r.FalseFailures)/float64(r.Ops), separator)
	}
	fmt.Fprintf(&b, "\n\nA server that answers every request with 429 and `Retry-After: 1`, and a policy of five retries: client-go in a retry loop sends\n"+
		"%d requests in %.0f s, client-go on a `Transport` sends %d in %.1f s (with JitterNone; by default up to half of a Retry-After is added\n"+
		"as jitter).\n", t.throttledPlain, t.throttledPlainTook.Seconds(), t.throttled, t.throttledTook.Seconds())
	return b.String()
}

// counts renders the wrong answers of a result.
func counts(r storm.Result) string {
	return fmt.Sprintf("%d / %d / %d", r.FalseFailures, r.Twice, r.Lost)
}

// summary renders one line for each row with the sums of each client.
func (t table) summary(b *strings.Builder, shown func(row) bool) {
	b.WriteString("| | operations | plain client-go | client-go's `retry.OnError` | k8sretry | unknown to k8sretry |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, line := range t.rows {
		if !shown(line) {
			continue
		}
		r := sum(line.cells, of(ours))
		fmt.Fprintf(b, "| %s | %d | %s | %s | **%s** | %d |\n", line.name, r.Ops,
			counts(sum(line.cells, of(plain))), counts(sum(line.cells, of(onError))), counts(r), r.Unknown)
	}
}

// details renders the cells of k8sretry.
func (t table) details(b *strings.Builder) {
	b.WriteString("| | k8sretry | operations | HTTP/2 | unknown | HTTP/1.1 | unknown |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, line := range t.rows {
		for _, mode := range storm.Modes() {
			protocol := func(http1 bool) storm.Result {
				return sum(line.cells, func(c cell) bool { return c.client == ours && c.mode == mode && c.http1 == http1 })
			}
			h2, h1 := protocol(false), protocol(true)
			fmt.Fprintf(b, "| %s | %v | %d | %s | %d | %s | %d |\n", line.name, mode, h2.Ops+h1.Ops, counts(h2), h2.Unknown, counts(h1), h1.Unknown)
		}
	}
}
