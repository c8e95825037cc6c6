// SPDX-License-Identifier: Apache-2.0

// Command worlds runs worlds and prints what the judge says of them:
//
//	go run ./cmd/worlds -seeds 10000
//
// It fails if there is a violation, or, from 10,000 worlds on, if fewer than 100 operations met a
// fault in one of the ways of use. Each violation is printed with its seed and the part of the
// trace that is about the call, and its world is run 100 times more, because the goroutines of
// net/http and client-go are not ordered by the seed.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/k8sretry/k8sretry/worlds"
	"github.com/k8sretry/k8sretry/worlds/judge"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

func main() {
	testing.Init() // testing/synctest needs a test
	var (
		seeds   = flag.Uint64("seeds", 1000, "run so many worlds")
		from    = flag.Uint64("from", 0, "the seed of the first one")
		workers = flag.Int("workers", runtime.GOMAXPROCS(0), "run so many worlds at a time")
		again   = flag.Int("again", 100, "run a world with a violation so many times more")
		first   = flag.Bool("first", false, "stop at the first violation")
		save    = flag.String("trace", "", "write the trace of the first world to this file")
		replay  = flag.String("judge", "", "run nothing, judge the trace in this file")
		only    = flag.String("only", "", "with -mutants: take nothing out but what has this in its name")
		mutants = flag.Bool("mutants", false, "take mends of the library out one by one, and print how many worlds find that")
	)
	flag.Parse()
	switch {
	case *replay != "":
		os.Exit(judgeFile(*replay))
	case *mutants:
		os.Exit(runMutants(os.Stdout, *only, *seeds))
	}
	_ = flag.Set("test.parallel", strconv.Itoa(*workers))
	r := &run{from: *from, seeds: *seeds, workers: *workers, again: *again, first: *first, save: *save, out: os.Stdout}
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "worlds", F: func(t *testing.T) {
		r.all(t)
		if !r.report() {
			t.Fail()
		}
	}}}, nil, nil)
}

// run is one run of the command.
type run struct {
	from, seeds    uint64
	workers, again int
	first          bool
	save           string
	out            io.Writer

	mu    sync.Mutex
	next  uint64
	stop  bool
	total judge.Total
	bad   []worlds.Result
	began time.Time
	took  time.Duration
}

// all runs the worlds, and those with violations again.
func (r *run) all(t *testing.T) {
	r.began = time.Now()
	t.Run("all", func(t *testing.T) {
		for range r.workers {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for seed, ok := r.seed(); ok; seed, ok = r.seed() {
					r.add(worlds.Run(t, seed))
				}
			})
		}
	})
	r.took = time.Since(r.began)
	for _, b := range r.bad {
		r.explain(t, b)
	}
}

func (r *run) seed() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == r.seeds || r.stop {
		return 0, false
	}
	r.next++
	return r.from + r.next - 1, true
}

func (r *run) add(world worlds.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Add(world.Judgement)
	if len(world.Judgement.Violations) > 0 {
		v := world.Judgement.Violations[0]
		fmt.Fprintf(os.Stderr, "world %d: %s: %s\n", world.Seed, v.Rule, v.Text) // the whole comes at the end
		r.bad = append(r.bad, world)
		r.stop = r.stop || r.first
	}
	if r.total.Worlds%1000 == 0 {
		fmt.Fprintf(os.Stderr, "%d worlds in %v\n", r.total.Worlds, time.Since(r.began).Round(time.Second))
	}
	if r.save != "" && world.Seed == r.from {
		var b bytes.Buffer
		if err := trace.Encode(&b, world.Trace); err == nil {
			_ = os.WriteFile(r.save, b.Bytes(), 0o600)
		}
	}
}

// explain prints the violations of a world, and how often they come back.
func (r *run) explain(t *testing.T, world worlds.Result) {
	for _, v := range world.Judgement.Violations {
		fmt.Fprintf(r.out, "seed %d, call %d: %s: %s\n%s\n", world.Seed, v.Op, v.Rule, v.Text, worlds.Shorten(world.Trace, v.Op))
	}
	same := 0
	for range r.again {
		again := worlds.Run(t, world.Seed)
		for _, v := range again.Judgement.Violations {
			if v.Op == world.Judgement.Violations[0].Op && v.Rule == world.Judgement.Violations[0].Rule {
				same++
				break
			}
		}
	}
	if r.again > 0 {
		fmt.Fprintf(r.out, "seed %d: run %d times more, the first violation came back %d times\n\n", world.Seed, r.again, same)
	}
}

const (
	fullRun      = 10_000
	smallestCell = 100
)

// report prints the tables and reports whether all is well.
func (r *run) report() bool {
	var names []string
	for _, w := range ways.All() {
		names = append(names, w.Name)
	}
	r.total.Write(r.out, names)
	n, cell := r.total.Smallest(names)
	fmt.Fprintf(r.out, "\nThe smallest cell is %s with %d operations.\n%d worlds in %v\n", cell, n, r.total.Worlds, r.took.Round(time.Second))
	if r.seeds >= fullRun && n < smallestCell {
		fmt.Fprintf(r.out, "A cell needs %d operations.\n", smallestCell)
		return false
	}
	return len(r.total.Violations) == 0
}

// judgeFile judges a trace that was written before.
func judgeFile(name string) int {
	data, err := os.ReadFile(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	entries, err := trace.Decode(data)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	j := judge.Judge(entries)
	for _, v := range j.Violations {
		fmt.Printf("call %d: %s: %s\n%s\n", v.Op, v.Rule, v.Text, worlds.Shorten(entries, v.Op))
	}
	fmt.Printf("%d operations, %d violations\n", j.Operations, len(j.Violations))
	return min(len(j.Violations), 1)
}
