// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// remove deletes one object if the preconditions hold. An object with finalizers is
// only marked for deletion.
func (st *store) remove(c call) (any, error) {
	old, found := st.objects[c.key()]
	if !found {
		return nil, c.notFound()
	}
	var options metav1.DeleteOptions
	if len(c.body) > 0 {
		if err := json.Unmarshal(c.body, &options); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if p := options.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.GetUID() {
			return nil, c.conflict("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, old.GetUID())
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return nil, c.conflict("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, old.GetResourceVersion())
		}
	}
	if slices.Contains(options.DryRun, "All") {
		c.query = url.Values{"dryRun": {"All"}}
	}
	if len(old.GetFinalizers()) > 0 {
		return st.mark(c, old), nil
	}
	if !c.dryRun() {
		st.put(c.key(), nil)
	}
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusSuccess,
		Details:  &metav1.StatusDetails{Name: c.Name, Group: c.resource.Group, Kind: c.resource.Plural, UID: old.GetUID()},
	}, nil
}

// mark sets the deletion timestamp of an object with finalizers.
func (st *store) mark(c call, old *unstructured.Unstructured) *unstructured.Unstructured {
	if old.GetDeletionTimestamp() != nil {
		return old
	}
	u := old.DeepCopy()
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	u.SetDeletionTimestamp(&now)
	return st.commit(c, u)
}

func (st *store) removeAll(c call) (any, error) {
	list, err := st.list(c)
	if err != nil {
		return nil, err
	}
	c.body = nil
	for _, u := range list.Items {
		one := c
		one.Namespace, one.Name = u.GetNamespace(), u.GetName()
		if _, err := st.remove(one); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return list, nil
}
