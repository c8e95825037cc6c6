// SPDX-License-Identifier: Apache-2.0

// Package contention simulates many clients that increment one object, like the simulator
// of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). Each client reads the
// object, changes it and writes it back. The server rejects the write if the object has
// changed since the read. Every message takes |N(10 ms, 2 ms)|, the server takes no time.
package contention

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The object that all clients change.
const (
	name = "totals"
	key  = "runs"
)

// Process increments the object with a client. The clients of a process share its state.
type Process func(ctx context.Context, c *Client) error

// Figures are the results of a run.
type Figures struct {
	Writes  float64 // write requests, including those answered with a conflict
	Seconds float64 // until the last client is done
	Done    int     // clients that succeeded
}

// Run makes n clients, spread over the processes, increment the object once each. It must
// be called in a synctest bubble. It panics if an increment is lost or made twice.
func Run(n, processes int, seed uint64, newProcess func() Process) Figures {
	s := &server{object: corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", ResourceVersion: "1"},
		Data:       map[string]string{key: "0"},
	}}
	shared := make([]Process, processes)
	for i := range shared {
		shared[i] = newProcess()
	}
	run := runs.Add(1)
	start := time.Now()
	var clients sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i := range n {
		clients.Go(func() {
			process := i % processes
			c := &Client{server: s, rng: rand.New(rand.NewPCG(seed, uint64(i))), uid: types.UID(fmt.Sprintf("%d-%d", run, process))}
			if shared[process](context.Background(), c) == nil {
				mu.Lock()
				defer mu.Unlock()
				done++
			}
		})
	}
	clients.Wait()
	if s.object.Data[key] != strconv.Itoa(done) {
		panic("an increment was lost or made twice: " + s.object.Data[key] + " for " + strconv.Itoa(done) + " successes")
	}
	return Figures{Writes: float64(s.writes), Seconds: time.Since(start).Seconds(), Done: done}
}

// runs counts the runs, for UIDs.
var runs atomic.Int64

// server stores the object.
type server struct {
	mu      sync.Mutex
	object  corev1.ConfigMap
	version int
	writes  int
}

// Client is a client of the server with the methods of a typed client.
type Client struct {
	server *server
	rng    *rand.Rand
	// uid is the UID of the object as this client reads it. It differs between
	// processes, so that simulated processes do not share state that a library keeps by
	// UID in the real process.
	uid types.UID
}

// message waits for the duration of a message.
func (c *Client) message() {
	d := 10 + 2*c.rng.NormFloat64()
	time.Sleep(time.Duration(max(d, -d) * float64(time.Millisecond)))
}

// Get reads the object.
func (c *Client) Get(context.Context, string, metav1.GetOptions) (*corev1.ConfigMap, error) {
	c.message()
	c.server.mu.Lock()
	read := c.server.object.DeepCopy()
	c.server.mu.Unlock()
	read.UID = c.uid
	c.message()
	return read, nil
}

// Update stores the object if its resource version is the current one.
func (c *Client) Update(_ context.Context, object *corev1.ConfigMap, _ metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	c.message()
	stored, err := c.server.store(object)
	if err == nil {
		stored.UID = c.uid
	}
	c.message()
	return stored, err
}

func (s *server) store(object *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if object.ResourceVersion != s.object.ResourceVersion {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, name, nil)
	}
	s.version++
	object.DeepCopyInto(&s.object)
	s.object.ResourceVersion = strconv.Itoa(1 + s.version)
	return s.object.DeepCopy(), nil
}

// add increments the number in the object.
func add(object *corev1.ConfigMap) error {
	n, err := strconv.Atoi(object.Data[key])
	object.Data[key] = strconv.Itoa(n + 1)
	return err
}

// once reads, changes and writes the object once.
func (c *Client) once(ctx context.Context) error {
	object, err := c.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := add(object); err != nil {
		return err
	}
	_, err = c.Update(ctx, object, metav1.UpdateOptions{})
	return err
}
