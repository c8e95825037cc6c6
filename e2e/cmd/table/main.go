// SPDX-License-Identifier: Apache-2.0

// Command table makes the calls of package storm with plain client-go, with
// client-go's retry.OnError and with k8sretry, on a real API server with other
// controllers. It writes how many wrong answers their callers got: four rows into
// README.md and all rows into docs/storm.md, between the markers of each document.
//
//	go run ./cmd/table                     # in e2e/, about 6 minutes
//	SEED=7 go run ./cmd/table              # other faults
//	go run ./cmd/table -readme '' -doc ''  # prints the tables and changes no document
//
// It prints the share of the calls of k8sretry whose outcome was unknown. It fails if
// k8sretry gave a wrong answer, or an unknown outcome where it can always be determined.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/marked"
	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

const user = "app"

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	preset, err := strconv.ParseUint(cmp.Or(os.Getenv("SEED"), "1"), 10, 64)
	if err != nil {
		return fmt.Errorf("SEED: %w", err)
	}
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	flags.SetOutput(stderr)
	seed := flags.Uint64("seed", preset, "seed of the faults")
	ops := flags.Int("ops", 1024, "operations of each row and client, over both protocols")
	readme := flags.String("readme", "../README.md", "document that gets the short table between its markers")
	doc := flags.String("doc", "../docs/storm.md", "document that gets all tables between its markers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// client-go logs each answer that is cut off.
	klog.SetLogger(klog.Logger{})
	c, err := cluster.New(cluster.Options{Users: []string{user}})
	if err != nil {
		return err
	}
	defer c.Close()
	r := &runner{setup: storm.Setup{Cluster: c, User: user, Seed: *seed, Ops: *ops, Companions: true}, log: stderr}
	t, err := r.all(ctx)
	if err != nil {
		return err
	}
	if err := marked.Write(*readme, "writes", t.readme(), stdout); err != nil {
		return err
	}
	if err := marked.Write(*doc, "writes", t.full(), stdout); err != nil {
		return err
	}
	fmt.Fprint(stdout, t.share())
	return t.wrong()
}

type runner struct {
	setup storm.Setup
	log   io.Writer
	mu    sync.Mutex // of log
}

const (
	// parallel is how many runs are made at a time, because they wait for lost answers most
	// of the time. As many slow ones run beside them.
	parallel = 3
	// slowShare is by how much fewer calls the slow runs make.
	slowShare = 8
	// killedShare is the same for the runs with the killed server, which are all made at
	// once.
	killedShare = 2
)

func (r *runner) all(ctx context.Context) (t table, err error) {
	t.seed = r.setup.Seed
	// This run waits for a minute; it runs while the others do.
	type throttled struct {
		sends int
		took  time.Duration
		err   error
	}
	waiting := make(chan throttled, 1)
	go func() {
		var w throttled
		w.sends, w.took, w.err = storm.Throttled(ctx, r.setup, false)
		waiting <- w
	}()
	for _, kind := range storm.Kinds() {
		t.rows = append(t.rows, row{name: kind.Name, provable: kind.Provable, cells: r.cells()})
	}
	t.early = r.cells()
	var tasks, slow []func() error
	add := func(tasks *[]func() error, what string, share int, c *cell, f func(context.Context, storm.Setup, storm.Caller) (storm.Result, error)) {
		*tasks = append(*tasks, func() (err error) {
			by := c.by()
			if c.Result, err = f(ctx, r.of(*c, share), by); err != nil {
				return fmt.Errorf("%s, %v: %w", what, c, err)
			}
			r.say(what, *c)
			return nil
		})
	}
	for i, kind := range storm.Kinds() {
		lane, share := &tasks, 1
		if kind.Slow {
			lane, share = &slow, slowShare
		}
		for j := range t.rows[i].cells {
			add(lane, kind.Name, share, &t.rows[i].cells[j], func(ctx context.Context, s storm.Setup, by storm.Caller) (storm.Result, error) {
				return storm.Writes(ctx, s, by, kind)
			})
		}
	}
	for i := range t.early {
		add(&tasks, "early faults", 1, &t.early[i], storm.Early)
	}
	var slowErr error
	var wait sync.WaitGroup
	wait.Go(func() { slowErr = storm.InParallel(slow, parallel) })
	err = storm.InParallel(tasks, parallel)
	wait.Wait()
	if err := errors.Join(err, slowErr); err != nil {
		return t, err
	}
	w := <-waiting // must end before the server is killed
	if t.throttledPlain, t.throttledPlainTook, err = w.sends, w.took, w.err; err != nil {
		return t, err
	}
	if t.throttled, t.throttledTook, err = storm.Throttled(ctx, r.setup, true); err != nil {
		return t, err
	}
	killed := row{name: "creates, the server killed in the middle", cells: r.cells()}
	var contenders []storm.Contender
	for _, c := range killed.cells {
		contenders = append(contenders, storm.Contender{Setup: r.of(c, killedShare), Caller: c.by()})
	}
	results, err := storm.Restart(ctx, contenders...)
	if err != nil {
		return t, err
	}
	for i := range killed.cells {
		killed.cells[i].Result = results[i]
		r.say(killed.name, killed.cells[i])
	}
	t.rows = append(t.rows, killed)
	return t, nil
}

// of returns the Setup of a cell. All clients of a row make the same number of calls over
// each protocol, with the same faults.
func (r *runner) of(c cell, share int) storm.Setup {
	s := r.setup
	s.HTTP1 = c.http1
	s.Ops /= 2 * share
	if c.client == ours {
		s.Ops /= len(storm.Modes())
		s.Offset = s.Ops * slices.Index(storm.Modes(), c.mode)
	}
	return s
}

// cells returns a row without results.
func (r *runner) cells() (cells []cell) {
	for _, http1 := range []bool{false, true} {
		cells = append(cells, cell{client: plain, http1: http1}, cell{client: onError, http1: http1})
		for _, mode := range storm.Modes() {
			cells = append(cells, cell{client: ours, http1: http1, mode: mode})
		}
	}
	return cells
}

func (r *runner) say(what string, c cell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.log, "%s, %v: %v\n", what, c, c.Result)
	if c.client == ours {
		if len(c.Causes) > 0 {
			fmt.Fprintln(r.log, "\tcauses:", c.Causes)
		}
		for _, note := range c.Notes {
			fmt.Fprintln(r.log, "\t"+note)
		}
	}
}
