// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clienttesting "k8s.io/client-go/testing"
)

// kinds are the kinds of resources.
type kinds map[schema.GroupVersionResource]schema.GroupVersionKind

func kindsOf(scheme *runtime.Scheme) kinds {
	k := kinds{}
	for gvk := range scheme.AllKnownTypes() {
		resource, _ := meta.UnsafeGuessKindToResource(gvk)
		k[resource] = gvk
	}
	return k
}

// apiRequest is a request for a resource.
type apiRequest struct {
	schema.GroupVersionResource
	kind                         schema.GroupVersionKind
	verb                         string
	namespace, name, subresource string
	query                        url.Values
	body                         []byte
}

// parse returns the parts of a request. ok is false for paths that are not resources.
func (s *Server) parse(req *http.Request) (r apiRequest, ok bool) {
	c, ok := callOfRequest(req)
	if !ok {
		return r, false
	}
	r.verb, r.query = c.verb, req.URL.Query()
	r.Resource, r.subresource, _ = strings.Cut(c.resource, "/")
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	switch parts[0] {
	case "api":
		r.Version, parts = parts[1], parts[2:]
	case "apis":
		r.Group, r.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return r, false
	}
	if parts[0] == "namespaces" && r.Resource != "namespaces" {
		r.namespace, parts = parts[1], parts[2:]
	}
	if len(parts) > 1 {
		r.name = parts[1]
	}
	r.kind, ok = s.kinds[r.GroupVersionResource]
	return r, ok
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	r, ok := s.parse(req)
	if !ok {
		http.NotFound(w, req)
		return
	}
	var err error
	if r.body, err = io.ReadAll(req.Body); err != nil {
		abort()
	}
	if r.verb == "watch" {
		s.serveWatch(w, req, r)
		return
	}
	obj, err := s.invoke(req, r)
	if err != nil {
		writeError(w, err)
		return
	}
	code := http.StatusOK
	if r.verb == "create" {
		code = http.StatusCreated
	}
	writeJSON(w, code, obj)
}

// invoke passes a request to the fake.
func (s *Server) invoke(req *http.Request, r apiRequest) (runtime.Object, error) {
	fieldManager, dryRun := r.query.Get("fieldManager"), r.query["dryRun"]
	var action clienttesting.Action
	switch r.verb {
	case "get":
		action = clienttesting.NewGetSubresourceAction(r.GroupVersionResource, r.namespace, r.subresource, r.name)
	case "list":
		return s.list(r)
	case "create":
		obj, err := s.decode(r)
		if err != nil {
			return nil, err
		}
		opts := metav1.CreateOptions{DryRun: dryRun, FieldManager: fieldManager}
		if r.subresource != "" {
			action = clienttesting.NewCreateSubresourceActionWithOptions(r.GroupVersionResource, r.name, r.subresource, r.namespace, obj, opts)
		} else {
			action = clienttesting.NewCreateActionWithOptions(r.GroupVersionResource, r.namespace, obj, opts)
		}
	case "update":
		obj, err := s.decode(r)
		if err != nil {
			return nil, err
		}
		action = clienttesting.NewUpdateSubresourceActionWithOptions(r.GroupVersionResource, r.subresource, r.namespace, obj,
			metav1.UpdateOptions{DryRun: dryRun, FieldManager: fieldManager})
	case "patch", "apply":
		force := r.query.Get("force") == "true"
		kind, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
		action = clienttesting.NewPatchSubresourceActionWithOptions(r.GroupVersionResource, r.namespace, r.name, types.PatchType(kind), r.body,
			metav1.PatchOptions{DryRun: dryRun, FieldManager: fieldManager, Force: &force}, subresources(r.subresource)...)
	case "delete", "deletecollection":
		opts, err := s.deleteOptions(r)
		if err != nil {
			return nil, err
		}
		if r.verb == "deletecollection" {
			return s.deleteCollection(r, opts)
		}
		return s.delete(r, opts)
	}
	obj, err := s.fake.Invokes(action, nil)
	switch {
	case err != nil:
		return nil, err
	case obj == nil:
		return nil, errNoTracker
	case r.subresource == "eviction":
		return success(r), nil
	}
	return s.typed(obj, r.kind), nil
}

