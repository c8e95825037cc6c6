// SPDX-License-Identifier: Apache-2.0

// Package objectdiff compares versions of one API object, to find out which write made one
// of them. It knows the fields of all objects that the server sets by itself, and treats the
// rest as JSON.
package objectdiff

import (
	"encoding/base64"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Part is the part of an object that a request stores.
type Part uint8

// The parts of an object.
const (
	All               Part = iota // everything a client may set
	NoStatus                      // the same without the status, which has a subresource of its own
	Status                        // nothing but the status
	StatusAndMetadata             // what the server stores of some kinds, such as pods, with the status
)

// Content is the part of an object as JSON, without fields that are null and without those
// that the server sets. The content of an object that is no JSON is nil.
type Content map[string]any

// Of returns the content of an object, without the annotation of the given key.
//
// Of the metadata it has what an update can change: labels, annotations, finalizers and
// owner references. All other metadata is set by the server or cannot be changed.
func Of(obj metav1.Object, part Part, ignoredAnnotation string) Content {
	content := JSONOf(obj)
	if content == nil {
		return nil
	}
	if part == Status {
		content = map[string]any{"status": content["status"]}
	}
	if part == StatusAndMetadata {
		content = map[string]any{"status": content["status"], "metadata": content["metadata"]}
	}
	delete(content, "apiVersion") // typed objects do not have them
	delete(content, "kind")
	if part == NoStatus {
		delete(content, "status")
	}
	moveStringData(content)
	metadata, _ := content["metadata"].(map[string]any)
	delete(content, "metadata")
	kept := map[string]any{}
	for _, key := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
		value := metadata[key]
		if annotations, ok := value.(map[string]any); ok && key == "annotations" {
			delete(annotations, ignoredAnnotation)
		}
		if v := reflect.ValueOf(value); v.IsValid() && (v.Kind() != reflect.Map && v.Kind() != reflect.Slice || v.Len() > 0) {
			kept[key] = value // the server stores nothing in place of an empty one
		}
	}
	if len(kept) > 0 {
		content["metadata"] = kept
	}
	dropNulls(content)
	return content
}

// moveStringData moves the stringData of a Secret to where the server stores it.
func moveStringData(content map[string]any) {
	texts, ok := content["stringData"].(map[string]any)
	data, isMap := content["data"].(map[string]any)
	if !ok || !isMap && content["data"] != nil {
		return
	}
	moved := make(map[string]any, len(data)+len(texts))
	for key, value := range data {
		moved[key] = value
	}
	for key, value := range texts {
		text, ok := value.(string)
		if !ok {
			return
		}
		moved[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	delete(content, "stringData")
	content["data"] = moved
}

// dropNulls removes the fields that are null.
func dropNulls(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			if v == nil {
				delete(value, key)
			}
			dropNulls(v)
		}
	case []any:
		for _, v := range value {
			dropNulls(v)
		}
	}
}

// Equal reports whether two contents are the same.
func Equal(a, b Content) bool { return a != nil && b != nil && reflect.DeepEqual(a, b) }

// Contains reports whether found has everything that sent has. It may have more: fields,
// and elements of lists, that defaults and admission plugins have added.
func Contains(found, sent Content) bool {
	return found != nil && sent != nil && contains(map[string]any(found), map[string]any(sent))
}

func contains(found, sent any) bool {
	switch sent := sent.(type) {
	case map[string]any:
		f, _ := found.(map[string]any)
		if f == nil && found != nil {
			return false
		}
		for key, value := range sent {
			if !contains(f[key], value) {
				return false
			}
		}
		return true
	case []any:
		f, _ := found.([]any)
		if f == nil && found != nil {
			return false
		}
		for _, element := range f {
			if len(sent) > 0 && contains(element, sent[0]) {
				sent = sent[1:]
			}
		}
		return len(sent) == 0
	}
	return reflect.DeepEqual(found, sent)
}
