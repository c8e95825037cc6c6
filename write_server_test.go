package k8sretry_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

var configMaps = schema.GroupResource{Resource: "configmaps"}

// cluster is a client for config maps with the server behind it, as far as writes can
// tell: UIDs, resource versions, preconditions, finalizers, a history to watch, and
// answers that get lost.
type cluster struct {
	mu        sync.Mutex
	objects   map[string]*corev1.ConfigMap
	history   []watch.Event
	version   int
	uids      int
	compacted int                  // watches from before get a 410
	mishaps   map[string][]*mishap // by verb, for the next requests
	always    func(verb string) *mishap
	requests  []string
	keeps     bool // the status is stored with the annotations
	created   map[string]int
	tried     []string // the names of creates
}

// mishap is what happens to one request.
type mishap struct {
	before error  // it fails with this error, not carried out
	after  error  // carried out, but answered with this error
	late   error  // answered with this error, and carried out when the next request comes
	empty  bool   // carried out not at all, and answered by an empty success
	then   func() // after the request was carried out, before anything else is
}

func newCluster(objects ...*corev1.ConfigMap) *cluster {
	c := &cluster{objects: map[string]*corev1.ConfigMap{}, mishaps: map[string][]*mishap{}, created: map[string]int{}}
	for _, o := range objects {
		c.put(o)
	}
	return c
}

// on lets something happen to the next requests of a verb; nil is no mishap.
func (c *cluster) on(verb string, m ...*mishap) *cluster {
	c.mishaps[verb] = append(c.mishaps[verb], m...)
	return c
}

func lost(err error) *mishap   { return &mishap{after: err} }
func failed(err error) *mishap { return &mishap{before: err} }

// The writes of others, which nothing ever happens to.

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

// request lets what has to happen happen.
func (c *cluster) request(ctx context.Context, verb string, serve func() (*corev1.ConfigMap, error)) (*corev1.ConfigMap, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	c.requests = append(c.requests, verb)
	var m *mishap
	if queue := c.mishaps["late"]; len(queue) > 0 {
		c.mishaps["late"] = nil
		for _, late := range queue {
			late.then()
		}
	}
	if queue := c.mishaps[verb]; len(queue) > 0 {
		m, c.mishaps[verb] = queue[0], queue[1:]
	} else if c.always != nil {
		m = c.always(verb)
	}
	if m == nil {
		m = new(mishap)
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
		c.mishaps["late"] = append(c.mishaps["late"], &mishap{then: func() { _, _ = serve() }})
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

// EvictV1 evicts what would be a pod. What has a finalizer takes its time to end.
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

// forbidden is the answer of RBAC.
func forbidden(name string) error {
	return apierrors.NewForbidden(configMaps, name, fmt.Errorf("no rule allows it"))
}

// exceeded is the answer of a full quota.
func exceeded(name string) error {
	return apierrors.NewForbidden(configMaps, name, fmt.Errorf("exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"))
}

// denied is the answer of a webhook, which chooses code and reason.
func denied(code int32, reason metav1.StatusReason) error {
	err := status(code, reason)
	err.ErrStatus.Message = `admission webhook "names.example.com" denied the request: no`
	return err
}

// etcdTimeout is a write that etcd may yet apply.
func etcdTimeout() error {
	err := status(500, "")
	err.ErrStatus.Message = "etcdserver: request timed out"
	return err
}
