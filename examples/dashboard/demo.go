// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
)

// The load. Writes come evenly, one after the other; pods are listed by ten callers at once,
// as after a restart of a controller.
const (
	writeInterval = 125 * time.Millisecond
	listBurst     = 10
	burstInterval = 5 * time.Second
	killInterval  = 10 * time.Second
)

// writes is the order of the writes.
var writes = []kind{create, increment, remove, increment, create, increment}

// client is one of the clients that are compared.
type client struct {
	name   string
	server *server
	book   *book
	caller caller
}

// demo makes the same operations with each client. Its methods are safe for concurrent use.
type demo struct {
	faults  faults
	clients []*client // k8sretry is the first
	limiter *k8sretry.Limiter
	feed    feed

	operations int
}

func newDemo(seed uint64) (*demo, error) {
	d := &demo{limiter: k8sretry.NewLimiter()}
	for _, way := range []struct {
		name string
		make func(*rest.Config) (caller, error)
	}{
		{"k8sretry", func(c *rest.Config) (caller, error) { return newOurs(c, d.limiter, &d.feed) }},
		{"plain client-go", func(c *rest.Config) (caller, error) { return newPlain(c) }},
		{"client-go in a retry loop", func(c *rest.Config) (caller, error) {
			p, err := newPlain(c)
			return loop{p}, err
		}},
	} {
		b := newBook()
		s, err := newServer(context.Background(), &d.faults, seed, b)
		if err != nil {
			d.close()
			return nil, err
		}
		c := &client{name: way.name, server: s, book: b}
		d.clients = append(d.clients, c)
		if c.caller, err = way.make(s.Config()); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

func (d *demo) close() {
	for _, c := range d.clients {
		c.server.stop()
	}
}

// run makes operations until the context ends, and closes the servers. It returns once all
// operations have ended.
func (d *demo) run(ctx context.Context) {
	var running sync.WaitGroup
	defer d.close()
	defer running.Wait()
	defer d.faults.set(nil) // the safe writes that end look once more what they have done
	start := func(k kind) {
		d.operations++
		id := d.operations
		for _, c := range d.clients {
			c.book.begin(id, k)
			running.Go(func() { c.book.end(id, c.perform(ctx, id, k)) })
		}
	}
	write, burst, kill := time.NewTicker(writeInterval), time.NewTicker(burstInterval), time.NewTicker(killInterval)
	defer write.Stop()
	defer burst.Stop()
	defer kill.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-write.C:
			start(writes[n%len(writes)])
			n++
		case <-burst.C:
			for range listBurst {
				start(list)
			}
			for _, c := range d.clients {
				c.book.forget()
				c.server.tidy(ctx)
			}
		case <-kill.C:
			if d.faults.has(deadConnections) {
				d.killConnections()
			}
		}
	}
}

func (d *demo) killConnections() {
	for _, c := range d.clients {
		c.server.KillConnections()
	}
}

// setFaults switches the given faults on and all others off.
func (d *demo) setFaults(on []fault) {
	was := d.faults.has(deadConnections)
	d.faults.set(on)
	if !was && d.faults.has(deadConnections) {
		d.killConnections()
	}
}

// perform makes one operation.
func (c *client) perform(ctx context.Context, id int, k kind) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, operationKey{}, id), patience)
	defer cancel()
	labels := map[string]string{"operation": fmt.Sprint(id)}
	switch k {
	case create:
		return c.caller.create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "demo-", Labels: labels}})
	case increment:
		return c.caller.increment(ctx, fmt.Sprintf("counter-%d", id%counters))
	case remove:
		object, err := c.server.put(ctx, fmt.Sprintf("old-%d", id))
		if err != nil {
			return err
		}
		return c.caller.remove(ctx, object)
	default:
		return c.caller.list(ctx)
	}
}

// decision is one line of the feed.
type decision struct {
	Time time.Time
	Text string
}

// feed is an Observer that keeps the latest decisions and counts. The zero feed is empty.
type feed struct {
	mu      sync.Mutex
	latest  []decision
	retries int
	waits   time.Duration
}

const feedLength = 12

// Observe notes each decision but successes at once.
func (f *feed) Observe(_ context.Context, e k8sretry.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Kind == k8sretry.EventRetry {
		f.retries++
		f.waits += e.Delay
	}
	if text := describe(e); text != "" {
		f.latest = last(append(f.latest, decision{time.Now(), text}), feedLength)
	}
}

// describe returns "" for what is not shown.
func describe(e k8sretry.Event) string {
	switch {
	case e.Kind == k8sretry.EventRetry:
		return fmt.Sprintf("%s: attempt %d failed (%s), next one in %.1f s", e.Function, e.Attempt, problem(e), e.Delay.Seconds())
	case e.Kind == k8sretry.EventSuccess && e.Attempt > 1:
		return fmt.Sprintf("%s: succeeded at attempt %d, %.1f s after the first", e.Function, e.Attempt, e.Elapsed.Seconds())
	case e.Kind == k8sretry.EventFailure:
		return fmt.Sprintf("%s: failed after attempt %d (%s): %v", e.Function, e.Attempt, e.StopReason, e.Err)
	case e.Kind == k8sretry.EventLimiter && e.Limited:
		return fmt.Sprintf("the limiter limits this %s, because %s failed (%s)", e.Scope, e.Function, problem(e))
	case e.Kind == k8sretry.EventLimiter:
		return fmt.Sprintf("the limiter limits this %s no longer (%s)", e.Scope, e.Function)
	}
	return ""
}

// problem is the class of a failure, its status code, and whether the server may have done
// what it was asked for.
func problem(e k8sretry.Event) string {
	text := e.Class.String()
	if e.StatusCode != 0 {
		text = fmt.Sprintf("%d, %s", e.StatusCode, text)
	}
	if e.Outcome == k8sretry.OutcomeUnknown {
		text += ", may have been done"
	}
	return text
}

// state returns the latest decisions, the last one first.
func (f *feed) state() (latest []decision, retries int, waits time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	latest = slices.Clone(f.latest)
	slices.Reverse(latest)
	return latest, f.retries, f.waits
}
