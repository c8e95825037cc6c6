package k8sretry

import (
	"context"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// DynamicResource is what [Dynamic] needs of the dynamic client's ResourceInterface.
type DynamicResource interface {
	Create(ctx context.Context, obj *unstructured.Unstructured, opts metav1.CreateOptions, subresources ...string) (*unstructured.Unstructured, error)
	Update(ctx context.Context, obj *unstructured.Unstructured, opts metav1.UpdateOptions, subresources ...string) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions, subresources ...string) error
	Get(ctx context.Context, name string, opts metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
	Apply(ctx context.Context, name string, obj *unstructured.Unstructured, opts metav1.ApplyOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// DynamicClient gives the dynamic client the shape of a typed one. Make it with
// [Dynamic].
type DynamicClient struct {
	resource     DynamicResource
	subresources []string
}

// Dynamic adapts a resource of the dynamic client to the safe writes:
//
//	widgets := k8sretry.Dynamic(client.Resource(gvr).Namespace("default"))
//	widget, err := k8sretry.Create(ctx, widgets, widget, metav1.CreateOptions{})
//
// With subresources ("status", "scale"), all requests but Watch go there. A nil
// resource gives a nil client, which the safe writes refuse.
func Dynamic(resource DynamicResource, subresources ...string) *DynamicClient {
	if missing(resource) {
		return nil
	}
	return &DynamicClient{resource, subresources}
}

// Get reads an object.
func (c *DynamicClient) Get(ctx context.Context, name string, opts metav1.GetOptions) (*unstructured.Unstructured, error) {
	return c.resource.Get(ctx, name, opts, c.subresources...)
}

// Create creates an object.
func (c *DynamicClient) Create(ctx context.Context, obj *unstructured.Unstructured, opts metav1.CreateOptions) (*unstructured.Unstructured, error) {
	return c.resource.Create(ctx, obj, opts, c.subresources...)
}

// Update replaces an object.
func (c *DynamicClient) Update(ctx context.Context, obj *unstructured.Unstructured, opts metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	return c.resource.Update(ctx, obj, opts, c.subresources...)
}

// UpdateStatus replaces the status of an object.
func (c *DynamicClient) UpdateStatus(ctx context.Context, obj *unstructured.Unstructured, opts metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	return c.resource.Update(ctx, obj, opts, "status")
}

// Delete deletes an object.
func (c *DynamicClient) Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error {
	return c.resource.Delete(ctx, name, opts, c.subresources...)
}

// EvictV1 evicts a pod, whatever the subresources.
func (c *DynamicClient) EvictV1(ctx context.Context, eviction *policyv1.Eviction) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(eviction)
	if err != nil {
		return err
	}
	obj := &unstructured.Unstructured{Object: content}
	obj.SetGroupVersionKind(policyv1.SchemeGroupVersion.WithKind("Eviction"))
	_, err = c.resource.Create(ctx, obj, metav1.CreateOptions{}, "eviction")
	return err
}

// Apply applies an object under the name that it has.
func (c *DynamicClient) Apply(ctx context.Context, obj *unstructured.Unstructured, opts metav1.ApplyOptions) (*unstructured.Unstructured, error) {
	if obj == nil {
		return nil, errNilObject
	}
	return c.resource.Apply(ctx, obj.GetName(), obj, opts, c.subresources...)
}

// Watch watches the resource itself, whatever the subresources.
func (c *DynamicClient) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return c.resource.Watch(ctx, opts)
}

// watcher is the client itself where a watch shows the objects that it writes: what
// scale and other subresources store has a shape of its own.
func (c *DynamicClient) watcher() (Watcher, bool) {
	return c, len(c.subresources) == 0 || len(c.subresources) == 1 && c.subresources[0] == "status"
}

func (c *DynamicClient) keepsAnnotations() bool { return len(c.subresources) == 0 }

// StatusUpdater is what [StatusSubresource] needs of a client.
type StatusUpdater[T Object] interface {
	Getter[T]
	UpdateStatus(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
}

// StatusSubresource makes [Update] and [Modify] write the status subresource:
//
//	pod, err := k8sretry.Modify(ctx, k8sretry.StatusSubresource(clientset.CoreV1().Pods("default")), "web-0", mutate)
//
// The server stores the status of pods, nodes, deployments and some other kinds together
// with the annotations of the write, and the proofs are those of Update. Of most kinds,
// custom resources among them, it stores the status alone. Nothing can tell then whose
// write a Conflict after a request of unknown outcome is about, and the error has
// [ErrOutcomeUnknown] in its chain.
func StatusSubresource[T Object](client StatusUpdater[T]) Updater[T] {
	if missing(client) {
		return nil
	}
	return statusClient[T]{client}
}

type statusClient[T Object] struct{ client StatusUpdater[T] }

func (c statusClient[T]) Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error) {
	return c.client.Get(ctx, name, opts)
}

func (c statusClient[T]) Update(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error) {
	return c.client.UpdateStatus(ctx, obj, opts)
}

func (c statusClient[T]) watcher() (Watcher, bool) { return watcherOf(c.client) }
func (c statusClient[T]) keepsAnnotations() bool   { return false }
