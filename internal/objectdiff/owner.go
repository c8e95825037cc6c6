// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// owned are the fields that the entries of w and those of all others own, as FieldsV1 has them.
type owned struct {
	own, others []map[string]any
	all         []map[string]any // these, and those before the change
	bySelf      bool             // w alone owns a value that has changed
	byAnother   bool             // another one alone does
}

// ownerOfChange finds out whether w owns the values of next that base has not, or another
// manager. It is undecided about removals, which leave no owner, and about values that an
// admission plugin has set, which have none.
func ownerOfChange(base, next Content, before, after []metav1.ManagedFieldsEntry, w Writer) Author {
	own := func(e metav1.ManagedFieldsEntry) bool { return w.isOf(e) }
	others := func(e metav1.ManagedFieldsEntry) bool { return !w.isOf(e) }
	o := owned{own: fieldsOf(after, own), others: fieldsOf(after, others)}
	o.all = slices.Concat(o.own, o.others, fieldsOf(before, own), fieldsOf(before, others))
	o.compare(map[string]any(base), map[string]any(next), nil)
	switch {
	case o.bySelf && !o.byAnother:
		return Self
	case o.byAnother && !o.bySelf:
		return Another
	}
	return Undecided
}

// fieldsOf returns the fields of some entries, without those that are no JSON.
func fieldsOf(entries []metav1.ManagedFieldsEntry, wanted func(metav1.ManagedFieldsEntry) bool) (sets []map[string]any) {
	for _, e := range entries {
		if e.FieldsV1 == nil || !wanted(e) {
			continue
		}
		if fields := decode[map[string]any](e.FieldsV1.Raw); fields != nil {
			sets = append(sets, fields)
		}
	}
	return sets
}

// compare compares the values at a path.
func (o *owned) compare(base, next any, path []string) {
	n, isMap := next.(map[string]any)
	if b, ok := base.(map[string]any); isMap && (ok || base == nil && len(n) > 0) {
		for key, value := range n {
			o.compare(b[key], value, append(path[:len(path):len(path)], "f:"+key))
		}
		return
	}
	if next == nil || reflect.DeepEqual(base, next) {
		return
	}
	b, _ := base.([]any)
	if n, isList := next.([]any); isList && o.compareElements(b, n, path) {
		return
	}
	switch own, others := o.anyHas(o.own, path), o.anyHas(o.others, path); {
	case own && !others:
		o.bySelf = true
	case others && !own:
		o.byAnother = true
	}
}

// compareElements compares the elements of a list that have owners of their own, or had them
// before. It returns false if the list is owned as a whole.
func (o *owned) compareElements(base, next []any, path []string) bool {
	keys := map[string]bool{}
	for _, fields := range o.all {
		below, _ := descend(fields, path)
		for key := range below {
			if strings.HasPrefix(key, "k:") || strings.HasPrefix(key, "v:") {
				keys[key] = true
			}
		}
	}
	for key := range keys {
		o.compare(element(base, key), element(next, key), append(path[:len(path):len(path)], key))
	}
	return len(keys) > 0
}

// element returns the element of a list that a key of FieldsV1 names: k: and the fields that are
// its key, or v: and its value. It returns nil if there is none.
func element(list []any, key string) any {
	id := decode[any]([]byte(key[len("k:"):])) // with numbers as the content has them
	if id == nil {
		return nil
	}
	for _, e := range list {
		if contains(e, id) {
			return e
		}
	}
	return nil
}

// anyHas reports whether one of the sets of fields has a path, or owns what is around it as a
// whole.
func (o *owned) anyHas(sets []map[string]any, path []string) bool {
	return slices.ContainsFunc(sets, func(fields map[string]any) bool {
		_, depth := descend(fields, path)
		return depth == len(path) || depth > 0 && !o.hasParts(path[:depth])
	})
}

// hasParts reports whether the parts of what is at a path have owners of their own, or had them
// before. Then an entry with nothing below the path owns none of them: others have taken what it
// had.
func (o *owned) hasParts(path []string) bool {
	return slices.ContainsFunc(o.all, func(fields map[string]any) bool {
		below, depth := descend(fields, path)
		return depth == len(path) && len(below) > 0
	})
}

// descend returns the fields below a path, and how many steps of the path there are. It is fewer
// than all of them for a field without any below it, and 0 if the path is not owned.
func descend(fields map[string]any, path []string) (below map[string]any, depth int) {
	for i, key := range path {
		value, found := fields[key]
		switch {
		case found:
			fields, _ = value.(map[string]any)
		case i > 0 && len(fields) == 0:
			return fields, i
		default:
			return nil, 0
		}
	}
	return fields, len(path)
}
