// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

var _ k8sretry.DynamicResource = dynamic.ResourceInterface(nil)

func TestDynamic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		gvr := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{gvr: "WidgetList"})
		widgets := k8sretry.Dynamic(client.Resource(gvr).Namespace("default"))
		widget := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "namespace": "default"},
		}}
		given := widget.DeepCopy()
		loseResponses(&client.Fake, client.Tracker(), "create", 1)
		loseResponses(&client.Fake, client.Tracker(), "delete", 1)

		made, err := k8sretry.Create(ctx, widgets, widget, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, given, widget)
		assert.NotEmpty(t, made.GetAnnotations()[k8sretry.TokenAnnotation+"-create"])

		made, err = k8sretry.Modify(ctx, widgets, "w", func(w *unstructured.Unstructured) error {
			return unstructured.SetNestedField(w.Object, int64(3), "spec", "size")
		})
		require.NoError(t, err)
		_, err = k8sretry.Update(ctx, k8sretry.StatusSubresource(widgets), made, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = k8sretry.Update(ctx, k8sretry.Dynamic(client.Resource(gvr).Namespace("default"), "status"), made, metav1.UpdateOptions{})
		require.NoError(t, err)
		require.NoError(t, k8sretry.Delete(ctx, widgets, made, metav1.DeleteOptions{}))
		assert.Equal(t, []string{"create", "create", "get", "get", "update", "update", "update", "delete", "get"}, verbs(client.Actions()))

		applied, err := k8sretry.Apply(ctx, widgets, given, metav1.ApplyOptions{FieldManager: "me", Force: true}, k8sretry.WithMaxRetries(0))
		if err == nil { // the fake may not know how to apply a kind without a schema
			assert.Equal(t, "w", applied.GetName())
		}
		last := client.Actions()[len(client.Actions())-1]
		assert.Equal(t, "patch", last.GetVerb())
		assert.Equal(t, "w", last.(k8stesting.PatchAction).GetName())

		_, err = k8sretry.Apply(ctx, widgets, nil, metav1.ApplyOptions{})
		assert.ErrorContains(t, err, "object is nil")

		w, err := widgets.Watch(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		w.Stop()

		assert.Nil(t, k8sretry.Dynamic(nil))
		_, err = k8sretry.Create(ctx, k8sretry.Dynamic(nil), widget, metav1.CreateOptions{})
		assert.ErrorContains(t, err, "client is nil")
		err = k8sretry.Evict(ctx, k8sretry.Dynamic(nil), widget, metav1.DeleteOptions{})
		assert.ErrorContains(t, err, "client is nil")
	})
}

