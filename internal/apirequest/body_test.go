// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

const protobuf = "application/vnd.kubernetes.protobuf"

// encoded returns an object as a client with the given content type sends it.
func encoded(t *testing.T, media string, object runtime.Object, version ...schema.GroupVersion) string {
	t.Helper()
	version = append(version, corev1.SchemeGroupVersion)
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	require.True(t, ok)
	var b bytes.Buffer
	require.NoError(t, scheme.Codecs.EncoderForVersion(info.Serializer, version[0]).Encode(object, &b))
	return b.String()
}

// The options in the body of a deletion replace those in its query
// (k8s.io/apiserver/pkg/endpoints/handlers/delete.go).
func TestDryRunIsReadFromWhereTheServerReadsIt(t *testing.T) {
	const dry = `{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}`
	all := metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	eviction := func(options *metav1.DeleteOptions) string {
		return encoded(t, protobuf, &policyv1.Eviction{DeleteOptions: options}, policyv1.SchemeGroupVersion)
	}
	for _, c := range []struct {
		situation, method, path, body string
		pure                          bool
	}{
		{"only in the query", "DELETE", "/pods/a?dryRun=All", "", true},
		{"in the body", "DELETE", "/pods/a", dry, true},
		{"in the body, of a collection", "DELETE", "/pods", dry, true},
		{"in the query, but the body has other options", "DELETE", "/pods/a?dryRun=All", `{"kind":"DeleteOptions"}`, false},
		{"nowhere", "DELETE", "/pods/a", `{"kind":"DeleteOptions"}`, false},
		{"an unknown key", "DELETE", "/pods/a", `{"dryrun":["All"]}`, false},
		{"an unknown value", "DELETE", "/pods/a", `{"dryRun":["Some"]}`, false},
		{"an empty list", "DELETE", "/pods/a", `{"dryRun":[]}`, false},
		{"a list that the server does not accept", "DELETE", "/pods/a", `{"dryRun":["All",{}]}`, false},
		{"a list that ends with another type", "DELETE", "/pods/a", `{"dryRun":["All"],"dryRun":7}`, false},
		{"not JSON", "DELETE", "/pods/a", `dryRun: [All]`, false},
		{"in protobuf", "DELETE", "/pods/a", encoded(t, protobuf, &all), true},
		{"nowhere in protobuf", "DELETE", "/pods/a", encoded(t, protobuf, &metav1.DeleteOptions{}), false},
		{"broken protobuf", "DELETE", "/pods/a", "k8s\x00?", false},
		{"cut protobuf", "DELETE", "/pods/a", encoded(t, protobuf, &all)[:30], false},
		{"in an eviction", "POST", "/pods/a/eviction", `{"kind":"Eviction","deleteOptions":` + dry + `}`, true},
		{"in an eviction in protobuf", "POST", "/pods/a/eviction", eviction(&all), true},
		{"an eviction in protobuf without options", "POST", "/pods/a/eviction", eviction(nil), false},
		{"at the wrong position in an eviction", "POST", "/pods/a/eviction", dry, false},
		{"in the query of an eviction", "POST", "/pods/a/eviction?dryRun=All", `{"kind":"Eviction"}`, true},
		{"in the body of a create, which contains no options", "POST", "/pods", dry, false},
		{"in what goes through a proxy to a server that may not know it", "DELETE", "/pods/a/proxy/x", dry, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			req, err := http.NewRequest(c.method, "https://server/api/v1/namespaces/web"+c.path, body)
			require.NoError(t, err)
			r := Read(req)
			assert.Equal(t, c.pure, r.StoresNothing || r.DryRunInBody(req))
		})
	}
	t.Run("in a body that cannot be read again", func(t *testing.T) {
		req, err := http.NewRequest("DELETE", "https://server/api/v1/namespaces/web/pods/a", io.NopCloser(strings.NewReader(dry)))
		require.NoError(t, err)
		r := Read(req)
		assert.False(t, r.DryRunInBody(req))
	})
}

