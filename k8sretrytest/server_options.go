// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	clienttesting "k8s.io/client-go/testing"
)

// ServerOption is an option of [EmulateServer]. The resource of an option is a plural name,
// such as "pods", or "*" for every resource.
type ServerOption func(*serverRules)

// admission changes the objects of a resource before they are stored.
type admission struct {
	resource string
	mutate   func(metav1.Object)
}

// StripAnnotations makes the server remove annotations from the objects of each write before
// it stores them, as an admission plugin that admits only known annotations does. Without
// keys it removes all annotations.
func StripAnnotations(resource string, keys ...string) ServerOption {
	return admitting(resource, func(obj metav1.Object) {
		kept := maps.Clone(obj.GetAnnotations())
		maps.DeleteFunc(kept, func(key, _ string) bool { return len(keys) == 0 || slices.Contains(keys, key) })
		if len(kept) == 0 {
			kept = nil
		}
		obj.SetAnnotations(kept)
	})
}

// ReplaceAnnotations makes the server set annotations of the objects of each write to the
// given values before it stores them, as an admission plugin with a policy for them does.
// Other annotations remain.
func ReplaceAnnotations(resource string, values map[string]string) ServerOption {
	values = maps.Clone(values)
	return admitting(resource, func(obj metav1.Object) {
		annotations := maps.Clone(obj.GetAnnotations())
		if annotations == nil {
			annotations = make(map[string]string, len(values))
		}
		maps.Copy(annotations, values)
		obj.SetAnnotations(annotations)
	})
}

func admitting(resource string, mutate func(metav1.Object)) ServerOption {
	return func(s *serverRules) { s.admission = append(s.admission, admission{resource, mutate}) }
}

// RecreateDeleted makes another object take the name of each object as soon as it is gone,
// before the client that has deleted it gets its answer, as the controller of a StatefulSet
// does. The successor has a UID of its own, the labels, owners and content of its
// predecessor, and neither annotations nor finalizers.
func RecreateDeleted(resource string) ServerOption {
	return func(s *serverRules) { s.recreated = append(s.recreated, resource) }
}

// WithoutHistory makes each watch begin with an Added event for every object that exists,
// whatever the resourceVersion of the watch is, as aggregated API servers without a history
// do. Such an event does not say when the object was added or changed. It needs client-go
// v0.36 or later, as does the same beginning of a watch without a resourceVersion: fakes of
// earlier versions add no objects to a watch.
func WithoutHistory(resource string) ServerOption {
	return func(s *serverRules) { s.withoutHistory = append(s.withoutHistory, resource) }
}

func selects(resources []string, a clienttesting.Action) bool {
	return slices.Contains(resources, "*") || slices.Contains(resources, a.GetResource().Resource)
}

// admit changes an object that a client has sent.
func (s *serverRules) admit(a clienttesting.Action, obj metav1.Object) {
	for _, plugin := range s.admission {
		if selects([]string{plugin.resource}, a) {
			plugin.mutate(obj)
		}
	}
}

// remove removes an object from the tracker.
func (s *serverRules) remove(a clienttesting.DeleteAction, stored runtime.Object) error {
	if _, _, err := reactAfter(s.fake, s, a); err != nil {
		return err
	}
	s.remember(a, s.version(a, stored), stored)
	if !selects(s.recreated, a) {
		return nil
	}
	successor := stored.DeepCopyObject()
	m, err := meta.Accessor(successor)
	if err != nil {
		return err
	}
	m.SetUID(uuid.NewUUID())
	m.SetCreationTimestamp(now())
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetAnnotations(nil)
	m.SetFinalizers(nil)
	m.SetManagedFields(nil)
	_, err = s.store(clienttesting.NewCreateAction(a.GetResource(), a.GetNamespace(), successor), successor)
	return err
}
