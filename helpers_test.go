// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var podResource = schema.GroupResource{Resource: "pods"}

// status is a reply of the API server with nothing but a code.
func status(code int32, reason metav1.StatusReason) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: "the server said so",
	}}
}

func unavailable() error { return status(503, metav1.StatusReasonServiceUnavailable) }
func badGateway() error  { return status(502, "") }
func gatewayTimeout() error {
	return status(504, metav1.StatusReasonTimeout)
}
func notFound() error { return apierrors.NewNotFound(podResource, "web-0") }

// tooMany is a 429 with a Retry-After of the given number of seconds, 0 for none.
func tooMany(seconds int32) error {
	err := status(429, metav1.StatusReasonTooManyRequests)
	if seconds > 0 {
		err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	}
	return err
}

// withDelay adds a Retry-After to a status.
func withDelay(err error, seconds int32) error {
	err.(*apierrors.StatusError).ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	return err
}

// budgetSpent is the answer to an eviction that a PodDisruptionBudget does not allow.
func budgetSpent() error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "DisruptionBudget", Message: "The disruption budget web needs 3 healthy pods and has 3 currently"}}
	return err
}

// errPlain is an error that Classify knows nothing about.
var errPlain = errors.New("plain")

// network is an error of the network, as net/http returns it.
func network(op string, errno syscall.Errno) error {
	calls := map[string]string{"dial": "connect", "read": "read", "write": "write"}
	return &url.Error{Op: "Post", URL: "https://10.0.0.1/api/v1/namespaces/default/pods", Err: &net.OpError{
		Op: op, Net: "tcp", Err: os.NewSyscallError(calls[op], errno),
	}}
}

// script is a function to call that returns the given errors, one after the other, and
// then succeeds. It records when it was called.
type script struct {
	mu    sync.Mutex
	fails []error
	at    []time.Time
}

func fails(errs ...error) *script { return &script{fails: errs} }

func (s *script) get(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	if n := len(s.at); n <= len(s.fails) {
		return "", s.fails[n-1]
	}
	return "value", nil
}

func (s *script) attempts() int { return len(s.at) }

// waits are the times between the attempts.
func (s *script) waits() []time.Duration {
	var waits []time.Duration
	for i := 1; i < len(s.at); i++ {
		waits = append(waits, s.at[i].Sub(s.at[i-1]))
	}
	return waits
}

func seconds(s ...float64) []time.Duration {
	var all []time.Duration
	for _, x := range s {
		all = append(all, time.Duration(x*float64(time.Second)))
	}
	return all
}

func times(n int, err error) []error {
	all := make([]error, n)
	for i := range all {
		all[i] = err
	}
	return all
}

// constantBackoff is a Backoff of a caller.
type constantBackoff struct{ d time.Duration }

func (b constantBackoff) Delay(int) time.Duration { return b.d }

// logs returns a logger and what it has written.
func logs() (k8sretry.Option, *observer.ObservedLogs) {
	core, written := observer.New(zapcore.DebugLevel)
	return k8sretry.WithLogger(zap.New(core)), written
}

// jsonLogs returns a logger that writes JSON, and what it has written.
func jsonLogs() (k8sretry.Option, func(*testing.T) []map[string]any) {
	var out bytes.Buffer
	encoding := zapcore.EncoderConfig{MessageKey: "event", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.AddSync(&out), zapcore.DebugLevel)
	return k8sretry.WithLogger(zap.New(core)), func(t *testing.T) []map[string]any {
		t.Helper()
		return decodeLines(t, out.String())
	}
}

func decodeLines(t *testing.T, out string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(out) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		lines = append(lines, fields)
	}
	return lines
}

// messages are the names of the logged events in order.
func messages(written *observer.ObservedLogs) []string {
	var names []string
	for _, entry := range written.All() {
		names = append(names, entry.Message)
	}
	return names
}

// recorder keeps the events of calls.
type recorder struct {
	mu     sync.Mutex
	events []k8sretry.Event
}

func (r *recorder) Observe(_ context.Context, e k8sretry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) last(t *testing.T) k8sretry.Event {
	t.Helper()
	require.NotEmpty(t, r.events)
	return r.events[len(r.events)-1]
}

// observerFunc is a func as an Observer.
type observerFunc func(context.Context, k8sretry.Event)

func (f observerFunc) Observe(ctx context.Context, e k8sretry.Event) { f(ctx, e) }

// doneOnly is a context that breaks the contract: its Done is closed, but its Err is nil.
type doneOnly struct {
	context.Context
	done chan struct{}
}

func newDoneOnly() doneOnly { return doneOnly{context.Background(), make(chan struct{})} }

func (c doneOnly) Done() <-chan struct{} { return c.done }

// asError is the *Error that a call returned.
func asError(t *testing.T, err error) *k8sretry.Error {
	t.Helper()
	var e *k8sretry.Error
	require.ErrorAs(t, err, &e)
	return e
}

var exact = k8sretry.WithJitter(k8sretry.JitterNone)

func pointer[T any](v T) *T { return &v }

