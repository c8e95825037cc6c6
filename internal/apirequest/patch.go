// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// NewPatch returns a request that [Read], [RepeatRisk.Confirmed] and [NamesVersion] judge as
// they do a patch of this type and body, to these subresources, on its way through a
// transport.
func NewPatch(contentType string, body []byte, subresources ...string) *http.Request {
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	reader, _ := open()
	return &http.Request{
		Method:  http.MethodPatch,
		URL:     &url.URL{Path: path.Join(append([]string{"/apis/group/v1/objects/name"}, subresources...)...)},
		Header:  http.Header{"Content-Type": {contentType}},
		Body:    reader,
		GetBody: open,
	}
}

// mergeKeys are the merge keys of the lists of the API (patchMergeKey in k8s.io/api), but for
// those of conditions, of which a patch has one of each type.
var mergeKeys = []string{"name", "containerPort", "port", "uid", "ip", "mountPath", "devicePath", "topologyKey", "resourceClaimName"}

// repeatsMergeKey reports whether a list in a strategic merge patch may have two elements with
// one merge key, such as the ports 53 of UDP and TCP. The server appends both of them to a
// list that has neither. A second time it merges both of them into the first
// (mergeSliceWithSpecialElements in k8s.io/apimachinery/pkg/util/strategicpatch), which loses
// one. It returns true if it cannot decode the patch.
func repeatsMergeKey(patch []byte) bool {
	var content any
	return json.Unmarshal(patch, &content) != nil || anyListRepeatsMergeKey(content)
}

func anyListRepeatsMergeKey(content any) bool {
	switch c := content.(type) {
	case map[string]any:
		for key, value := range c {
			if !strings.HasPrefix(key, "$") && anyListRepeatsMergeKey(value) { // $setElementOrder has no elements
				return true
			}
		}
	case []any:
		seen := map[[2]any]bool{}
		for _, element := range c {
			fields, ok := element.(map[string]any)
			if !ok || fields["$patch"] != nil { // a directive is no element
				continue
			}
			for _, key := range mergeKeys {
				switch value := fields[key].(type) {
				case string, float64:
					if seen[[2]any{key, value}] {
						return true
					}
					seen[[2]any{key, value}] = true
				}
			}
			if anyListRepeatsMergeKey(element) {
				return true
			}
		}
	}
	return false
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op, Path, From string
	Value          any
}

// failsOnRepeat reports whether a JSON patch fails when it is applied a second time. It does
// if it tests the resourceVersion, which its first application changes, or something at,
// above or below a path to which it gives another value. A test of anything else, such as the
// UID, would succeed again.
func failsOnRepeat(patch []byte) bool {
	var operations []operation
	if json.Unmarshal(patch, &operations) != nil {
		return false
	}
	ambiguous := slices.ContainsFunc(operations, func(o operation) bool { return isAmbiguous(o.Path) || isAmbiguous(o.From) })
	for i, test := range operations {
		isSetBefore := func(o operation) bool { // by the patch itself, also when it is applied again
			_, moved := o.moves(test.Path)
			return o.Op != "test" && (moved || related(o.Path, test.Path) || o.Op == "move" && related(o.From, test.Path))
		}
		if test.Op != "test" || slices.ContainsFunc(operations[:i], isSetBefore) {
			continue
		}
		if test.Path == "/metadata/resourceVersion" {
			return true
		}
		changed := false
		for _, o := range operations[i+1:] {
			changed = o.changes(&test, changed)
			if element, moved := o.moves(test.Path); moved {
				changed = changed && o.Op == "remove" && test.failsWithout(element)
			}
		}
		if changed && !ambiguous {
			return true
		}
	}
	return false
}

// changes reports whether what was tested has another value after an operation. changed is the
// same before it.
func (o *operation) changes(test *operation, changed bool) bool {
	below, isBelow := strings.CutPrefix(o.Path, test.Path+"/")
	above, isAbove := strings.CutPrefix(test.Path, o.Path+"/")
	isSame := o.Path == test.Path
	switch o.Op {
	case "test":
	case "remove":
		return changed || test.failsWithout(o.Path)
	case "move":
		leaves := o.From != o.Path && test.failsWithout(o.From)
		return leaves || changed && !isSame && !isAbove
	case "add", "replace":
		switch {
		case isSame:
			return !reflect.DeepEqual(o.Value, test.Value)
		case isAbove:
			value, ok := valueAt(o.Value, above)
			return !ok || !reflect.DeepEqual(value, test.Value)
		case isBelow:
			value, ok := valueAt(test.Value, below)
			return changed || !ok || !reflect.DeepEqual(value, o.Value) || o.Op == "add" && inList(test.Value, below)
		}
	default: // a copy, of a value that is not known
		return changed && !isSame && !isAbove
	}
	return changed
}

// moves reports whether an operation gives another index to an element of a list that a path leads
// through, and returns the path of the element.
func (o *operation) moves(tested string) (element string, moved bool) {
	for _, at := range [...]string{o.Path, o.From} {
		if o.Op == "test" || o.Op == "replace" || o.Op == "copy" && at == o.From {
			continue
		}
		list, index := path.Split(at)
		rest, ok := strings.CutPrefix(tested, list)
		own, _, _ := strings.Cut(rest, "/")
		n, errN := strconv.Atoi(index)
		m, errM := strconv.Atoi(own)
		if ok && errN == nil && errM == nil && n < m {
			return list + own, true
		}
	}
	return "", false
}

// isAmbiguous reports whether a path may have an index that has another form, too. The server counts
// negative ones from the end of the list (gopkg.in/evanphx/json-patch.v4/patch.go).
func isAmbiguous(path string) bool {
	for key := range strings.SplitSeq(path, "/") {
		if n, err := strconv.Atoi(key); err == nil && (n < 0 || strconv.Itoa(n) != key) {
			return true
		}
	}
	return false
}

// failsWithout reports whether a test fails when the value at a path has been removed. The next
// element of a list takes the place of one that was removed. It does not pass the test if that is
// of the name or the UID of the element, or of a finalizer. A list of references may have a name
// twice, for two kinds or namespaces.
func (o *operation) failsWithout(removed string) bool {
	list, index := path.Split(removed)
	if !related(o.Path, removed) {
		return false
	}
	if _, err := strconv.ParseUint(index, 10, 32); err != nil || strings.HasPrefix(removed, o.Path+"/") {
		return true // it is a field, or the test is of what is around it
	}
	element, _ := o.Value.(map[string]any)
	switch strings.TrimPrefix(o.Path, removed) {
	case "":
		return list == "/metadata/finalizers/" || element["name"] != nil || element["uid"] != nil
	case "/uid":
		return true
	case "/name":
		field := strings.ToLower(path.Base(list))
		return field != "subjects" && !strings.HasSuffix(field, "refs") && !strings.HasSuffix(field, "references")
	}
	return false
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// valueAt returns the part of a JSON value at a path without its first slash.
func valueAt(value any, path string) (part any, ok bool) {
	for key := range strings.SplitSeq(path, "/") {
		switch v := value.(type) {
		case map[string]any:
			if value, ok = v[unescape.Replace(key)]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// inList reports whether a path leads to an element of a list.
func inList(value any, path string) bool {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		value, _ = valueAt(value, path[:i])
	}
	_, ok := value.([]any)
	return ok
}
