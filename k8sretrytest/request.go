// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// callOfRequest returns the verb and resource of a request, as RBAC names them. ok is
// false for paths that are not resources, such as discovery, health and metrics. See
// k8s.io/apiserver/pkg/endpoints/request/requestinfo.go for the paths.
func callOfRequest(req *http.Request) (c call, ok bool) {
	_, parts := splitPath(req.URL.Path)
	if len(parts) == 0 {
		return call{}, false
	}
	c.resource = parts[0]
	if len(parts) > 2 {
		c.resource += "/" + parts[2]
	}
	named := len(parts) > 1
	watch := req.URL.Query().Get("watch")
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		switch {
		case watch == "true" || watch == "1":
			c.verb = "watch"
		case named:
			c.verb = "get"
		default:
			c.verb = "list"
		}
	case http.MethodPost:
		c.verb = "create"
	case http.MethodPut:
		c.verb = "update"
	case http.MethodPatch:
		c.verb = "patch"
		if strings.HasPrefix(req.Header.Get("Content-Type"), "application/apply-patch+") {
			c.verb = "apply"
		}
	case http.MethodDelete:
		c.verb = "deletecollection"
		if named {
			c.verb = "delete"
		}
	default:
		return call{}, false
	}
	return c, true
}

// objectOfRequest returns the resource and the name of the object of a request, "" for none.
func objectOfRequest(req *http.Request) (resource schema.GroupResource, name string) {
	group, parts := splitPath(req.URL.Path)
	if len(parts) > 1 {
		name = parts[1]
	}
	if len(parts) > 0 {
		resource = schema.GroupResource{Group: group, Resource: parts[0]}
	}
	return resource, name
}

// splitPath returns the group of a path of the API, and what follows its version and its
// namespace, nil for other paths.
func splitPath(path string) (group string, parts []string) {
	parts = strings.Split(strings.Trim(path, "/"), "/")
	// The API may have a path prefix.
	at := slices.IndexFunc(parts, func(s string) bool { return s == "api" || s == "apis" })
	if at < 0 {
		return "", nil
	}
	skip := at + 2 // api, version
	if parts[at] == "apis" {
		skip++ // group
	}
	if len(parts) <= skip {
		return "", nil
	}
	if parts[at] == "apis" {
		group = parts[at+1]
	}
	parts = parts[skip:]
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	return group, parts
}