func nan() float64 { return math.NaN() }
func inf() float64 { return math.Inf(1) }

func newObserver() (zapcore.Core, *observer.ObservedLogs) { return observer.New(zapcore.DebugLevel) }

// collect runs the garbage collector and the cleanups that it causes.
func collect() {
	for range 3 {
		done := make(chan struct{})
		goruntime.AddCleanup(new([16]byte), func(done chan struct{}) { close(done) }, done)
		goruntime.GC()
		<-done
	}
}

// quiet is the error log of test servers whose handlers panic on purpose.
var quiet = log.New(io.Discard, "", 0)

func noConnection() error { return network("dial", syscall.ECONNREFUSED) }

var configMaps = schema.GroupResource{Resource: "configmaps"}

// cluster is a client for config maps and its server: with UIDs, resource versions,
// preconditions, finalizers, a history to watch, and faults.
type cluster struct {
	mu        sync.Mutex
	objects   map[string]*corev1.ConfigMap
	history   []watch.Event
	version   int
	uids      int
	compacted int                      // a watch from before this version gets a 410
	faults    map[string][]*fault      // for the next requests, by verb
	always    func(verb string) *fault // for requests without one of the faults; called with mu held
	requests  []string
	keeps     bool                              // an update of the status stores the annotations
	admit     func(*corev1.ConfigMap)           // what an admission plugin changes in each write
	watches   func([]watch.Event) []watch.Event // what a watch reports in place of these events
	created   map[string]int                    // how many objects of a name were created
	tried     []string                          // the names in create requests
}

// fault is what happens to one request.
type fault struct {
	before error  // the request is not carried out and fails with this error
	after  error  // the request is carried out and fails with this error
	late   error  // the request fails with this error and is carried out before the next one
	empty  bool   // the request is not carried out and returns an empty object
	then   func() // called before the request returns
}

func newCluster(objects ...*corev1.ConfigMap) *cluster {
	c := &cluster{version: 10, objects: map[string]*corev1.ConfigMap{}, faults: map[string][]*fault{}, created: map[string]int{}}
	for _, o := range objects {
		c.put(o)
	}
	return c
}

// on adds faults for the next requests of a verb; nil is none.
func (c *cluster) on(verb string, m ...*fault) *cluster {
	c.faults[verb] = append(c.faults[verb], m...)
	return c
}

func lost(err error) *fault { return &fault{after: err} }

func failed(err error) *fault { return &fault{before: err} }

func repeated(n int, m *fault) []*fault {
	all := make([]*fault, n)
	for i := range all {
		all[i] = m
	}
	return all
}

// The methods put, change, remove and get stand for other clients. They have no faults.

func (c *cluster) put(o *corev1.ConfigMap) *corev1.ConfigMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.objects[o.Name]; old != nil {
		n := o.DeepCopy()
		n.UID, n.CreationTimestamp, n.ManagedFields = old.UID, old.CreationTimestamp, old.ManagedFields
		return c.store(watch.Modified, managedBy(n, "other", ""))
	}
	return c.add(managedBy(o.DeepCopy(), "other", ""))
}

func (c *cluster) change(name string, change func(*corev1.ConfigMap)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.objects[name]; old != nil {
		n := old.DeepCopy()
		change(n)
		c.store(watch.Modified, managedBy(n, "other", ""))
	}
}

func (c *cluster) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(name)
}

func (c *cluster) get(name string) *corev1.ConfigMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.objects[name].DeepCopy()
}

func (c *cluster) add(o *corev1.ConfigMap) *corev1.ConfigMap {
	n := o.DeepCopy()
	c.uids++
	n.UID = types.UID(fmt.Sprintf("uid-%d", c.uids))
	if n.CreationTimestamp.IsZero() { // tests may say how old an object is
		n.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
	}
	c.created[n.Name]++
	return c.store(watch.Added, n)
}

func (c *cluster) store(kind watch.EventType, n *corev1.ConfigMap) *corev1.ConfigMap {
	c.version++
	n.ResourceVersion = strconv.Itoa(c.version)
	if kind == watch.Deleted {
		delete(c.objects, n.Name)
	} else {
		c.objects[n.Name] = n
	}
	c.history = append(c.history, watch.Event{Type: kind, Object: n.DeepCopy()})
	return n.DeepCopy()
}

func (c *cluster) drop(name string) {
	if old := c.objects[name]; old != nil {
		c.store(watch.Deleted, old.DeepCopy())
	}
}

// request serves one request, with its fault.
func (c *cluster) request(ctx context.Context, verb string, serve func() (*corev1.ConfigMap, error)) (*corev1.ConfigMap, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	c.requests = append(c.requests, verb)
	var m *fault
	if queue := c.faults["late"]; len(queue) > 0 {
		c.faults["late"] = nil
		for _, late := range queue {
			late.then()
		}
	}
	if queue := c.faults[verb]; len(queue) > 0 {
		m, c.faults[verb] = queue[0], queue[1:]
	} else if c.always != nil {
		m = c.always(verb)
	}
	if m == nil {
		m = new(fault)
	}
	defer func() {
		if m.then != nil {
			m.then()
		}
	}()
	defer c.mu.Unlock()
	switch {
	case m.before != nil:
		return nil, m.before
	case m.empty:
		return &corev1.ConfigMap{}, nil
	case m.late != nil:
		c.faults["late"] = append(c.faults["late"], &fault{then: func() { _, _ = serve() }})
		return nil, m.late
	}
	o, err := serve()
	if m.after != nil {
		return nil, m.after
	}
	return o, err
}

