package k8sretrytest

import (
	"net/http"
	"slices"
	"strings"
)

// callOfRequest returns the verb and resource of a request, as RBAC names them. ok is
// false for paths that are not resources, such as discovery, health and metrics. See
// k8s.io/apiserver/pkg/endpoints/request/requestinfo.go for the paths.
func callOfRequest(req *http.Request) (c call, ok bool) {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	// The API may have a path prefix.
	at := slices.IndexFunc(parts, func(s string) bool { return s == "api" || s == "apis" })
	if at < 0 {
		return call{}, false
	}
	skip := at + 2 // api, version
	if parts[at] == "apis" {
		skip++ // group
	}
	if len(parts) <= skip {
		return call{}, false
	}
	parts = parts[skip:]
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
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
