// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/k8sretry/k8sretry"
)

// initialDelay is the delay before the first retry, instead of that of the presets.
const initialDelay = 200 * time.Millisecond

// report is an Observer that collects the events of each call. It checks how the
// calls end and prints a summary.
type report struct {
	out io.Writer

	mu       sync.Mutex // an Observer may be called from several goroutines
	calls    []*call
	problems []error
}

// call is one call and its events.
type call struct {
	title  string
	events []k8sretry.Event
}

func newReport(out io.Writer) *report { return &report{out: out} }

// Observe adds the event to the current call.
func (r *report) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	current := r.calls[len(r.calls)-1]
	current.events = append(current.events, e)
}

// begin starts a call. failure describes what the server will do.
func (r *report) begin(title, failure string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, &call{title: title})
	fmt.Fprintf(r.out, "\n%d. %s: %s\n", len(r.calls), title, failure)
}

// end checks that the last event of the current call is the given one, at the given
// attempt.
func (r *report) end(err error, event string, attempts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	current := r.calls[len(r.calls)-1]
	if last := current.last(); last.Name() != event || last.Attempt != attempts {
		r.problems = append(r.problems, fmt.Errorf("%s: want %s at attempt %d, got %q at attempt %d: %w",
			current.title, event, attempts, last.Name(), last.Attempt, cmp.Or(err, errors.New("no error"))))
	}
}

// check prints the statement if ok is true, and records a problem otherwise.
func (r *report) check(ok bool, statement string) {
	if !ok {
		r.problems = append(r.problems, fmt.Errorf("not true: %s", statement))
		return
	}
	fmt.Fprintf(r.out, "   %s\n", statement)
}

// err returns the problems, or nil if every call went as planned.
func (r *report) err() error { return errors.Join(r.problems...) }

func (c *call) last() k8sretry.Event {
	if len(c.events) == 0 {
		return k8sretry.Event{}
	}
	return c.events[len(c.events)-1]
}

// row returns the call's line of the summary, its cells separated by tabs.
func (c *call) row() string {
	var answers, delays []string
	for _, e := range c.events {
		if e.Kind != k8sretry.EventSuccess {
			answers = append(answers, statusCode(e))
		}
		if e.Kind == k8sretry.EventRetry {
			delays = append(delays, fmt.Sprintf("%.2f", e.Delay.Seconds()))
		}
	}
	delay := "-"
	if len(delays) > 0 {
		delay = strings.Join(delays, " + ") + " s"
	}
	result := "failed: " + c.last().Name()
	switch c.last().Name() {
	case "k8s_api_call_succeeded_after_retry":
		result, answers = "succeeded", append(answers, "ok")
	case "k8s_api_call_failed_max_retries":
		result = "failed: no retries left"
	case "k8s_api_call_failed_non_retryable":
		result = "failed at once: not retryable"
	}
	return fmt.Sprintf("%s\t%d\t%s\t%s\t%s", c.title, c.last().Attempt, strings.Join(answers, ", "), delay, result)
}

// statusCode returns the status code as jq prints it: null if there was no answer.
func statusCode(e k8sretry.Event) string {
	if e.StatusCode == 0 {
		return "null"
	}
	return strconv.Itoa(e.StatusCode)
}

// summary prints one line per call, and shell commands that count the log lines
// together with their expected output.
func (r *report) summary(log string) {
	fmt.Fprintf(r.out, "\nSummary (null: the connection was lost before an answer arrived)\n\n")
	table := tabwriter.NewWriter(r.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  call\tattempts\tanswers\tdelays\tresult")
	for i, c := range r.calls {
		fmt.Fprintf(table, "  %d. %s\n", i+1, c.row())
	}
	_ = table.Flush()
	fmt.Fprintf(r.out, `
The delays are shortened to start at %.1f s. The presets wait 1, 2, 4 s (ForRead: get, list)
and 2, 4, 8, 16, 30 s (ForWrite: create, patch, delete).

The log is in %s, one JSON object per line. Try these commands; the expected output follows the #:

`, initialDelay.Seconds(), log)
	for _, event := range []string{
		"k8s_api_call_failed_retrying", "k8s_api_call_succeeded_after_retry",
		"k8s_api_call_failed_max_retries", "k8s_api_call_failed_non_retryable",
	} {
		fmt.Fprintf(table, "  grep %s %s | wc -l\t# %d\n", event, log, r.count(event))
	}
	_ = table.Flush()
	fmt.Fprintf(r.out, "  grep k8s_api_call_failed_retrying %s | jq .status_code | sort | uniq -c | sort -rn\n", log)
	for _, line := range r.retriedCodes() {
		fmt.Fprintf(r.out, "  # %s\n", line)
	}
}

// count returns the number of events with the given name.
func (r *report) count(event string) int {
	n := 0
	for _, c := range r.calls {
		for _, e := range c.events {
			if e.Name() == event {
				n++
			}
		}
	}
	return n
}

// retriedCodes counts the status codes that were retried, in the format of
// uniq -c | sort -rn.
func (r *report) retriedCodes() []string {
	counts := map[string]int{}
	for _, c := range r.calls {
		for _, e := range c.events {
			if e.Kind == k8sretry.EventRetry {
				counts[statusCode(e)]++
			}
		}
	}
	var lines []string
	for code, n := range counts {
		lines = append(lines, fmt.Sprintf("%7d %s", n, code))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return lines
}