func (c *cluster) Create(ctx context.Context, o *corev1.ConfigMap, opts metav1.CreateOptions) (*corev1.ConfigMap, error) {
	o = o.DeepCopy()
	c.mu.Lock()
	c.tried = append(c.tried, o.Name)
	c.mu.Unlock()
	return c.request(ctx, "create", func() (*corev1.ConfigMap, error) {
		switch {
		case o.Name == "":
			return nil, apierrors.NewBadRequest("name or generateName is required")
		case c.objects[o.Name] != nil && o.GenerateName != "":
			return nil, apierrors.NewGenerateNameConflict(configMaps, o.Name, 1)
		case c.objects[o.Name] != nil:
			return nil, apierrors.NewAlreadyExists(configMaps, o.Name)
		case len(opts.DryRun) > 0:
			o.UID = "dry"
			return o, nil
		}
		c.admitted(o)
		return c.add(managedBy(o, opts.FieldManager, "")), nil
	})
}

// admitted applies the admission plugin to an object.
func (c *cluster) admitted(o *corev1.ConfigMap) {
	if c.admit != nil {
		c.admit(o)
	}
}

// managedBy adds or renews the entry of a field manager.
func managedBy(o *corev1.ConfigMap, manager, subresource string) *corev1.ConfigMap {
	if manager == "" {
		manager = "client"
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	entries := slices.Clone(o.ManagedFields)
	for i := range entries {
		if entries[i].Manager == manager && entries[i].Subresource == subresource {
			entries[i].Time = &now
			o.ManagedFields = entries
			return o
		}
	}
	o.ManagedFields = append(entries, metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, Time: &now,
	})
	return o
}

func (c *cluster) Get(ctx context.Context, name string, _ metav1.GetOptions) (*corev1.ConfigMap, error) {
	return c.request(ctx, "get", func() (*corev1.ConfigMap, error) {
		if o := c.objects[name]; o != nil {
			return o.DeepCopy(), nil
		}
		return nil, apierrors.NewNotFound(configMaps, name)
	})
}

func (c *cluster) Update(ctx context.Context, o *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	return c.update(ctx, "update", o, opts)
}

func (c *cluster) UpdateStatus(ctx context.Context, o *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	return c.update(ctx, "updatestatus", o, opts)
}

func (c *cluster) update(ctx context.Context, verb string, o *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	o = o.DeepCopy()
	return c.request(ctx, verb, func() (*corev1.ConfigMap, error) { return c.replace(verb, o, opts) })
}

func (c *cluster) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*corev1.ConfigMap, error) {
	return c.request(ctx, "patch", func() (*corev1.ConfigMap, error) {
		old := c.objects[name]
		if old == nil {
			return nil, apierrors.NewNotFound(configMaps, name)
		}
		patched, err := patchedByClientGo(old, pt, data)
		if err != nil {
			return nil, err
		}
		return c.replace("update"+strings.Join(subresources, ""), patched, metav1.UpdateOptions{DryRun: opts.DryRun, FieldManager: opts.FieldManager})
	})
}