func TestBodyDecidesWhetherARiskIsConfirmed(t *testing.T) {
	named := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	generated := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}}
	both := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", GenerateName: "a-"}}
	long := strings.Repeat("x", maxBody)
	for _, c := range []struct {
		situation string
		risk      RepeatRisk
		body      string
		unsafe    bool
	}{
		{"a named object", RiskNoName, encoded(t, "application/json", named), false},
		{"a generated name", RiskNoName, encoded(t, "application/json", generated), true},
		{"both, of which the name counts", RiskNoName, encoded(t, "application/json", both), false},
		{"a named object in protobuf", RiskNoName, encoded(t, protobuf, named), false},
		{"a generated name in protobuf", RiskNoName, encoded(t, protobuf, generated), true},
		{"cut protobuf", RiskNoName, encoded(t, protobuf, named)[:20], true},
		{"an object over the limit, metadata first", RiskNoName, `{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"` + long + `"}}`, false},
		{"an object over the limit, metadata last", RiskNoName, `{"data":{"k":"` + long + `"},"metadata":{"name":"a"}}`, true},
		{"no metadata", RiskNoName, `{"kind":"Eviction"}`, true},
		{"no body", RiskNoName, ``, true},
		{"not JSON", RiskNoName, `kind: ConfigMap`, true},
		{"JSON, but no object", RiskNoName, `[1]`, true},
		{"cut before its metadata", RiskNoName, `{"kind":"Config`, true},
		{"protobuf without metadata", RiskNoName, encoded(t, protobuf, &metav1.DeleteOptions{}), true},
		{"metadata that is a string", RiskNoName, `{"metadata":"a"}`, true},

		{"a patch without a test", RiskJSONPatch, `[{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of what it changes", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec/n","value":2}]`, false},
		{"a test of the list it extends", RiskJSONPatch, `[{"op":"test","path":"/spec/list","value":[]},{"op":"add","path":"/spec/list/-","value":1}]`, false},
		{"a test inside what it replaces", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec","value":{}}]`, false},
		{"a test of what it moves away", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"move","from":"/a","path":"/b"}]`, false},
		{"a test of what it changes and replaces by what it moves there", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2},{"op":"move","from":"/x","path":"/a"},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test inside of what it changes and replaces by what it moves there", RiskJSONPatch, `[{"op":"test","path":"/a/b","value":1},{"op":"replace","path":"/a/b","value":2},{"op":"move","from":"/x","path":"/a"},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of what it changes, and a move of something else", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2},{"op":"move","from":"/x","path":"/y"},{"op":"add","path":"/l/-","value":1}]`, false},
		{"a test of what it leaves, and a move of something else", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"move","from":"/x","path":"/y"},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of the resourceVersion", RiskJSONPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/spec/list/-","value":1}]`, false},
		{"a test of the UID, which does not change", RiskJSONPatch, `[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of another path with the same prefix", RiskJSONPatch, `[{"op":"test","path":"/spec/li","value":1},{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of the value that it stores", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":1},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of the value that it stores, written in another way", RiskJSONPatch, `[{"op":"test","path":"/a","value":{"x":1,"y":2}},{"op":"replace","path":"/a","value":{ "y": 2, "x": 1.0 }},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of a value inside what it stores", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec","value":{"n":1,"m":2}},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of a value inside the list that it stores", RiskJSONPatch, `[{"op":"test","path":"/spec/0/n","value":1},{"op":"replace","path":"/spec","value":[{"n":1,"m":2}]},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of another value inside what it stores", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec","value":{"n":2}},{"op":"add","path":"/l/-","value":1}]`, false},
		{"a test of a value around what it stores again", RiskJSONPatch, `[{"op":"test","path":"/spec","value":{"a/b":1,"m":2}},{"op":"replace","path":"/spec/a~1b","value":1},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of a list into which it inserts an element again", RiskJSONPatch, `[{"op":"test","path":"/l","value":[1]},{"op":"add","path":"/l/0","value":1}]`, false},
		{"a test of a list of which it replaces an element by the same", RiskJSONPatch, `[{"op":"test","path":"/l","value":[1]},{"op":"replace","path":"/l/0","value":1},{"op":"add","path":"/m/-","value":1}]`, true},
		{"a test of a value that it changes and restores", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2},{"op":"add","path":"/l/-","value":1},{"op":"replace","path":"/a","value":1}]`, true},
		{"a test of a value that it restores and changes", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":1},{"op":"add","path":"/l/-","value":1},{"op":"replace","path":"/a","value":2}]`, false},
		{"a test of a value that it replaces by another one of the object", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"copy","from":"/b","path":"/a"},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test of what it removes", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"remove","path":"/a"},{"op":"add","path":"/l/-","value":1}]`, false},
		{"a test of the list of which it removes an element", RiskJSONPatch, `[{"op":"test","path":"/l","value":["x","x"]},{"op":"remove","path":"/l/0"}]`, false},
		{"a test of an element that it removes, which the next one may pass", RiskJSONPatch, `[{"op":"test","path":"/l/0","value":"x"},{"op":"remove","path":"/l/0"}]`, true},
		{"a test of a part of an element that it removes, which the next one may pass", RiskJSONPatch, `[{"op":"test","path":"/spec/tolerations/0/key","value":"x"},{"op":"remove","path":"/spec/tolerations/0"}]`, true},
		{"a test of an element that it moves away, which the next one may pass", RiskJSONPatch, `[{"op":"test","path":"/l/0","value":"x"},{"op":"move","from":"/l/0","path":"/m"}]`, true},
		{"a test of the name of the element that it removes", RiskJSONPatch, `[{"op":"test","path":"/spec/containers/1/name","value":"x"},{"op":"remove","path":"/spec/containers/1"}]`, false},
		{"a test of the name of the element that it moves away", RiskJSONPatch, `[{"op":"test","path":"/spec/containers/1/name","value":"x"},{"op":"move","from":"/spec/containers/1","path":"/spec/initContainers/0"}]`, false},
		{"a test of a name inside the element that it removes", RiskJSONPatch, `[{"op":"test","path":"/l/0/ref/name","value":"x"},{"op":"remove","path":"/l/0"}]`, true},
		{"a test of an element with a UID that it removes", RiskJSONPatch, `[{"op":"test","path":"/metadata/ownerReferences/0","value":{"uid":"u","kind":"A"}},{"op":"remove","path":"/metadata/ownerReferences/0"}]`, false},
		{"a test of an element without a name that it removes", RiskJSONPatch, `[{"op":"test","path":"/l/0","value":{"a":1}},{"op":"remove","path":"/l/0"}]`, true},
		{"a test of the finalizer that it removes", RiskJSONPatch, `[{"op":"test","path":"/metadata/finalizers/0","value":"x"},{"op":"remove","path":"/metadata/finalizers/0"}]`, false},
		{"a test of a part of an element of which it removes more", RiskJSONPatch, `[{"op":"test","path":"/l/0/a/b","value":1},{"op":"remove","path":"/l/0/a"},{"op":"add","path":"/l/-","value":1}]`, false},
		{"a test of the last element, which it removes", RiskJSONPatch, `[{"op":"test","path":"/l/-1","value":"x"},{"op":"remove","path":"/l/-1"}]`, true},
		{"a test of the name of the last element, which may have two indices", RiskJSONPatch, `[{"op":"test","path":"/spec/containers/-1/name","value":"x"},{"op":"remove","path":"/spec/containers/-1"}]`, true},
		{"a test of an element that it removes, with a sign in its index", RiskJSONPatch, `[{"op":"test","path":"/l/+0","value":"x"},{"op":"remove","path":"/l/+0"}]`, true},
		{"a test of the name of a subject, of which another namespace may have one, too", RiskJSONPatch, `[{"op":"test","path":"/subjects/0/name","value":"default"},{"op":"remove","path":"/subjects/0"}]`, true},
		{"a test of the name of an owner, of which another kind may be one, too", RiskJSONPatch, `[{"op":"test","path":"/metadata/ownerReferences/0/name","value":"x"},{"op":"remove","path":"/metadata/ownerReferences/0"}]`, true},
		{"a test of the name of a reference, which may be there with another port", RiskJSONPatch, `[{"op":"test","path":"/spec/rules/0/backendRefs/0/name","value":"x"},{"op":"remove","path":"/spec/rules/0/backendRefs/0"}]`, true},
		{"a test of a whole subject that it removes", RiskJSONPatch, `[{"op":"test","path":"/subjects/0","value":{"kind":"ServiceAccount","name":"default","namespace":"a"}},{"op":"remove","path":"/subjects/0"}]`, false},
		{"a test of an element that it changes, before it removes the one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"remove","path":"/l/0"}]`, true},
		{"a test of a part of an element that it changes, before it removes the one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1/image","value":"x"},{"op":"replace","path":"/l/1/image","value":"y"},{"op":"remove","path":"/l/0"}]`, true},
		{"a test of an element that it changes, before it inserts one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"add","path":"/l/0","value":"z"}]`, true},
		{"a test of an element that it changes, before it moves one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"move","from":"/m","path":"/l/0"}]`, true},
		{"a test of an element that it changes, before it moves the one in front away", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"move","from":"/l/0","path":"/m"}]`, true},
		{"a test of an element that it changes, before it copies one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"copy","from":"/m","path":"/l/0"}]`, true},
		{"a test of an element that it changes, after it has removed the one in front", RiskJSONPatch, `[{"op":"remove","path":"/l/0"},{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"}]`, true},
		{"a test of an element that it changes, before it appends one", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"add","path":"/l/-","value":"z"}]`, false},
		{"a test of the last element, which it changes, before it appends one", RiskJSONPatch, `[{"op":"test","path":"/l/-1","value":"x"},{"op":"replace","path":"/l/-1","value":"y"},{"op":"add","path":"/l/-","value":"x"}]`, true},
		{"a test of an element that it changes, before it replaces another one", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"replace","path":"/l/0","value":"z"}]`, false},
		{"a test of an element that it changes, before it changes the one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"remove","path":"/l/0/a"}]`, false},
		{"tests of the names of two elements that it removes", RiskJSONPatch, `[{"op":"test","path":"/spec/containers/0/name","value":"a"},{"op":"test","path":"/spec/containers/1/name","value":"b"},{"op":"remove","path":"/spec/containers/1"},{"op":"remove","path":"/spec/containers/0"}]`, false},
		{"tests of two finalizers that it removes one after the other", RiskJSONPatch, `[{"op":"test","path":"/metadata/finalizers/1","value":"a"},{"op":"remove","path":"/metadata/finalizers/1"},{"op":"test","path":"/metadata/finalizers/0","value":"b"},{"op":"remove","path":"/metadata/finalizers/0"}]`, false},
		{"a test of the version and the removal of the last element", RiskJSONPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"remove","path":"/l/-1"}]`, false},
		{"a test of an element that it changes, before it removes one behind it", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"remove","path":"/l/2"}]`, false},
		{"a test of an element that it changes, before it copies the one in front", RiskJSONPatch, `[{"op":"test","path":"/l/1","value":"x"},{"op":"replace","path":"/l/1","value":"y"},{"op":"copy","from":"/l/0","path":"/m"}]`, false},
		{"a test of a name that it changes, before it inserts it in front", RiskJSONPatch, `[{"op":"test","path":"/l/1/name","value":"a"},{"op":"replace","path":"/l/1/name","value":"b"},{"op":"add","path":"/l/0","value":{"name":"a"}},{"op":"add","path":"/l/0","value":{"name":"c"}}]`, true},
		{"a test of one finalizer, after which it removes another", RiskJSONPatch, `[{"op":"test","path":"/metadata/finalizers/1","value":"a"},{"op":"remove","path":"/metadata/finalizers/0"}]`, true},
		{"a test of a part of what it removes", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"remove","path":"/spec"},{"op":"add","path":"/l/-","value":1}]`, false},
		{"a test after the change", RiskJSONPatch, `[{"op":"replace","path":"/a","value":2},{"op":"test","path":"/a","value":2}]`, true},
		{"a test between two changes", RiskJSONPatch, `[{"op":"replace","path":"/a","value":1},{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test after the version was set", RiskJSONPatch, `[{"op":"add","path":"/metadata/resourceVersion","value":"7"},{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/l/-","value":1}]`, true},
		{"a test before and a test after the change", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2},{"op":"test","path":"/a","value":2}]`, false},
		{"a test after the change of something else", RiskJSONPatch, `[{"op":"add","path":"/l/-","value":1},{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2}]`, false},
		{"not a patch", RiskJSONPatch, `{}`, true},

		{"an open stream", RiskStream, ``, true},
		{"an action", RiskAction, encoded(t, "application/json", named), true},
		{"a collection", RiskCollection, `{"kind":"DeleteOptions"}`, true},
		{"no risk", RiskNone, `?`, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			req, err := http.NewRequest("POST", "https://server", strings.NewReader(c.body))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, req.Body) // it has been sent
			require.NoError(t, err)
			assert.Equal(t, c.unsafe, c.risk.Confirmed(req))
		})
	}
	t.Run("a body that cannot be opened again", func(t *testing.T) {
		req, err := http.NewRequest("POST", "https://server", strings.NewReader(`{"metadata":{"name":"a"}}`))
		require.NoError(t, err)
		req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
		assert.True(t, RiskNoName.Confirmed(req))
	})
	t.Run("a body that cannot be read again", func(t *testing.T) {
		req, err := http.NewRequest("POST", "https://server", io.NopCloser(strings.NewReader(`{"metadata":{"name":"a"}}`)))
		require.NoError(t, err)
		assert.True(t, RiskNoName.Confirmed(req))
	})
}
