package k8sretry

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// What a request does is read from its method, path, query and content type.
func TestRequestsAreUnderstood(t *testing.T) {
	const (
		pods   = "/api/v1/namespaces/web/pods"
		deploy = "/apis/apps/v1/namespaces/web/deployments"
	)
	for _, c := range []struct {
		method, target string
		contentType    string
		want           Verb
		name           string
		traits         string // watch, single, pure, and the suspicion
	}{
		{"GET", pods + "/a", "", VerbGet, "get pods", ""},
		{"GET", pods, "", VerbList, "list pods", ""},
		{"GET", "/api/v1/pods", "", VerbList, "list pods", ""},
		{"GET", "/api/v1/nodes/n", "", VerbGet, "get nodes", ""},
		{"HEAD", pods + "/a", "", VerbGet, "get pods", ""},
		{"POST", pods, "", VerbCreate, "create pods", "by name"},
		{"PUT", pods + "/a", "", VerbUpdate, "update pods", ""},
		{"DELETE", pods + "/a", "", VerbDelete, "delete pods", ""},
		{"DELETE", pods, "", VerbDeleteCollection, "deletecollection pods", ""},
		{"DELETE", pods + "?labelSelector=a%3Db", "", VerbDeleteCollection, "deletecollection pods", ""},
		{"POST", deploy, "", VerbCreate, "create deployments.apps", "by name"},
		{"GET", "/apis/example.com/v1beta2/widgets/w", "", VerbGet, "get widgets.example.com", ""},

		// Patches.
		{"PATCH", pods + "/a", "application/merge-patch+json", VerbPatch, "patch pods", ""},
		{"PATCH", pods + "/a", "application/strategic-merge-patch+json", VerbPatch, "patch pods", ""},
		{"PATCH", pods + "/a", "application/json-patch+json", VerbPatch, "patch pods", "by patch"},
		{"PATCH", pods + "/a", "application/json-patch+json; charset=utf-8", VerbPatch, "patch pods", "by patch"},
		{"PATCH", pods + "/a", "application/apply-patch+yaml", VerbApply, "apply pods", ""},
		{"PATCH", pods + "/a", "application/apply-patch+cbor", VerbApply, "apply pods", ""},

		// Subresources have the verb of their request.
		{"PUT", pods + "/a/status", "", VerbUpdate, "update pods/status", ""},
		{"GET", deploy + "/d/scale", "", VerbGet, "get deployments.apps/scale", ""},
		{"PUT", deploy + "/d/scale", "", VerbUpdate, "update deployments.apps/scale", ""},
		{"POST", pods + "/a/eviction", "", VerbCreate, "create pods/eviction", ""},
		{"POST", pods + "/a/binding", "", VerbCreate, "create pods/binding", ""},
		{"PATCH", pods + "/a/ephemeralcontainers", "application/strategic-merge-patch+json", VerbPatch, "patch pods/ephemeralcontainers", ""},
		{"GET", pods + "/a/log", "", VerbGet, "get pods/log", ""},
		{"GET", pods + "/a/log?follow=false", "", VerbGet, "get pods/log", ""},
		{"GET", pods + "/a/log?follow=true&container=c", "", VerbGet, "get pods/log", "single"},

		// Streams and proxied requests.
		{"POST", pods + "/a/exec?command=ls", "", VerbCreate, "create pods/exec", "single, always"},
		{"GET", pods + "/a/exec?command=ls", "", VerbGet, "get pods/exec", "single, always"},
		{"POST", pods + "/a/attach", "", VerbCreate, "create pods/attach", "single, always"},
		{"POST", pods + "/a/portforward", "", VerbCreate, "create pods/portforward", "single, always"},
		{"GET", pods + "/a/proxy/healthz", "", VerbGet, "get pods/proxy", ""},
		{"POST", pods + "/a/proxy/orders", "", VerbCreate, "create pods/proxy", ""},
		{"PUT", pods + "/a/proxy/orders/1", "", VerbUpdate, "update pods/proxy", ""},
		{"PATCH", "/api/v1/namespaces/web/services/s:80/proxy/api/v1/x", "application/merge-patch+json", VerbCreate, "create services/proxy", ""},
		{"POST", "/api/v1/nodes/n/proxy/run", "", VerbCreate, "create nodes/proxy", ""},

		// Watches.
		{"GET", pods + "?watch=true", "", VerbWatch, "watch pods", "watch, single"},
		{"GET", pods + "?resourceVersion=5&watch=1", "", VerbWatch, "watch pods", "watch, single"},
		{"GET", pods + "?watch=false", "", VerbList, "list pods", ""},
		{"GET", pods + "?watch=0", "", VerbList, "list pods", ""},
		{"GET", pods + "?labelSelector=watch%3Dtrue", "", VerbList, "list pods", ""},
		{"GET", "/api/v1/watch/namespaces/web/pods/a", "", VerbWatch, "watch pods", "watch, single"},
		{"GET", "/apis/apps/v1/watch/deployments", "", VerbWatch, "watch deployments.apps", "watch, single"},

		// Nothing is stored.
		{"POST", pods + "?dryRun=All", "", VerbCreate, "create pods", "pure"},
		{"PATCH", pods + "/a?dryRun=All&fieldManager=x", "application/json-patch+json", VerbPatch, "patch pods", "pure"},
		{"DELETE", pods + "?dryRun=All", "", VerbDeleteCollection, "deletecollection pods", "pure"},
		{"POST", pods + "?dryRun=", "", VerbCreate, "create pods", "by name"},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", "", VerbCreate, "create tokenreviews.authentication.k8s.io", "pure"},
		{"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "", VerbCreate, "create subjectaccessreviews.authorization.k8s.io", "pure"},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", VerbCreate, "create selfsubjectaccessreviews.authorization.k8s.io", "pure"},
		{"POST", "/apis/authorization.k8s.io/v1/namespaces/web/localsubjectaccessreviews", "", VerbCreate, "create localsubjectaccessreviews.authorization.k8s.io", "pure"},
		{"POST", "/api/v1/namespaces/web/serviceaccounts/sa/token", "", VerbCreate, "create serviceaccounts/token", "pure"},
		{"POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "", VerbCreate, "create clusterroles.rbac.authorization.k8s.io", "by name"},

		// Namespaces are resources, too.
		{"GET", "/api/v1/namespaces", "", VerbList, "list namespaces", ""},
		{"GET", "/api/v1/namespaces/web", "", VerbGet, "get namespaces", ""},
		{"DELETE", "/api/v1/namespaces/web", "", VerbDelete, "delete namespaces", ""},
		{"PUT", "/api/v1/namespaces/web/finalize", "", VerbUpdate, "update namespaces/finalize", ""},
		{"PUT", "/api/v1/namespaces/web/status", "", VerbUpdate, "update namespaces/status", ""},
		{"GET", "/api/v1/namespaces/api/pods/v1", "", VerbGet, "get pods", ""},

		// No resource; a gateway's prefix.
		{"GET", "/version", "", VerbGet, "get /version", ""},
		{"GET", "/apis", "", VerbGet, "get /apis", ""},
		{"GET", "/apis/apps/v1", "", VerbGet, "get /apis", ""},
		{"GET", "/openapi/v3/apis/apps/v1", "", VerbGet, "get /openapi", ""},
		{"POST", "/elsewhere", "", VerbCreate, "create /elsewhere", ""},
		{"GET", "/k8s/clusters/c-1" + pods, "", VerbList, "list pods", ""},
		{"DELETE", "/k8s/clusters/c-1" + deploy + "/d", "", VerbDelete, "delete deployments.apps", ""},
	} {
		t.Run(c.method+" "+c.target+" "+c.contentType, func(t *testing.T) {
			req := httptest.NewRequest(c.method, "https://server"+c.target, nil)
			req.Header.Set("Content-Type", c.contentType)
			k := describe(req)
			assert.Equal(t, c.want.String(), k.verb.String())
			assert.Equal(t, c.name, k.name())
			var traits []string
			for name, has := range map[string]bool{"watch": k.watch} {
				if has {
					traits = append(traits, name)
				}
			}
			if k.single {
				traits = append(traits, "single")
			}
			if k.pure {
				traits = append(traits, "pure")
			}
			switch k.suspicion {
			case generatedName:
				traits = append(traits, "by name")
			case unguardedPatch:
				traits = append(traits, "by patch")
			case always:
				traits = append(traits, "always")
			}
			assert.Equal(t, c.traits, strings.Join(traits, ", "))
		})
	}
}

func TestUpgradesAreStreams(t *testing.T) {
	req := httptest.NewRequest("GET", "https://server/api/v1/namespaces/web/pods/a/proxy/socket", nil)
	req.Header.Set("Upgrade", "websocket")
	k := describe(req)
	assert.True(t, k.single)
}

func TestDescribingIsFree(t *testing.T) {
	req := httptest.NewRequest("GET", "https://server/apis/apps/v1/namespaces/web/deployments/d", nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { describe(req) }))
}

