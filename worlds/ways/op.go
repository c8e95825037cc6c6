// SPDX-License-Identifier: Apache-2.0

// Package ways makes the calls of a world, in every way in which the library is used.
package ways

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry"
)

// Namespace is where all objects of a world are.
const Namespace = "default"

// Call is what a caller wants to be done.
type Call string

// The calls.
const (
	Create       Call = "create"
	Generate     Call = "create, generateName"
	CreateOwned  Call = "create, owned"
	Update       Call = "update"
	UpdateStatus Call = "update status"
	Modify       Call = "modify"
	ModifyStatus Call = "modify status"
	Delete       Call = "delete"
	DeletePod    Call = "delete pod"
	Evict        Call = "evict"
	Merge        Call = "merge patch"
	MergeVersion Call = "merge patch, version"
	JSONTest     Call = "JSON patch, test"
	JSONAppend   Call = "JSON patch, append"
	Apply        Call = "apply"
	Scale        Call = "scale"
	Get          Call = "get"
	List         Call = "list"
	GetCached    Call = "get, cached"     // with resourceVersion 0
	GetNotOlder  Call = "get, not older"  // than a version
	ListCached   Call = "list, cached"    // with resourceVersion 0
	ListNotOlder Call = "list, not older" // than a version
)

// Op is one call.
type Op struct {
	ID       int
	Call     Call
	Way      *Way
	Resource string
	Name     string
	Object   *unstructured.Unstructured // as the caller has read it; nil if it is to be created
	Value    string                     // what the call writes
	Manager  string                     // the field manager of an apply
	Retries  int
	Options  []k8sretry.Option
	Got      string // the resource version that a read has brought
}

// Reads reports whether the call changes nothing.
func (c Call) Reads() bool { return c.gets() || c.lists() }

func (c Call) gets() bool { return c == Get || c == GetCached || c == GetNotOlder }

func (c Call) lists() bool { return c == List || c == ListCached || c == ListNotOlder }

// asks returns the resource version that a read names, given that of an object.
func (c Call) asks(version string) string {
	switch c {
	case GetCached, ListCached:
		return "0"
	case GetNotOlder, ListNotOlder:
		return version
	default:
		return ""
	}
}

// Creates reports whether the call makes a new object.
func (c Call) Creates() bool { return c == Create || c == Generate || c == CreateOwned }

// NotOlder reports whether the call reads what is not older than a version.
func (c Call) NotOlder() bool { return c == GetNotOlder || c == ListNotOlder }

// Cached reports whether any state will do.
func (c Call) Cached() bool { return c == GetCached || c == ListCached }

// Removes reports whether the call deletes an object.
func (c Call) Removes() bool { return c == Delete || c == DeletePod || c == Evict }

// ResourceOf returns the resource of which a call wants an object.
func (w *Way) ResourceOf(c Call) string {
	switch c {
	case DeletePod, Evict:
		return "pods"
	case UpdateStatus, ModifyStatus, Scale:
		if w.Dynamic {
			return "widgets"
		}
		return "deployments"
	default:
		if w.Dynamic {
			return "widgets"
		}
		return "configmaps"
	}
}

// Owner is the UID of the controller of owned objects.
const Owner = "00000000-0000-4000-8000-000000000001"

// New returns an object as a caller or another client creates it.
func New(resource, name, value string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{
			"name": name, "namespace": Namespace,
			"labels": map[string]any{"app": "app-" + name},
		},
	}}
	switch resource {
	case "configmaps":
		obj.SetAPIVersion("v1")
		obj.SetKind("ConfigMap")
		obj.Object["data"] = map[string]any{"value": value, "n": "0"}
	case "pods":
		obj.SetAPIVersion("v1")
		obj.SetKind("Pod")
		obj.Object["spec"] = map[string]any{
			"nodeName": "node-1", "terminationGracePeriodSeconds": int64(30),
			"containers": []any{map[string]any{"name": "c", "image": "example.com/" + value}},
		}
	case "deployments":
		obj.SetAPIVersion("apps/v1")
		obj.SetKind("Deployment")
		obj.Object["spec"] = map[string]any{
			"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "x"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "x"}},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "example.com/x"}}},
			},
		}
	case "widgets":
		obj.SetAPIVersion("example.com/v1")
		obj.SetKind("Widget")
		obj.Object["spec"] = map[string]any{"value": value, "n": "0", "replicas": int64(1)}
	}
	return obj
}

