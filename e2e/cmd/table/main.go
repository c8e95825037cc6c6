// Command table makes the calls of package storm with plain client-go, with
// client-go's retry.OnError and with k8sretry, on a real API server. It writes how many
// wrong answers their callers got: four rows into README.md and all rows into
// docs/safe-writes.md, between the markers of each document.
//
//	go run ./cmd/table            # in e2e/, about 5 minutes
//	SEED=7 go run ./cmd/table     # other faults
//
// Without markers a table is printed instead. The command fails if k8sretry gave a wrong
// answer.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
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
	ops := flags.Int("ops", 512, "operations of each kind over each protocol")
	creates := flags.Int("creates", 1000, "creates while the server is killed")
	readme := flags.String("readme", "../README.md", "document that gets the short table between its markers")
	doc := flags.String("doc", "../docs/safe-writes.md", "document that gets all tables between its markers")
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
	r := &runner{setup: storm.Setup{Cluster: c, User: user, Seed: *seed, Ops: *ops}, log: stderr}
	t, err := r.all(ctx, *creates)
	if err != nil {
		return err
	}
	if err := marked.Write(*readme, "writes", t.readme(), stdout); err != nil {
		return err
	}
	if err := marked.Write(*doc, "writes", t.full(), stdout); err != nil {
		return err
	}
	if wrong := t.wrong(); wrong > 0 {
		return fmt.Errorf("k8sretry gave %d wrong answers", wrong)
	}
	return nil
}

// callers are the columns; the last one is k8sretry.
var callers = []func() storm.Caller{storm.Plain, storm.OnError, func() storm.Caller { return storm.Ours(false) }}

type runner struct {
	setup storm.Setup
	log   io.Writer
}

func (r *runner) all(ctx context.Context, creates int) (t table, err error) {
	t.seed, t.ops = r.setup.Seed, r.setup.Ops
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
		line := row{name: kind.Name}
		for _, caller := range callers {
			result, err := r.both(ctx, kind.Name, caller(), func(ctx context.Context, s storm.Setup, by storm.Caller) (storm.Result, error) {
				return storm.Writes(ctx, s, by, kind)
			})
			if err != nil {
				return t, err
			}
			line.results = append(line.results, result)
		}
		t.lost = append(t.lost, line)
	}
	for _, caller := range callers {
		result, err := r.both(ctx, "early faults", caller(), storm.Early)
		if err != nil {
			return t, err
		}
		t.early = append(t.early, result)
	}
	w := <-waiting // must end before a server is killed
	if t.throttledPlain, t.throttledPlainTook, err = w.sends, w.took, w.err; err != nil {
		return t, err
	}
	if t.throttled, t.throttledTook, err = storm.Throttled(ctx, r.setup, true); err != nil {
		return t, err
	}
	s := r.setup
	s.Ops = creates
	t.killed.name = "creates, the server killed in the middle"
	for _, caller := range callers {
		by := caller()
		result, err := storm.Restart(ctx, s, by)
		if err != nil {
			return t, err
		}
		r.say(t.killed.name, by, "", result)
		t.killed.results = append(t.killed.results, result)
	}
	return t, nil
}

// both runs f over HTTP/2 and over HTTP/1.1 and returns the sum.
func (r *runner) both(ctx context.Context, what string, by storm.Caller, f func(context.Context, storm.Setup, storm.Caller) (storm.Result, error)) (sum storm.Result, err error) {
	for _, http1 := range []bool{false, true} {
		s, protocol := r.setup, "HTTP/2"
		if s.HTTP1 = http1; http1 {
			protocol = "HTTP/1.1"
		}
		result, err := f(ctx, s, by)
		if err != nil {
			return sum, fmt.Errorf("%s, %s: %w", what, by.Name(), err)
		}
		r.say(what, by, protocol, result)
		sum = sum.Add(result)
	}
	return sum, nil
}

func (r *runner) say(what string, by storm.Caller, protocol string, result storm.Result) {
	fmt.Fprintf(r.log, "%s, %s %s: %v\n", what, by.Name(), protocol, result)
	if by.Name() == storm.Ours(false).Name() {
		for _, note := range result.Notes {
			fmt.Fprintln(r.log, "\t"+note)
		}
	}
}
