// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"slices"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// DynamicResource is the part of the dynamic client's ResourceInterface that [Dynamic]
// needs.
type DynamicResource interface {
	Create(ctx context.Context, obj *unstructured.Unstructured, opts metav1.CreateOptions, subresources ...string) (*unstructured.Unstructured, error)
	Update(ctx context.Context, obj *unstructured.Unstructured, opts metav1.UpdateOptions, subresources ...string) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions, subresources ...string) error
	Get(ctx context.Context, name string, opts metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error)
	Apply(ctx context.Context, name string, obj *unstructured.Unstructured, opts metav1.ApplyOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// DynamicClient adapts a resource of the dynamic client to the safe writes, with the
// methods of a typed client. [Dynamic] makes one. It is as safe for concurrent use as the
// resource.
type DynamicClient struct {
	resource     DynamicResource
	subresources []string
}

// Dynamic returns a client for the safe writes that uses a resource of the dynamic client:
//
//	widgets := k8sretry.Dynamic(client.Resource(gvr).Namespace("default"))
//	widget, err := k8sretry.Create(ctx, widgets, widget, metav1.CreateOptions{})
//
// With subresources, such as "status" or "scale", all requests except those of Watch and
// EvictV1 go there. A write to another subresource than status, scale, finalize, approval,
// ephemeralcontainers and resize may be an action, such as the restart of a virtual machine: no
// function of this package repeats it while its outcome is unknown. So is every create and delete
// at a subresource. For a nil resource, Dynamic returns nil; the safe writes return an
// error for a nil client.
func Dynamic(resource DynamicResource, subresources ...string) *DynamicClient {
	if isNilValue(resource) {
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

// EvictV1 evicts a pod. It ignores the subresources of the client.
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

// Apply applies an object under its own name.
func (c *DynamicClient) Apply(ctx context.Context, obj *unstructured.Unstructured, opts metav1.ApplyOptions) (*unstructured.Unstructured, error) {
	if obj == nil {
		return nil, errNilObject
	}
	return c.resource.Apply(ctx, obj.GetName(), obj, opts, c.subresources...)
}

// Patch patches an object. The given subresources come after those of the client.
func (c *DynamicClient) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	return c.resource.Patch(ctx, name, pt, data, opts, slices.Concat(c.subresources, subresources)...)
}

func (c *DynamicClient) patched() []string { return c.subresources }

// Watch watches the resource. It ignores the subresources of the client.
func (c *DynamicClient) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return c.resource.Watch(ctx, opts)
}

// watcher returns the client, unless it writes objects that a watch does not report: scale
// and other subresources have types of their own.
func (c *DynamicClient) watcher() (Watcher, bool) {
	return c, len(c.subresources) == 0 || len(c.subresources) == 1 && c.subresources[0] == "status"
}

func (c *DynamicClient) subresource() string { return strings.Join(c.subresources, "/") }

func (c *DynamicClient) fieldManager() (string, bool) { return fieldManagerOf(c.resource) }

// StatusUpdater is the client that [StatusSubresource] needs.
type StatusUpdater[T Object] interface {
	Getter[T]
	UpdateStatus(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
}

// StatusSubresource returns a client with which [Update] and [Modify] write the status
// subresource:
//
//	pod, err := k8sretry.Modify(ctx, k8sretry.StatusSubresource(clientset.CoreV1().Pods("default")), "web-0", mutate)
//
// Only the statuses are compared, because the server ignores the rest of the object, so
// that obj need not have more than its name and its resource version. The server stores the
// status of pods, nodes and some other kinds together with the annotations of the request,
// and Modify determines the outcome by its token. Of most kinds, including custom
// resources, it stores the status without the annotations. For these, the error of a Modify
// after an ambiguous failure and a Conflict matches [ErrOutcomeUnknown], unless the first
// change since was clearly made by another client.
//
// For a nil client, StatusSubresource returns nil; the safe writes return an error for it.
func StatusSubresource[T Object](client StatusUpdater[T]) Updater[T] {
	if isNilValue(client) {
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
func (c statusClient[T]) subresource() string      { return "status" }

func (c statusClient[T]) fieldManager() (string, bool) { return fieldManagerOf(c.client) }

// PatchSubresource returns a client with which [Patch] patches a subresource:
//
//	pod, err := k8sretry.Patch(ctx, k8sretry.PatchSubresource(clientset.CoreV1().Pods("default"), "status"), "web-0", pt, data, opts)
//
// Without a subresource it patches the object itself. A patch of another subresource than
// status, scale, finalize, approval, ephemeralcontainers and resize may be an action, and is not
// retried while its outcome is unknown. The client is as safe for concurrent use as
// client. For a nil client, PatchSubresource returns nil; Patch returns an error for it.
func PatchSubresource[T any](client Patcher[T], subresources ...string) Patcher[T] {
	if isNilValue(client) {
		return nil
	}
	return subresourcePatcher[T]{client, subresources}
}

// subresourcePatcher adds subresources to those of a call.
type subresourcePatcher[T any] struct {
	client       Patcher[T]
	subresources []string
}

func (c subresourcePatcher[T]) patched() []string {
	if inner, ok := c.client.(interface{ patched() []string }); ok {
		return slices.Concat(inner.patched(), c.subresources)
	}
	return c.subresources
}

func (c subresourcePatcher[T]) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error) {
	return c.client.Patch(ctx, name, pt, data, opts, slices.Concat(c.subresources, subresources)...)
}
