// Package types has what the tests need of the package of this path.
package types

type PatchType string

const (
	JSONPatchType  PatchType = "application/json-patch+json"
	MergePatchType PatchType = "application/merge-patch+json"
)

type NamespacedName struct{ Namespace, Name string }
