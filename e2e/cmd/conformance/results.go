// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// state is what became of a test.
type state string

const (
	passed  state = "passed"
	failed  state = "failed"
	skipped state = "skipped"
)

// result is one test of a run: a test of Go without subtests, or a spec of Ginkgo.
type result struct {
	Name    string
	State   state
	Took    time.Duration
	Failure string `json:",omitempty"`
}

// goResults reads the output of go test -json, or of go tool test2json. A test that has begun
// and not ended, because the process has ended before it, has failed. Tests that have subtests
// count only if they fail though none of their subtests does. The test ginkgo, if not empty,
// is left out: its specs are in another report.
func goResults(r io.Reader, ginkgo string) ([]result, error) {
	var order []string
	tests := map[string]*result{}
	output := map[string]*strings.Builder{}
	decoder := json.NewDecoder(bufio.NewReader(r))
	for {
		var event struct {
			Action, Test, Output string
			Elapsed              float64
		}
		err := decoder.Decode(&event)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("output of go test -json: %w", err)
		}
		if event.Test == "" || event.Test == ginkgo {
			continue
		}
		test := tests[event.Test]
		if test == nil {
			order = append(order, event.Test)
			test = &result{Name: event.Test, State: failed}
			tests[event.Test], output[event.Test] = test, &strings.Builder{}
		}
		switch event.Action {
		case "pass":
			test.State = passed
		case "skip":
			test.State = skipped
		case "output":
			output[event.Test].WriteString(event.Output)
		}
		if event.Elapsed > 0 {
			test.Took = time.Duration(event.Elapsed * float64(time.Second))
		}
	}
	parents, explained := map[string]bool{}, map[string]bool{}
	for name, test := range tests {
		for parent := name; strings.Contains(parent, "/"); {
			parent = parent[:strings.LastIndex(parent, "/")]
			parents[parent] = true
			explained[parent] = explained[parent] || test.State == failed
		}
	}
	var results []result
	for _, name := range order {
		test := *tests[name]
		if parents[name] && (test.State != failed || explained[name]) {
			continue
		}
		if test.State == failed {
			test.Failure = output[name].String()
		}
		results = append(results, test)
	}
	return results, nil
}

// ginkgoResults reads the report that Ginkgo writes for --json-report. Specs of the same
// name get numbers. The setup of the suite counts as a test if it has failed.
func ginkgoResults(r io.Reader) ([]result, error) {
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			RunTime                 time.Duration
			Failure                 struct {
				Message  string
				Location struct {
					FileName   string
					LineNumber int
				}
			}
		}
	}
	if err := json.NewDecoder(r).Decode(&reports); err != nil {
		return nil, fmt.Errorf("report of Ginkgo: %w", err)
	}
	states := map[string]state{"passed": passed, "skipped": skipped, "pending": skipped}
	seen := map[string]int{}
	var results []result
	for _, report := range reports {
		for _, spec := range report.SpecReports {
			state, ok := states[spec.State]
			if !ok {
				state = failed
			}
			if spec.LeafNodeType != "It" && state != failed {
				continue
			}
			name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
			if name == "" {
				name = spec.LeafNodeType
			}
			if seen[name]++; seen[name] > 1 {
				name = fmt.Sprintf("%s #%d", name, seen[name])
			}
			test := result{Name: name, State: state, Took: spec.RunTime}
			if state == failed {
				at := spec.Failure.Location
				test.Failure = fmt.Sprintf("%s:%d: %s", at.FileName, at.LineNumber, spec.Failure.Message)
			}
			results = append(results, test)
		}
	}
	return results, nil
}
