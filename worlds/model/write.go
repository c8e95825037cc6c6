// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/http"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func formatVersion(v int64) string { return strconv.FormatInt(v, 10) }

func (s *Server) create(r *request) (Response, error) {
	obj, err := r.decode()
	if err != nil {
		return Response{}, err
	}
	stored, err := s.add(r, obj, func(obj *object) (*object, error) { return s.manage(r, nil, obj) })
	if err != nil {
		return Response{}, err
	}
	return Response{Code: http.StatusCreated, Body: marshal(stored.Object)}, nil
}

// maxGeneratedNames is how many names the server tries.
const maxGeneratedNames = 8

// add stores a new object.
func (s *Server) add(r *request, obj *object, manage func(*object) (*object, error)) (*object, error) {
	if namespace := obj.GetNamespace(); namespace != "" && namespace != r.namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if obj.GetResourceVersion() != "" && !r.dryRun() {
		return nil, plainServerError("resourceVersion should not be set on objects to be created")
	}
	obj.SetNamespace(r.namespace)
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	if obj.GetName() == "" && !generated {
		return nil, apierrors.NewInvalid(r.kind.GroupKind(), "", field.ErrorList{field.Required(field.NewPath("metadata", "name"), "name or generateName is required")})
	}
	obj.SetUID(s.config.UID(s.uids))
	obj.SetCreationTimestamp(s.now())
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
	if r.kind.hasStatus {
		unstructured.RemoveNestedField(obj.Object, "status")
	}
	if r.kind.resource == "pods" {
		_ = unstructured.SetNestedField(obj.Object, "Pending", "status", "phase")
	}
	if r.kind.hasGeneration {
		obj.SetGeneration(1)
	}
	for names := 1; ; names++ {
		if generated {
			obj.SetName(obj.GetGenerateName() + s.config.Suffix(s.uids+names))
		}
		key := Key{r.kind.resource, r.namespace, obj.GetName()}
		if generated && s.objects[key] != nil && names < maxGeneratedNames {
			continue
		}
		s.admit(key, obj)
		managed, err := manage(obj)
		if err != nil {
			return nil, err
		}
		// The quota is charged before the name is found to exist.
		if limit, limited := s.config.Quota[r.kind.resource]; limited && s.count(r.kind, r.namespace) >= limit {
			return nil, apierrors.NewForbidden(r.kind.groupResource(), obj.GetName(), errQuota(limit))
		}
		if old := s.objects[key]; old != nil {
			return nil, alreadyExists(r.kind, old)
		}
		s.uids++
		if !r.dryRun() {
			s.put(key, managed, r.By)
		}
		return managed, nil
	}
}

type errQuota int

func (e errQuota) Error() string {
	return "exceeded quota: q, requested: count=1, used: count=" + strconv.Itoa(int(e)) + ", limited: count=" + strconv.Itoa(int(e))
}

func (s *Server) admit(key Key, obj *object) {
	if s.config.Admit != nil {
		s.config.Admit(key, obj)
	}
}

func (s *Server) update(r *request) (Response, error) {
	if r.subresource == "scale" && r.kind.hasScale {
		return s.updateScale(r)
	}
	if r.subresource != "" && (r.subresource != "status" || !r.kind.hasStatus) {
		return Response{}, pathNotFound()
	}
	obj, err := r.decode()
	switch {
	case err != nil:
		return Response{}, err
	case obj.GetName() != r.name:
		return Response{}, otherName(obj, r.name)
	case obj.GetNamespace() != "" && obj.GetNamespace() != r.namespace:
		return Response{}, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	old := s.objects[r.key()]
	if old == nil {
		return Response{}, notFound(r.kind, r.name)
	}
	if obj.GetResourceVersion() == "" && r.kind.needsVersion {
		return Response{}, apierrors.NewInvalid(r.kind.GroupKind(), r.name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update"),
		})
	}
	stored, err := s.replace(r, old, obj, func(old, obj *object) (*object, error) { return s.manage(r, old, obj) })
	if err != nil {
		return Response{}, err
	}
	return Response{Code: http.StatusOK, Body: marshal(stored.Object)}, nil
}

