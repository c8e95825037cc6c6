// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// owned are the fields that the entries of w and those of all others own, as FieldsV1 has them.
type owned struct {
	own, others []map[string]any
	bySelf      bool // w alone owns a value that has changed
	byAnother   bool // another one alone does
}

// ownerOfChange finds out whether w owns the values of next that base has not, or another
// manager. It is undecided about removals, which leave no owner.
func ownerOfChange(base, next Content, entries []metav1.ManagedFieldsEntry, w Writer) Author {
	var o owned
	for _, e := range entries {
		var fields map[string]any
		if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.Raw, &fields) != nil {
			continue
		}
		if w.isOf(e) {
			o.own = append(o.own, fields)
		} else {
			o.others = append(o.others, fields)
		}
	}
	o.compare(map[string]any(base), map[string]any(next), nil)
	switch {
	case o.bySelf && !o.byAnother:
		return Self
	case o.byAnother && !o.bySelf:
		return Another
	}
	return Undecided
}

// compare compares the values at a path.
func (o *owned) compare(base, next any, path []string) {
	n, isMap := next.(map[string]any)
	if b, ok := base.(map[string]any); isMap && (ok || base == nil) {
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
	switch own, others := anyHas(o.own, path), anyHas(o.others, path); {
	case own && !others:
		o.bySelf = true
	case others && !own:
		o.byAnother = true
	}
}

// compareElements compares the elements of a list that have owners of their own. It returns false
// if the list is owned as a whole.
func (o *owned) compareElements(base, next []any, path []string) bool {
	keys := map[string]bool{}
	for _, fields := range slices.Concat(o.own, o.others) {
		node, _ := descend(fields, path)
		for key := range node {
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
	var id any
	if json.Unmarshal([]byte(key[len("k:"):]), &id) != nil {
		return nil
	}
	for _, e := range list {
		if contains(e, id) {
			return e
		}
	}
	return nil
}

// anyHas reports whether one of the sets of fields has a path.
func anyHas(sets []map[string]any, path []string) bool {
	return slices.ContainsFunc(sets, func(fields map[string]any) bool {
		_, found := descend(fields, path)
		return found
	})
}

// descend returns the fields below a path. A field without any below it is owned as a whole.
func descend(fields map[string]any, path []string) (below map[string]any, found bool) {
	for i, key := range path {
		if i > 0 && len(fields) == 0 {
			break
		}
		value, found := fields[key]
		if !found {
			return nil, false
		}
		fields, _ = value.(map[string]any)
	}
	return fields, true
}