// encoded is an object as a client with a content type of its own sends it.
func encoded(t *testing.T, media string, object runtime.Object) string {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	require.True(t, ok)
	var b bytes.Buffer
	require.NoError(t, scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion).Encode(object, &b))
	return b.String()
}

// Where a dry run is asked for decides whether it is one: what a deletion has in its body
// takes the place of its query (k8s.io/apiserver/pkg/endpoints/handlers/delete.go).
func TestWhereADryRunIsAsked(t *testing.T) {
	const dry = `{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}`
	for _, c := range []struct {
		situation, method, path, body string
		pure                          bool
	}{
		{"in the query alone", "DELETE", "/pods/a?dryRun=All", "", true},
		{"in the body", "DELETE", "/pods/a", dry, true},
		{"in the body, of a collection", "DELETE", "/pods", dry, true},
		{"in the query, and the body has other options: not a dry run", "DELETE", "/pods/a?dryRun=All", `{"kind":"DeleteOptions"}`, false},
		{"nowhere", "DELETE", "/pods/a", `{"kind":"DeleteOptions"}`, false},
		{"a key that the server does not know", "DELETE", "/pods/a", `{"dryrun":["All"]}`, false},
		{"a value that the server does not know", "DELETE", "/pods/a", `{"dryRun":["Some"]}`, false},
		{"an empty list", "DELETE", "/pods/a", `{"dryRun":[]}`, false},
		{"no JSON", "DELETE", "/pods/a", `dryRun: [All]`, false},
		{"broken protobuf", "DELETE", "/pods/a", "k8s\x00?", false},
		{"in an eviction", "POST", "/pods/a/eviction", `{"kind":"Eviction","deleteOptions":` + dry + `}`, true},
		{"at the wrong place of an eviction", "POST", "/pods/a/eviction", dry, false},
		{"an eviction, in the query", "POST", "/pods/a/eviction?dryRun=All", `{"kind":"Eviction"}`, true},
		{"in the body of a create, which has no options there", "POST", "/pods", dry, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			req, err := http.NewRequest(c.method, "https://server/api/v1/namespaces/web"+c.path, body)
			require.NoError(t, err)
			k := describe(req)
			assert.Equal(t, c.pure, k.pure || k.dryRunInBody(req))
		})
	}
	t.Run("in a body that cannot be read again", func(t *testing.T) {
		req, err := http.NewRequest("DELETE", "https://server/api/v1/namespaces/web/pods/a", io.NopCloser(strings.NewReader(dry)))
		require.NoError(t, err)
		k := describe(req)
		assert.False(t, k.dryRunInBody(req))
	})
}