// patchedByClientGo returns what a patch makes of an object by the implementation of client-go.
func patchedByClientGo[T k8sretry.Object](old T, pt types.PatchType, data []byte) (patched T, err error) {
	tracker := k8stesting.NewObjectTracker(scheme.Scheme, scheme.Codecs.UniversalDecoder())
	if err := tracker.Add(old.DeepCopyObject()); err != nil {
		return patched, err
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(old)
	if err != nil {
		return patched, err
	}
	resource, _ := meta.UnsafeGuessKindToResource(kinds[0])
	_, obj, err := k8stesting.ObjectReaction(tracker)(k8stesting.NewPatchAction(resource, old.GetNamespace(), old.GetName(), pt, data))
	if err != nil {
		return patched, testFailed
	}
	return obj.(T), nil
}

// replace carries out an update. verb may name a subresource.
func (c *cluster) replace(verb string, o *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	old := c.objects[o.Name]
	switch {
	case old == nil:
		return nil, apierrors.NewNotFound(configMaps, o.Name)
	case o.UID != "" && o.UID != old.UID:
		return nil, apierrors.NewConflict(configMaps, o.Name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", o.UID, old.UID))
	case o.ResourceVersion != "" && o.ResourceVersion != "0" && o.ResourceVersion != old.ResourceVersion:
		return nil, apierrors.NewConflict(configMaps, o.Name, fmt.Errorf("the object has been modified"))
	case len(opts.DryRun) > 0:
		return o, nil
	}
	n := o.DeepCopy()
	c.admitted(n)
	n.UID, n.CreationTimestamp, n.DeletionTimestamp = old.UID, old.CreationTimestamp, old.DeletionTimestamp
	n.ResourceVersion, n.Generation, n.ManagedFields = old.ResourceVersion, old.Generation, old.ManagedFields
	part := ""
	if verb == "updatestatus" {
		part = "status"
		n.Data = joined(old.Data, n.Data)
		if !c.keeps {
			n.Annotations, n.Labels = old.Annotations, old.Labels
		}
		n.Finalizers, n.OwnerReferences = old.Finalizers, old.OwnerReferences
	} else {
		n.Data = joined(n.Data, old.Data)
	}
	switch {
	case apiequality.Semantic.DeepEqual(n, old):
		return old.DeepCopy(), nil
	case n.DeletionTimestamp != nil && len(n.Finalizers) == 0:
		c.drop(n.Name)
		return n, nil
	case verb == "update" && !apiequality.Semantic.DeepEqual(n.Data, old.Data):
		n.Generation++
	}
	return c.store(watch.Modified, managedBy(n, opts.FieldManager, part)), nil
}

// statusKey is what the data begins with that stands for a status.
const statusKey = "status."

// joined is the data of one object with the status of another.
func joined(data, status map[string]string) map[string]string {
	n := map[string]string{}
	for key, value := range data {
		if !strings.HasPrefix(key, statusKey) {
			n[key] = value
		}
	}
	for key, value := range status {
		if strings.HasPrefix(key, statusKey) {
			n[key] = value
		}
	}
	return n
}

// widgets are the objects of a cluster as custom resources with a status.
type widgets struct{ *cluster }

func widget(o *corev1.ConfigMap, err error) (*unstructured.Unstructured, error) {
	if err != nil {
		return nil, err
	}
	if o.UID == "" && o.Name == "" {
		return &unstructured.Unstructured{}, nil
	}
	metadata, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&metav1.PartialObjectMetadata{ObjectMeta: o.ObjectMeta})
	if err != nil {
		return nil, err
	}
	w := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata["metadata"]}}
	for key, value := range o.Data {
		field, isStatus := strings.CutPrefix(key, statusKey)
		part := "spec"
		if isStatus {
			part = "status"
		}
		_ = unstructured.SetNestedField(w.Object, value, part, field)
	}
	return w, nil
}

func fromWidget(w *unstructured.Unstructured) *corev1.ConfigMap {
	o := configMap("")
	var metadata metav1.PartialObjectMetadata
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"metadata": w.Object["metadata"]}, &metadata); err != nil {
		panic(err)
	}
	o.ObjectMeta = metadata.ObjectMeta
	for part, prefix := range map[string]string{"spec": "", "status": statusKey} {
		fields, _, _ := unstructured.NestedStringMap(w.Object, part)
		for key, value := range fields {
			o.Data[prefix+key] = value
		}
	}
	return o
}

func (c widgets) Get(ctx context.Context, name string, opts metav1.GetOptions) (*unstructured.Unstructured, error) {
	return widget(c.cluster.Get(ctx, name, opts))
}

func (c widgets) Create(ctx context.Context, w *unstructured.Unstructured, opts metav1.CreateOptions) (*unstructured.Unstructured, error) {
	return widget(c.cluster.Create(ctx, fromWidget(w), opts))
}

func (c widgets) Update(ctx context.Context, w *unstructured.Unstructured, opts metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	return widget(c.cluster.Update(ctx, fromWidget(w), opts))
}

func (c widgets) UpdateStatus(ctx context.Context, w *unstructured.Unstructured, opts metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	return widget(c.cluster.UpdateStatus(ctx, fromWidget(w), opts))
}

func (c widgets) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	return widget(c.request(ctx, "patch", func() (*corev1.ConfigMap, error) {
		old, err := widget(c.objects[name], nil)
		if err != nil {
			return nil, err
		}
		patched, err := patchedByClientGo(old, pt, data)
		if err != nil {
			return nil, err
		}
		return c.replace("update"+strings.Join(subresources, ""), fromWidget(patched), metav1.UpdateOptions{FieldManager: opts.FieldManager})
	}))
}

func (c widgets) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	w, err := c.cluster.Watch(ctx, opts)
	if err != nil {
		return nil, err
	}
	events := make(chan watch.Event, 1000)
	for {
		select {
		case e := <-w.ResultChan():
			if o, ok := e.Object.(*corev1.ConfigMap); ok {
				e.Object, _ = widget(o, nil)
			}
			events <- e
		default:
			return watch.NewProxyWatcher(events), nil
		}
	}
}

