// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
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