func TestStatusSubresource(t *testing.T) {
	changeSpec := func(c *cluster) func() {
		return func() {
			c.change("x", func(o *corev1.ConfigMap) { o.Data["size"] = "4"; o.Generation++ })
		}
	}
	changeStatus := func(c *cluster, key string) func() {
		return func() {
			c.change("x", func(o *corev1.ConfigMap) { o.Data[statusKey+key] = "another client" })
		}
	}
	minimal := func(w *unstructured.Unstructured) {
		unstructured.RemoveNestedField(w.Object, "spec")
		w.Object["metadata"] = map[string]any{"name": w.GetName(), "uid": string(w.GetUID()), "resourceVersion": w.GetResourceVersion()}
	}
	for name, tt := range map[string]struct {
		keeps   bool
		send    func(*unstructured.Unstructured)
		prepare func(*cluster)
		fails   func(*testing.T, error)
	}{
		"success":                               {},
		"request lost":                          {prepare: func(c *cluster) { c.on("updatestatus", failed(unavailable())) }},
		"response lost, annotations are stored": {keeps: true, prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) }},
		"response lost, annotations are not stored": {prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) }},
		"response lost, a spec is sent, which the server ignores": {
			send:    func(w *unstructured.Unstructured) { _ = unstructured.SetNestedField(w.Object, "9", "spec", "size") },
			prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) },
		},
		"response lost, the spec and the status changed since": {
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{after: lostReply(), then: func() { changeSpec(c)(); changeStatus(c, "ready")() }})
			},
		},
		"request lost, another client was first, with the same field: unknown": {
			prepare: func(c *cluster) { c.on("updatestatus", &fault{before: lostReply(), then: changeStatus(c, "ready")}) },
			fails:   requireUnknown,
		},
		"request lost, another client was first, with another field: Conflict is returned": {
			prepare: func(c *cluster) { c.on("updatestatus", &fault{before: lostReply(), then: changeStatus(c, "other")}) },
			fails:   requireUnchanged,
		},
		"request lost, the first change is one of the spec: Conflict is returned": {
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{before: lostReply(), then: func() { changeSpec(c)(); changeStatus(c, "ready")() }})
			},
			fails: requireUnchanged,
		},
		"request lost, the first change is one of the spec, the state before is compacted: Conflict is returned": {
			prepare: func(c *cluster) {
				c.compacted = 99
				c.on("updatestatus", &fault{before: lostReply(), then: changeSpec(c)})
			},
			fails: requireUnchanged,
		},
		"request lost, deleted by another client: NotFound is returned": {
			prepare: func(c *cluster) { c.on("updatestatus", &fault{before: lostReply(), then: func() { c.remove("x") }}) },
			fails:   requireUnchanged,
		},
		// The assumption was that what is not sent has changed. An object with nothing but
		// its name, UID and resourceVersion has no generation, no annotations and no spec.
		"minimal object, response lost": {
			send: minimal, prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) },
		},
		"minimal object, response lost, the spec changed since": {
			send:    minimal,
			prepare: func(c *cluster) { c.on("updatestatus", &fault{after: lostReply(), then: changeSpec(c)}) },
		},
		"minimal object, response lost, an admission plugin has replaced what was sent: unknown": {
			send: minimal, fails: requireUnknown,
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Data[statusKey+"ready"] = "the plugin" }
				c.on("updatestatus", lost(lostReply()))
			},
		},
		"minimal object, request lost, the first change is one of the spec: Conflict is returned": {
			send: minimal, fails: requireUnchanged,
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{before: lostReply(), then: func() { changeSpec(c)(); changeStatus(c, "ready")() }})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.keeps = tt.keeps
				initial := configMap("x", "size", "3", statusKey+"ready", "false")
				initial.Generation = 1
				obj, err := widget(c.put(initial), nil)
				require.NoError(t, err)
				require.NoError(t, unstructured.SetNestedField(obj.Object, "true", "status", "ready"))
				if tt.send != nil {
					tt.send(obj)
				}
				if tt.prepare != nil {
					tt.prepare(c)
				}
				given := obj.DeepCopy()
				_, err = k8sretry.Update(context.Background(), k8sretry.StatusSubresource(widgets{c}), obj, metav1.UpdateOptions{})
				assert.Equal(t, given, obj)
				assert.Zero(t, c.count("update"))
				if tt.fails != nil {
					tt.fails(t, err)
					return
				}
				require.NoError(t, err)
				stored := 0
				for _, e := range c.history {
					if e.Object.(*corev1.ConfigMap).Data[statusKey+"ready"] == "true" {
						stored++
					}
				}
				assert.Positive(t, stored)
				assert.NotEqual(t, "9", c.get("x").Data["size"])
			})
		})
	}
	var none k8sretry.StatusUpdater[*corev1.ConfigMap]
	_, err := k8sretry.Update(context.Background(), k8sretry.StatusSubresource(none), configMap("x"), metav1.UpdateOptions{})
	assert.ErrorContains(t, err, "client is nil")
}