func (c *cluster) Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error {
	_, err := c.request(ctx, "delete", func() (*corev1.ConfigMap, error) {
		old := c.objects[name]
		if old == nil {
			return nil, apierrors.NewNotFound(configMaps, name)
		}
		if p := opts.Preconditions; p != nil && p.UID != nil && *p.UID != old.UID {
			return nil, apierrors.NewConflict(configMaps, name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, old.UID))
		} else if p != nil && p.ResourceVersion != nil && *p.ResourceVersion != old.ResourceVersion {
			return nil, apierrors.NewConflict(configMaps, name, fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, old.ResourceVersion))
		}
		switch {
		case len(opts.DryRun) > 0:
		case len(old.Finalizers) == 0:
			c.drop(name)
		case old.DeletionTimestamp == nil:
			n := old.DeepCopy()
			now := metav1.Now()
			n.DeletionTimestamp = &now
			c.store(watch.Modified, n)
		}
		return nil, nil
	})
	return err
}

// EvictV1 treats a config map as a pod. One with a finalizer terminates and stays.
func (c *cluster) EvictV1(ctx context.Context, eviction *policyv1.Eviction) error {
	_, err := c.request(ctx, "evict", func() (*corev1.ConfigMap, error) {
		old := c.objects[eviction.Name]
		if old == nil {
			return nil, apierrors.NewNotFound(corev1.Resource("pods"), eviction.Name)
		}
		if p := eviction.DeleteOptions.Preconditions; p != nil && p.UID != nil && *p.UID != old.UID {
			return nil, anotherUID(eviction.Name)
		} else if p != nil && p.ResourceVersion != nil && *p.ResourceVersion != old.ResourceVersion {
			return nil, podChanged(eviction.Name)
		}
		switch {
		case len(eviction.DeleteOptions.DryRun) > 0 || old.DeletionTimestamp != nil:
		case len(old.Finalizers) == 0:
			c.drop(old.Name)
		default:
			n := old.DeepCopy()
			now := metav1.Now()
			n.DeletionTimestamp = &now
			c.store(watch.Modified, n)
		}
		return nil, nil
	})
	return err
}

func (c *cluster) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	events := make(chan watch.Event, 1000)
	if _, err := c.request(ctx, "watch", func() (*corev1.ConfigMap, error) {
		from, err := strconv.Atoi(opts.ResourceVersion)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if from < c.compacted {
			expired := apierrors.NewResourceExpired("too old resource version").ErrStatus
			events <- watch.Event{Type: watch.Error, Object: &expired}
			return nil, nil
		}
		selector := fields.ParseSelectorOrDie(opts.FieldSelector)
		var sent []watch.Event
		for _, e := range c.history {
			o := e.Object.(*corev1.ConfigMap)
			if v, _ := strconv.Atoi(o.ResourceVersion); v > from && selector.Matches(fields.Set{"metadata.name": o.Name}) {
				sent = append(sent, *e.DeepCopy())
			}
		}
		if c.watches != nil {
			sent = c.watches(sent)
		}
		for _, e := range sent {
			events <- e
		}
		return nil, nil
	}); err != nil {
		return nil, err
	}
	return watch.NewProxyWatcher(events), nil
}

func (c *cluster) count(verb string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if r == verb {
			n++
		}
	}
	return n
}

func (c *cluster) expectRequests(t *testing.T, verbs ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.Equal(t, verbs, c.requests)
}

func configMap(name string, data ...string) *corev1.ConfigMap {
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Data: map[string]string{}}
	for i := 0; i+1 < len(data); i += 2 {
		o.Data[data[i]] = data[i+1]
	}
	return o
}

// plusOne increments the counter in an object.
func plusOne(o *corev1.ConfigMap) error {
	n, _ := strconv.Atoi(o.Data["n"])
	if o.Data == nil {
		o.Data = map[string]string{}
	}
	o.Data["n"] = strconv.Itoa(n + 1)
	return nil
}

// bump increments the counter as another client that uses Modify, whose token replaces the
// one before.
func bump(c *cluster) func() {
	return func() {
		c.change("x", func(o *corev1.ConfigMap) {
			o.Annotations = map[string]string{k8sretry.TokenAnnotation: rand.Text()}
			_ = plusOne(o)
		})
	}
}

// overwrite replaces the object as another client.
func overwrite(c *cluster) func() {
	return func() {
		c.change("x", func(o *corev1.ConfigMap) { o.Annotations, o.Data = nil, map[string]string{"by": "another client"} })
	}
}

// lostReply is the error of a connection that ended before the response.
func lostReply() error { return &url.Error{Op: "Post", URL: "https://10.0.0.1/api", Err: io.EOF} }

// forbidden is a denial by RBAC.
func forbidden(name string) error {
	return apierrors.NewForbidden(configMaps, name, fmt.Errorf("no rule allows it"))
}

// exceeded is a denial by a quota.
func exceeded(name string) error {
	return apierrors.NewForbidden(configMaps, name, fmt.Errorf("exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"))
}

// denied is a denial by a webhook, which chooses code and reason.
func denied(code int32, reason metav1.StatusReason) error {
	err := status(code, reason)
	err.ErrStatus.Message = `admission webhook "names.example.com" denied the request: no`
	return err
}

// etcdTimeout is the answer to a write that etcd may still apply.
func etcdTimeout() error {
	err := status(500, "")
	err.ErrStatus.Message = "etcdserver: request timed out"
	return err
}

