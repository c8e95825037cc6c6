// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Resource describes a resource that the server serves.
type Resource struct {
	Group      string // "" for the core group
	Version    string // "v1"
	Plural     string // the name in the path: "databases"
	Kind       string // "Database"
	Namespaced bool
	Status     bool // has a status subresource

	// Validate, if not nil, validates an object before it is stored. Errors are
	// answered as 422 Invalid. Validate must not change the object and must be
	// safe for concurrent use.
	Validate func(*unstructured.Unstructured) field.ErrorList

	phase string // the status phase of a new object
}

// core are the resources that every Server serves.
var core = []Resource{
	{Version: "v1", Plural: "configmaps", Kind: "ConfigMap", Namespaced: true},
	{Version: "v1", Plural: "namespaces", Kind: "Namespace", Status: true, phase: "Active"},
	{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Status: true, phase: "Pending"},
}

func (r *Resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Plural}
}

func (r *Resource) groupVersion() string {
	return schema.GroupVersion{Group: r.Group, Version: r.Version}.String()
}

func (r *Resource) id() string { return r.groupVersion() + "/" + r.Plural }

// custom reports whether the resource behaves like that of a
// CustomResourceDefinition: updates need a resourceVersion, and metadata has a
// generation.
func (r *Resource) custom() bool { return r.Group != "" }

func (r *Resource) verbs() metav1.Verbs {
	return metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
}

// discover answers the discovery and health paths. ok is false for other paths.
func (s *Server) discover(path string) (answer any, ok bool) {
	switch path {
	case "/version":
		return map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.0-tinykube"}, true
	case "/healthz", "/livez", "/readyz":
		return "ok", true
	case "/api":
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}, true
	case "/apis":
		list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
		seen := map[string]bool{"": true}
		for _, r := range s.resources {
			if seen[r.Group] {
				continue
			}
			seen[r.Group] = true
			list.Groups = append(list.Groups, s.group(r.Group))
		}
		return list, true
	}
	rest, isGroup := strings.CutPrefix(path, "/apis/")
	if path != "/api/v1" && !isGroup {
		return nil, false
	}
	group, version, hasVersion := strings.Cut(rest, "/")
	if path == "/api/v1" {
		group, version, hasVersion = "", "v1", true
	}
	if !hasVersion {
		g := s.group(group)
		return g, len(g.Versions) > 0
	}
	list := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: schema.GroupVersion{Group: group, Version: version}.String(),
	}
	for _, r := range s.resources {
		if r.Group != group || r.Version != version {
			continue
		}
		entry := metav1.APIResource{Name: r.Plural, SingularName: strings.ToLower(r.Kind), Kind: r.Kind, Namespaced: r.Namespaced, Verbs: r.verbs()}
		list.APIResources = append(list.APIResources, entry)
		if r.Status {
			entry.Name, entry.SingularName, entry.Verbs = r.Plural+"/status", "", metav1.Verbs{"get", "patch", "update"}
			list.APIResources = append(list.APIResources, entry)
		}
	}
	return list, len(list.APIResources) > 0
}

func (s *Server) group(name string) metav1.APIGroup {
	g := metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: name}
	seen := map[string]bool{}
	for _, r := range s.resources {
		if r.Group != name || seen[r.Version] {
			continue
		}
		seen[r.Version] = true
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: r.groupVersion(), Version: r.Version})
	}
	if len(g.Versions) > 0 {
		g.PreferredVersion = g.Versions[0]
	}
	return g
}

// target is the resource that a request addresses.
type target struct {
	Request
	group, version string
	resource       *Resource // set by Server.resolve
}

// parse parses method and path of a request. ok is false if the path does not
// address a resource.
func parse(r *http.Request) (t target, ok bool) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		t.version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		t.group, t.version, parts = parts[1], parts[2], parts[3:]
	default:
		return t, false
	}
	// namespaces/{ns}/{resource}... is a path into a namespace, while
	// namespaces/{name} and namespaces/{name}/status are the namespace itself.
	if parts[0] == "namespaces" && len(parts) >= 3 && parts[2] != "status" {
		t.Namespace, parts = parts[1], parts[2:]
	}
	if len(parts) > 3 {
		return t, false
	}
	t.Resource = parts[0]
	if len(parts) > 1 {
		t.Name = parts[1]
	}
	if len(parts) > 2 {
		t.Subresource = parts[2]
	}
	t.Method, t.Path = r.Method, r.URL.Path
	t.Verb = verbOf(r, t.Name != "")
	return t, t.Verb != ""
}

// resolve parses a request and finds its resource. ok is false if the server does
// not serve it.
func (s *Server) resolve(r *http.Request) (t target, ok bool) {
	t, ok = parse(r)
	if !ok {
		return t, false
	}
	t.resource = s.find(t.group, t.version, t.Resource)
	if t.resource == nil || t.Subresource != "" && (t.Subresource != "status" || !t.resource.Status) {
		return t, false
	}
	// Collections can be accessed across all namespaces, objects cannot.
	validScope := t.resource.Namespaced == (t.Namespace != "") || t.resource.Namespaced && t.Name == "" && t.Verb != "create"
	return t, validScope
}

// verbOf returns the verb of a request, or "" if there is none for its method.
func verbOf(r *http.Request, named bool) string {
	watch := r.URL.Query().Get("watch")
	switch {
	case r.Method == http.MethodGet && named:
		return "get"
	case r.Method == http.MethodGet && (watch == "true" || watch == "1"):
		return "watch"
	case r.Method == http.MethodGet:
		return "list"
	case r.Method == http.MethodPost && !named:
		return "create"
	case r.Method == http.MethodPut && named:
		return "update"
	case r.Method == http.MethodPatch && named:
		return "patch"
	case r.Method == http.MethodDelete && named:
		return "delete"
	case r.Method == http.MethodDelete:
		return "deletecollection"
	}
	return ""
}

func (s *Server) find(group, version, plural string) *Resource {
	for i := range s.resources {
		if r := &s.resources[i]; r.Group == group && r.Version == version && r.Plural == plural {
			return r
		}
	}
	return nil
}
