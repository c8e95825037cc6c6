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
	// DatabaseResource holds a database that somebody asked for.
	DatabaseResource = schema.GroupVersionResource{Group: "databases.example.dev", Version: "v1", Resource: "databases"}
	// OpsRequestResource holds one operation on a database. Operators make
	// them; the service only reads them.
	OpsRequestResource = schema.GroupVersionResource{Group: "databases.example.dev", Version: "v1", Resource: "opsrequests"}
)

// CRDManifests are the CustomResourceDefinitions of both, as YAML for
// kubectl apply -f.
//
//go:embed crds.yaml
var CRDManifests string

// CRDs are the same as objects for the dynamic client, new ones at each call. A
// new API is served about two seconds after its definition was stored.
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