func subresources(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// decode returns the object in the body of a request, of the type that the fake stores.
func (s *Server) decode(r apiRequest) (runtime.Object, error) {
	obj, err := s.decodeAs(r, r.kind)
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if m.GetNamespace() == "" {
		m.SetNamespace(r.namespace)
	}
	return obj, nil
}

// decodeAs returns what is in the body of a request. Clients of client-go send protobuf if
// the types have it.
func (s *Server) decodeAs(r apiRequest, kind schema.GroupVersionKind) (runtime.Object, error) {
	obj, _, err := serializer.NewCodecFactory(s.scheme).UniversalDeserializer().Decode(r.body, &kind, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return obj, nil
}

func (s *Server) deleteOptions(r apiRequest) (opts metav1.DeleteOptions, err error) {
	if len(r.body) == 0 {
		return opts, nil
	}
	obj, err := s.decodeAs(r, schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"})
	if err != nil {
		return opts, err
	}
	sent, ok := obj.(*metav1.DeleteOptions)
	if !ok {
		return opts, apierrors.NewBadRequest(fmt.Sprintf("%T instead of DeleteOptions", obj))
	}
	return *sent, nil
}

// typed returns a copy of an object with its kind, which typed objects lack.
func (s *Server) typed(obj runtime.Object, kind schema.GroupVersionKind) runtime.Object {
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(kind)
	return obj
}

func (s *Server) list(r apiRequest) (runtime.Object, error) {
	list, err := s.fake.Invokes(clienttesting.NewListActionWithOptions(r.GroupVersionResource, r.kind, r.namespace, metav1.ListOptions{}), nil)
	if err != nil {
		return nil, err
	}
	selected, err := selector(r)
	if err != nil {
		return nil, err
	}
	list = s.typed(list, r.kind.GroupVersion().WithKind(r.kind.Kind+"List"))
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	return list, meta.SetList(list, slices.DeleteFunc(items, func(obj runtime.Object) bool { return !selected(obj) }))
}

// selector returns whether a list or a watch includes an object.
func selector(r apiRequest) (func(runtime.Object) bool, error) {
	byLabel, err := labels.Parse(r.query.Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	byField, err := fields.ParseSelector(r.query.Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return func(obj runtime.Object) bool {
		m, err := meta.Accessor(obj)
		return err == nil && byLabel.Matches(labels.Set(m.GetLabels())) &&
			byField.Matches(fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()})
	}, nil
}

func (s *Server) delete(r apiRequest, opts metav1.DeleteOptions) (runtime.Object, error) {
	_, err := s.fake.Invokes(clienttesting.NewDeleteActionWithOptions(r.GroupVersionResource, r.namespace, r.name, opts), &metav1.Status{})
	if err != nil {
		return nil, err
	}
	return success(r), nil
}

func (s *Server) deleteCollection(r apiRequest, opts metav1.DeleteOptions) (runtime.Object, error) {
	list, err := s.list(r)
	if err != nil {
		return nil, err
	}
	err = meta.EachListItem(list, func(obj runtime.Object) error {
		m, err := meta.Accessor(obj)
		if err != nil {
			return err
		}
		one := r
		one.name, one.namespace = m.GetName(), m.GetNamespace()
		_, err = s.delete(one, opts)
		return err
	})
	return list, err
}

func success(r apiRequest) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: r.name, Group: r.Group, Kind: r.Resource},
	}
}

func (s *Server) serveWatch(w http.ResponseWriter, req *http.Request, r apiRequest) {
	if r.query.Get("sendInitialEvents") == "true" { // a client that gets this answer lists instead
		writeError(w, apierrors.NewInvalid(schema.GroupKind{Group: "meta.k8s.io", Kind: "ListOptions"}, "", field.ErrorList{
			field.Forbidden(field.NewPath("sendInitialEvents"), "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"),
		}))
		return
	}
	selected, err := selector(r)
	if err != nil {
		writeError(w, err)
		return
	}
	events, err := s.fake.InvokesWatch(clienttesting.NewWatchActionWithOptions(r.GroupVersionResource, r.namespace, metav1.ListOptions{
		ResourceVersion: r.query.Get("resourceVersion"), FieldSelector: r.query.Get("fieldSelector"), LabelSelector: r.query.Get("labelSelector"),
	}))
	if err != nil {
		writeError(w, err)
		return
	}
	defer events.Stop()
	var timeout <-chan time.Time
	if seconds, err := strconv.Atoi(r.query.Get("timeoutSeconds")); err == nil && seconds > 0 {
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		timeout = timer.C
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	for {
		_ = flush.Flush()
		select {
		case event, open := <-events.ResultChan():
			if !open {
				return
			}
			if !selected(event.Object) {
				continue
			}
			object, err := json.Marshal(s.typed(event.Object, r.kind))
			if err != nil {
				abort()
			}
			line, err := json.Marshal(metav1.WatchEvent{Type: string(event.Type), Object: runtime.RawExtension{Raw: object}})
			if err != nil {
				abort()
			}
			_, _ = w.Write(append(line, '\n'))
		case <-timeout:
			return
		case <-req.Context().Done():
			return
		}
	}
}

// writeError writes the response from which a client makes err, or breaks the connection.
func writeError(w http.ResponseWriter, err error) {
	var s *apierrors.StatusError
	if !errors.As(err, &s) {
		if errors.Is(err, errNoTracker) || errors.Is(err, errDryApply) {
			http.Error(w, err.Error(), http.StatusNotImplemented)
			return
		}
		abort()
	}
	resp, err := statusResponse(nil, s.ErrStatus)
	if err != nil {
		abort()
	}
	defer func() { _ = resp.Body.Close() }()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func writeJSON(w http.ResponseWriter, code int, obj runtime.Object) {
	body, err := json.Marshal(obj)
	if err != nil {
		http.Error(w, fmt.Sprintf("k8sretrytest: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