// anotherUID and podChanged are conflicts of an eviction, as in
// k8s.io/apiserver/pkg/registry/rest/delete.go.
func anotherUID(name string) error {
	return apierrors.NewConflict(corev1.Resource("Pod"), name, errors.New("the UID in the precondition (1) does not match the UID in record (2). The object might have been deleted and then recreated"))
}

func podChanged(name string) error {
	return apierrors.NewConflict(corev1.Resource("Pod"), name, errors.New("the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (2). The object might have been modified"))
}

// requireUnknown requires that err says that the outcome of the write is unknown.
func requireUnknown(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
}

// requireUnchanged requires that err is the server's error, not wrapped.
func requireUnchanged(t *testing.T, err error) {
	t.Helper()
	_, ok := err.(*apierrors.StatusError)
	require.True(t, ok, "%T: %v", err, err)
}

// loseResponses makes a fake clientset carry out the next n calls of a verb and return an
// error.
func loseResponses(fake *k8stesting.Fake, tracker k8stesting.ObjectTracker, verb string, n int) {
	react := k8stesting.ObjectReaction(tracker)
	fake.PrependReactor(verb, "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
		if n--; n < 0 {
			return false, nil, nil
		}
		_, _, _ = react(action)
		return true, nil, lostReply()
	})
}

func verbs(actions []k8stesting.Action) (all []string) {
	for _, a := range actions {
		all = append(all, a.GetVerb())
	}
	return all
}

// overHTTP returns a real client for a cluster. fault may be nil; it is called after each
// write was carried out, and reports whether it has written a response.
func overHTTP(t *testing.T, c *cluster, fault func(http.ResponseWriter, *http.Request) bool, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	t.Helper()
	server := httptest.NewServer(c.handler(fault))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1}
	config.ContentType = "application/json"
	for _, wrap := range wrappers {
		config.Wrap(wrap)
	}
	httpClient, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	t.Cleanup(httpClient.CloseIdleConnections)
	clientset, err := kubernetes.NewForConfigAndClient(config, httpClient)
	require.NoError(t, err)
	return clientset
}

// handler serves the config maps of the cluster without watches.
func (c *cluster) handler(fault func(http.ResponseWriter, *http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in corev1.ConfigMap
		if r.Method == "POST" || r.Method == "PUT" {
			_ = json.NewDecoder(r.Body).Decode(&in)
		}
		var del metav1.DeleteOptions
		if r.Method == "DELETE" {
			_ = json.NewDecoder(r.Body).Decode(&del)
		}
		var out any
		var err error
		manager := r.URL.Query().Get("fieldManager")
		if manager == "" {
			manager = managerIn(r.UserAgent())
		}
		switch ctx := context.Background(); r.Method {
		case "POST":
			out, err = c.Create(ctx, &in, metav1.CreateOptions{FieldManager: manager})
		case "GET":
			out, err = c.Get(ctx, path.Base(r.URL.Path), metav1.GetOptions{})
		case "PUT":
			out, err = c.Update(ctx, &in, metav1.UpdateOptions{FieldManager: manager})
		case "DELETE":
			out, err = metav1.Status{Status: metav1.StatusSuccess}, c.Delete(ctx, path.Base(r.URL.Path), del)
		}
		if r.Method != "GET" && fault != nil && fault(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			status := err.(*apierrors.StatusError).ErrStatus
			status.Kind, status.APIVersion = "Status", "v1"
			w.WriteHeader(int(status.Code))
			out = status
		} else if cm, ok := out.(*corev1.ConfigMap); ok {
			cm.Kind, cm.APIVersion = "ConfigMap", "v1"
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

// managerIn returns the field manager that kube-apiserver takes from a User-Agent: its printable
// runes before the first slash, as many as 128 bytes have room for.
func managerIn(userAgent string) string {
	prefix, _, _ := strings.Cut(userAgent, "/")
	manager := ""
	for _, r := range prefix {
		if !unicode.IsPrint(r) {
			continue
		}
		if len(manager)+utf8.RuneLen(r) > 128 {
			break
		}
		manager += string(r)
	}
	if manager == "" {
		return "unknown"
	}
	return manager
}

// dynamicOver returns a real dynamic client for a server.
func dynamicOver(t *testing.T, h http.HandlerFunc, wrappers ...func(http.RoundTripper) http.RoundTripper) dynamic.ResourceInterface {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	cfg := &rest.Config{Host: s.URL, QPS: -1}
	for _, w := range wrappers {
		cfg.Wrap(w)
	}
	hc, err := rest.HTTPClientFor(cfg)
	require.NoError(t, err)
	t.Cleanup(hc.CloseIdleConnections)
	d, err := dynamic.NewForConfigAndClient(cfg, hc)
	require.NoError(t, err)
	return d.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")
}

// Transports and clients.

// wrapper is a Transport with the given options. The tests of allocations that run later
// do not notice it.
func wrapper(t testing.TB, opts ...k8sretry.Option) func(http.RoundTripper) http.RoundTripper {
	t.Cleanup(k8sretry.ForgetTransports)
	return k8sretry.Transport(opts...)
}

// quickly makes the pauses short, for tests in real time.
var quickly = k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithMaxDelay(2*time.Millisecond), k8sretry.WithLogger(nil))

// clientset is a real clientset with the given config.
func clientset(t testing.TB, cfg *rest.Config, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	t.Helper()
	cfg.QPS = -1
	for _, w := range wrappers {
		cfg.Wrap(w)
	}
	client, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return client
}

// over is a clientset whose requests go to server without a network.
func over(t testing.TB, server roundTripper, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	return clientset(t, &rest.Config{Host: "https://server", Transport: server}, wrappers...)
}

func get(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ConfigMaps("default").Get(ctx, "a", metav1.GetOptions{})
	return err
}

// post sends one request as client-go would.
func post(ctx context.Context, client *http.Client, url, contentType string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"kind":"Pod"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Responses.

// answer is a response of a server without a network.
func answer(req *http.Request, code int, contentType, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {contentType}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// write responds with an object.
func write(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// flush sends what was written so far.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// pause sleeps, but no longer than the request.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-r.Context().Done():
	case <-time.After(d):
	}
}

// reset breaks the connection of an HTTP/1.1 request and the stream of an HTTP/2 request.
func reset(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
				conn = c.NetConn()
			}
			_ = conn.(interface{ SetLinger(int) error }).SetLinger(0)
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

func settings(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: "u", ResourceVersion: "1"},
	}
}

func mustJSON(object any) []byte {
	b, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return b
}

// statusJSON is a failure as the API server writes it.
func statusJSON(code int, reason metav1.StatusReason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// Servers without a network.

// roundTripper is a server without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	return f(req)
}

// alwaysOK always responds with the same object.
func alwaysOK() roundTripper {
	body := string(mustJSON(settings("a")))
	return func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, "application/json", body), nil
	}
}

