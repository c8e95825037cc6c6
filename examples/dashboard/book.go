// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/k8sretry/k8sretry"
)

// kind is what an operation does.
type kind int

const (
	create    kind = iota // a ConfigMap with a generated name
	increment             // read a ConfigMap, add one to its number, update it
	remove                // a ConfigMap
	list                  // pods
	kinds
)

// kindNames are the names of operations on the page and in the decisions.
var kindNames = [kinds]string{"create configmaps", "update configmaps", "delete configmaps", "list pods"}

func (k kind) writes() bool { return k != list }

// result is how an operation ended for its caller, compared with what the server did.
type result int

const (
	pending   result = iota
	succeeded        // and was done once
	failed           // and was not done
	falseFail        // failed, but was done
	unknown          // the error says that the outcome is unknown
	twice            // was done more than once
	lost             // succeeded, but was not done
	results
)

// operation is one call of a caller and what the server did for it.
type operation struct {
	id       int
	kind     kind
	started  time.Time
	requests int // that the server received
	done     int // writes that the server carried out
	ended    time.Time
	err      error
	counted  result // as which the book has counted it
}

// result compares the error with what was done.
func (o *operation) result() result {
	switch {
	case o.ended.IsZero():
		return pending
	case o.done > 1:
		return twice
	case errors.Is(o.err, k8sretry.ErrOutcomeUnknown):
		return unknown
	case o.err != nil && o.done == 1:
		return falseFail
	case o.err != nil:
		return failed
	case o.kind.writes() && o.done == 0:
		return lost
	}
	return succeeded
}

const (
	memory     = 20 * time.Second // how long an ended operation is remembered
	tapeLength = 40
	recent     = 15 // durations of a kind of which the median is taken
)

// book counts the operations of one client. It is safe for concurrent use.
type book struct {
	mu         sync.Mutex
	operations map[int]*operation
	counts     [results]int
	tape       []*operation // the latest that ended
	took       [kinds][]time.Duration
	inProgress [kinds]int
	atServer   int
	requests   int
	refusals   int
}

func newBook() *book { return &book{operations: map[int]*operation{}} }

func (b *book) begin(id int, k kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.operations[id] = &operation{id: id, kind: k, started: time.Now()}
	b.counts[pending]++
	b.inProgress[k]++
}

func (b *book) end(id int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.operations[id]
	o.ended, o.err = time.Now(), err
	b.inProgress[o.kind]--
	b.took[o.kind] = last(append(b.took[o.kind], o.ended.Sub(o.started)), recent)
	b.tape = last(append(b.tape, o), tapeLength)
	b.count(o)
}

// count counts an operation again after a change.
func (b *book) count(o *operation) {
	b.counts[o.counted]--
	o.counted = o.result()
	b.counts[o.counted]++
}

// arrive notes a request for an operation, and returns how many there were before.
func (b *book) arrive(id int) (number int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.atServer++
	b.requests++
	if o := b.operations[id]; o != nil {
		number = o.requests
		o.requests++
	}
	return number
}

func (b *book) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.atServer--
}

func (b *book) refused() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals++
}

// done notes that the server has carried out a write, perhaps after the operation ended.
func (b *book) done(id int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.operations[id]; o != nil {
		o.done++
		b.count(o)
	}
}

func (b *book) knows(id int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.operations[id] != nil
}

// forget removes the operations that ended long ago.
func (b *book) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, o := range b.operations {
		if !o.ended.IsZero() && time.Since(o.ended) > memory {
			delete(b.operations, id)
		}
	}
}

// figures are what the page shows of a book.
type figures struct {
	Counts     [results]int
	Tape       []result
	Median     [kinds]time.Duration
	InProgress [kinds]int
	AtServer   int
	Requests   int
	Refusals   int
}

// Waiting is the number of operations that have no request at the server now.
func (f figures) Waiting() int { return max(0, f.Counts[pending]-f.AtServer) }

func (b *book) figures() figures {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := figures{Counts: b.counts, InProgress: b.inProgress, AtServer: b.atServer, Requests: b.requests, Refusals: b.refusals}
	for _, o := range b.tape {
		f.Tape = append(f.Tape, o.counted)
	}
	for k, took := range b.took {
		if len(took) > 0 {
			f.Median[k] = slices.Sorted(slices.Values(took))[len(took)/2]
		}
	}
	return f
}

// last returns the last n elements of s.
func last[S ~[]E, E any](s S, n int) S { return slices.Delete(s, 0, max(0, len(s)-n)) }
