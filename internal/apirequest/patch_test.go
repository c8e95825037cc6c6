// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// Which strategic merge patches have another effect if they are applied twice, as the
// implementation of the server says.
func TestStrategicPatchesThatAreNotTheSameTwice(t *testing.T) {
	objects := []string{
		`{"metadata":{"name":"a"},"spec":{}}`,
		`{"metadata":{"finalizers":["a","x"],"ownerReferences":[{"uid":"1"}]},"spec":{"containers":[{"name":"a","image":"i","args":["1"]},{"name":"b"}],"tolerations":[{"key":"a"}]}}`,
	}
	for _, c := range []struct {
		patch, body string
		unsafe      bool
	}{
		{"two ports of one number", `{"spec":{"containers":[{"name":"c","ports":[{"containerPort":53,"protocol":"UDP"},{"containerPort":53,"protocol":"TCP"}]}]}}`, true},
		{"two variables of one name", `{"spec":{"containers":[{"name":"c","env":[{"name":"A","value":"1"},{"name":"A","value":"2"}]}]}}`, true},
		{"two constraints of one key", `{"spec":{"topologySpreadConstraints":[{"topologyKey":"z","maxSkew":1},{"topologyKey":"z","maxSkew":2}]}}`, true},
		{"two aliases of one address", `{"spec":{"hostAliases":[{"ip":"10.0.0.1","hostnames":["a"]},{"ip":"10.0.0.1","hostnames":["b"]}]}}`, true},

		{"elements with different keys", `{"spec":{"containers":[{"name":"c","ports":[{"containerPort":53},{"containerPort":54}]},{"name":"d","ports":[{"containerPort":53}]}]}}`, false},
		{"scalars of a merging list", `{"metadata":{"finalizers":["y"]}}`, false},
		{"a list that is replaced", `{"spec":{"containers":[{"name":"a","args":["1","1"]}],"tolerations":[{"key":"b"},{"key":"b"}]}}`, false},
		{"a value of null", `{"spec":{"containers":[{"name":"a","args":null}],"tolerations":null}}`, false},
		{"$patch: delete of an element", `{"spec":{"containers":[{"$patch":"delete","name":"a"}]}}`, false},
		{"$patch: delete of an element and the element", `{"spec":{"containers":[{"$patch":"delete","name":"a"},{"name":"a","image":"q"}]}}`, false},
		{"$patch: replace of a list", `{"spec":{"containers":[{"$patch":"replace"},{"name":"z"}]}}`, false},
		{"$patch: replace of an object", `{"spec":{"$patch":"replace","nodeName":"z"}}`, false},
		{"$patch: delete of an object", `{"spec":{"$patch":"delete"}}`, false},
		{"$retainKeys", `{"spec":{"$retainKeys":["nodeName"],"nodeName":"z"}}`, false},
		{"$deleteFromPrimitiveList", `{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"],"finalizers":["y"]}}`, false},
		{"$setElementOrder", `{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"n"},{"name":"a"}],"containers":[{"name":"n"}]}}`, false},
		{"$setElementOrder of two ports of one number", `{"spec":{"containers":[{"name":"a","$setElementOrder/ports":[{"containerPort":53},{"containerPort":53}],"ports":[{"containerPort":53,"name":"dns"}]}]}}`, false},
	} {
		t.Run(c.patch, func(t *testing.T) {
			req := NewPatch(string(types.StrategicMergePatchType), []byte(c.body))
			r := Read(req)
			assert.Equal(t, Patch, r.Verb)
			assert.Equal(t, c.unsafe, r.Risk.Confirmed(req), "the judgement")

			differs := false
			for _, object := range objects {
				once, err := strategicpatch.StrategicMergePatch([]byte(object), []byte(c.body), corev1.Pod{})
				require.NoError(t, err)
				twice, err := strategicpatch.StrategicMergePatch(once, []byte(c.body), corev1.Pod{})
				require.NoError(t, err)
				differs = differs || string(once) != string(twice)
			}
			assert.Equal(t, c.unsafe, differs, "the server")
		})
	}
	for name, body := range map[string]string{"not JSON": `spec: {}`, "cut": `{"spec":{"x":"` + strings.Repeat("x", maxBody) + `"}}`} {
		req := NewPatch(string(types.StrategicMergePatchType), []byte(body))
		r := Read(req)
		assert.True(t, r.Risk.Confirmed(req), name)
	}
}

func TestNewPatchIsJudgedLikeARequest(t *testing.T) {
	for _, c := range []struct {
		kind         types.PatchType
		body         string
		subresources []string
		verb         Verb
		risk         bool
		named        bool
	}{
		{types.MergePatchType, `{}`, nil, Patch, false, false},
		{types.MergePatchType, `{}`, []string{"status"}, Patch, false, false},
		{types.MergePatchType, `{}`, []string{"proxy", "orders"}, Create, true, false},
		{types.MergePatchType, `{"metadata":{"resourceVersion":"7"}}`, nil, Patch, false, true},
		{types.MergePatchType, `{"metadata":{"resourceVersion":null}}`, nil, Patch, false, false},
		{types.MergePatchType, `{"metadata":{"uid":"u"}}`, nil, Patch, false, true},
		{types.MergePatchType, `?`, nil, Patch, false, true},
		{types.StrategicMergePatchType, `{"metadata":{"resourceVersion":"7"}}`, nil, Patch, false, true},
		{types.JSONPatchType, `[{"op":"add","path":"/a/-","value":1}]`, nil, Patch, true, false},
		{types.JSONPatchType, `[{"op":"test","path":"/metadata/uid","value":"u"}]`, nil, Patch, true, true},
		{types.JSONPatchType, `[{"op":"replace","path":"/metadata","value":{}}]`, nil, Patch, true, true},
		{types.JSONPatchType, `?`, nil, Patch, true, true},
		{types.ApplyPatchType, `{"metadata":{"name":"a"}}`, nil, Apply, false, false},
		{types.ApplyPatchType, `{"metadata":{"name":"a","resourceVersion":"7"}}`, nil, Apply, false, true},
		{types.ApplyPatchType, `{"data":{"resourceVersion":"7"}}`, nil, Apply, false, false},
		{types.ApplyPatchType, "metadata:\n  name: a\n", nil, Apply, false, false},
		{types.ApplyPatchType, "metadata:\n  resourceVersion: '7'\n", nil, Apply, false, true},
		{"application/x", `{}`, nil, Patch, false, false},
	} {
		t.Run(string(c.kind)+" "+c.body, func(t *testing.T) {
			req := NewPatch(string(c.kind), []byte(c.body), c.subresources...)
			r := Read(req)
			assert.Equal(t, c.verb.String(), r.Verb.String())
			assert.Equal(t, "objects", r.Resource)
			assert.Equal(t, len(c.subresources) > 0, r.Subresource != "")
			for range 2 { // it can be read again
				assert.Equal(t, c.risk, r.Risk.Confirmed(req))
				assert.Equal(t, c.named, NamesVersion(req))
			}
		})
	}
}

func TestNamesVersionOfABodyThatCannotBeRead(t *testing.T) {
	for kind, want := range map[types.PatchType]bool{types.MergePatchType: true, types.JSONPatchType: true, types.ApplyPatchType: false} {
		req := NewPatch(string(kind), nil)
		req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
		assert.Equal(t, want, NamesVersion(req), kind)
	}
}
