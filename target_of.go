// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

// targetOfRequest is what a Transport has seen.
func targetOfRequest(r *apirequest.Request) target {
	return target{r.Group, r.Resource, r.Subresource, r.Namespace, r.Object}
}

// targetOf is what an object says. Its kind is that of its type, or the one that it states. An
// object of a subresource may have another kind, such as Scale.
func targetOf(obj any, subresource string) target {
	t := target{subresource: subresource}
	if isNilValue(obj) {
		return t
	}
	if o, ok := obj.(metav1.Object); ok {
		t.namespace, t.name = o.GetNamespace(), o.GetName()
	}
	switch subresource {
	case "", "status", "eviction":
	default:
		return t
	}
	var stated schema.GroupVersionKind
	if o, ok := obj.(runtime.Object); ok {
		stated = o.GetObjectKind().GroupVersionKind()
	}
	if stated.Kind == "" {
		return t.or(targetOfType(reflect.TypeOf(obj)))
	}
	t.group, t.resource = stated.Group, resourceOf(stated.Kind)
	return t
}

// targetOfType is what a type says, such as *appsv1.Deployment. Types without a kind of their own
// say nothing.
func targetOfType(typ reflect.Type) (t target) {
	if typ.Kind() != reflect.Pointer || typ.Elem().Kind() != reflect.Struct {
		return t
	}
	name, pkg := typ.Elem().Name(), typ.Elem().PkgPath()
	if i := strings.LastIndex(pkg, "/vendor/"); i >= 0 {
		pkg = pkg[i+len("/vendor/"):]
	}
	if name == "" || strings.ContainsRune(name, '[') || strings.HasPrefix(pkg, "k8s.io/apimachinery/") {
		return t
	}
	t.resource = resourceOf(name)
	if dir, ok := strings.CutPrefix(pkg, "k8s.io/api/"); ok {
		dir, _, _ = strings.Cut(dir, "/")
		t.group = groupOf(dir)
	}
	return t
}

// resourceOf guesses the resource of a kind as the API names it.
func resourceOf(kind string) string {
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Kind: kind})
	return plural.Resource
}

// groupOf is the API group of a directory of k8s.io/api.
func groupOf(dir string) string {
	switch dir {
	case "core":
		return ""
	case "apps", "autoscaling", "batch", "extensions", "policy":
		return dir
	case "apiserverinternal":
		return "internal.apiserver.k8s.io"
	case "flowcontrol":
		return "flowcontrol.apiserver.k8s.io"
	case "rbac":
		return "rbac.authorization.k8s.io"
	}
	return dir + ".k8s.io"
}

// targetOfError is what the API says in an answer about the object of this name. An answer may be
// about another object, such as the namespace, and about a kind instead of a resource.
func targetOfError(err error, name string) (t target) {
	details := statusIn(err).Details
	if details == nil || details.Kind == "" || name == "" || details.Name != name {
		return t
	}
	t.group, t.resource = details.Group, details.Kind
	if first := details.Kind[0]; first >= 'A' && first <= 'Z' {
		t.resource = resourceOf(details.Kind)
	}
	return t
}
