// SPDX-License-Identifier: Apache-2.0

package worlds

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/worlds/actors"
	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/model"
	"github.com/k8sretry/k8sretry/worlds/trace"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// World is what a seed decides about a world.
type World struct {
	Seed uint64

	http2   bool
	inner   bool // a RoundTripper below the library repeats requests
	recent  bool // the server has no history of changes, as some aggregated servers
	strips  bool // an admission plugin removes the annotations of the library
	quota   int  // of config maps, 0 for none
	skew    time.Duration
	retries int
	delay   time.Duration
	attempt time.Duration // the timeout of an attempt, 0 for none
	faults  float64
	actors  float64
	lag     time.Duration // of the watch caches, at most
	others  int           // servers behind the balancer, besides one
	spreads bool          // the balancer chooses a server for each request
	levels  bool          // nothing but a priority level fails
	elects  bool          // an elector runs beside the calls of the first program
	near    bool          // the clocks differ by almost as much as they may
	steps   bool          // the clock of the servers is set while the world runs
	pauses  bool          // processes are paused
	old     bool          // the objects of others are older than the clocks may differ
}

const (
	forWorld = 1000 + iota
	forCaller
	forUID
	forSuffix
	forReplicas
	forLag
	forCache
	forClock
	forSteps
	forPauses
)

// callers is how many callers a world has, and callsEach how many calls each of them makes.
const (
	callers   = 3
	callsEach = 6
)

// New returns the world of a seed.
func New(seed uint64) *World {
	r := faults.Rand(seed, forWorld)
	w := &World{
		Seed: seed, http2: r.IntN(2) == 0, inner: r.IntN(4) == 0, strips: r.IntN(10) == 0,
		skew: time.Duration(r.IntN(960)-480) * time.Second, retries: 2 + r.IntN(5), delay: time.Duration(50+r.IntN(1000)) * time.Millisecond,
		attempt: []time.Duration{0, 2 * time.Second, 5 * time.Second, 10 * time.Second}[r.IntN(4)],
		faults:  []float64{0.15, 0.35, 0.6}[r.IntN(3)], actors: []float64{0, 0.4, 0.9}[r.IntN(3)], old: r.IntN(3) > 0,
	}
	w.recent = r.IntN(8) == 0
	if r.IntN(10) == 0 {
		w.quota = 8 + r.IntN(12)
	}
	r = faults.Rand(seed, forReplicas)
	w.others, w.spreads = min(r.IntN(4), 2), r.IntN(3) == 0
	w.near, w.steps, w.pauses = r.IntN(8) == 0, r.IntN(4) == 0, r.IntN(3) == 0
	if w.near {
		w.skew = time.Duration(r.Int64N(int64(time.Second))) - maxSkew
	}
	w.elects, w.levels = r.IntN(4) == 0, r.IntN(16) == 0
	w.lag = []time.Duration{0, 200 * time.Millisecond, time.Second, 5 * time.Second}[r.IntN(4)]
	return w
}

// lagOf returns how long the cache of a replica takes to hear of a version. Every sixteenth takes the
// whole lag of the world.
func (w *World) lagOf(replica int, version int64) time.Duration {
	r := faults.Rand(w.Seed, forLag, uint64(replica), uint64(version))
	if r.IntN(16) == 0 {
		return w.lag
	}
	return time.Duration(r.Float64() * r.Float64() * float64(w.lag))
}

