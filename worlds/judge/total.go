// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/trace"
)

// Total adds up the judgements of many worlds.
type Total struct {
	Judgement
	Worlds int
}

// Add adds the judgement of one world.
func (t *Total) Add(j *Judgement) {
	if t.Exceptions == nil {
		t.Exceptions, t.Claims = map[Exception]int{}, map[string]map[trace.Claim]int{}
		t.Cells, t.Faults = map[faults.Kind]map[string]int{}, map[faults.Kind]int{}
	}
	t.Worlds++
	t.Operations += j.Operations
	t.Requests += j.Requests
	t.Renewals += j.Renewals
	t.OtherLevels += j.OtherLevels
	t.Violations = append(t.Violations, j.Violations...)
	for e, n := range j.Exceptions {
		t.Exceptions[e] += n
	}
	for k, n := range j.Faults {
		t.Faults[k] += n
	}
	for call, claims := range j.Claims {
		if t.Claims[call] == nil {
			t.Claims[call] = map[trace.Claim]int{}
		}
		for claim, n := range claims {
			t.Claims[call][claim] += n
		}
	}
	for k, ways := range j.Cells {
		if t.Cells[k] == nil {
			t.Cells[k] = map[string]int{}
		}
		for way, n := range ways {
			t.Cells[k][way] += n
		}
	}
}

// Smallest returns the smallest cell of the faults that every way of use meets.
func (t *Total) Smallest(ways []string) (n int, cell string) {
	n = -1
	for _, kind := range slices.Concat(faults.Kinds(), faults.States()) {
		for _, way := range ways {
			if have := t.Cells[kind][way]; n < 0 || have < n {
				n, cell = have, fmt.Sprintf("%s x %s", kind, way)
			}
		}
	}
	return n, cell
}

// Write prints the tables.
func (t *Total) Write(w io.Writer, ways []string) {
	fmt.Fprintf(w, "| worlds | operations | requests | violations |\n| --- | --- | --- | --- |\n| %d | %d | %d | %d |\n\n", t.Worlds, t.Operations, t.Requests, len(t.Violations))

	fmt.Fprintf(w, "Operations that met a fault, by way of use:\n\n| fault | times | %s |\n| --- | --- |%s\n", strings.Join(ways, " | "), strings.Repeat(" --- |", len(ways)))
	for _, kind := range slices.Concat(faults.Kinds(), faults.States(), faults.WatchKinds()) {
		fmt.Fprintf(w, "| %s | %d |", kind, t.Faults[kind])
		for _, way := range ways {
			fmt.Fprintf(w, " %d |", t.Cells[kind][way])
		}
		fmt.Fprintln(w)
	}

	fmt.Fprintf(w, "\nClaims:\n\n| call | success | certain error | outcome unknown |\n| --- | --- | --- | --- |\n")
	for _, call := range slices.Sorted(maps.Keys(t.Claims)) {
		c := t.Claims[call]
		fmt.Fprintf(w, "| %s | %d | %d | %d |\n", call, c[trace.Success], c[trace.Certain], c[trace.Unknown])
	}

	fmt.Fprintf(w, "\nAn elector has renewed its lease %d times. %d calls with a Limiter began while nothing but another priority level was exhausted.\n", t.Renewals, t.OtherLevels)

	fmt.Fprintf(w, "\nWhat the documentation excepts:\n\n| exception | times |\n| --- | --- |\n")
	for _, e := range Exceptions() {
		fmt.Fprintf(w, "| %s | %d |\n", e, t.Exceptions[e])
	}
}

// Exceptions returns all exceptions.
func Exceptions() []Exception {
	return []Exception{
		ByNameAlone, PatchByName, LastWriteWins, CreatedAgain, SameContent, ChangesNothing, UnseenRedirect, UnseenPage, NotFoundLater,
		HiddenReplay, InnerReplay, UnseenLoss, HiddenDelay, FinalCheck, LeaseOfTheDown,
	}
}
