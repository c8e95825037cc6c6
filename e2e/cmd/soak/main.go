// SPDX-License-Identifier: Apache-2.0

// Command soak makes the calls of package storm for a long time, one round after the other,
// on a real API server, and looks whether anything grows.
//
//	go run ./cmd/soak -for 1h               # in e2e/
//	go run ./cmd/soak -for 10m -doc ''      # changes no document
//
// Each round has another seed and one trouble more than the lost answers of the storm: none,
// etcd that is stopped and continued, faults before the server, or a server that is killed
// and started again. All the time a user with a priority level of its own asks for more than
// its level gives.
//
// It fails if k8sretry gave a wrong answer, or an unknown outcome where it can always be
// determined, and if memory, goroutines, open files or connections of the process grow.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/fairness"
	"github.com/k8sretry/k8sretry/e2e/internal/marked"
	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

const user = "app"

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	during := flags.Duration("for", time.Hour, "no round begins after this time")
	seed := flags.Uint64("seed", 1, "seed of the faults of the first round")
	ops := flags.Int("ops", 64, "calls of each kind, mode and protocol in a round")
	doc := flags.String("doc", "../docs/soak.md", "document that gets the report between its markers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// client-go logs each answer that is cut off.
	klog.SetLogger(klog.Logger{})
	c, err := cluster.New(cluster.Options{Users: []string{user, greedyUser}})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := fairness.OneSeat(ctx, c, greedyUser, "*"); err != nil {
		return err
	}
	s := &soak{setup: storm.Setup{Cluster: c, User: user, Seed: *seed, Ops: *ops, Companions: true}, log: stderr}
	r, err := s.all(ctx, *during)
	if err != nil {
		return err
	}
	if err := marked.Write(*doc, "soak", r.markdown(), stdout); err != nil {
		return err
	}
	return r.verdict()
}

// trouble is what a round has beside the lost answers of the storm.
type trouble int

const (
	noTrouble trouble = iota
	etcdStops
	earlyFaults
	killedServer
	troubles
)

var troubleNames = [troubles]string{"lost answers", "lost answers, etcd stopped and continued", "faults before the server", "the server killed and started again"}

type soak struct {
	setup storm.Setup
	log   io.Writer
	mu    sync.Mutex // of the report
	r     report
}

// all makes rounds until the time is over.
func (s *soak) all(ctx context.Context, during time.Duration) (report, error) {
	begin := time.Now()
	s.r.seed, s.r.began = s.setup.Seed, begin
	for n := 0; n == 0 || time.Since(begin) < during; n++ {
		t := trouble(n % int(troubles))
		// The greedy user's clients end with the round, so that they count as growth if
		// they leave something behind.
		greedyCtx, end := context.WithCancel(ctx)
		greedy := make(chan error, 1)
		go func() { greedy <- s.greedy(greedyCtx) }()
		err := s.round(ctx, t)
		end()
		if err = errors.Join(err, <-greedy); err != nil {
			return s.r, fmt.Errorf("round %d, %s, seed %d: %w", n+1, troubleNames[t], s.setup.Seed, err)
		}
		s.setup.Seed++
		s.r.rounds++
		now, err := measure(time.Since(begin))
		if err != nil {
			return s.r, err
		}
		s.r.samples = append(s.r.samples, now)
		fmt.Fprintf(s.log, "round %d, %s: %v; %v\n", n+1, troubleNames[t], s.r.byTrouble[t], now)
	}
	s.r.took = time.Since(begin)
	return s.r, nil
}

// parallel is how many runs are made at a time, because they wait for lost answers most of
// the time.
const parallel = 4

// slowShare is by how much fewer calls the slow runs make.
const slowShare = 8

func (s *soak) round(ctx context.Context, t trouble) error {
	if t == etcdStops {
		stop := s.stopEtcdNowAndThen(ctx)
		defer stop()
	}
	if t == killedServer {
		var contenders []storm.Contender
		s.each(func(setup storm.Setup, mode storm.Mode) {
			contenders = append(contenders, storm.Contender{Setup: setup, Caller: storm.Ours(mode)})
		})
		results, err := storm.Restart(ctx, contenders...)
		if err != nil {
			return err
		}
		s.r.restarts++
		for _, r := range results {
			s.add(t, r, false)
		}
		return nil
	}
	var tasks []func() error
	s.each(func(setup storm.Setup, mode storm.Mode) {
		if t == earlyFaults {
			tasks = append(tasks, func() error {
				r, err := storm.Early(ctx, setup, storm.Ours(mode))
				s.add(t, r, true)
				return err
			})
			return
		}
		for _, kind := range storm.Kinds() {
			tasks = append(tasks, func() error {
				setup := setup
				if kind.Slow {
					setup.Ops = max(1, setup.Ops/slowShare)
				}
				r, err := storm.Writes(ctx, setup, storm.Ours(mode), kind)
				s.add(t, r, kind.Provable)
				return err
			})
		}
	})
	return storm.InParallel(tasks, parallel)
}

// each calls f for every mode and protocol.
func (s *soak) each(f func(storm.Setup, storm.Mode)) {
	for _, http1 := range []bool{false, true} {
		for i, mode := range storm.Modes() {
			setup := s.setup
			setup.HTTP1, setup.Offset = http1, i*setup.Ops
			f(setup, mode)
		}
	}
}

// add adds a result to the report. If the outcome of each call can be determined, an unknown
// one is wrong.
func (s *soak) add(t trouble, r storm.Result, provable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if provable {
		s.r.wrongUnknown += r.Unknown
	}
	s.r.byTrouble[t] = s.r.byTrouble[t].Add(r)
	if r.Wrong() > 0 || provable && r.Unknown > 0 {
		for _, note := range r.Notes {
			fmt.Fprintln(s.log, "\t"+note)
		}
	}
}

// The time for which etcd works between two stops, and that for which it is stopped.
const (
	etcdWorks   = 5 * time.Second
	etcdStopped = 2 * time.Second
)

// stopEtcdNowAndThen stops and continues etcd until the returned function is called.
func (s *soak) stopEtcdNowAndThen(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if !pause(ctx, etcdWorks) {
				return
			}
			s.setup.Cluster.StopEtcd()
			s.r.etcdStops++
			goOn := pause(ctx, etcdStopped)
			s.setup.Cluster.ContinueEtcd()
			if !goOn {
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// pause waits. It returns false if the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