// Run lets everything happen, and returns the trace. It has to be called in a bubble of
// testing/synctest.
func (w *World) Run() []trace.Entry {
	recorder := trace.NewRecorder()
	clock := &clock{skew: w.skew, trace: recorder}
	company := &actors.Actors{Seed: w.Seed, Rate: w.actors}
	server := model.New(model.Config{
		Now: clock.now, Clock: w.clockOf,
		UID: func(n int) types.UID {
			r := faults.Rand(w.Seed, forUID, uint64(n))
			return types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), w.Seed<<20|uint64(n)))
		},
		Suffix: func(n int) string {
			return fmt.Sprintf("%05x", faults.Rand(w.Seed, forSuffix, uint64(n)).Uint32()%0xfffff)
		},
		Admit: w.admit,
		Quota: w.quotas(), Replicas: 1 + w.others, Lag: w.lagOf,
		OnChange: func(c model.Change) {
			recorder.Add(trace.Entry{
				Kind: trace.Changed, Version: c.Version, Type: string(c.Type), Resource: c.Key.Resource, Name: c.Key.Name, UID: string(c.UID), By: c.By,
				Op: opOf(c.By), Object: c.JSON(),
			})
			company.OnChange(c)
		},
	})
	company.Server = server
	network := faults.NewNetwork()
	front := faults.NewFront(faults.Plan{
		Seed: w.Seed, Rate: w.faults, InnerLayer: w.inner, NoHistory: w.recent, Replicas: 1 + w.others, EachRequest: w.spreads,
		OnlyLevels: w.levels, Informer: informerOp,
	}, server, network, recorder)
	front.TLS = w.http2
	stop := serve(front, w.http2)
	controller := newProgram(w, front, "label-controller")
	company.Clients = controller.clientsFor(&ways.Way{})

	w.populate(server)
	if w.old {
		sleep(context.Background(), time.Hour)
	}
	// Without HTTP/2 nothing ends a watch on a dead connection, and without history an informer
	// does not hear of deletions.
	watching := newProgram(w, front, "informer")
	var informer *informer
	if w.http2 && !w.recent {
		informer = startInformer(watching.clientsFor(&ways.Way{Transport: true}))
	}
	// The first two are replicas: they have the same field manager.
	programs := []*program{newProgram(w, front, "replica"), newProgram(w, front, "replica"), newProgram(w, front, "caller")}
	stopElector := func() {}
	if w.elects {
		stopElector = startElector(programs[0], w.Seed%2 == 0, recorder).stop
	}
	running, end := context.WithCancel(context.Background())
	var disturbing sync.WaitGroup
	if w.steps {
		disturbing.Go(func() { clock.run(running, faults.Rand(w.Seed, forSteps)) })
	}
	for i, p := range programs {
		if w.pauses {
			disturbing.Go(func() { p.pauses.run(running, faults.Rand(w.Seed, forPauses, uint64(i)), i, recorder) })
		}
	}
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			c := &caller{World: w, number: i, program: programs[i], server: server, trace: recorder, rand: faults.Rand(w.Seed, forCaller, uint64(i))}
			for n := range callsEach {
				c.call(i*callsEach + n + 1)
			}
		})
	}
	all.Wait()
	stopElector()
	end()
	disturbing.Wait()
	sleep(context.Background(), 2*time.Minute) // for what is carried out later
	company.Wait()
	front.Wait()
	if informer != nil {
		sleep(context.Background(), 30*time.Minute)
		informer.compare(server, recorder)
		informer.stop()
	}
	programs = append(programs, controller, watching)
	for _, p := range programs {
		p.close()
	}
	stop()
	front.Wait() // for what the informer has caused since
	for _, p := range programs {
		p.close()
	}
	return recorder.Entries()
}

func opOf(by string) (op int) {
	_, _ = fmt.Sscanf(by, "op:%d", &op)
	return op
}

func (w *World) quotas() map[string]int {
	if w.quota == 0 {
		return nil
	}
	return map[string]int{"configmaps": w.quota}
}

// admit is the admission of the server.
func (w *World) admit(_ model.Key, obj *unstructured.Unstructured) {
	if !w.strips {
		return
	}
	annotations := obj.GetAnnotations()
	for _, key := range []string{k8sretry.TokenAnnotation, k8sretry.TokenAnnotation + "-create"} {
		delete(annotations, key)
	}
	if len(annotations) == 0 {
		annotations = nil
	}
	obj.SetAnnotations(annotations)
}

// What the callers of a world share.
const (
	counters = 2
	taken    = 3
)

