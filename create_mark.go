// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// createKey returns the key of the annotation for the mark of a Create, "" for none.
func createKey(options []Option) string {
	key := tokenKey(options)
	if key != "" {
		key += "-create"
	}
	return key
}

// markOf returns what the marks of all creates of an object end with: a hash of its kind, its
// namespace and its name. So a mark that was copied from another object, together with its
// other annotations, is noticed.
func markOf(obj Object, namespace string) string {
	t := targetOf(obj, "")
	if t.group == "" && obj.GetObjectKind().GroupVersionKind().Version == "" { // not stated
		t.group = groupOfType(obj)
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%s/%s/%s", t.group, t.resource, namespace, obj.GetName())
	return fmt.Sprintf("-%016x", h.Sum64())
}

// groupOfType tells kinds of the same name apart whose group is not known: a Service may be
// one of Kubernetes or of Knative. The group of custom resources is in no type.
func groupOfType(obj Object) string {
	typ := reflect.TypeOf(obj)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	pkg := typ.PkgPath()
	if strings.Contains("/"+pkg, "/k8s.io/api/") {
		return "" // the core group, also in a vendor directory
	}
	return pkg
}

// namespaceOf returns the namespace of an object to be created. If the object does not name
// it, the typed clients of client-go do. If it remains unknown, the mark proves nothing about
// an object that has a namespace.
func namespaceOf(client any, obj metav1.Object) string {
	if namespace := obj.GetNamespace(); namespace != "" {
		return namespace
	}
	if c, ok := client.(interface{ GetNamespace() string }); ok {
		return c.GetNamespace()
	}
	return ""
}
