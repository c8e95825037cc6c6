// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clienttesting "k8s.io/client-go/testing"
)

// EmulateServer makes a fake clientset follow the rules of kube-apiserver that matter
// for retries and that a plain fake ignores:
//
//   - A create sets UID, resourceVersion and creationTimestamp, and the name of an
//     object that has only a generateName. It fails if the object has a
//     resourceVersion.
//   - A write that changes the object sets a new resourceVersion. A write that changes
//     nothing, including a patch, is not stored. Server-side applies are always stored.
//   - An update or patch with another resourceVersion or UID than that of the object
//     fails with a Conflict, and so does a delete whose preconditions do not match.
//   - A delete of an object with finalizers sets the deletionTimestamp. The object is
//     removed together with its last finalizer.
//   - An eviction deletes the pod. There are no disruption budgets.
//   - A watch from an earlier resourceVersion begins with each change since then. It fails
//     with Expired (410) after more than 90 changes.
//   - A dry run returns the result and stores nothing.
//
// Reads return an object that was passed to the clientset's constructor with a UID and
// the resourceVersion "1" until its first write; watches return it as it was passed. A
// deletion has no resourceVersion of its own: a watch from that of a list that was made
// just after it begins with the deletion.
//
// EmulateServer implements no schemas or defaults, and treats a write of the status as a
// write of the object. It does not handle other subresources of another kind than the
// object (scale, token). Options make the server behave as servers rarely do, but may:
// [ReplaceAnnotations], [StripAnnotations], [RecreateDeleted], [WithoutHistory].
//
// Pass &clientset.Fake once, before the clientset is used. The order of EmulateServer
// and [Faults.Install] does not matter.
func EmulateServer(fake *clienttesting.Fake, options ...ServerOption) {
	fake.Lock()
	defer fake.Unlock()
	// After all faults: calls that fail must not be processed, and reads by the rules
	// must not be counted as calls.
	at := 0
	for i, r := range fake.ReactionChain {
		if _, ok := r.(*reactor); ok {
			at = i + 1
		}
	}
	rules := &serverRules{fake: fake, versions: make(map[schema.GroupVersionResource]int64), history: make(map[schema.GroupVersionResource][]storedChange)}
	for _, option := range options {
		option(rules)
	}
	fake.ReactionChain = slices.Insert(slices.Clone(fake.ReactionChain), at, clienttesting.Reactor(rules))
	at = 0
	for i, r := range fake.WatchReactionChain {
		if _, ok := r.(*watchReactor); ok {
			at = i + 1
		}
	}
	fake.WatchReactionChain = slices.Insert(slices.Clone(fake.WatchReactionChain), at, clienttesting.WatchReactor(&watchRules{rules}))
}

// serverRules is a reactor that changes writes before they reach the object tracker. It
// is protected by the lock of the fake, which is held during each action.
type serverRules struct {
	fake     *clienttesting.Fake
	versions map[schema.GroupVersionResource]int64 // the latest resourceVersion of each resource
	history  map[schema.GroupVersionResource][]storedChange

	admission      []admission
	recreated      []string // resources
	withoutHistory []string // resources
}

func (s *serverRules) Handles(clienttesting.Action) bool { return true }

func (s *serverRules) React(action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
	switch sub := action.GetSubresource(); sub {
	case "", "status":
	case "eviction":
		return s.evict(action)
	default:
		return false, nil, nil
	}
	switch a := action.(type) { // concrete types: creates and updates have the same interface
	case clienttesting.CreateActionImpl:
		obj, err = s.create(a)
	case clienttesting.UpdateActionImpl:
		obj, err = s.update(a)
	case clienttesting.PatchActionImpl:
		obj, err = s.patch(a)
	case clienttesting.DeleteActionImpl:
		obj, err = nil, s.delete(a)
	case clienttesting.GetActionImpl:
		obj, err = s.lookUp(a, a.GetName())
	case clienttesting.ListActionImpl:
		obj, err = s.list(a)
	default:
		return false, nil, nil
	}
	return true, obj, err
}