// Equal content does not prove the status of a Modify: a second replica may count the same.
func TestModifyOfAStatus(t *testing.T) {
	count := func(w *unstructured.Unstructured) error {
		n, _, _ := unstructured.NestedString(w.Object, "status", "n")
		i, _ := strconv.Atoi(n)
		return unstructured.SetNestedField(w.Object, strconv.Itoa(i+1), "status", "n")
	}
	another := func(c *cluster, token string) func() {
		return func() {
			c.change("x", func(o *corev1.ConfigMap) {
				n, _ := strconv.Atoi(o.Data[statusKey+"n"])
				o.Data[statusKey+"n"] = strconv.Itoa(n + 1)
				if token != "" {
					o.Annotations = map[string]string{k8sretry.TokenAnnotation: token}
				}
			})
		}
	}
	for name, tt := range map[string]struct {
		keeps    bool
		prepare  func(*cluster)
		fails    bool
		requests string
		count    string
	}{
		"a conflict": {
			prepare:  func(c *cluster) { c.on("get", &fault{then: another(c, "")}) },
			requests: "get updatestatus get updatestatus", count: "2",
		},
		"response lost, the token is stored": {
			keeps:    true,
			prepare:  func(c *cluster) { c.on("updatestatus", lost(lostReply())) },
			requests: "get updatestatus updatestatus get", count: "1",
		},
		"response lost, the token is not stored: unknown": {
			prepare:  func(c *cluster) { c.on("updatestatus", lost(lostReply())) },
			requests: "get updatestatus updatestatus get", count: "1", fails: true,
		},
		"request lost, another Modify with the same result was first": {
			keeps:    true,
			prepare:  func(c *cluster) { c.on("updatestatus", &fault{before: lostReply(), then: another(c, otherToken)}) },
			requests: "get updatestatus updatestatus get get updatestatus", count: "2",
		},
		"request lost, the spec was changed first": {
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{before: lostReply(), then: func() {
					c.change("x", func(o *corev1.ConfigMap) { o.Generation++ })
				}})
			},
			requests: "get updatestatus updatestatus get get updatestatus", count: "1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				initial := configMap("x", statusKey+"n", "0")
				initial.Generation = 1
				c := newCluster(initial)
				c.keeps = tt.keeps
				tt.prepare(c)
				_, err := k8sretry.Modify(context.Background(), k8sretry.StatusSubresource(widgets{c}), "x", count)
				if tt.fails {
					requireUnknown(t, err)
				} else {
					require.NoError(t, err)
				}
				c.expectRequests(t, strings.Fields(tt.requests)...)
				assert.Equal(t, tt.count, c.get("x").Data[statusKey+"n"])
			})
		})
	}
}

// scaled is a deployment, with a client for its subresources that loses the response to the
// next update. Its watch reports the deployment, which is not what the client for the scale
// subresource writes.
type scaled struct {
	k8sretry.DynamicResource
	replicas, version, generation int64
	lose                          bool
	watches                       int
	events                        []watch.Event
}

func (s *scaled) object(apiVersion, kind string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": "web", "uid": "u", "resourceVersion": fmt.Sprint(s.version), "generation": s.generation},
		"spec":     map[string]any{"replicas": s.replicas},
	}}
}

func (s *scaled) scale() *unstructured.Unstructured { return s.object("autoscaling/v1", "Scale") }

func (s *scaled) Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error) {
	return s.scale(), nil
}

func (s *scaled) Update(_ context.Context, obj *unstructured.Unstructured, _ metav1.UpdateOptions, _ ...string) (*unstructured.Unstructured, error) {
	if obj.GetResourceVersion() != fmt.Sprint(s.version) {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "deployments"}, "web", errors.New("modified"))
	}
	s.replicas, _, _ = unstructured.NestedInt64(obj.Object, "spec", "replicas")
	s.version += 2 // as in a cluster, where others write, too
	s.generation++
	s.events = append(s.events, watch.Event{Type: watch.Modified, Object: s.object("apps/v1", "Deployment")})
	if s.lose {
		s.lose = false
		return nil, lostReply()
	}
	return s.scale(), nil
}

func (s *scaled) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	s.watches++
	w := watch.NewFakeWithChanSize(10, false)
	for _, e := range s.events {
		w.Action(e.Type, e.Object)
	}
	return w, nil
}

// The server stores no annotations with a scale, and a watch reports the deployment. After a
// lost response and a Conflict an Update is proven by the scale that it reads. A Modify is
// not, because another call may have counted the same; it is never applied twice.
func TestScaleWithALostResponse(t *testing.T) {
	write := func(t *testing.T, s *scaled, modify bool) (err error) {
		client := k8sretry.Dynamic(s, "scale")
		if modify {
			_, err = k8sretry.Modify(t.Context(), client, "web", func(o *unstructured.Unstructured) error {
				n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
				return unstructured.SetNestedField(o.Object, n+1, "spec", "replicas")
			})
			return err
		}
		obj := s.scale()
		_ = unstructured.SetNestedField(obj.Object, int64(4), "spec", "replicas")
		_, err = k8sretry.Update(t.Context(), client, obj, metav1.UpdateOptions{})
		return err
	}
	for name, modify := range map[string]bool{"Update": false, "Modify": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scaled{replicas: 3, version: 10, generation: 1, lose: true}
				err := write(t, s, modify)
				if modify {
					requireUnknown(t, err)
				} else {
					require.NoError(t, err)
				}
				assert.EqualValues(t, 4, s.replicas)
				assert.Zero(t, s.watches)
			})
		})
	}
	t.Run("the status is what a watch reports", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &scaled{replicas: 3, version: 10, generation: 1, lose: true}
			obj := s.scale()
			obj.Object["status"] = map[string]any{"ready": true}
			_, err := k8sretry.Update(t.Context(), k8sretry.Dynamic(s, "status"), obj, metav1.UpdateOptions{})
			require.Error(t, err)
			assert.Equal(t, 1, s.watches)
		})
	})
}