// populate creates the objects of others.
func (w *World) populate(s *model.Server) {
	for _, resource := range []string{"configmaps", "widgets"} {
		for i := range counters {
			create(s, ways.New(resource, fmt.Sprintf("counter-%d", i), "0"))
		}
		for i := range taken {
			create(s, ways.New(resource, fmt.Sprintf("taken-%d", i), "others"))
		}
	}
}

// create creates an object of others. It does nothing if the quota is used up.
func create(s *model.Server, obj *unstructured.Unstructured) {
	actors.Send(s, http.MethodPost, model.Key{Resource: resourceOf(obj), Namespace: ways.Namespace}, "", "setup", "application/json", obj.Object)
}

func resourceOf(obj *unstructured.Unstructured) string {
	return map[string]string{"ConfigMap": "configmaps", "Pod": "pods", "Deployment": "deployments", "Widget": "widgets", "PodDisruptionBudget": "poddisruptionbudgets"}[obj.GetKind()]
}

// caller makes calls, one after the other.
type caller struct {
	*World
	number  int
	program *program
	server  *model.Server
	trace   *trace.Recorder
	rand    *rand.Rand
}

// call makes one call and records what it says.
func (c *caller) call(id int) {
	r := c.rand
	all := ways.All()
	way := all[r.IntN(len(all))]
	op := &ways.Op{
		ID: id, Way: way, Call: way.Calls[r.IntN(len(way.Calls))], Value: "op-" + strconv.Itoa(id), Manager: c.program.name,
		Retries: c.retries, Options: c.program.options(way.Limiter),
	}
	op.Resource = way.ResourceOf(op.Call)
	behind := c.prepare(op)
	if op.Name == "" {
		return // the quota is used up
	}
	limit := time.Duration(5+r.IntN(90)) * time.Second
	canceled := r.IntN(12) == 0
	if canceled {
		limit = time.Duration(5+r.IntN(6000)) * time.Millisecond
	}
	begins := trace.Entry{
		Kind: trace.OpBegins, Op: id, Way: way.Name, Call: string(op.Call), Caller: c.program.name, Program: c.number, Limited: way.Limiter, Resource: op.Resource, Name: op.Name, Retries: op.Retries,
		Limit: limit, Canceled: canceled, BelowAll: way.Transport, Value: op.Value,
	}
	if op.Object != nil {
		begins.UID, begins.WasGoing = string(op.Object.GetUID()), op.Object.GetDeletionTimestamp() != nil
		begins.Version, _ = strconv.ParseInt(op.Object.GetResourceVersion(), 10, 64)
	}
	begins.Behind = behind
	clients := c.program.clientsFor(way)
	ctx := faults.WithOp(context.Background(), id)
	var cancel context.CancelFunc
	if canceled {
		ctx, cancel = context.WithCancel(ctx)
		defer time.AfterFunc(limit, cancel).Stop()
	} else {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	end := c.program.begin(id)
	c.trace.Add(begins)
	err := way.Run(ctx, clients, op)
	c.trace.Add(ended(op, err))
	end()
	sleep(context.Background(), time.Duration(r.IntN(400))*time.Millisecond)
}

// ended is the claim of a call. A Transport hands the last answer to the client as it came: if
// that is a 503 or a response that ends too early, it says by itself that the outcome is unknown.
func ended(op *ways.Op, err error) trace.Entry {
	e := trace.Entry{Kind: trace.OpEnds, Op: op.ID, Claim: trace.Success}
	if err == nil {
		e.Version, _ = strconv.ParseInt(op.Got, 10, 64)
		return e
	}
	e.Claim, e.Error = trace.Certain, err.Error()
	var stopped *k8sretry.Error
	if errors.As(err, &stopped) {
		e.Stop = stopped.StopReason.String()
	}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) ||
		op.Way.ClientGoSpeaks && stopped == nil && !op.Call.Reads() && k8sretry.Classify(err).Outcome != k8sretry.OutcomeNotExecuted {
		e.Claim = trace.Unknown
	}
	return e
}

