// SPDX-License-Identifier: Apache-2.0

package service

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// keyAnnotation holds the key of the request that created a database.
const keyAnnotation = "databases.example.dev/idempotency-key"

// Database is the specification of a database.
type Database struct {
	Name    string `json:"name"`    // DNS-1123 label of at most 50 characters; operators append to it
	Engine  string `json:"engine"`  // one of mongodb, mysql, postgres, redis
	Version string `json:"version"` // "16", "16.2"
	Storage string `json:"storage"` // quantity, such as "10Gi"
}

// DatabaseStatus is a database and its state.
type DatabaseStatus struct {
	Database
	Phase    string `json:"phase"` // set by the operator; initially Pending
	Message  string `json:"message,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Deleting bool   `json:"deleting,omitempty"`
}

// OpsRequestStatus is the state of an operation.
type OpsRequestStatus struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Database string `json:"database"`
	Phase    string `json:"phase"` // set by the operator; initially Pending
	Message  string `json:"message,omitempty"`
}

var (
	engines        = []string{"mongodb", "mysql", "postgres", "redis"}
	versionPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+){0,2}$`)
	minStorage     = resource.MustParse("1Gi")
	maxStorage     = resource.MustParse("16Ti")
)

const maxNameLength = 50

// validate returns the errors by field. It is empty if the database is valid.
func (d Database) validate() map[string]string {
	errs := map[string]string{}
	if err := validateName(d.Name); err != "" {
		errs["name"] = err
	}
	if !slices.Contains(engines, d.Engine) {
		errs["engine"] = "must be one of " + strings.Join(engines, ", ")
	}
	if !versionPattern.MatchString(d.Version) || len(d.Version) > 20 {
		errs["version"] = "must be one to three numbers, such as 16 or 16.2"
	}
	switch storage, err := resource.ParseQuantity(d.Storage); {
	case err != nil:
		errs["storage"] = "must be a quantity, such as 10Gi"
	case storage.Cmp(minStorage) < 0 || storage.Cmp(maxStorage) > 0:
		errs["storage"] = "must be from 1Gi to 16Ti"
	}
	return errs
}

// validateName returns what is wrong with the name of a new database, or "".
func validateName(name string) string {
	if len(name) > maxNameLength {
		return "must be no more than 50 characters"
	}
	return strings.Join(validation.IsDNS1123Label(name), "; ")
}

// object returns the custom resource for the database.
func (d Database) object(key string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": DatabaseResource.GroupVersion().String(),
		"kind":       "Database",
		"metadata": map[string]any{
			"name":        d.Name,
			"annotations": map[string]any{keyAnnotation: key},
		},
		"spec": map[string]any{"engine": d.Engine, "version": d.Version, "storage": d.Storage},
	}}
}

func databaseStatus(u *unstructured.Unstructured) DatabaseStatus {
	return DatabaseStatus{
		Database: Database{
			Name: u.GetName(), Engine: text(u, "spec", "engine"), Version: text(u, "spec", "version"), Storage: text(u, "spec", "storage"),
		},
		Phase:    phase(u),
		Message:  text(u, "status", "message"),
		Endpoint: text(u, "status", "endpoint"),
		Deleting: u.GetDeletionTimestamp() != nil,
	}
}

func opsRequestStatus(u *unstructured.Unstructured) OpsRequestStatus {
	return OpsRequestStatus{
		Name: u.GetName(), Type: text(u, "spec", "type"), Database: text(u, "spec", "database"),
		Phase: phase(u), Message: text(u, "status", "message"),
	}
}

func phase(u *unstructured.Unstructured) string {
	if p := text(u, "status", "phase"); p != "" {
		return p
	}
	return "Pending"
}

// text returns a string field, or "" if it is missing or has another type.
func text(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

// validatePathName returns what is wrong with the name of an existing object, or "".
func validatePathName(name string) string {
	return strings.Join(validation.IsDNS1123Subdomain(name), "; ")
}