// flaky can be switched off and on. While it is off it refuses connections.
type flaky struct {
	down  atomic.Bool
	sends atomic.Int32
}

func (s *flaky) serve(req *http.Request) (*http.Response, error) {
	s.sends.Add(1)
	if s.down.Load() {
		return nil, syscall.ECONNREFUSED
	}
	if req.URL.Query().Has("watch") {
		return answer(req, 200, "application/json", ""), nil
	}
	return answer(req, 200, "application/json", string(mustJSON(settings("a")))), nil
}

func version(name string, v int) *corev1.ConfigMap {
	o := settings(name)
	o.ResourceVersion = fmt.Sprint(v)
	return o
}

// Servers with a network.

const (
	protoHTTP1 = "HTTP/1.1"
	protoHTTP2 = "HTTP/2"
)

// api is a test server that counts the requests and connections that reach it.
type api struct {
	*httptest.Server
	sends atomic.Int32
	conns atomic.Int32
	dial  func(context.Context, string, string) (net.Conn, error) // nil on a real network

	mu       sync.Mutex
	requests []string // method and body
	header   []http.Header
}

// serve starts a server on loopback; n is the number of the request, from 1.
func serve(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) *api {
	t.Helper()
	a := new(api)
	a.Server = httptest.NewUnstartedServer(nil)
	a.start(t, proto, handle)
	return a
}

// serveInMemory is serve on a network in memory. In a bubble of synctest nothing depends
// on how fast the machine is: timers fire only when all goroutines wait.
func serveInMemory(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) *api {
	t.Helper()
	l := listenInMemory()
	a := &api{dial: l.dial, Server: &httptest.Server{Listener: l, Config: new(http.Server)}}
	a.start(t, proto, handle)
	return a
}

func (a *api) start(t testing.TB, proto string, handle func(w http.ResponseWriter, r *http.Request, n int)) {
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		n := int(a.sends.Add(1))
		a.mu.Lock()
		a.requests = append(a.requests, r.Method+" "+string(body))
		a.header = append(a.header, r.Header)
		a.mu.Unlock()
		handle(w, r, n)
	})
	a.Config.ErrorLog = quiet
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.conns.Add(1)
		}
	}
	a.EnableHTTP2 = proto == protoHTTP2
	forgetBubbles()
	a.StartTLS()
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	if a.dial != nil {
		a.Client().Transport = transportInMemory(t, a.Certificate(), a.dial)
	}
}

// forgetBubbles is for the start of an HTTP/2 server. Those of Go 1.25 share a sync.Pool of
// channels, and one that was made in a bubble must not be used outside of it. The goroutines
// of earlier bubbles have ended at the start of a server, not at the end of the one before,
// and two collections empty the pool.
func forgetBubbles() {
	if strings.HasPrefix(goruntime.Version(), "go1.25") {
		goruntime.GC()
		goruntime.GC()
	}
}