// prepare finds or makes the object of a call. It returns how many versions the cache is behind from
// which the caller has read it.
func (c *caller) prepare(op *ways.Op) (behind int64) {
	r := c.rand
	op.Name = fmt.Sprintf("%s-%d", map[bool]string{true: "new", false: "obj"}[op.Call.Creates()], op.ID)
	switch {
	case op.Call.Creates():
		if op.Call != ways.Generate && r.IntN(5) == 0 {
			op.Name = fmt.Sprintf("taken-%d", r.IntN(taken))
		}
		return 0
	case op.Call == ways.Modify && r.IntN(4) > 0, op.Call == ways.Update && r.IntN(4) == 0:
		op.Name = fmt.Sprintf("counter-%d", r.IntN(counters))
		if op.Call == ways.Update && r.IntN(2) == 0 {
			op.Value = "the same bytes"
		}
	default:
		obj := ways.New(op.Resource, op.Name, "initial")
		if op.Call == ways.JSONAppend {
			obj.SetFinalizers([]string{"example.com/first"})
		}
		if r.IntN(8) == 0 && op.Resource != "pods" {
			obj.SetFinalizers(append(obj.GetFinalizers(), actors.Finalizer))
		}
		create(c.server, obj)
		if op.Call == ways.Evict && r.IntN(3) == 0 {
			c.budget(op.Name)
		}
	}
	key := model.Key{Resource: op.Resource, Namespace: ways.Namespace, Name: op.Name}
	if op.Object, behind = c.look(key, op.ID); op.Object == nil {
		op.Name = ""
		return 0
	}
	if r.IntN(8) == 0 { // what the caller has read is out of date
		body := map[string]any{"metadata": map[string]any{"labels": map[string]any{"late": "yes"}}}
		if r.IntN(2) == 0 { // another client with a manager of its own wants the same
			body = map[string]any{ways.ValuePath(op.Resource): map[string]any{"value": op.Value}}
		}
		actors.Send(c.server, http.MethodPatch, key, "", "earlier-writer", "application/merge-patch+json", body)
	}
	return behind
}

// look returns an object as the caller has read it: from the storage, or from a cache, which
// others have made out of date.
func (c *caller) look(key model.Key, id int) (obj *unstructured.Unstructured, behind int64) {
	r := faults.Rand(c.Seed, forCache, uint64(id))
	if c.lag == 0 || r.IntN(2) == 0 {
		return c.server.Look(key), 0
	}
	replica := r.IntN(1 + c.others)
	sleep(context.Background(), c.server.Lag(replica)) // an informer would not know of the object before
	switch r.IntN(4) {
	case 0, 1:
		body := map[string]any{"metadata": map[string]any{"labels": map[string]any{"unseen": "yes"}}}
		actors.Send(c.server, http.MethodPatch, key, "", "earlier-writer", "application/merge-patch+json", body)
	case 2:
		actors.Send(c.server, http.MethodDelete, key, "", "earlier-writer", "application/json", map[string]any{"gracePeriodSeconds": 0})
		create(c.server, ways.New(key.Resource, key.Name, "others"))
	default:
	}
	if obj, behind = c.server.LookInCache(replica, key); obj == nil {
		return c.server.Look(key), 0
	}
	return obj, behind
}

// budget makes a budget that lets the pod of a name go once.
func (c *caller) budget(name string) {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "app-" + name}}},
	}}
	key := model.Key{Resource: "poddisruptionbudgets", Namespace: ways.Namespace}
	actors.Send(c.server, http.MethodPost, key, "", "setup", "application/json", obj.Object)
	key.Name = name
	sent := map[string]any{"status": map[string]any{"disruptionsAllowed": int64(c.rand.IntN(2))}}
	actors.Send(c.server, http.MethodPatch, key, "status", "disruption-controller", "application/merge-patch+json", sent)
}
