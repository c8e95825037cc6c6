// SPDX-License-Identifier: Apache-2.0

package k8sretrytest

import (
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry/internal/apirequest"
)

// callOfRequest returns the verb and resource of a request, as RBAC names them. ok is
// false for paths that are not resources, such as discovery, health and metrics.
func callOfRequest(req *http.Request) (c call, ok bool) {
	r := apirequest.Read(req)
	if r.Resource == "" {
		return call{}, false
	}
	c.verb, c.resource = r.Verb.String(), r.Resource
	if r.Subresource != "" {
		c.resource += "/" + r.Subresource
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
	case http.MethodPatch:
		if r.Verb == apirequest.Create { // of something behind a proxy
			c.verb = apirequest.Patch.String()
		}
	default:
		return call{}, false
	}
	return c, true
}

// objectOfRequest returns the resource and the name of the object of a request, "" for none.
func objectOfRequest(req *http.Request) (resource schema.GroupResource, name string) {
	r := apirequest.Read(req)
	return schema.GroupResource{Group: r.Group, Resource: r.Resource}, r.Object
}
