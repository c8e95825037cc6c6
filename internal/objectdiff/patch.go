// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Patch changes the JSON of an object as the server would. It reports false if it cannot be
// applied.
type Patch func(object map[string]any) bool

// JSONOf returns an object as JSON, nil if it is none.
func JSONOf(obj metav1.Object) map[string]any {
	var source any = obj
	if u, ok := obj.(interface{ UnstructuredContent() map[string]any }); ok {
		source = u.UnstructuredContent() // its MarshalJSON fails for an object without a kind
	}
	text, err := json.Marshal(source)
	if err != nil {
		return nil
	}
	return decode[map[string]any](text)
}

// decode decodes JSON, and returns the zero value if it is not of that type.
func decode[T any](text []byte) (value T) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // a float64 would make large numbers equal
	if decoder.Decode(&value) != nil {
		return *new(T)
	}
	return value
}

// MergePatch returns a JSON merge patch (RFC 7396), and the resource version and the UID that it
// names. The patch is nil if it cannot be decoded.
func MergePatch(data []byte) (patch Patch, version, uid string) {
	content := decode[map[string]any](data)
	if content == nil {
		return nil, "", ""
	}
	metadata, _ := content["metadata"].(map[string]any)
	version, _ = metadata["resourceVersion"].(string)
	uid, _ = metadata["uid"].(string)
	return func(object map[string]any) bool {
		merge(object, decode[map[string]any](data)) // whose lists become parts of the object
		return true
	}, version, uid
}

func merge(into, patch map[string]any) {
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(into, key)
		case map[string]any:
			inner, ok := into[key].(map[string]any)
			if !ok {
				inner = map[string]any{}
				into[key] = inner
			}
			merge(inner, value)
		default:
			into[key] = value
		}
	}
}

// StrategicMergePatch is MergePatch for a strategic merge patch. The patch is also nil if it has
// a list or a directive, whose meaning depends on the type of the object.
func StrategicMergePatch(data []byte) (patch Patch, version, uid string) {
	if !isPlain(decode[map[string]any](data)) {
		return nil, "", ""
	}
	return MergePatch(data)
}

// isPlain reports whether a strategic merge patch is a merge patch.
func isPlain(patch any) bool {
	switch patch := patch.(type) {
	case []any:
		return false
	case map[string]any:
		for key, value := range patch {
			if strings.HasPrefix(key, "$") || !isPlain(value) {
				return false
			}
		}
	}
	return true
}

// operation is one of a JSON patch.
type operation struct {
	Op, Path string
	Value    any
}

// JSONPatch returns a JSON patch (RFC 6902), and the resource version that it tests before it
// changes anything. The patch is nil if it cannot be decoded, or moves or copies something.
func JSONPatch(data []byte) (patch Patch, version string) {
	tests := true
	for _, o := range decode[[]operation](data) {
		switch o.Op {
		case "test":
			if v, ok := o.Value.(string); ok && tests && o.Path == "/metadata/resourceVersion" {
				version = v
			}
		case "add", "remove", "replace":
			tests = false
		default:
			return nil, ""
		}
	}
	return func(object map[string]any) bool {
		for _, o := range decode[[]operation](data) { // whose values become parts of the object
			path := strings.Split(o.Path, "/")
			if len(path) < 2 || path[0] != "" {
				return false
			}
			if _, ok := o.apply(object, path[1:]); !ok {
				return false
			}
		}
		return true
	}, version
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// apply applies the operation to a value at a path below it, and returns the changed value.
func (o *operation) apply(value any, path []string) (changed any, ok bool) {
	key := unescape.Replace(path[0])
	switch value := value.(type) {
	case map[string]any:
		old, exists := value[key]
		if len(path) > 1 {
			value[key], ok = o.apply(old, path[1:])
			return value, ok
		}
		switch {
		case o.Op == "add", o.Op == "replace" && exists:
			value[key] = o.Value
		case o.Op == "remove" && exists:
			delete(value, key)
		default:
			return value, o.Op == "test" && reflect.DeepEqual(old, o.Value)
		}
		return value, true
	case []any:
		return o.applyToList(value, key, path)
	}
	return value, false
}

func (o *operation) applyToList(list []any, key string, path []string) (changed any, ok bool) {
	if len(path) == 1 && o.Op == "add" && key == "-" {
		return append(list, o.Value), true
	}
	i, err := strconv.Atoi(key)
	switch {
	case err != nil || i < 0 || i > len(list):
		return list, false
	case len(path) == 1 && o.Op == "add":
		return append(list[:i:i], append([]any{o.Value}, list[i:]...)...), true
	case i == len(list):
		return list, false
	case len(path) > 1:
		list[i], ok = o.apply(list[i], path[1:])
		return list, ok
	}
	switch o.Op {
	case "replace":
		list[i] = o.Value
	case "remove":
		return append(list[:i:i], list[i+1:]...), true
	default:
		return list, o.Op == "test" && reflect.DeepEqual(list[i], o.Value)
	}
	return list, true
}
