// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"encoding/json"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Writer is the field manager of a write as the server records it.
type Writer struct {
	Manager     string // empty if it is not known
	Subresource string
}

// UnknownManager is what a server records that was given neither a manager nor a User-Agent
// (k8s.io/apimachinery/pkg/util/managedfields/internal/buildmanagerinfo.go). The fake clientsets
// of client-go record it, too.
const UnknownManager = "unknown"

// isOf reports whether an entry may be that of the updates of the writer: it has its name, or the
// server did not know the name.
func (w Writer) isOf(e metav1.ManagedFieldsEntry) bool {
	return (e.Manager == w.Manager || e.Manager == UnknownManager) && e.Operation == metav1.ManagedFieldsOperationUpdate && e.Subresource == w.Subresource
}

// Author is what the managed fields of an object show of who made a change.
type Author uint8

// The authors.
const (
	Undecided Author = iota
	Self             // the writer
	Another
	SelfOrAnother // the writer or one that wrote within the same second
)

// AuthorOf finds out whether the one write between base and next was an update of w. part is what
// base shows of the object before that write: base may be what a client has sent instead, whose
// other parts the server ignores.
//
// A write that sets a value renews or extends one entry, that of its manager, and takes the
// fields that it changes from the others
// (k8s.io/apimachinery/pkg/util/managedfields/internal/managedfieldsupdater.go). The times
// have whole seconds, so that an entry that looks unchanged proves nothing. Then it counts who
// owns what has changed. What an admission plugin sets has no owner.
func AuthorOf(base, next metav1.Object, w Writer, part Part) Author {
	before, after := base.GetManagedFields(), next.GetManagedFields()
	if w.Manager == "" || len(before) == 0 || len(after) == 0 {
		return Undecided
	}
	listed, others := false, false
	for _, e := range after {
		switch renewed := isRenewed(before, e); {
		case w.isOf(e) && renewed:
			return Self
		case w.isOf(e):
			listed = true
		case renewed && e.Manager != "ancient-changes" && e.Manager != "before-first-apply": // of the server
			others = true
		}
	}
	from, to := Of(base, part, ""), Of(next, part, "")
	withFields := func(e metav1.ManagedFieldsEntry) bool { return e.FieldsV1 != nil }
	switch {
	case others:
		return Another
	case !listed && !Contains(from, to) && !slices.ContainsFunc(after, withFields):
		return Another // an update that set a value would be listed
	}
	author := ownerOfChange(from, to, before, after, w)
	isRemoval := Contains(from, to) && !Equal(from, to) // which renews no entry
	if author == Undecided && listed && !isRemoval && sharesItsSecond(after, w) {
		return SelfOrAnother
	}
	return author
}

// sharesItsSecond reports whether an entry that is not of w is as late as those of w.
func sharesItsSecond(entries []metav1.ManagedFieldsEntry, w Writer) bool {
	var own, other metav1.Time
	for _, e := range entries {
		last := &other
		if w.isOf(e) {
			last = &own
		}
		if e.Time != nil && last.Before(e.Time) {
			*last = *e.Time
		}
	}
	return !other.IsZero() && !other.Before(&own)
}

// MayBeBy reports whether the last writes of an object may include an update of w that has
// set a value.
func MayBeBy(obj metav1.Object, w Writer) bool {
	entries := obj.GetManagedFields()
	return w.Manager == "" || len(entries) == 0 || slices.ContainsFunc(entries, w.isOf)
}

// MayBeByAnother reports whether the last writes of an object may include one of another writer
// than w that has set a value.
func MayBeByAnother(obj metav1.Object, w Writer) bool {
	return slices.ContainsFunc(obj.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return !w.isOf(e) })
}

// SameManagedFields reports whether the managed fields of two objects are the same. They may
// have gone through JSON in between, which changes the order of keys.
func SameManagedFields(a, b metav1.Object) bool {
	var same [2][]any
	for i, obj := range []metav1.Object{a, b} {
		text, err := json.Marshal(obj.GetManagedFields())
		if err != nil {
			return false
		}
		same[i] = decode[[]any](text)
	}
	return reflect.DeepEqual(same[0], same[1])
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
