package k8sretryctrl

import (
	"maps"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kindOf names the kind of an object, a list or an apply configuration: "ConfigMap".
// There are as many names as there are kinds, so that they are good for metrics.
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

// fresh is an empty object of the type and kind of obj.
func fresh[T runtime.Object](obj T) T {
	empty := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(T)
	empty.GetObjectKind().SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	return empty
}

// fill makes obj what made is. Both are pointers of one type.
func fill(obj, made runtime.Object) {
	reflect.ValueOf(obj).Elem().Set(reflect.ValueOf(made).Elem())
}

// copyOf is a copy for a client to write into. DeepCopy panics on an unstructured object
// with an int in it, and clients replace the whole of it anyway.
func copyOf(obj client.Object) client.Object {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj.DeepCopyObject().(client.Object)
	}
	own := &unstructured.Unstructured{Object: maps.Clone(u.Object)}
	if meta, ok := own.Object["metadata"].(map[string]any); ok {
		own.Object["metadata"] = maps.Clone(meta)
	}
	return own
}
