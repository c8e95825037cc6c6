// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

func (s *Server) patch(r *request) (Response, error) {
	scale := r.subresource == "scale" && r.kind.hasScale
	if r.subresource != "" && !scale && (r.subresource != "status" || !r.kind.hasStatus) {
		return Response{}, pathNotFound()
	}
	old := s.objects[r.key()]
	mediaType, _, _ := strings.Cut(r.ContentType, ";")
	if types.PatchType(mediaType) == types.ApplyPatchType {
		return s.applyPatch(r, old)
	}
	if old == nil {
		return Response{}, notFound(r.kind, r.name)
	}
	from := old
	if scale {
		from = scaleOf(old)
	}
	data, err := r.patched(types.PatchType(mediaType), marshal(from.Object))
	if err != nil {
		return Response{}, err
	}
	content := map[string]any{}
	if err := json.Unmarshal(data, &content); err != nil {
		return Response{}, apierrors.NewBadRequest(err.Error())
	}
	dropNulls(content)
	obj := &unstructured.Unstructured{Object: content}
	if obj.GetName() != r.name {
		return Response{}, otherName(obj, r.name)
	}
	if scale {
		stored, err := s.setScale(r, old, obj)
		if err != nil {
			return Response{}, err
		}
		return Response{Code: http.StatusOK, Body: marshal(scaleOf(stored).Object)}, nil
	}
	stored, err := s.replace(r, old, obj, func(old, obj *object) (*object, error) { return s.manage(r, old, obj) })
	if err != nil {
		return Response{}, err
	}
	return Response{Code: http.StatusOK, Body: marshal(stored.Object)}, nil
}

// patched applies the body to an object.
func (r *request) patched(kind types.PatchType, from []byte) ([]byte, error) {
	switch {
	case kind == types.JSONPatchType:
		p, err := jsonpatch.DecodePatch(r.Body)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		data, err := p.Apply(from)
		if err != nil {
			return nil, badJSONPatch(err)
		}
		return data, nil
	case kind == types.MergePatchType:
		if !isObject(r.Body) {
			return nil, apierrors.NewBadRequest("error decoding patch")
		}
		data, err := jsonpatch.MergePatch(from, r.Body)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return data, nil
	case kind == types.StrategicMergePatchType && r.kind.typed != nil && r.subresource != "scale":
		data, err := strategicpatch.StrategicMergePatch(from, r.Body, r.kind.typed)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return data, nil
	}
	return nil, unsupported(string(kind))
}

func isObject(data []byte) bool {
	var v map[string]any
	return json.Unmarshal(data, &v) == nil
}

// applyPatch is a server-side apply, which creates the object if there is none.
func (s *Server) applyPatch(r *request, old *object) (Response, error) {
	content := map[string]any{}
	data, err := yaml.YAMLToJSON(r.Body)
	if err == nil {
		err = json.Unmarshal(data, &content)
	}
	if err != nil {
		return Response{}, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	if r.Query.Get("fieldManager") == "" {
		return Response{}, apierrors.NewBadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
	}
	sent := &unstructured.Unstructured{Object: content}
	force := r.Query.Get("force") == "true"
	switch {
	case sent.GetName() != "" && sent.GetName() != r.name:
		return Response{}, apierrors.NewBadRequest("metadata.name does not match the name on the URL")
	case len(sent.GetManagedFields()) > 0:
		return Response{}, apierrors.NewBadRequest("metadata.managedFields must be nil")
	case old == nil && r.subresource != "":
		return Response{}, notFound(r.kind, r.name)
	case old == nil && sent.GetUID() != "":
		return Response{}, uidMismatch(r, sent.GetUID())
	}
	if old == nil {
		applied, err := s.apply(r, nil, sent, force)
		if err != nil {
			return Response{}, err
		}
		applied.SetName(r.name)
		if !r.dryRun() {
			applied.SetResourceVersion("") // it is ignored where there is no object
		}
		stored, err := s.add(r, applied, func(obj *object) (*object, error) { return obj, nil })
		if err != nil {
			return Response{}, err
		}
		return Response{Code: http.StatusCreated, Body: marshal(stored.Object)}, nil
	}
	applied, err := s.apply(r, old, sent, force)
	if err != nil {
		return Response{}, err
	}
	stored, err := s.replace(r, old, applied, func(_, obj *object) (*object, error) { return obj, nil })
	if err != nil {
		return Response{}, err
	}
	return Response{Code: http.StatusOK, Body: marshal(stored.Object)}, nil
}
