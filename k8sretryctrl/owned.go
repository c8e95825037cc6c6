// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"bytes"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// ownsJust reports whether the fields of an entry of managedFields are those of the content that
// a field manager has applied. Below a list it does not look for the fields of each element.
func ownsJust(entry *metav1.FieldsV1, found, applied map[string]any, subresource string) bool {
	var owned fieldpath.Set
	if entry == nil {
		return false
	}
	text, err := entry.MarshalJSON()
	if err != nil || owned.FromJSON(bytes.NewReader(text)) != nil {
		return false
	}
	all := true
	owned.Iterate(func(path fieldpath.Path) {
		_, ok := at(applied, path)
		if !ok {
			left, _ := at(found, path)
			ok = isEmpty(left)
		}
		all = all && ok
	})
	return all && ownsFields(&owned, ownable(applied, subresource))
}

// ownable returns the fields of an object that a write of a subresource may own. The name and what
// else identifies an object belong to no field manager.
func ownable(content map[string]any, subresource string) map[string]any {
	kept := map[string]any{}
	for key, field := range content {
		if (key == "status") == (subresource == "status") && key != "metadata" {
			kept[key] = field
		}
	}
	metadata, _ := content["metadata"].(map[string]any)
	inner := map[string]any{}
	for _, key := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
		inner[key] = metadata[key]
	}
	if subresource != "status" {
		kept["metadata"] = inner
	}
	return kept
}

// ownsFields reports whether a set has each field of an object, or one around it.
func ownsFields(owned *fieldpath.Set, content map[string]any) bool {
	for key, field := range content {
		element := fieldpath.FieldNameElement(key)
		inner, hasInner := owned.Children.Get(element)
		fields, isMap := field.(map[string]any)
		switch {
		case isEmpty(field):
		case hasInner && isMap:
			if !ownsFields(inner, fields) {
				return false
			}
		case isMap && !owned.Members.Has(element):
			if !ownsFields(&fieldpath.Set{}, fields) { // all of it may be empty
				return false
			}
		case !hasInner && !owned.Members.Has(element):
			return false
		}
	}
	return true
}

// at returns the field of a path.
func at(content any, path fieldpath.Path) (field any, ok bool) {
	for i, element := range path {
		switch {
		case element.FieldName != nil:
			fields, _ := content.(map[string]any)
			if content, ok = fields[*element.FieldName]; !ok {
				return nil, false
			}
			continue
		case element.Key == nil && element.Value == nil:
			return nil, false
		}
		list, _ := content.([]any)
		for _, candidate := range list {
			if !isElement(candidate, element) {
				continue
			}
			if field, ok := at(candidate, path[i+1:]); ok {
				return field, true
			}
		}
		return nil, false
	}
	return content, true
}

// isElement reports whether an element of a list is the one that a path names. The server adds
// the defaults of keys, such as the protocol of a port.
func isElement(candidate any, element fieldpath.PathElement) bool {
	if element.Value != nil {
		return value.Equals(value.NewValueInterface(candidate), *element.Value)
	}
	fields, ok := candidate.(map[string]any)
	for _, key := range *element.Key {
		if field, given := fields[key.Name]; given && !value.Equals(value.NewValueInterface(field), key.Value) {
			return false
		}
	}
	return ok
}

// isEmpty reports whether a JSON value is null, an object or a list without content.
func isEmpty(content any) bool {
	v := reflect.ValueOf(content)
	return !v.IsValid() || (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0
}
