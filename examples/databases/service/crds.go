// SPDX-License-Identifier: Apache-2.0

package service

import (
	_ "embed"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// The custom resources of the service.
var (
	// DatabaseResource is the resource of databases.
	DatabaseResource = schema.GroupVersionResource{Group: "databases.example.dev", Version: "v1", Resource: "databases"}
	// OpsRequestResource is the resource of operations on databases. Operators
	// create them; the service only reads them.
	OpsRequestResource = schema.GroupVersionResource{Group: "databases.example.dev", Version: "v1", Resource: "opsrequests"}
)

// CRDManifests contains both CustomResourceDefinitions as YAML, for kubectl apply.
//
//go:embed crds.yaml
var CRDManifests string

// CRDs returns both CustomResourceDefinitions as objects for the dynamic client, new
// ones at each call. The API is served about two seconds after they are created.
func CRDs() ([]*unstructured.Unstructured, error) {
	var crds []*unstructured.Unstructured
	for document := range strings.SplitSeq(CRDManifests, "\n---\n") {
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &crd.Object); err != nil {
			return nil, fmt.Errorf("crds.yaml: %w", err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}