// config is a rest.Config for the server.
func (a *api) config() *rest.Config {
	if a.dial != nil {
		return &rest.Config{Host: a.URL, Transport: a.Client().Transport}
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return &rest.Config{Host: a.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// frames is a server that speaks HTTP/2 frame by frame, on a network in memory. It counts
// the requests that reach it, including those that net/http repeats by itself.
type frames struct {
	requests atomic.Int32
	cfg      *rest.Config
}

// frameServer calls handle for the n-th request, which writes frames to the stream. The
// whole request was read by then: if the server closed the connection earlier, the client
// might fail to write before it reads what the server has said.
func frameServer(t *testing.T, handle func(f *http2.Framer, conn net.Conn, stream uint32, n int)) *frames {
	t.Helper()
	certificates := serveInMemory(t, protoHTTP2, nil)
	config := &tls.Config{Certificates: certificates.TLS.Certificates, NextProtos: []string{"h2"}}
	s := new(frames)
	l := listenInMemory()
	s.cfg = &rest.Config{Host: "https://" + l.Addr().String(), Transport: transportInMemory(t, certificates.Certificate(), l.dial)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			go s.serve(tls.Server(conn, config), handle)
		}
	}()
	return s
}

func (s *frames) serve(conn net.Conn, handle func(*http2.Framer, net.Conn, uint32, int)) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = f.WritePing(true, frame.Data)
			}
		case *http2.HeadersFrame:
			if s.requests.Add(1) > 20 {
				return // a client that does not stop by itself
			}
			if frame.StreamEnded() {
				handle(f, conn, frame.StreamID, int(s.requests.Load()))
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				handle(f, conn, frame.StreamID, int(s.requests.Load()))
			}
		}
	}
}

// respondOK responds to a request with an object.
func respondOK(f *http2.Framer, stream uint32) {
	respond(f, stream, "200", string(mustJSON(settings("a"))), "content-type", "application/json")
}

// respond responds to a request with a code, a body and a header.
func respond(f *http2.Framer, stream uint32, code, body string, header ...string) {
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: code})
	for i := 0; i+1 < len(header); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: header[i], Value: header[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	_ = f.WriteData(stream, true, []byte(body))
}

// A network in memory.

// memoryListener is a server's end of a network in memory.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func listenInMemory() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is an address that the certificate of httptest is valid for.
func (l *memoryListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}
}

func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := newMemoryHalf(), newMemoryHalf()
	select {
	case l.conns <- &memoryConn{in: a, out: b}:
		return &memoryConn{in: b, out: a}, nil
	case <-l.closed:
		return nil, memoryError("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// transportInMemory is what client-go makes of a rest.Config, on a network in memory.
func transportInMemory(t testing.TB, server *x509.Certificate, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(server)
	transport := utilnet.SetTransportDefaults(&http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
		DialContext:     dial,
	})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// memoryConn is one end of a connection in memory. Its writes do not block.
type memoryConn struct {
	in, out *memoryHalf
	abort   atomic.Bool // Close resets the connection
}

// memoryHalf is one direction of a connection.
type memoryHalf struct {
	mu       sync.Mutex
	changed  *sync.Cond
	data     bytes.Buffer
	ended    bool // no more data will be written
	readErr  error
	writeErr error
	deadline time.Time // of reads
	timer    *time.Timer
}

func newMemoryHalf() *memoryHalf {
	h := new(memoryHalf)
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *memoryHalf) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.changed.Broadcast()
}

func memoryError(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

func (c *memoryConn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readErr != nil:
			return 0, memoryError("read", h.readErr)
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, memoryError("read", os.ErrDeadlineExceeded)
		case h.data.Len() > 0:
			return h.data.Read(p)
		case h.ended:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (c *memoryConn) Write(p []byte) (int, error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writeErr != nil {
		return 0, memoryError("write", h.writeErr)
	}
	defer h.changed.Broadcast()
	return h.data.Write(p)
}

func (c *memoryConn) Close() error {
	abort := c.abort.Load()
	c.out.change(func() {
		c.out.ended, c.out.writeErr = true, net.ErrClosed
		if abort && c.out.readErr == nil {
			c.out.readErr = syscall.ECONNRESET
		}
	})
	c.in.change(func() {
		c.in.readErr = net.ErrClosed
		if c.in.writeErr == nil {
			c.in.writeErr = syscall.EPIPE
		}
		if c.in.timer != nil {
			c.in.timer.Stop()
		}
	})
	return nil
}

// SetLinger is that of a *net.TCPConn: with 0, Close resets the connection.
func (c *memoryConn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return nil
}

func (c *memoryConn) SetReadDeadline(at time.Time) error {
	h := c.in
	h.change(func() {
		if h.timer != nil {
			h.timer.Stop()
		}
		h.deadline = at
		if wait := time.Until(at); !at.IsZero() && wait > 0 {
			h.timer = time.AfterFunc(wait, h.changed.Broadcast)
		}
	})
	return nil
}

func (c *memoryConn) SetDeadline(at time.Time) error   { return c.SetReadDeadline(at) }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memoryConn) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (c *memoryConn) RemoteAddr() net.Addr             { return new(net.TCPAddr) }

// protobufOf returns an object as typed clients send it.
func protobufOf(t *testing.T, obj runtime.Object, version ...schema.GroupVersion) []byte {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	require.True(t, ok)
	content, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, append(version, corev1.SchemeGroupVersion)[0]), obj)
	require.NoError(t, err)
	return content
}