func (s *serverRules) create(a clienttesting.CreateActionImpl) (runtime.Object, error) {
	obj := a.GetObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	switch {
	case m.GetResourceVersion() != "":
		return nil, ServerStatus(500, "", "resourceVersion should not be set on objects to be created")
	case m.GetName() == "" && m.GetGenerateName() == "":
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: a.GetResource().Group, Kind: kind(obj)}, "",
			field.ErrorList{field.Required(field.NewPath("metadata", "name"), "name or generateName is required")})
	case m.GetName() == "":
		m.SetName(m.GetGenerateName() + rand.String(5)) // k8s.io/apiserver/pkg/storage/names/generate.go
	}
	m.SetUID(uuid.NewUUID())
	m.SetCreationTimestamp(now())
	m.SetDeletionTimestamp(nil)
	s.admit(a, m)
	if isDryRun(a.CreateOptions.DryRun) {
		if _, err := s.lookUp(a, m.GetName()); err == nil {
			return nil, apierrors.NewAlreadyExists(a.GetResource().GroupResource(), m.GetName())
		}
		return obj, nil
	}
	return s.store(a, obj)
}

func (s *serverRules) update(a clienttesting.UpdateActionImpl) (runtime.Object, error) {
	m, err := meta.Accessor(a.GetObject())
	if err != nil {
		return nil, err
	}
	stored, err := s.lookUp(a, m.GetName())
	if err != nil {
		return nil, err
	}
	return s.replace(a, stored, a.GetObject(), a.UpdateOptions)
}

// replace stores obj in place of stored if the preconditions of obj match.
func (s *serverRules) replace(a clienttesting.Action, stored, obj runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error) {
	old, err := meta.Accessor(stored)
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if err := checkPreconditions(a, m, old); err != nil {
		return nil, err
	}
	m.SetUID(old.GetUID())
	m.SetNamespace(old.GetNamespace())
	m.SetCreationTimestamp(old.GetCreationTimestamp())
	m.SetDeletionTimestamp(old.GetDeletionTimestamp())
	m.SetResourceVersion(old.GetResourceVersion())
	if m.GetManagedFields() == nil {
		m.SetManagedFields(old.GetManagedFields())
	}
	obj.GetObjectKind().SetGroupVersionKind(stored.GetObjectKind().GroupVersionKind())
	s.admit(a, m)
	switch {
	case equality.Semantic.DeepEqual(stored, obj):
		return stored, nil
	case isDryRun(opts.DryRun):
		return obj, nil
	case m.GetDeletionTimestamp() != nil && len(m.GetFinalizers()) == 0:
		return obj, s.remove(clienttesting.NewDeleteAction(a.GetResource(), a.GetNamespace(), old.GetName()), stored)
	}
	update := clienttesting.NewUpdateActionWithOptions(a.GetResource(), a.GetNamespace(), obj, opts)
	update.Subresource = a.GetSubresource()
	return s.store(update, obj)
}

func (s *serverRules) patch(a clienttesting.PatchActionImpl) (runtime.Object, error) {
	stored, err := s.lookUp(a, a.GetName())
	if isApply(a.GetPatchType()) {
		return s.apply(a, stored, err)
	}
	if err != nil {
		return nil, err
	}
	// A second tracker, which holds only this object, computes the result of the patch.
	scratch := clienttesting.NewObjectTracker(nil, nil)
	if err := scratch.Create(a.GetResource(), stored, a.GetNamespace()); err != nil {
		return nil, err
	}
	_, obj, err := clienttesting.ObjectReaction(scratch)(a)
	if err != nil {
		return nil, err
	}
	return s.replace(a, stored, obj, metav1.UpdateOptions{DryRun: a.PatchOptions.DryRun, FieldManager: a.PatchOptions.FieldManager})
}

func (s *serverRules) delete(a clienttesting.DeleteActionImpl) error {
	stored, err := s.lookUp(a, a.GetName())
	if err != nil {
		return err
	}
	old, err := meta.Accessor(stored)
	if err != nil {
		return err
	}
	if p := a.DeleteOptions.Preconditions; p != nil {
		// The texts, and the kind in place of the resource, are those of
		// k8s.io/apiserver/pkg/registry/rest/delete.go.
		resource := schema.GroupResource{Group: a.GetResource().Group, Resource: kind(stored)}
		if p.UID != nil && *p.UID != old.GetUID() {
			return apierrors.NewConflict(resource, old.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). "+
				"The object might have been deleted and then recreated", *p.UID, old.GetUID()))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return apierrors.NewConflict(resource, old.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). "+
				"The object might have been modified", *p.ResourceVersion, old.GetResourceVersion()))
		}
	}
	switch {
	case isDryRun(a.DeleteOptions.DryRun):
		return nil
	case len(old.GetFinalizers()) == 0:
		return s.remove(a, stored)
	case old.GetDeletionTimestamp() == nil:
		at := now()
		old.SetDeletionTimestamp(&at)
		_, err := s.store(clienttesting.NewUpdateAction(a.GetResource(), a.GetNamespace(), stored), stored)
		return err
	}
	return nil
}
