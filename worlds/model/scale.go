// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// scaleOf returns the scale subresource of an object.
func scaleOf(obj *object) *object {
	replicas, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
	current, _, _ := unstructured.NestedInt64(obj.Object, "status", "replicas")
	spec := map[string]any{}
	if replicas > 0 {
		spec["replicas"] = replicas
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"kind": "Scale", "apiVersion": "autoscaling/v1",
		"metadata": map[string]any{
			"name": obj.GetName(), "namespace": obj.GetNamespace(), "uid": string(obj.GetUID()),
			"resourceVersion": obj.GetResourceVersion(), "creationTimestamp": obj.GetCreationTimestamp().UTC().Format(time.RFC3339),
		},
		"spec": spec, "status": map[string]any{"replicas": current},
	}}
}

// updateScale sets the number of replicas.
func (s *Server) updateScale(r *request) (Response, error) {
	sent, err := r.decode()
	if err != nil {
		return Response{}, err
	}
	old := s.objects[r.key()]
	if old == nil {
		return Response{}, notFound(r.kind, r.name)
	}
	if sent.GetName() != r.name {
		return Response{}, otherName(sent, r.name)
	}
	stored, err := s.setScale(r, old, sent)
	if err != nil {
		return Response{}, err
	}
	return Response{Code: http.StatusOK, Body: marshal(scaleOf(stored).Object)}, nil
}

func (s *Server) setScale(r *request, old, sent *object) (*object, error) {
	replicas, _, err := unstructured.NestedInt64(sent.Object, "spec", "replicas")
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	obj := old.DeepCopy()
	obj.SetUID(sent.GetUID())
	obj.SetResourceVersion(sent.GetResourceVersion())
	if err := unstructured.SetNestedField(obj.Object, replicas, "spec", "replicas"); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return s.replace(r, old, obj, func(old, obj *object) (*object, error) { return s.manage(r, old, obj) })
}
