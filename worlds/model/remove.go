// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

func (s *Server) delete(r *request) (Response, error) {
	opts, err := r.deleteOptions()
	if err != nil {
		return Response{}, err
	}
	return s.terminate(r, opts)
}

// terminate deletes an object, or marks it as being deleted if it has finalizers or runs on a
// node.
func (s *Server) terminate(r *request, opts metav1.DeleteOptions) (Response, error) {
	old := s.objects[r.key()]
	if old == nil {
		return Response{}, notFound(r.kind, r.name)
	}
	if p := opts.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.GetUID() {
			return Response{}, apierrors.NewConflict(r.kind.groupKind(), r.name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). "+
				"The object might have been deleted and then recreated", *p.UID, old.GetUID()))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return Response{}, apierrors.NewConflict(r.kind.groupKind(), r.name, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). "+
				"The object might have been modified", *p.ResourceVersion, old.GetResourceVersion()))
		}
	}
	grace := r.kind.grace(old, opts)
	if old.GetDeletionTimestamp() != nil && grace >= graceOf(old) && (len(old.GetFinalizers()) > 0 || graceOf(old) > 0) {
		return Response{Code: http.StatusOK, Body: marshal(old.Object)}, nil // it is being deleted already, as soon
	}
	now := len(old.GetFinalizers()) == 0 && grace == 0
	if now && r.kind.resource != "pods" {
		if isDry(opts) {
			return r.deleted(old), nil
		}
		return r.deleted(s.remove(r.key(), old, r.By)), nil
	}
	obj := old.DeepCopy()
	began := s.now()
	if was := old.GetDeletionTimestamp(); was != nil {
		began = metav1.NewTime(was.Add(-time.Duration(graceOf(old)) * time.Second))
	}
	at := metav1.NewTime(began.Add(time.Duration(grace) * time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
	if r.kind.hasGeneration && old.GetDeletionTimestamp() == nil {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
	if isDry(opts) {
		return Response{Code: http.StatusOK, Body: marshal(obj.Object)}, nil
	}
	s.put(r.key(), obj, r.By)
	if now { // a pod is changed before it is removed
		obj = s.remove(r.key(), obj, r.By)
	}
	return Response{Code: http.StatusOK, Body: marshal(obj.Object)}, nil
}

func isDry(opts metav1.DeleteOptions) bool { return len(opts.DryRun) > 0 }

// deleted is the answer to a deletion that is complete.
func (r *request) deleted(last *object) Response {
	if r.kind.returnsDeleted {
		return Response{Code: http.StatusOK, Body: marshal(last.Object)}
	}
	return Response{Code: http.StatusOK, Body: marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: last.GetName(), Group: r.kind.Group, Kind: r.kind.resource, UID: last.GetUID()},
	})}
}

// grace returns how many seconds the deletion of an object has to wait. Only pods that run on
// a node wait.
func (k *kind) grace(obj *object, opts metav1.DeleteOptions) int64 {
	if k.resource != "pods" {
		return 0
	}
	if node, _, _ := unstructured.NestedString(obj.Object, "spec", "nodeName"); node == "" {
		return 0
	}
	if opts.GracePeriodSeconds != nil {
		return *opts.GracePeriodSeconds
	}
	if seconds, has, _ := unstructured.NestedInt64(obj.Object, "spec", "terminationGracePeriodSeconds"); has {
		return seconds
	}
	return int64(defaultGrace / time.Second)
}

// evict deletes a pod if the budget for it allows that. The budget of a pod is the one that has
// its label "app" in its selector.
func (s *Server) evict(r *request) (Response, error) {
	if r.kind.resource != "pods" {
		return Response{}, pathNotFound()
	}
	var eviction struct {
		metav1.ObjectMeta `json:"metadata"`
		DeleteOptions     *metav1.DeleteOptions `json:"deleteOptions"`
	}
	if err := json.Unmarshal(r.Body, &eviction); err != nil {
		return Response{}, apierrors.NewBadRequest(err.Error())
	}
	if eviction.Name != r.name {
		return Response{}, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	var opts metav1.DeleteOptions
	if eviction.DeleteOptions != nil {
		opts = *eviction.DeleteOptions
	}
	pod := s.objects[r.key()]
	if pod == nil {
		return Response{}, notFound(r.kind, r.name)
	}
	accepted := Response{Code: http.StatusCreated, Body: marshal(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})}
	if pod.GetDeletionTimestamp() == nil {
		if p := opts.Preconditions; p == nil || p.UID == nil || *p.UID == pod.GetUID() {
			if err := s.spend(r, pod); err != nil {
				return Response{}, err
			}
		}
	}
	if _, err := s.terminate(r, opts); err != nil {
		return Response{}, err
	}
	return accepted, nil
}

// spend takes one disruption from the budget of a pod.
func (s *Server) spend(r *request, pod *object) error {
	for key, budget := range s.objects {
		if key.Resource != "poddisruptionbudgets" || key.Namespace != r.namespace {
			continue
		}
		app, _, _ := unstructured.NestedString(budget.Object, "spec", "selector", "matchLabels", "app")
		if app == "" || app != pod.GetLabels()["app"] {
			continue
		}
		allowed, _, _ := unstructured.NestedInt64(budget.Object, "status", "disruptionsAllowed")
		if allowed <= 0 {
			e := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
			e.ErrStatus.Details.Causes = []metav1.StatusCause{{
				Type: "DisruptionBudget", Message: fmt.Sprintf("The disruption budget %s needs 1 healthy pods and has 1 currently", budget.GetName()),
			}}
			return e
		}
		changed := budget.DeepCopy()
		_ = unstructured.SetNestedField(changed.Object, allowed-1, "status", "disruptionsAllowed")
		s.put(key, changed, r.By+"/budget")
		return nil
	}
	return nil
}
