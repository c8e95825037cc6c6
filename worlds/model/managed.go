// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

// schemas are those of the kinds that client-go knows. For other kinds a list is a whole.
var schemas = sync.OnceValue(func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(scheme.Scheme) })

// The field managers are those of apimachinery, which kube-apiserver uses, too.
var managers = struct {
	sync.Mutex
	of map[schema.GroupVersionKind]map[string]*managedfields.FieldManager
}{of: make(map[schema.GroupVersionKind]map[string]*managedfields.FieldManager)}

func managerOf(k *kind, subresource string) (*managedfields.FieldManager, error) {
	managers.Lock()
	defer managers.Unlock()
	if m := managers.of[k.GroupVersionKind][subresource]; m != nil {
		return m, nil
	}
	types := managedfields.NewDeducedTypeConverter()
	if k.typed != nil {
		types = schemas()
	}
	m, err := managedfields.NewDefaultFieldManager(types, sameVersion{}, noDefaults{}, emptyObjects{},
		k.GroupVersionKind, k.GroupVersion(), subresource, nil)
	if err != nil {
		return nil, err
	}
	if managers.of[k.GroupVersionKind] == nil {
		managers.of[k.GroupVersionKind] = make(map[string]*managedfields.FieldManager)
	}
	managers.of[k.GroupVersionKind][subresource] = m
	return m, nil
}

// manage sets the managed fields of a new state of an object. old is nil for a new object.
func (s *Server) manage(r *request, old, obj *object) (*object, error) {
	m, err := managerOf(r.kind, r.subresource)
	if err != nil {
		return nil, err
	}
	if old == nil {
		old = &unstructured.Unstructured{Object: map[string]any{}}
		old.SetGroupVersionKind(r.kind.GroupVersionKind)
	}
	if obj.GetManagedFields() == nil {
		obj.SetManagedFields(old.GetManagedFields())
	}
	managed, err := m.Update(old, obj, r.manager())
	if err != nil {
		return nil, err
	}
	return s.stamped(r, metav1.ManagedFieldsOperationUpdate, old, managed)
}

// apply is a server-side apply to old, which is nil if there is no object.
func (s *Server) apply(r *request, old, sent *object, force bool) (*object, error) {
	m, err := managerOf(r.kind, r.subresource)
	if err != nil {
		return nil, err
	}
	if old == nil {
		old = &unstructured.Unstructured{Object: map[string]any{}}
		old.SetGroupVersionKind(r.kind.GroupVersionKind)
	}
	managed, err := m.Apply(old.DeepCopy(), sent, r.manager(), force)
	if err != nil {
		return nil, err
	}
	obj, err := s.stamped(r, metav1.ManagedFieldsOperationApply, old, managed)
	if err == nil {
		obj.SetResourceVersion(sent.GetResourceVersion()) // which is checked later
	}
	return obj, err
}

// stamped replaces the time of the entry of the request, if that is new or renewed, by the
// server's: it is that of this process. An update renews the entry of its manager, also if that owns
// the same fields as before, and no other, also if that has lost fields.
func (s *Server) stamped(r *request, operation metav1.ManagedFieldsOperationType, old *object, managed runtime.Object) (*object, error) {
	obj, ok := managed.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%T in place of an unstructured object", managed)
	}
	had := map[string]bool{}
	for _, entry := range old.GetManagedFields() {
		had[entryKey(entry)] = true
	}
	fields, now := obj.GetManagedFields(), s.now()
	for i, entry := range fields {
		own := entry.Manager == r.manager() && entry.Operation == operation && entry.Subresource == r.subresource
		if own && !had[entryKey(entry)] {
			fields[i].Time = &now
		}
	}
	obj.SetManagedFields(fields)
	return obj, nil
}

// entryKey tells entries apart that were not written by the same update.
func entryKey(e metav1.ManagedFieldsEntry) string {
	raw := ""
	if e.FieldsV1 != nil {
		raw = e.FieldsV1.GetRawString()
	}
	return fmt.Sprintf("%s|%s|%s|%s|%s|%s", e.Manager, e.Operation, e.APIVersion, e.Subresource, raw, e.Time)
}

// sameVersion converts nothing: each kind has one version.
type sameVersion struct{}

func (sameVersion) Convert(in, out, _ any) error {
	from, ok1 := in.(*unstructured.Unstructured)
	to, ok2 := out.(*unstructured.Unstructured)
	if !ok1 || !ok2 {
		return fmt.Errorf("cannot convert %T to %T", in, out)
	}
	to.Object = from.Object
	return nil
}

func (sameVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (sameVersion) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

type noDefaults struct{}

func (noDefaults) Default(runtime.Object) {}

type emptyObjects struct{}

func (emptyObjects) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(kind)
	return obj, nil
}
