package k8sretry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

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
	keeps     bool           // an update of the status stores the annotations
	created   map[string]int // how many objects of a name were created
	tried     []string       // the names in create requests
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
	c := &cluster{objects: map[string]*corev1.ConfigMap{}, faults: map[string][]*fault{}, created: map[string]int{}}
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
		n.UID = old.UID
		return c.store(watch.Modified, n)
	}
	return c.add(o)
}

func (c *cluster) change(name string, change func(*corev1.ConfigMap)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.objects[name]; old != nil {
		n := old.DeepCopy()
		change(n)
		c.store(watch.Modified, n)
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
		return c.add(o), nil
	})
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
	return c.request(ctx, verb, func() (*corev1.ConfigMap, error) {
		old := c.objects[o.Name]
		switch {
		case old == nil:
			return nil, apierrors.NewNotFound(configMaps, o.Name)
		case o.UID != "" && o.UID != old.UID:
			return nil, apierrors.NewConflict(configMaps, o.Name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", o.UID, old.UID))
		case o.ResourceVersion != "" && o.ResourceVersion != old.ResourceVersion:
			return nil, apierrors.NewConflict(configMaps, o.Name, fmt.Errorf("the object has been modified"))
		case len(opts.DryRun) > 0:
			return o, nil
		}
		n := o.DeepCopy()
		n.UID, n.DeletionTimestamp = old.UID, old.DeletionTimestamp
		if verb == "updatestatus" && !c.keeps {
			n = old.DeepCopy()
			n.Data = o.Data
		}
		if n.DeletionTimestamp != nil && len(n.Finalizers) == 0 {
			c.drop(n.Name)
			return n, nil
		}
		return c.store(watch.Modified, n), nil
	})
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
		for _, e := range c.history {
			o := e.Object.(*corev1.ConfigMap)
			if v, _ := strconv.Atoi(o.ResourceVersion); v > from && selector.Matches(fields.Set{"metadata.name": o.Name}) {
				events <- *e.DeepCopy()
			}
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

// bump increments the counter as another client, which removes the token.
func bump(c *cluster) func() {
	return func() {
		c.change("x", func(o *corev1.ConfigMap) { o.Annotations = nil; _ = plusOne(o) })
	}
}

// overwrite replaces the object as another client, which removes the token.
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
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		switch ctx := context.Background(); r.Method {
		case "POST":
			out, err = c.Create(ctx, &in, metav1.CreateOptions{})
		case "GET":
			out, err = c.Get(ctx, path.Base(r.URL.Path), metav1.GetOptions{})
		case "PUT":
			out, err = c.Update(ctx, &in, metav1.UpdateOptions{})
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
	}))
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
