// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"encoding/json"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// contentOf returns the fields of an object without those that change with each version.
func contentOf(obj any) map[string]any {
	var content map[string]any
	text, err := json.Marshal(obj)
	if err != nil || json.Unmarshal(text, &content) != nil {
		return nil
	}
	delete(content, "apiVersion") // empty in typed objects, like kind
	delete(content, "kind")
	meta, _ := content["metadata"].(map[string]any)
	for _, key := range []string{"resourceVersion", "generation", "managedFields", "selfLink"} {
		delete(meta, key)
	}
	return content
}

// includesField reports whether found has all that was sent in one field.
func includesField(found, sent client.Object, fields ...string) bool {
	f, _, _ := unstructured.NestedFieldNoCopy(contentOf(found), fields...)
	s, ok, _ := unstructured.NestedFieldNoCopy(contentOf(sent), fields...)
	return ok && includes(f, s)
}

// includes reports whether a JSON value has all that was sent. A field that is empty in sent
// may be missing. Elements of a list that have a name are compared with those of the same
// name, because webhooks add elements; other lists have to be as long as they were.
func includes(found, sent any) bool {
	switch sent := sent.(type) {
	case nil:
		return true
	case map[string]any:
		f, ok := found.(map[string]any)
		if !ok && found != nil {
			return false
		}
		for key, value := range sent {
			if !includes(f[key], value) {
				return false
			}
		}
		return true
	case []any:
		f, _ := found.([]any)
		return includesList(f, sent)
	case string, bool, float64:
		return found == sent || found == nil && reflect.ValueOf(sent).IsZero()
	}
	return false
}

func includesList(found, sent []any) bool {
	if byName(sent) != nil {
		named := byName(found)
		for name, element := range byName(sent) {
			if named[name] == nil || !includes(named[name], element) {
				return false
			}
		}
		return true
	}
	if len(found) != len(sent) {
		return false
	}
	for i, element := range sent {
		if !includes(found[i], element) {
			return false
		}
	}
	return true
}

// byName returns the elements of a list by their names, or nil if they have none or some
// have the same.
func byName(list []any) map[string]any {
	named := make(map[string]any, len(list))
	for _, element := range list {
		name, ok := nameOf(element)
		if !ok || named[name] != nil {
			return nil
		}
		named[name] = element
	}
	return named
}

func nameOf(element any) (string, bool) {
	m, _ := element.(map[string]any)
	name, ok := m["name"].(string)
	return name, ok && name != ""
}
