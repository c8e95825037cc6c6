// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"maps"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// resourceOf returns the resource of an object, a list or an apply configuration as RBAC writes
// it, such as "configmaps" or "deployments.apps". It follows from the kind, because the name of a
// call is needed before anything is asked of a server, and is a part of call names, which metrics
// use as labels.
func (c *retryClient) resourceOf(obj any) string {
	var gvk schema.GroupVersionKind
	if o, ok := obj.(runtime.Object); ok {
		if gvk = o.GetObjectKind().GroupVersionKind(); gvk.Kind == "" {
			gvk, _ = c.inner.GroupVersionKindFor(o) // inner returns the error
		}
	} else if config, ok := obj.(runtime.ApplyConfiguration); ok {
		gvk = appliedOf(config).GroupVersionKind()
	}
	if gvk.Kind == "" {
		gvk.Kind = strings.TrimSuffix(reflect.Indirect(reflect.ValueOf(obj)).Type().Name(), "ApplyConfiguration")
	}
	gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural.GroupResource().String()
}

// newOf returns an empty object with the type and kind of obj.
func newOf[T runtime.Object](obj T) T {
	empty := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(T)
	empty.GetObjectKind().SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	return empty
}

// listOf returns an empty list for objects of the kind of obj, or nil if the scheme has none.
func (c *retryClient) listOf(obj client.Object) client.ObjectList {
	gvk, err := c.inner.GroupVersionKindFor(obj)
	if err != nil {
		return nil
	}
	gvk.Kind += "List"
	switch obj.(type) {
	case *unstructured.Unstructured:
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk)
		return list
	case *metav1.PartialObjectMetadata:
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk)
		return list
	}
	list, err := c.inner.Scheme().New(gvk)
	if err != nil {
		return nil
	}
	typed, _ := list.(client.ObjectList)
	return typed
}

// keepKind sets the kind of obj to that of like, unless it has one. Clients do not set it
// when they decode a response into a typed object, and controller-runtime keeps that of the
// object that was sent.
func keepKind(obj, like runtime.Object) {
	kind := like.GetObjectKind().GroupVersionKind()
	if !kind.Empty() && obj.GetObjectKind().GroupVersionKind().Empty() {
		obj.GetObjectKind().SetGroupVersionKind(kind)
	}
}

// assign sets *dst to *src. Both are pointers of the same type.
func assign(dst, src runtime.Object) {
	reflect.ValueOf(dst).Elem().Set(reflect.ValueOf(src).Elem())
}

// copyOf returns a copy of obj into which a client can decode a response. It does not use
// DeepCopy for unstructured objects, which panics on an int. A shallow copy is sufficient,
// because clients replace the content.
func copyOf(obj client.Object) client.Object {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj.DeepCopyObject().(client.Object)
	}
	c := &unstructured.Unstructured{Object: maps.Clone(u.Object)}
	if metadata, ok := c.Object["metadata"].(map[string]any); ok {
		c.Object["metadata"] = maps.Clone(metadata)
	}
	return c
}
