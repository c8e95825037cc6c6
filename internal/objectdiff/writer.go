// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Writer is the field manager of a write as the server records it.
type Writer struct {
	Manager     string // empty if it is not known
	Subresource string
}

// isOf reports whether an entry is that of the updates of the writer.
func (w Writer) isOf(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == w.Manager && e.Operation == metav1.ManagedFieldsOperationUpdate && e.Subresource == w.Subresource
}

// ByAnother reports whether it is certain that the one write between base and next was not
// an update of w.
//
// A write renews or extends one entry, that of its manager, and may shrink others
// (k8s.io/apimachinery/pkg/util/managedfields/internal/managedfieldsupdater.go). The times
// have whole seconds, so that an entry that looks unchanged proves nothing.
func ByAnother(base, next metav1.Object, w Writer) bool {
	before, after := base.GetManagedFields(), next.GetManagedFields()
	if w.Manager == "" || len(before) == 0 || len(after) == 0 {
		return false
	}
	listed, others := false, false
	for _, e := range after {
		switch renewed := isRenewed(before, e); {
		case w.isOf(e) && renewed:
			return false
		case w.isOf(e):
			listed = true
		case renewed && e.Manager != "ancient-changes" && e.Manager != "before-first-apply": // of the server
			others = true
		}
	}
	// An update that set a value would be listed.
	return others || !listed && !Contains(Of(base, All, ""), Of(next, All, ""))
}

// MayBeBy reports whether the last writes of an object may include an update of w that has
// set a value.
func MayBeBy(obj metav1.Object, w Writer) bool {
	entries := obj.GetManagedFields()
	return w.Manager == "" || len(entries) == 0 || slices.ContainsFunc(entries, w.isOf)
}

// isRenewed reports whether an entry is new, or has another time or more fields than
// before.
func isRenewed(before []metav1.ManagedFieldsEntry, e metav1.ManagedFieldsEntry) bool {
	for _, b := range before {
		if b.Manager == e.Manager && b.Operation == e.Operation && b.Subresource == e.Subresource && b.APIVersion == e.APIVersion {
			return !b.Time.Equal(e.Time) || e.FieldsV1.Size() > b.FieldsV1.Size()
		}
	}
	return true
}