// Some requests must not be repeated blindly, and only their bodies tell.
func TestBodiesTellWhatMayBeRepeated(t *testing.T) {
	named := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	generated := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}}
	both := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", GenerateName: "a-"}}
	long := strings.Repeat("x", longestPeek)
	for _, c := range []struct {
		situation string
		why       suspicion
		body      string
		unsafe    bool
	}{
		{"a named object", generatedName, encoded(t, "application/json", named), false},
		{"a generated name", generatedName, encoded(t, "application/json", generated), true},
		{"a name and a generated one: the name wins", generatedName, encoded(t, "application/json", both), false},
		{"a named object in protobuf", generatedName, encoded(t, "application/vnd.kubernetes.protobuf", named), false},
		{"a generated name in protobuf", generatedName, encoded(t, "application/vnd.kubernetes.protobuf", generated), true},
		{"cut protobuf", generatedName, encoded(t, "application/vnd.kubernetes.protobuf", named)[:20], true},
		{"a long object that begins with its metadata", generatedName, `{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"` + long + `"}}`, false},
		{"a long object that does not", generatedName, `{"data":{"k":"` + long + `"},"metadata":{"name":"a"}}`, true},
		{"no metadata", generatedName, `{"kind":"Eviction"}`, false},
		{"no body", generatedName, ``, false},
		{"no JSON", generatedName, `kind: ConfigMap`, true},
		{"JSON, but no object", generatedName, `[1]`, true},
		{"metadata of a strange shape", generatedName, `{"metadata":"a"}`, true},

		{"a patch without a test", unguardedPatch, `[{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of what it changes", unguardedPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec/n","value":2}]`, false},
		{"a test of the list it extends", unguardedPatch, `[{"op":"test","path":"/spec/list","value":[]},{"op":"add","path":"/spec/list/-","value":1}]`, false},
		{"a test inside what it replaces", unguardedPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec","value":{}}]`, false},
		{"a test of what it moves away", unguardedPatch, `[{"op":"test","path":"/a","value":1},{"op":"move","from":"/a","path":"/b"}]`, false},
		{"a test of the resourceVersion", unguardedPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/spec/list/-","value":1}]`, false},
		{"a test of the UID, which stays", unguardedPatch, `[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of a neighbour", unguardedPatch, `[{"op":"test","path":"/spec/li","value":1},{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"no patch at all", unguardedPatch, `{}`, true},

		{"an open stream", always, ``, true},
		{"anything else", harmless, `?`, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			req, err := http.NewRequest("POST", "https://server", strings.NewReader(c.body))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, req.Body) // it was sent already
			require.NoError(t, err)
			assert.Equal(t, c.unsafe, c.why.confirmed(req))
		})
	}
	t.Run("a body that cannot be read again", func(t *testing.T) {
		req, err := http.NewRequest("POST", "https://server", io.NopCloser(strings.NewReader(`{"metadata":{"name":"a"}}`)))
		require.NoError(t, err)
		assert.True(t, generatedName.confirmed(req))
	})
}