// created returns the object that a create sends.
func (op *Op) created() *unstructured.Unstructured {
	obj := New(op.Resource, op.Name, op.Value)
	switch op.Call {
	case Generate:
		obj.SetName("")
		obj.SetGenerateName(op.Name + "-")
	case CreateOwned:
		yes := true
		obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: Owner, Controller: &yes}})
	default:
	}
	return obj
}

// ValuePath is where the value of an object of a resource is.
func ValuePath(resource string) string {
	if resource == "widgets" {
		return "spec"
	}
	return "data"
}

// change sets the value of an object.
func (op *Op) change(obj *unstructured.Unstructured) {
	_ = unstructured.SetNestedField(obj.Object, op.Value, ValuePath(op.Resource), "value")
}

// count increments the counter of an object and sets its value.
func (op *Op) count(obj *unstructured.Unstructured) {
	op.change(obj)
	n, _, _ := unstructured.NestedString(obj.Object, ValuePath(op.Resource), "n")
	i, _ := strconv.Atoi(n)
	_ = unstructured.SetNestedField(obj.Object, strconv.Itoa(i+1), ValuePath(op.Resource), "n")
}

// setStatus changes the status of an object.
func (op *Op) setStatus(obj *unstructured.Unstructured) {
	_ = unstructured.SetNestedField(obj.Object, int64(1000+op.ID), "status", "observedGeneration")
}

// patch returns the body of the patch that a call sends.
func (op *Op) patch() []byte {
	fields := map[string]any{ValuePath(op.Resource): map[string]any{"value": op.Value}}
	switch op.Call {
	case MergeVersion:
		fields["metadata"] = map[string]any{"resourceVersion": op.Object.GetResourceVersion()}
	case JSONTest:
		return []byte(fmt.Sprintf(`[{"op":"test","path":"/metadata/resourceVersion","value":%q},{"op":"replace","path":"/%s/value","value":%q}]`,
			op.Object.GetResourceVersion(), ValuePath(op.Resource), op.Value))
	case JSONAppend:
		return []byte(fmt.Sprintf(`[{"op":"add","path":"/metadata/finalizers/-","value":"example.com/%s"}]`, op.Value))
	default:
	}
	data, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return data
}

// applied returns what an apply sends.
func (op *Op) applied() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": op.Name, "namespace": Namespace}, ValuePath(op.Resource): map[string]any{"value": op.Value},
	}}
	obj.SetGroupVersionKind(New(op.Resource, op.Name, "").GroupVersionKind())
	return obj
}

// GroupVersionResource returns a resource with its group and version.
func GroupVersionResource(resource string) schema.GroupVersionResource {
	switch resource {
	case "widgets":
		return schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: resource}
	case "deployments":
		return appsv1.SchemeGroupVersion.WithResource(resource)
	}
	return corev1.SchemeGroupVersion.WithResource(resource)
}

// typed converts an object to its type.
func typed[T any](obj *unstructured.Unstructured) *T {
	t := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, t); err != nil {
		panic(fmt.Sprintf("%v: %v", err, obj.Object)) // an object of the model that client-go cannot read
	}
	return t
}

// untyped is the reverse, for the changes above.
func untyped(obj any) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		panic(err)
	}
	return &unstructured.Unstructured{Object: content}
}

// changed applies a change to a typed object.
func changed[T any](obj *T, change func(*unstructured.Unstructured)) {
	u := untyped(obj)
	change(u)
	*obj = *typed[T](u)
}

// getOptions are those of a read of one object.
func (op *Op) getOptions() metav1.GetOptions {
	return metav1.GetOptions{ResourceVersion: op.Call.asks(op.Object.GetResourceVersion())}
}

// listOptions are those of a read of all.
func (op *Op) listOptions() metav1.ListOptions {
	o := metav1.ListOptions{ResourceVersion: op.Call.asks(op.Object.GetResourceVersion())}
	if op.Call == ListNotOlder {
		o.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
	}
	return o
}

// got notes the version that a read has brought.
func (op *Op) got(found interface{ GetResourceVersion() string }, err error) error {
	if err == nil {
		op.Got = found.GetResourceVersion()
	}
	return err
}

// Way is a way of using the library.
type Way struct {
	Name      string
	Transport bool // below client-go
	Limiter   bool
	Dynamic   bool
	// ClientGoSpeaks says that the error of a call is that of client-go: nothing is around the call.
	ClientGoSpeaks bool
	Calls          []Call
	run            func(ctx context.Context, c *Clients, op *Op) error
}

// Run makes a call.
func (w *Way) Run(ctx context.Context, c *Clients, op *Op) error { return w.run(ctx, c, op) }

// FinalCheck is how much longer than its context a safe write may take.
const FinalCheck = 5 * time.Second
