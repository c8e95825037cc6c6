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

// shortDelay is where the delays begin in this show.
const shortDelay = 200 * time.Millisecond

// story tells what the calls do: it listens to their events.
type story struct {
	out io.Writer

	mu       sync.Mutex // an Observer may be called from anywhere
	chapters []*chapter
	problems []error
}

// chapter is one call.
type chapter struct {
	title  string
	events []k8sretry.Event
}

func newStory(out io.Writer) *story { return &story{out: out} }

func (s *story) Observe(_ context.Context, e k8sretry.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.chapters[len(s.chapters)-1]
	now.events = append(now.events, e)
}

func (s *story) begin(title, scene string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chapters = append(s.chapters, &chapter{title: title})
	fmt.Fprintf(s.out, "\n%d. %s: %s\n", len(s.chapters), title, scene)
}

// end compares how a call ended with how it should have.
func (s *story) end(err error, event string, attempts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.chapters[len(s.chapters)-1]
	if last := now.last(); last.Name() != event || last.Attempt != attempts {
		s.problems = append(s.problems, fmt.Errorf("%s: want %s at attempt %d, got %q at attempt %d: %w",
			now.title, event, attempts, last.Name(), last.Attempt, cmp.Or(err, errors.New("no error"))))
	}
}

// check is for a fact worth telling, which is a problem when it is not so.
func (s *story) check(ok bool, fact string) {
	if !ok {
		s.problems = append(s.problems, fmt.Errorf("not so: %s", fact))
		return
	}
	fmt.Fprintf(s.out, "   %s\n", fact)
}

func (s *story) verdict() error { return errors.Join(s.problems...) }

func (c *chapter) last() k8sretry.Event {
	if len(c.events) == 0 {
		return k8sretry.Event{}
	}
	return c.events[len(c.events)-1]
}

// row tells the chapter in a line of the summary.
func (c *chapter) row() string {
	var answers, waits []string
	for _, e := range c.events {
		if e.Kind != k8sretry.EventSuccess {
			answers = append(answers, answer(e))
		}
		if e.Kind == k8sretry.EventRetry {
			waits = append(waits, fmt.Sprintf("%.2f", e.Delay.Seconds()))
		}
	}
	waited := "-"
	if len(waits) > 0 {
		waited = strings.Join(waits, " + ") + " s"
	}
	end := "it failed: " + c.last().Name()
	switch c.last().Name() {
	case "k8s_api_call_succeeded_after_retry":
		end, answers = "it worked", append(answers, "ok")
	case "k8s_api_call_failed_max_retries":
		end = "it failed: no retries left"
	case "k8s_api_call_failed_non_retryable":
		end = "it failed at once: no retry can help"
	}
	return fmt.Sprintf("%s\t%d\t%s\t%s\t%s", c.title, c.last().Attempt, strings.Join(answers, ", "), waited, end)
}

// answer is the status code as jq prints it: null when no answer came.
func answer(e k8sretry.Event) string {
	if e.StatusCode == 0 {
		return "null"
	}
	return strconv.Itoa(e.StatusCode)
}

// summary tells the whole, and how to ask the log for it.
func (s *story) summary(log string) {
	fmt.Fprintf(s.out, "\nWhat happened (null: the connection was lost before an answer came)\n\n")
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  call\tattempts\tanswers\twaited\tend")
	for i, c := range s.chapters {
		fmt.Fprintf(table, "  %d. %s\n", i+1, c.row())
	}
	_ = table.Flush()
	fmt.Fprintf(s.out, `
The waits are shortened for this show: they begin at %.1f s. The presets, as they are,
wait 1, 2, 4 s (ForRead: get, list) and 2, 4, 8, 16, 30 s (ForWrite: create, patch, delete).

The log is in %s, a JSON object a line. Ask it; behind each #, what it will say:

`, shortDelay.Seconds(), log)
	for _, event := range []string{
		"k8s_api_call_failed_retrying", "k8s_api_call_succeeded_after_retry",
		"k8s_api_call_failed_max_retries", "k8s_api_call_failed_non_retryable",
	} {
		fmt.Fprintf(table, "  grep %s %s | wc -l\t# %d\n", event, log, s.count(event))
	}
	_ = table.Flush()
	fmt.Fprintf(s.out, "  grep k8s_api_call_failed_retrying %s | jq .status_code | sort | uniq -c | sort -rn\n", log)
	for _, line := range s.codes() {
		fmt.Fprintf(s.out, "  # %s\n", line)
	}
}

func (s *story) count(event string) int {
	n := 0
	for _, c := range s.chapters {
		for _, e := range c.events {
			if e.Name() == event {
				n++
			}
		}
	}
	return n
}

// codes counts the answers that led to a retry, as uniq -c and sort -rn do.
func (s *story) codes() []string {
	counts := map[string]int{}
	for _, c := range s.chapters {
		for _, e := range c.events {
			if e.Kind == k8sretry.EventRetry {
				counts[answer(e)]++
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
