// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reader reads obj from the server to verify the outcome of a write.
type reader struct {
	client *retryClient
	obj    client.Object
}

func (r reader) Get(ctx context.Context, name string, _ metav1.GetOptions) (client.Object, error) {
	found := newOf(r.obj)
	found.SetNamespace(r.obj.GetNamespace())
	found.SetName(name)
	if err := r.client.getLive(ctx, found); err != nil {
		return nil, err
	}
	keepKind(found, r.obj)
	return found, nil
}

// getLive reads obj from the server. The Get of a manager's client reads from a cache, which
// may be stale or contain only some of the objects. Subresources are not cached, and the
// subresource with an empty name is the object itself.
//
// getLive uses Get if the client is a fake or a mock without that subresource.
func (c *retryClient) getLive(ctx context.Context, obj client.Object) error {
	key := client.ObjectKeyFromObject(obj)
	into := obj
	partial, isPartial := obj.(*metav1.PartialObjectMetadata)
	if isPartial { // does not support subresources
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(partial.GroupVersionKind())
		u.SetNamespace(key.Namespace)
		u.SetName(key.Name)
		into = u
	}
	object := c.inner.SubResource("")
	if isNil(object) {
		return c.inner.Get(ctx, key, obj)
	}
	err := object.Get(ctx, into, into)
	switch {
	case isUnsupported(err):
		return c.inner.Get(ctx, key, obj)
	case err != nil || !isPartial:
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(into.(*unstructured.Unstructured).Object, partial)
}

// isUnsupported reports whether err is that of the fake of controller-runtime, which reads
// no subresources but scale. Any other error may be one of a client with a cache.
func isUnsupported(err error) bool {
	return err != nil && strings.Contains(err.Error(), "fakeSubResourceClient does not support get")
}

// updater implements k8sretry.Updater with the client.
type updater struct {
	reader
	owner
	send        func(context.Context, client.Object) error
	subresource string
	answer      client.Object // to the last update that has succeeded
}

func (u *updater) Update(ctx context.Context, obj client.Object, _ metav1.UpdateOptions) (client.Object, error) {
	stored := copyOf(obj)
	if err := u.send(ctx, stored); err != nil {
		return nil, err
	}
	u.answer = stored
	return stored, nil
}

func (u *updater) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return u.client.watch(ctx, u.obj, opts)
}

// watch watches the kind and the namespace of an object. It returns nil if the inner client has
// no Watch.
func (c *retryClient) watch(ctx context.Context, obj client.Object, opts metav1.ListOptions) (watch.Interface, error) {
	inner, list := c.Unwrap(), c.listOf(obj)
	if inner == nil || list == nil {
		return nil, nil
	}
	return inner.Watch(ctx, list, client.InNamespace(obj.GetNamespace()), &client.ListOptions{Raw: &opts})
}
