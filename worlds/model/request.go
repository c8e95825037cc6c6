// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
)

// Request is a request as it reaches the server.
type Request struct {
	Method      string
	Path        string
	Query       url.Values
	ContentType string
	Accept      string
	UserAgent   string
	Body        []byte
	By          string // who asks; it is noted with each change
}

// Response is an answer. A watch has a Watch in place of a body.
type Response struct {
	Code       int
	Body       []byte
	RetryAfter int // in seconds, 0 for none
	// ContentType is that of the body, "" for JSON.
	ContentType string
	Watch       *Watch
	Version     int64 // of what the server had stored when it answered
	Behind      int64 // how many versions the cache that has served it was behind the storage
	Changed     bool  // the request has changed something
}

// request is a request for a resource that is served.
type request struct {
	*Request
	kind                         *kind
	namespace, name, subresource string
	label                        labels.Selector
	field                        fields.Selector
	otherUID                     types.UID // that a patch names, if it is not that of the object
	replica                      *replica
	objects                      map[Key]*object // what serves a read: the storage or a cache
	version                      int64           // of objects
}

func (r *request) key() Key { return Key{r.kind.resource, r.namespace, r.name} }

func (r *request) isWatch() bool {
	watching := r.Query.Get("watch")
	return r.name == "" && (watching == "true" || watching == "1")
}

func (r *request) dryRun() bool { return slices.Contains(r.Query["dryRun"], metav1.DryRunAll) }

// manager is the field manager: that of the options, or the program in the User-Agent.
func (r *request) manager() string {
	if m := r.Query.Get("fieldManager"); m != "" {
		return m
	}
	name, _, _ := strings.Cut(r.UserAgent, "/")
	return name
}

func (r *request) selects(obj *object) bool {
	return r.label.Matches(labels.Set(obj.GetLabels())) &&
		r.field.Matches(fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()})
}

// parse reads the path of a request: /api/v1/namespaces/n/pods/p/status.
func parse(req *Request) (*request, error) {
	r := &request{Request: req}
	parts := strings.Split(strings.Trim(req.Path, "/"), "/")
	var group, version string
	switch {
	case len(parts) > 2 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return nil, pathNotFound()
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		r.namespace, parts = parts[1], parts[2:]
	}
	r.kind = kindOf(group, version, parts[0])
	if r.kind == nil || len(parts) > 3 {
		return nil, pathNotFound()
	}
	if len(parts) > 1 {
		r.name = parts[1]
	}
	if len(parts) > 2 {
		r.subresource = parts[2]
	}
	var err error
	if r.label, err = labels.Parse(req.Query.Get("labelSelector")); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if r.field, err = fields.ParseSelector(req.Query.Get("fieldSelector")); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return r, nil
}

// pathNotFound is the answer of kube-apiserver to a path that it does not serve, which is a
// text in place of a Status.
func pathNotFound() error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "", kinds[0].groupResource(), "", "404 page not found", 0, true)
}

// decode reads an object of the kind that the request is about.
func (r *request) decode() (*object, error) {
	if r.ContentType != "" && !strings.HasPrefix(r.ContentType, "application/json") {
		return nil, unsupported(r.ContentType)
	}
	content := map[string]any{}
	if err := json.Unmarshal(r.Body, &content); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	dropNulls(content)
	obj := &unstructured.Unstructured{Object: content}
	if obj.GetKind() == "" || r.subresource == "" {
		obj.SetGroupVersionKind(r.kind.GroupVersionKind)
	}
	return obj, nil
}

// dropNulls removes fields that are null, as decoding into a type does.
func dropNulls(fields map[string]any) {
	for name, value := range fields {
		switch v := value.(type) {
		case nil:
			delete(fields, name)
		case map[string]any:
			dropNulls(v)
		}
	}
}

// deleteOptions reads the options of a deletion.
func (r *request) deleteOptions() (opts metav1.DeleteOptions, err error) {
	if len(r.Body) > 0 { // which takes the place of the query
		if !strings.HasPrefix(r.ContentType, "application/json") {
			return opts, unsupported(r.ContentType)
		}
		if err := json.Unmarshal(r.Body, &opts); err != nil {
			return opts, apierrors.NewBadRequest(err.Error())
		}
	} else if r.dryRun() {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	return opts, nil
}

// Handle carries a request out, on the first replica.
func (s *Server) Handle(req *Request) Response { return s.HandleOn(0, req) }

// HandleOn carries a request out on a replica.
func (s *Server) HandleOn(n int, req *Request) Response {
	r, err := parse(req)
	if err != nil {
		return Failure(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.replica = s.replicas[n]
	if err := s.choose(r, r.replica); err != nil {
		response := Failure(err)
		if response.Code == http.StatusGatewayTimeout && r.isWatch() { // it has begun by then
			response = Response{Code: http.StatusOK, Watch: &Watch{server: s, r: r, next: -1, first: [][]byte{failed(err)}}}
		}
		response.Version = s.version
		return response
	}
	before := s.version
	s.serving = n
	response, err := s.handle(r)
	if err != nil {
		response = Failure(err)
	}
	response.Version, response.Changed, response.Behind = s.version, s.version != before, before-r.version
	return response
}

func (s *Server) handle(r *request) (Response, error) {
	switch {
	case r.Method == http.MethodGet && r.isWatch():
		return s.watch(r)
	case r.Method == http.MethodGet && r.name == "":
		return s.listAll(r)
	case r.Method == http.MethodGet:
		return s.get(r)
	case r.Method == http.MethodPost && r.subresource == "eviction":
		return s.evict(r)
	case r.Method == http.MethodPost && r.name == "":
		return s.create(r)
	case r.Method == http.MethodPut && r.name != "":
		return s.update(r)
	case r.Method == http.MethodPatch && r.name != "":
		return s.patch(r)
	case r.Method == http.MethodDelete && r.name != "":
		return s.delete(r)
	}
	return Response{}, apierrors.NewMethodNotSupported(r.kind.groupResource(), strings.ToLower(r.Method))
}

func (s *Server) get(r *request) (Response, error) {
	obj := r.objects[r.key()]
	switch {
	case obj == nil:
		return Response{}, notFound(r.kind, r.name)
	case r.subresource == "scale" && r.kind.hasScale:
		return Response{Code: http.StatusOK, Body: marshal(scaleOf(obj).Object)}, nil
	case r.subresource != "" && (r.subresource != "status" || !r.kind.hasStatus):
		return Response{}, pathNotFound()
	}
	return Response{Code: http.StatusOK, Body: marshal(r.reduced(obj).Object)}, nil
}

// reduced returns the metadata alone if the client asks for nothing else.
func (r *request) reduced(obj *object) *object {
	if !strings.Contains(r.Accept, "as=PartialObjectMetadata") {
		return obj
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj.Object["metadata"],
	}}
}

func (s *Server) listAll(r *request) (Response, error) {
	items := []any{}
	for _, obj := range s.list(r) {
		items = append(items, obj.Object)
	}
	return Response{Code: http.StatusOK, Body: marshal(map[string]any{
		"kind": r.kind.Kind + "List", "apiVersion": r.kind.GroupVersion().String(),
		"metadata": map[string]any{"resourceVersion": formatVersion(r.version)}, "items": items,
	})}, nil
}
