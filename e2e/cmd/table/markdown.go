package main

import (
	"fmt"
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

// wrong is how often ours was.
func (t table) wrong() (n int) {
	ours := len(callers) - 1
	for _, line := range append(t.lost, t.killed) {
		r := line.results[ours]
		n += r.Wrong() + r.Right - r.Reported - r.Moot
	}
	return n + t.early[ours].Wrong()
}

func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Wrong answers to the caller, on a real kube-apiserver: false failures / done twice / lost. One answer in five is lost\n"+
		"after the commit (closed, reset, truncated, 504, hung), %d operations over HTTP/2 and as many over HTTP/1.1, 16 at once, while others\n"+
		"hold names, write the same objects and make them anew (seed %d; `cd e2e && go run ./cmd/table` writes this).\n\n", t.ops, t.seed)
	b.WriteString("| | operations | plain client-go | client-go's `retry.OnError` | k8sretry |\n| --- | --- | --- | --- | --- |\n")
	for _, line := range append(t.lost, t.killed) {
		fmt.Fprintf(&b, "| %s | %d |", line.name, line.results[0].Ops)
		for i, r := range line.results {
			cell := fmt.Sprintf("%d / %d / %d", r.FalseFailures, r.Twice, r.Lost)
			if i == len(callers)-1 {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nOf %d mixed calls, with 30 %% of the requests failing before the server sees them, these fail:", t.early[0].Ops)
	for i, caller := range callers {
		r := t.early[i]
		separator := ","
		if i == len(callers)-1 {
			separator = "."
		}
		fmt.Fprintf(&b, " %s %.1f %%%s", caller().Name(), 100*float64(r.FalseFailures)/float64(r.Ops), separator)
	}
	fmt.Fprintf(&b, "\nA persistent 429 with `Retry-After: 1` and five retries: the server sees %d requests of client-go in a retry loop, in %.0f s,\n"+
		"and %d of client-go on a `Transport`, in %.1f s (with JitterNone; by default a Retry-After is spread upwards by up to a half).\n", t.throttledPlain, t.throttledPlainTook.Seconds(), t.throttled, t.throttledTook.Seconds())
	return b.String()
}
