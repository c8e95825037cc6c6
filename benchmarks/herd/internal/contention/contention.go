// Package contention is the model of many clients that change one object, after the
// simulator of the AWS Architecture Blog's "Exponential Backoff And Jitter" (2015): each
// reads the object, changes it and writes it back, and the server takes the write only
// if nobody else was quicker. Every message takes |N(10 ms, 2 ms)|, the server no time.
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

// The object that all want.
const (
	name = "totals"
	key  = "runs"
)

// Process makes changes; what its changes have in common is shared by the clients of a
// process.
type Process func(ctx context.Context, c *Client) error

// Figures are what a run comes to.
type Figures struct {
	Writes  float64 // requests that write, those that met a conflict included
	Seconds float64 // until the last client is done
	Done    int     // clients that succeeded
}

// Run lets n clients add one to the object, once each, spread over so many processes.
// It must be called in a bubble. It panics if an addition was lost or made twice.
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
	begin := time.Now()
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
		panic("an addition was lost or made twice: " + s.object.Data[key] + " for " + strconv.Itoa(done) + " successes")
	}
	return Figures{Writes: float64(s.writes), Seconds: time.Since(begin).Seconds(), Done: done}
}

// runs counts the runs, for UIDs.
var runs atomic.Int64

// server holds the object.
type server struct {
	mu      sync.Mutex
	object  corev1.ConfigMap
	version int
	writes  int
}

// Client is a client of the server, as client-go's typed clients are.
type Client struct {
	server *server
	rng    *rand.Rand
	// uid is what this client sees as the UID of the object. It is another one in each
	// process: what a library keeps by UID for the whole of a real process must not be
	// shared by simulated ones.
	uid types.UID
}

// message takes its time. A client sends one after the other.
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

// Update stores the object, if it is the one that was read last.
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

// add is the change that each client makes.
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
