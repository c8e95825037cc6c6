package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
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
		assert.NotEmpty(t, made.GetAnnotations()[k8sretry.TokenAnnotation])

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
	for name, tt := range map[string]struct {
		keeps   bool
		prepare func(*cluster)
		fails   func(*testing.T, error)
	}{
		"success":                               {},
		"request lost":                          {prepare: func(c *cluster) { c.on("updatestatus", failed(unavailable())) }},
		"response lost, annotations are stored": {keeps: true, prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) }},
		"response lost, annotations are not stored: unknown": {prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) }, fails: requireUnknown},
		"request lost, another safe write was first: Conflict is returned": {
			keeps: true, fails: requireUnchanged,
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{before: lostReply(), then: func() {
					c.change("x", func(o *corev1.ConfigMap) { o.Annotations = map[string]string{k8sretry.TokenAnnotation: "another"} })
				}})
			},
		},
		"request lost, the first change is one of the spec: Conflict is returned": {
			fails: requireUnchanged,
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Generation++ }) }})
			},
		},
		"request lost, deleted by another client: NotFound is returned": {
			fails: requireUnchanged,
			prepare: func(c *cluster) {
				c.on("updatestatus", &fault{before: lostReply(), then: func() { c.remove("x") }})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.keeps = tt.keeps
				obj := c.put(configMap("x"))
				obj.Data["ready"] = "true"
				if tt.prepare != nil {
					tt.prepare(c)
				}
				updated, err := k8sretry.Update(context.Background(), k8sretry.StatusSubresource(c), obj, metav1.UpdateOptions{})
				assert.Zero(t, c.count("update"))
				if tt.fails != nil {
					tt.fails(t, err)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, "true", updated.Data["ready"])
			})
		})
	}
	var none k8sretry.StatusUpdater[*corev1.ConfigMap]
	_, err := k8sretry.Update(context.Background(), k8sretry.StatusSubresource(none), configMap("x"), metav1.UpdateOptions{})
	assert.ErrorContains(t, err, "client is nil")
}

func TestModifyOfAStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x"))
		c.on("get", &fault{then: bump(c)})
		got, err := k8sretry.Modify(context.Background(), k8sretry.StatusSubresource(c), "x", plusOne)
		require.NoError(t, err)
		assert.Equal(t, "2", got.Data["n"])
		c.expectRequests(t, "get", "updatestatus", "get", "updatestatus")
	})
}

// An object that was not read from the server has no annotations and no generation to
// compare with, so a change of another client looks like that of the call.
func TestStatusOfAnObjectNotReadIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		created, err := k8sretry.Create(t.Context(), c, configMap("x"), metav1.CreateOptions{})
		require.NoError(t, err)
		obj := configMap("x", "n", "1")
		obj.ResourceVersion = created.ResourceVersion
		c.on("updatestatus", lost(lostReply()))
		_, err = k8sretry.Update(t.Context(), k8sretry.StatusSubresource(c), obj, metav1.UpdateOptions{})
		requireUnknown(t, err)
		assert.Equal(t, "1", c.get("x").Data["n"])
	})
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
	s.version++
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

// The scale is not stored with annotations, and a watch does not report it. After a lost
// response and a Conflict the outcome is unknown; it is never applied twice.
func TestScaleWithALostResponseIsUnknown(t *testing.T) {
	for name, write := range map[string]func(*scaled) error{
		"Update": func(s *scaled) error {
			obj := s.scale()
			_ = unstructured.SetNestedField(obj.Object, int64(4), "spec", "replicas")
			_, err := k8sretry.Update(context.Background(), k8sretry.Dynamic(s, "scale"), obj, metav1.UpdateOptions{})
			return err
		},
		"Modify": func(s *scaled) error {
			_, err := k8sretry.Modify(context.Background(), k8sretry.Dynamic(s, "scale"), "web", func(o *unstructured.Unstructured) error {
				n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
				return unstructured.SetNestedField(o.Object, n+1, "spec", "replicas")
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scaled{replicas: 3, version: 10, generation: 1, lose: true}
				requireUnknown(t, write(s))
				assert.EqualValues(t, 4, s.replicas)
				assert.Zero(t, s.watches)
			})
		})
	}
	t.Run("the status is what a watch reports", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &scaled{replicas: 3, version: 10, generation: 1, lose: true}
			_, err := k8sretry.Update(t.Context(), k8sretry.Dynamic(s, "status"), s.scale(), metav1.UpdateOptions{})
			require.Error(t, err)
			assert.Equal(t, 1, s.watches)
		})
	})
}
