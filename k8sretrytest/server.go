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

// EmulateServer makes a fake clientset keep the rules of kube-apiserver that retries
// depend on, and that a plain fake ignores:
//
//   - A new object gets a UID, a resourceVersion and a creationTimestamp, and a name
//     if it has only a generateName. One that brings a resourceVersion is refused.
//   - Each write that changes something gives a new resourceVersion; one that
//     changes nothing, a patch included, gives none and is not stored. (Server-side
//     applies are stored always.)
//   - An update or patch with a resourceVersion or UID that is not the object's is a
//     Conflict, and so is a delete whose preconditions do not hold.
//   - An object with finalizers is not deleted but gets a deletionTimestamp, and goes
//     with its last finalizer.
//   - Dry runs answer, and store nothing.
//
// Objects that the clientset was made with are shown with a UID and the
// resourceVersion "1" until they are written; watches show them as they were given.
// A watch from an earlier resourceVersion begins with the present state of what has
// changed since, not with each change.
//
// It does not know schemas, defaults or admission, and treats a write of the status
// as one of the object. Subresources that are of another kind than the object
// (eviction, scale, token) go through as they are.
//
// Pass &clientset.Fake, once, before the clientset is used; before or after
// [Faults.Install] is the same.
func EmulateServer(fake *clienttesting.Fake) {
	fake.Lock()
	defer fake.Unlock()
	// Behind all faults: what they fail must not be done, and reads of the rules
	// themselves are no calls.
	at := 0
	for i, r := range fake.ReactionChain {
		if _, ok := r.(*reactor); ok {
			at = i + 1
		}
	}
	rules := &serverRules{fake: fake, versions: make(map[schema.GroupVersionResource]int64)}
	fake.ReactionChain = slices.Insert(slices.Clone(fake.ReactionChain), at, clienttesting.Reactor(rules))
}

// serverRules is a reactor that rewrites writes on their way to the tracker. The lock
// of the fake, held during each action, protects it.
type serverRules struct {
	fake     *clienttesting.Fake
	versions map[schema.GroupVersionResource]int64 // the last one given, for each resource
}

func (s *serverRules) Handles(clienttesting.Action) bool { return true }

func (s *serverRules) React(action clienttesting.Action) (handled bool, obj runtime.Object, err error) {
	if sub := action.GetSubresource(); sub != "" && sub != "status" {
		return false, nil, nil
	}
	switch a := action.(type) { // types, as the interfaces of a create and an update are the same
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
	if dry(a.CreateOptions.DryRun) {
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
	was, err := s.lookUp(a, m.GetName())
	if err != nil {
		return nil, err
	}
	return s.replace(a, was, a.GetObject(), a.UpdateOptions)
}

// replace stores obj in the place of was, if it may.
func (s *serverRules) replace(a clienttesting.Action, was, obj runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error) {
	old, err := meta.Accessor(was)
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if err := unchanged(a, m, old); err != nil {
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
	obj.GetObjectKind().SetGroupVersionKind(was.GetObjectKind().GroupVersionKind())
	switch {
	case equality.Semantic.DeepEqual(was, obj):
		return was, nil
	case dry(opts.DryRun):
		return obj, nil
	case m.GetDeletionTimestamp() != nil && len(m.GetFinalizers()) == 0:
		_, _, err := behind(s.fake, s, clienttesting.NewDeleteAction(a.GetResource(), a.GetNamespace(), old.GetName()))
		return obj, err
	}
	update := clienttesting.NewUpdateActionWithOptions(a.GetResource(), a.GetNamespace(), obj, opts)
	update.Subresource = a.GetSubresource()
	return s.store(update, obj)
}

func (s *serverRules) patch(a clienttesting.PatchActionImpl) (runtime.Object, error) {
	was, err := s.lookUp(a, a.GetName())
	if isApply(a.GetPatchType()) {
		return s.apply(a, was, err)
	}
	if err != nil {
		return nil, err
	}
	// A tracker of its own, with nothing but this object, works out what the patch
	// makes of it.
	scratch := clienttesting.NewObjectTracker(nil, nil)
	if err := scratch.Create(a.GetResource(), was, a.GetNamespace()); err != nil {
		return nil, err
	}
	_, obj, err := clienttesting.ObjectReaction(scratch)(a)
	if err != nil {
		return nil, err
	}
	return s.replace(a, was, obj, metav1.UpdateOptions{DryRun: a.PatchOptions.DryRun, FieldManager: a.PatchOptions.FieldManager})
}

func (s *serverRules) delete(a clienttesting.DeleteActionImpl) error {
	was, err := s.lookUp(a, a.GetName())
	if err != nil {
		return err
	}
	old, err := meta.Accessor(was)
	if err != nil {
		return err
	}
	if p := a.DeleteOptions.Preconditions; p != nil {
		// The texts, and the kind in the place of the resource, are those of
		// k8s.io/apiserver/pkg/registry/rest/delete.go.
		what := schema.GroupResource{Group: a.GetResource().Group, Resource: kind(was)}
		if p.UID != nil && *p.UID != old.GetUID() {
			return apierrors.NewConflict(what, old.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). "+
				"The object might have been deleted and then recreated", *p.UID, old.GetUID()))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return apierrors.NewConflict(what, old.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). "+
				"The object might have been modified", *p.ResourceVersion, old.GetResourceVersion()))
		}
	}
	switch {
	case dry(a.DeleteOptions.DryRun):
		return nil
	case len(old.GetFinalizers()) == 0:
		_, _, err := behind(s.fake, s, a)
		return err
	case old.GetDeletionTimestamp() == nil:
		at := now()
		old.SetDeletionTimestamp(&at)
		_, err := s.store(clienttesting.NewUpdateAction(a.GetResource(), a.GetNamespace(), was), was)
		return err
	}
	return nil
}