// acting is a subresource whose writes are actions, such as the restart of a virtual machine. It
// stores nothing, and a read shows the object.
type acting struct {
	answers []error
	done    int
	marked  bool // what a create has sent has an annotation, which a binding would leave on its pod
}

func (a *acting) act() (*unstructured.Unstructured, error) {
	a.done++
	if a.done <= len(a.answers) && a.answers[a.done-1] != nil {
		return nil, a.answers[a.done-1]
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"}}, nil
}

func (a *acting) Create(_ context.Context, obj *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	a.marked = len(obj.GetAnnotations()) > 0
	return a.act()
}

func (a *acting) Update(context.Context, *unstructured.Unstructured, metav1.UpdateOptions, ...string) (*unstructured.Unstructured, error) {
	return a.act()
}

func (a *acting) Delete(context.Context, string, metav1.DeleteOptions, ...string) error {
	_, err := a.act()
	return err
}

func (a *acting) Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error) {
	return machine(), nil
}

func (a *acting) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewFake(), nil
}

func (a *acting) Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*unstructured.Unstructured, error) {
	return a.act()
}

func (a *acting) Apply(context.Context, string, *unstructured.Unstructured, metav1.ApplyOptions, ...string) (*unstructured.Unstructured, error) {
	return a.act()
}

func machine() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
		"metadata": map[string]any{"name": "x", "namespace": "default", "uid": "1", "resourceVersion": "7"},
	}}
}

// A write to a subresource that is not known to replace state may be an action. The assumption
// was that all that a safe write sends can be sent twice.
func TestSafeWritesDoNotRepeatAnAction(t *testing.T) {
	noVersion := machine()
	noVersion.SetResourceVersion("")
	for name, call := range map[string]func(*k8sretry.DynamicClient, ...k8sretry.Option) error{
		"Create": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(context.Background(), c, noVersion, metav1.CreateOptions{}, opts...)
			return err
		},
		"Create without a name": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(context.Background(), c, &unstructured.Unstructured{Object: map[string]any{"kind": "Restart"}}, metav1.CreateOptions{}, opts...)
			return err
		},
		"Update": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(context.Background(), c, machine(), metav1.UpdateOptions{}, opts...)
			return err
		},
		"Update without a version": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(context.Background(), c, noVersion, metav1.UpdateOptions{}, opts...)
			return err
		},
		"Modify": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Modify(context.Background(), c, "x", func(o *unstructured.Unstructured) error {
				o.SetLabels(map[string]string{"a": "b"})
				return nil
			}, opts...)
			return err
		},
		"Delete": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			return k8sretry.Delete(context.Background(), c, machine(), metav1.DeleteOptions{}, opts...)
		},
		"Patch": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Patch(context.Background(), c, "x", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{}, opts...)
			return err
		},
		"Apply": func(c *k8sretry.DynamicClient, opts ...k8sretry.Option) error {
			_, err := k8sretry.Apply(context.Background(), c, noVersion, metav1.ApplyOptions{FieldManager: "me"}, opts...)
			return err
		},
	} {
		for situation, c := range map[string]struct {
			answers []error
			done    int
			unknown bool
		}{
			"success":                              {nil, 1, false},
			"the answer is lost":                   {[]error{lostReply()}, 1, true},
			"every answer is lost":                 {[]error{gatewayTimeout(), gatewayTimeout(), gatewayTimeout(), gatewayTimeout(), gatewayTimeout()}, 1, true},
			"done, but the answer is empty":        {[]error{errors.New("0-length response with status code: 202 and content type: ")}, 1, true},
			"refused before anything is done":      {[]error{tooMany(1)}, 2, false},
			"refused, and then the answer is lost": {[]error{tooMany(1), lostReply()}, 2, true},
		} {
			t.Run(name+": "+situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := &acting{answers: c.answers}
					err := call(k8sretry.Dynamic(a, "restart"))
					assert.Equal(t, c.done, a.done)
					assert.False(t, a.marked)
					if c.unknown && (name != "Delete" || situation != "done, but the answer is empty") {
						requireUnknown(t, err)
						assert.ErrorIs(t, err, c.answers[c.done-1])
					} else {
						require.NoError(t, err)
					}
				})
			})
		}
	}
}
