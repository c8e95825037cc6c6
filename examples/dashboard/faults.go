// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"sync"
)

// fault is a kind of trouble of the servers.
type fault string

const (
	lostAnswers     fault = "lost"
	unavailable     fault = "unavailable"
	throttled       fault = "throttled"
	slow            fault = "slow"
	deadConnections fault = "dead"
)

// allFaults are the switches of the page, in its order.
var allFaults = []struct {
	Fault       fault
	Title, Hint string
}{
	{lostAnswers, "Lost answers", "The server does what it is asked for. One answer in four is lost."},
	{unavailable, "503 for everything", "The server shuts down and refuses every request."},
	{throttled, "429 for one resource", "Lists of pods: one in 0.4 s, and 429 with Retry-After: 1 for the others. ConfigMaps are served as usual."},
	{slow, "Slow answers", "A brown-out: two requests at a time, 0.25 s for each, less than is needed. The others wait."},
	{deadConnections, "Dead connections", "Every ten seconds all open connections stop to answer, without being closed. New ones work."},
}

// faults are the faults that are switched on. It is safe for concurrent use.
type faults struct {
	mu sync.Mutex
	on []fault
}

// set switches the given faults on and all others off.
func (f *faults) set(on []fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = slices.Clone(on)
}

func (f *faults) has(one fault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.on, one)
}

// list returns the faults that are on.
func (f *faults) list() []fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.on)
}
