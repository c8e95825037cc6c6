// SPDX-License-Identifier: Apache-2.0

package model

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is what the server knows of a resource.
type kind struct {
	schema.GroupVersionKind
	resource       string
	typed          any  // for strategic merge patches; nil for custom resources
	hasStatus      bool // as a subresource
	hasScale       bool
	hasGeneration  bool
	needsVersion   bool // an update has to name a resource version
	statusKeepsAll bool // a write of the status stores nothing but the status (custom resources)
	returnsDeleted bool // an immediate deletion is answered by the object
}

func (k *kind) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.Group, Resource: k.resource}
}

func (k *kind) groupKind() schema.GroupResource {
	return schema.GroupResource{Group: k.Group, Resource: k.Kind}
}

// defaultGrace is how long a pod on a node gets to end.
const defaultGrace = 30 * time.Second

var kinds = []*kind{
	{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ConfigMap"), resource: "configmaps", typed: &corev1.ConfigMap{}},
	{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Pod"), resource: "pods", typed: &corev1.Pod{}, hasStatus: true, hasGeneration: true, returnsDeleted: true},
	{GroupVersionKind: appsv1.SchemeGroupVersion.WithKind("Deployment"), resource: "deployments", typed: &appsv1.Deployment{}, hasStatus: true, hasScale: true, hasGeneration: true},
	{GroupVersionKind: coordinationv1.SchemeGroupVersion.WithKind("Lease"), resource: "leases", typed: &coordinationv1.Lease{}, needsVersion: true},
	{GroupVersionKind: policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"), resource: "poddisruptionbudgets", typed: &policyv1.PodDisruptionBudget{}, hasStatus: true, hasGeneration: true},
	{
		GroupVersionKind: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}, resource: "widgets",
		hasStatus: true, hasScale: true, hasGeneration: true, needsVersion: true, statusKeepsAll: true,
	},
}

// kindOf returns what is known of a resource, nil for one that is not served.
func kindOf(group, version, resource string) *kind {
	for _, k := range kinds {
		if k.Group == group && k.Version == version && k.resource == resource {
			return k
		}
	}
	return nil
}
