package k8sretryctrl

import (
	"maps"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kindOf returns the kind of an object, a list or an apply configuration, such as
// "ConfigMap". It is a part of call names, which metrics use as labels.
func kindOf(obj any) string {
	var kind string
	if o, ok := obj.(runtime.Object); ok {
		kind = o.GetObjectKind().GroupVersionKind().Kind
	}
	if kind == "" {
		kind = strings.TrimSuffix(reflect.Indirect(reflect.ValueOf(obj)).Type().Name(), "ApplyConfiguration")
	}
	return strings.TrimSuffix(kind, "List")
}

// newOf returns an empty object with the type and kind of obj.
func newOf[T runtime.Object](obj T) T {
	empty := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(T)
	empty.GetObjectKind().SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	return empty
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
	if meta, ok := c.Object["metadata"].(map[string]any); ok {
		c.Object["metadata"] = maps.Clone(meta)
	}
	return c
}