// replace stores obj in place of old, if its preconditions hold and it differs. It removes the
// object if that was all that its deletion waited for.
func (s *Server) replace(r *request, old, obj *object, manage func(old, obj *object) (*object, error)) (*object, error) {
	otherUID := obj.GetUID()
	if otherUID == old.GetUID() {
		otherUID = ""
	}
	if otherUID != "" && r.Method == http.MethodPut {
		return nil, uidConflict(r, otherUID, old.GetUID())
	}
	if v := obj.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(r.kind.groupResource(), r.name, errModified)
	}
	r.otherUID = otherUID
	r.prepare(old, obj)
	s.admit(r.key(), obj)
	managed, err := manage(old, obj)
	switch {
	case err != nil:
		return nil, err
	case len(r.validate(old, managed)) > 0:
		return nil, apierrors.NewInvalid(r.kind.GroupKind(), r.name, r.validate(old, managed))
	case sameButForTimes(old, managed):
		return old, nil
	case r.dryRun():
		return managed, nil
	case managed.GetDeletionTimestamp() != nil && len(managed.GetFinalizers()) == 0 && graceOf(managed) == 0:
		s.remove(r.key(), old, r.By) // watches see the last state that was stored
		return managed, nil          // as it was before its removal
	}
	s.put(r.key(), managed, r.By)
	return managed, nil
}

// validate returns what is wrong with an update.
func (r *request) validate(old, obj *object) (wrong field.ErrorList) {
	metadata := field.NewPath("metadata")
	if fresh := added(old, obj); old.GetDeletionTimestamp() != nil && len(fresh) > 0 {
		wrong = append(wrong, field.Forbidden(metadata.Child("finalizers"),
			fmt.Sprintf("no new finalizers can be added if the object is being deleted, found new finalizers %#v", fresh)))
	}
	if r.otherUID != "" {
		wrong = append(wrong, field.Invalid(metadata.Child("uid"), string(r.otherUID), "field is immutable"))
	}
	return wrong
}

// added returns the finalizers that obj has and old has not, in their order.
func added(old, obj *object) []string {
	return sets.List(sets.New(obj.GetFinalizers()...).Difference(sets.New(old.GetFinalizers()...)))
}

// prepare gives obj all that an update does not change.
func (r *request) prepare(old, obj *object) {
	obj.SetGroupVersionKind(r.kind.GroupVersionKind)
	if r.subresource == "status" {
		status, has := obj.Object["status"]
		if r.kind.statusKeepsAll {
			fields := obj.GetManagedFields()
			obj.Object["metadata"] = old.DeepCopy().Object["metadata"]
			obj.SetManagedFields(fields)
		}
		for name, value := range old.DeepCopy().Object {
			if name != "metadata" && name != "status" {
				obj.Object[name] = value
			}
		}
		for name := range obj.Object {
			if _, had := old.Object[name]; !had && name != "status" {
				delete(obj.Object, name)
			}
		}
		if has {
			obj.Object["status"] = status
		}
	} else if r.kind.hasStatus {
		delete(obj.Object, "status")
		if status, had := old.DeepCopy().Object["status"]; had {
			obj.Object["status"] = status
		}
	}
	obj.SetUID(old.GetUID())
	obj.SetName(old.GetName())
	obj.SetNamespace(old.GetNamespace())
	obj.SetGenerateName(old.GetGenerateName())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	obj.SetResourceVersion(old.GetResourceVersion())
	obj.SetGeneration(old.GetGeneration())
	changes := !equality.Semantic.DeepEqual(old.Object["spec"], obj.Object["spec"]) ||
		r.kind.resource == "deployments" && !equality.Semantic.DeepEqual(old.GetAnnotations(), obj.GetAnnotations())
	if r.kind.hasGeneration && r.subresource != "status" && changes {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
}

// sameButForTimes reports whether nothing differs but the times in the managed fields.
func sameButForTimes(a, b *object) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, obj := range []*object{a, b} {
		fields := obj.GetManagedFields()
		for i := range fields {
			fields[i].Time = nil
		}
		obj.SetManagedFields(fields)
	}
	return equality.Semantic.DeepEqual(a.Object, b.Object)
}

// graceOf returns how long the deletion of an object still waits, in seconds.
func graceOf(obj *object) int64 {
	if grace := obj.GetDeletionGracePeriodSeconds(); grace != nil {
		return *grace
	}
	return 0
}
