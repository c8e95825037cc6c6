// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	clienttesting "k8s.io/client-go/testing"
)

// apply passes the action to the tracker, which manages field ownership, and sets the
// resourceVersion of the result in a second write. Watches see both writes.
func (s *serverRules) apply(a clienttesting.PatchActionImpl, stored runtime.Object, lookUpErr error) (runtime.Object, error) {
	switch {
	case lookUpErr != nil && !apierrors.IsNotFound(lookUpErr):
		return nil, lookUpErr
	case isDryRun(a.PatchOptions.DryRun):
		return nil, errDryApply
	}
	uid, created := uuid.NewUUID(), now()
	if stored != nil {
		old, err := meta.Accessor(stored)
		if err != nil {
			return nil, err
		}
		var sent metav1.PartialObjectMetadata
		if json.Unmarshal(a.GetPatch(), &sent) == nil {
			if err := checkPreconditions(a, &sent, old); err != nil {
				return nil, err
			}
		}
		uid, created = old.GetUID(), old.GetCreationTimestamp()
	}
	handled, obj, err := reactAfter(s.fake, s, a)
	switch {
	case err != nil:
		return nil, err
	case !handled || obj == nil:
		return nil, errNoTracker
	}
	if _, known := s.versions[a.GetResource()]; known {
		s.versions[a.GetResource()]++ // the tracker has counted its write
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetUID(uid)
	m.SetCreationTimestamp(created)
	s.admit(a, m)
	return s.store(clienttesting.NewUpdateActionWithOptions(a.GetResource(), a.GetNamespace(), obj,
		metav1.UpdateOptions{FieldManager: a.PatchOptions.FieldManager}), obj)
}

// checkPreconditions returns a Conflict if sent has another UID or resourceVersion than
// old. The texts are those of k8s.io/apiserver/pkg/storage/interfaces.go.
func checkPreconditions(a clienttesting.Action, sent, old metav1.Object) error {
	resource := a.GetResource().GroupResource()
	if uid := sent.GetUID(); uid != "" && uid != old.GetUID() {
		return apierrors.NewConflict(resource, old.GetName(),
			fmt.Errorf("%s: UID in precondition: %v, UID in object meta: %v", "Precondition failed", uid, old.GetUID()))
	}
	if v := sent.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		return apierrors.NewConflict(resource, old.GetName(), errModified)
	}
	return nil
}

// lookUp returns the stored object of an action. An object without UID and version,
// which has not been written yet, gets its initial ones.
func (s *serverRules) lookUp(a clienttesting.Action, name string) (runtime.Object, error) {
	handled, obj, err := reactAfter(s.fake, s, clienttesting.NewGetAction(a.GetResource(), a.GetNamespace(), name))
	if err != nil {
		return nil, err
	}
	if !handled || obj == nil {
		return nil, errNoTracker
	}
	return obj, setInitialMeta(a.GetResource(), obj)
}

func (s *serverRules) list(a clienttesting.ListActionImpl) (runtime.Object, error) {
	_, list, err := reactAfter(s.fake, s, a)
	if err != nil || list == nil {
		return list, err
	}
	// Trackers before client-go v0.36 set no resourceVersion.
	if m, err := meta.ListAccessor(list); err == nil && m.GetResourceVersion() == "" {
		m.SetResourceVersion(strconv.FormatInt(max(s.versions[a.GetResource()], 1), 10))
	}
	err = meta.EachListItem(list, func(obj runtime.Object) error { return setInitialMeta(a.GetResource(), obj) })
	return list, err
}

// setInitialMeta sets the UID and resourceVersion of an object that has not been written
// yet. They are the same for each read.
func setInitialMeta(resource schema.GroupVersionResource, obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if m.GetUID() == "" {
		m.SetUID(initialUID(resource, m.GetNamespace(), m.GetName()))
	}
	if m.GetResourceVersion() == "" {
		m.SetResourceVersion("1")
	}
	return nil
}

// store passes a write of obj to the tracker, with the next resourceVersion.
func (s *serverRules) store(a clienttesting.Action, obj runtime.Object) (runtime.Object, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	version := s.version(a, obj) + 1
	m.SetResourceVersion(strconv.FormatInt(version, 10))
	_, stored, err := reactAfter(s.fake, s, a)
	if err == nil {
		s.versions[a.GetResource()] = version
		s.remember(a, version, obj)
	}
	return stored, err
}

// version returns the latest version of a resource. The tracker counts versions for its
// lists and watches, but does not set them in objects. Objects get the tracker's
// versions where it reports them, so that an informer can continue from the latest
// version it has seen.
func (s *serverRules) version(a clienttesting.Action, obj runtime.Object) int64 {
	last, known := s.versions[a.GetResource()]
	if known {
		return last
	}
	gvk := a.GetResource().GroupVersion().WithKind(kind(obj))
	if _, list, err := reactAfter(s.fake, s, clienttesting.NewListAction(a.GetResource(), gvk, "", metav1.ListOptions{})); err == nil && list != nil {
		if m, err := meta.ListAccessor(list); err == nil {
			last, _ = strconv.ParseInt(m.GetResourceVersion(), 10, 64)
		}
	}
	return max(last, 1)
}

func kind(obj runtime.Object) string {
	if k := obj.GetObjectKind().GroupVersionKind().Kind; k != "" {
		return k
	}
	return reflect.TypeOf(obj).Elem().Name()
}

// now returns the current time in whole seconds, the resolution of timestamps in objects.
func now() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }

// initialUID returns a UID derived from the name of the object.
func initialUID(resource schema.GroupVersionResource, namespace, name string) types.UID {
	sum := sha256.Sum256([]byte(resource.String() + "/" + namespace + "/" + name))
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
}

func isDryRun(options []string) bool { return slices.Contains(options, metav1.DryRunAll) }

var (
	errNoTracker = errors.New("k8sretrytest: EmulateServer needs a fake clientset that stores objects")
	errDryApply  = errors.New("k8sretrytest: EmulateServer does not support a dry run of a server-side apply")
)
