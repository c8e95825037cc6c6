// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "github.com/k8sretry/k8sretry/internal/apirequest"

// target is what a call works on, as far as it is known. It is looked up only for an event or an
// error.
type target struct {
	group, resource, subresource string
	namespace, name              string
}

// or fills in from u what t lacks.
func (t target) or(u target) target {
	if t.resource == "" {
		t.group, t.resource = u.group, u.resource
		if t.subresource == "" {
			t.subresource = u.subresource
		}
	}
	if t.name == "" {
		t.name = u.name
	}
	if t.namespace == "" {
		t.namespace = u.namespace
	}
	return t
}

// call is the verb and the resource as a Transport names them: "create deployments.apps",
// "update pods/status". It is "" if the resource is not known.
func (t target) call(verb Verb) string {
	if t.resource == "" {
		return ""
	}
	r := apirequest.Request{Verb: apirequest.Verb(verb), Group: t.group, Resource: t.resource, Subresource: t.subresource}
	return r.Name()
}
