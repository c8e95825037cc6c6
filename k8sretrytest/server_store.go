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

// apply leaves the work to the tracker, which knows the owners of fields, and gives
// what came of it its version in a second write. Watches see both.
func (s *serverRules) apply(a clienttesting.PatchActionImpl, was runtime.Object, missing error) (runtime.Object, error) {
	switch {
	case missing != nil && !apierrors.IsNotFound(missing):
		return nil, missing
	case dry(a.PatchOptions.DryRun):
		return nil, errDryApply
	}
	uid, created := uuid.NewUUID(), now()
	if was != nil {
		old, err := meta.Accessor(was)
		if err != nil {
			return nil, err
		}
		var sent metav1.PartialObjectMetadata
		if json.Unmarshal(a.GetPatch(), &sent) == nil {
			if err := unchanged(a, &sent, old); err != nil {
				return nil, err
			}
		}
		uid, created = old.GetUID(), old.GetCreationTimestamp()
	}
	handled, obj, err := behind(s.fake, s, a)
	switch {
	case err != nil:
		return nil, err
	case !handled || obj == nil:
		return nil, errNoTracker
	}
	if _, known := s.versions[a.GetResource()]; known {
		s.versions[a.GetResource()]++ // the tracker has counted its own write
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetUID(uid)
	m.SetCreationTimestamp(created)
	return s.store(clienttesting.NewUpdateActionWithOptions(a.GetResource(), a.GetNamespace(), obj,
		metav1.UpdateOptions{FieldManager: a.PatchOptions.FieldManager}), obj)
}

// unchanged is a Conflict unless the sent UID and version are those of the object, or
// are not given. For the texts see k8s.io/apiserver/pkg/storage/interfaces.go.
func unchanged(a clienttesting.Action, sent, old metav1.Object) error {
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

// lookUp is the object of an action as it is stored. Objects that nobody has written
// yet have neither UID nor version: they are given those that they will keep.
func (s *serverRules) lookUp(a clienttesting.Action, name string) (runtime.Object, error) {
	handled, obj, err := behind(s.fake, s, clienttesting.NewGetAction(a.GetResource(), a.GetNamespace(), name))
	if err != nil {
		return nil, err
	}
	if !handled || obj == nil {
		return nil, errNoTracker
	}
	return obj, dress(a.GetResource(), obj)
}

func (s *serverRules) list(a clienttesting.ListActionImpl) (runtime.Object, error) {
	_, list, err := behind(s.fake, s, a)
	if err != nil || list == nil {
		return list, err
	}
	err = meta.EachListItem(list, func(obj runtime.Object) error { return dress(a.GetResource(), obj) })
	return list, err
}

// dress gives an object from before all writes the same UID each time.
func dress(resource schema.GroupVersionResource, obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if m.GetUID() == "" {
		m.SetUID(firstUID(resource, m.GetNamespace(), m.GetName()))
	}
	if m.GetResourceVersion() == "" {
		m.SetResourceVersion("1")
	}
	return nil
}

// store hands a write of obj to the tracker, with the next version.
func (s *serverRules) store(a clienttesting.Action, obj runtime.Object) (runtime.Object, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	version := s.version(a, obj) + 1
	m.SetResourceVersion(strconv.FormatInt(version, 10))
	_, stored, err := behind(s.fake, s, a)
	if err == nil {
		s.versions[a.GetResource()] = version
	}
	return stored, err
}

// version is the last one of a resource. The tracker counts versions for its lists
// and watches, too, without writing them into objects: where it can be asked, objects
// carry the same ones, so that an informer may go on from the last one it has seen.
func (s *serverRules) version(a clienttesting.Action, obj runtime.Object) int64 {
	last, known := s.versions[a.GetResource()]
	if known {
		return last
	}
	gvk := a.GetResource().GroupVersion().WithKind(kind(obj))
	if _, list, err := behind(s.fake, s, clienttesting.NewListAction(a.GetResource(), gvk, "", metav1.ListOptions{})); err == nil && list != nil {
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

// now is the time as objects hold it: in whole seconds.
func now() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }

// firstUID is a UID that depends on nothing but the object's name.
func firstUID(resource schema.GroupVersionResource, namespace, name string) types.UID {
	sum := sha256.Sum256([]byte(resource.String() + "/" + namespace + "/" + name))
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
}

func dry(run []string) bool { return slices.Contains(run, metav1.DryRunAll) }

var (
	errNoTracker = errors.New("k8sretrytest: EmulateServer needs a fake clientset that stores objects")
	errDryApply  = errors.New("k8sretrytest: EmulateServer cannot do a dry run of a server-side apply")
)
