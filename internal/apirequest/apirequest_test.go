package apirequest

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

func TestReadDescribesARequest(t *testing.T) {
	const (
		pods   = "/api/v1/namespaces/web/pods"
		deploy = "/apis/apps/v1/namespaces/web/deployments"
	)
	for _, c := range []struct {
		method, target string
		contentType    string
		want           Verb
		name           string
		traits         string // watch, once, stores nothing, and the risk
	}{
		{"GET", pods + "/a", "", Get, "get pods", ""},
		{"GET", pods, "", List, "list pods", ""},
		{"GET", "/api/v1/pods", "", List, "list pods", ""},
		{"GET", "/api/v1/nodes/n", "", Get, "get nodes", ""},
		{"HEAD", pods + "/a", "", Get, "get pods", ""},
		{"POST", pods, "", Create, "create pods", "generates a name"},
		{"PUT", pods + "/a", "", Update, "update pods", ""},
		{"DELETE", pods + "/a", "", Delete, "delete pods", ""},
		{"DELETE", pods, "", DeleteCollection, "deletecollection pods", ""},
		{"DELETE", pods + "?labelSelector=a%3Db", "", DeleteCollection, "deletecollection pods", ""},
		{"POST", deploy, "", Create, "create deployments.apps", "generates a name"},
		{"GET", "/apis/example.com/v1beta2/widgets/w", "", Get, "get widgets.example.com", ""},

		// Patches.
		{"PATCH", pods + "/a", "application/merge-patch+json", Patch, "patch pods", ""},
		{"PATCH", pods + "/a", "application/strategic-merge-patch+json", Patch, "patch pods", ""},
		{"PATCH", pods + "/a", "application/json-patch+json", Patch, "patch pods", "patches without a test"},
		{"PATCH", pods + "/a", "application/json-patch+json; charset=utf-8", Patch, "patch pods", "patches without a test"},
		{"PATCH", pods + "/a", "application/apply-patch+yaml", Apply, "apply pods", ""},
		{"PATCH", pods + "/a", "application/apply-patch+cbor", Apply, "apply pods", ""},

		// Subresources have the verb of their request.
		{"PUT", pods + "/a/status", "", Update, "update pods/status", ""},
		{"GET", deploy + "/d/scale", "", Get, "get deployments.apps/scale", ""},
		{"PUT", deploy + "/d/scale", "", Update, "update deployments.apps/scale", ""},
		{"POST", pods + "/a/eviction", "", Create, "create pods/eviction", ""},
		{"POST", pods + "/a/binding", "", Create, "create pods/binding", ""},
		{"PATCH", pods + "/a/ephemeralcontainers", "application/strategic-merge-patch+json", Patch, "patch pods/ephemeralcontainers", ""},
		{"GET", pods + "/a/log", "", Get, "get pods/log", ""},
		{"GET", pods + "/a/log?follow=false", "", Get, "get pods/log", ""},
		{"GET", pods + "/a/log?follow=true&container=c", "", Get, "get pods/log", "once"},

		// Streams and proxied requests.
		{"POST", pods + "/a/exec?command=ls", "", Create, "create pods/exec", "once, opens a stream"},
		{"GET", pods + "/a/exec?command=ls", "", Get, "get pods/exec", "once, opens a stream"},
		{"POST", pods + "/a/attach", "", Create, "create pods/attach", "once, opens a stream"},
		{"POST", pods + "/a/portforward", "", Create, "create pods/portforward", "once, opens a stream"},
		{"GET", pods + "/a/proxy/healthz", "", Get, "get pods/proxy", ""},
		{"POST", pods + "/a/proxy/orders", "", Create, "create pods/proxy", ""},
		{"PUT", pods + "/a/proxy/orders/1", "", Update, "update pods/proxy", ""},
		{"PATCH", "/api/v1/namespaces/web/services/s:80/proxy/api/v1/x", "application/merge-patch+json", Create, "create services/proxy", ""},
		{"POST", "/api/v1/nodes/n/proxy/run", "", Create, "create nodes/proxy", ""},

		// Watches.
		{"GET", pods + "?watch=true", "", Watch, "watch pods", "watch, once"},
		{"GET", pods + "?resourceVersion=5&watch=1", "", Watch, "watch pods", "watch, once"},
		{"GET", pods + "?watch=false", "", List, "list pods", ""},
		{"GET", pods + "?watch=0", "", List, "list pods", ""},
		{"GET", pods + "?labelSelector=watch%3Dtrue", "", List, "list pods", ""},
		{"GET", "/api/v1/watch/namespaces/web/pods/a", "", Watch, "watch pods", "watch, once"},
		{"GET", "/apis/apps/v1/watch/deployments", "", Watch, "watch deployments.apps", "watch, once"},

		// Nothing is stored.
		{"POST", pods + "?dryRun=All", "", Create, "create pods", "stores nothing"},
		{"PATCH", pods + "/a?dryRun=All&fieldManager=x", "application/json-patch+json", Patch, "patch pods", "stores nothing"},
		{"DELETE", pods + "?dryRun=All", "", DeleteCollection, "deletecollection pods", "stores nothing"},
		{"POST", pods + "?dryRun=", "", Create, "create pods", "generates a name"},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", "", Create, "create tokenreviews.authentication.k8s.io", "stores nothing"},
		{"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "", Create, "create subjectaccessreviews.authorization.k8s.io", "stores nothing"},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", Create, "create selfsubjectaccessreviews.authorization.k8s.io", "stores nothing"},
		{"POST", "/apis/authorization.k8s.io/v1/namespaces/web/localsubjectaccessreviews", "", Create, "create localsubjectaccessreviews.authorization.k8s.io", "stores nothing"},
		{"POST", "/api/v1/namespaces/web/serviceaccounts/sa/token", "", Create, "create serviceaccounts/token", "stores nothing"},
		{"POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "", Create, "create clusterroles.rbac.authorization.k8s.io", "generates a name"},

		// Namespaces are resources themselves.
		{"GET", "/api/v1/namespaces", "", List, "list namespaces", ""},
		{"GET", "/api/v1/namespaces/web", "", Get, "get namespaces", ""},
		{"DELETE", "/api/v1/namespaces/web", "", Delete, "delete namespaces", ""},
		{"PUT", "/api/v1/namespaces/web/finalize", "", Update, "update namespaces/finalize", ""},
		{"PUT", "/api/v1/namespaces/web/status", "", Update, "update namespaces/status", ""},
		{"GET", "/api/v1/namespaces/api/pods/v1", "", Get, "get pods", ""},

		// No resource; the prefix of a gateway.
		{"GET", "/version", "", Get, "get /version", ""},
		{"GET", "/apis", "", Get, "get /apis", ""},
		{"GET", "/apis/apps/v1", "", Get, "get /apis", ""},
		{"GET", "/openapi/v3/apis/apps/v1", "", Get, "get /openapi", ""},
		{"POST", "/elsewhere", "", Create, "create /elsewhere", ""},
		{"GET", "/k8s/clusters/c-1" + pods, "", List, "list pods", ""},
		{"DELETE", "/k8s/clusters/c-1" + deploy + "/d", "", Delete, "delete deployments.apps", ""},
	} {
		t.Run(c.method+" "+c.target+" "+c.contentType, func(t *testing.T) {
			req := httptest.NewRequest(c.method, "https://server"+c.target, nil)
			req.Header.Set("Content-Type", c.contentType)
			r := Read(req)
			assert.Equal(t, c.want.String(), r.Verb.String())
			assert.Equal(t, c.name, r.Name())
			var traits []string
			if r.Watch {
				traits = append(traits, "watch")
			}
			if r.Once {
				traits = append(traits, "once")
			}
			if r.StoresNothing {
				traits = append(traits, "stores nothing")
			}
			switch r.Risk {
			case RiskGenerateName:
				traits = append(traits, "generates a name")
			case RiskJSONPatch:
				traits = append(traits, "patches without a test")
			case RiskStream:
				traits = append(traits, "opens a stream")
			}
			assert.Equal(t, c.traits, strings.Join(traits, ", "))
		})
	}
}

func TestReadTakesAnUpgradeForAStream(t *testing.T) {
	req := httptest.NewRequest("GET", "https://server/api/v1/namespaces/web/pods/a/proxy/socket", nil)
	req.Header.Set("Upgrade", "websocket")
	r := Read(req)
	assert.True(t, r.Once)
}

func TestReadDoesNotAllocate(t *testing.T) {
	req := httptest.NewRequest("GET", "https://server/apis/apps/v1/namespaces/web/deployments/d", nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { Read(req) }))
}

// encoded returns an object as a client with the given content type sends it.
func encoded(t *testing.T, media string, object runtime.Object) string {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	require.True(t, ok)
	var b bytes.Buffer
	require.NoError(t, scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion).Encode(object, &b))
	return b.String()
}

// The options in the body of a deletion replace those in its query
// (k8s.io/apiserver/pkg/endpoints/handlers/delete.go).
func TestDryRunIsReadFromWhereTheServerReadsIt(t *testing.T) {
	const dry = `{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}`
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
		{"not JSON", "DELETE", "/pods/a", `dryRun: [All]`, false},
		{"broken protobuf", "DELETE", "/pods/a", "k8s\x00?", false},
		{"in an eviction", "POST", "/pods/a/eviction", `{"kind":"Eviction","deleteOptions":` + dry + `}`, true},
		{"at the wrong position in an eviction", "POST", "/pods/a/eviction", dry, false},
		{"in the query of an eviction", "POST", "/pods/a/eviction?dryRun=All", `{"kind":"Eviction"}`, true},
		{"in the body of a create, which contains no options", "POST", "/pods", dry, false},
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
		{"a named object", RiskGenerateName, encoded(t, "application/json", named), false},
		{"a generated name", RiskGenerateName, encoded(t, "application/json", generated), true},
		{"both, of which the name counts", RiskGenerateName, encoded(t, "application/json", both), false},
		{"a named object in protobuf", RiskGenerateName, encoded(t, "application/vnd.kubernetes.protobuf", named), false},
		{"a generated name in protobuf", RiskGenerateName, encoded(t, "application/vnd.kubernetes.protobuf", generated), true},
		{"cut protobuf", RiskGenerateName, encoded(t, "application/vnd.kubernetes.protobuf", named)[:20], true},
		{"an object over the limit, metadata first", RiskGenerateName, `{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"` + long + `"}}`, false},
		{"an object over the limit, metadata last", RiskGenerateName, `{"data":{"k":"` + long + `"},"metadata":{"name":"a"}}`, true},
		{"no metadata", RiskGenerateName, `{"kind":"Eviction"}`, false},
		{"no body", RiskGenerateName, ``, false},
		{"not JSON", RiskGenerateName, `kind: ConfigMap`, true},
		{"JSON, but no object", RiskGenerateName, `[1]`, true},
		{"metadata that is a string", RiskGenerateName, `{"metadata":"a"}`, true},

		{"a patch without a test", RiskJSONPatch, `[{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of what it changes", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec/n","value":2}]`, false},
		{"a test of the list it extends", RiskJSONPatch, `[{"op":"test","path":"/spec/list","value":[]},{"op":"add","path":"/spec/list/-","value":1}]`, false},
		{"a test inside what it replaces", RiskJSONPatch, `[{"op":"test","path":"/spec/n","value":1},{"op":"replace","path":"/spec","value":{}}]`, false},
		{"a test of what it moves away", RiskJSONPatch, `[{"op":"test","path":"/a","value":1},{"op":"move","from":"/a","path":"/b"}]`, false},
		{"a test of the resourceVersion", RiskJSONPatch, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/spec/list/-","value":1}]`, false},
		{"a test of the UID, which does not change", RiskJSONPatch, `[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"a test of another path with the same prefix", RiskJSONPatch, `[{"op":"test","path":"/spec/li","value":1},{"op":"add","path":"/spec/list/-","value":1}]`, true},
		{"not a patch", RiskJSONPatch, `{}`, true},

		{"an open stream", RiskStream, ``, true},
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
	t.Run("a body that cannot be read again", func(t *testing.T) {
		req, err := http.NewRequest("POST", "https://server", io.NopCloser(strings.NewReader(`{"metadata":{"name":"a"}}`)))
		require.NoError(t, err)
		assert.True(t, RiskGenerateName.Confirmed(req))
	})
}

func TestVerbsThatReadChangeNothing(t *testing.T) {
	for v := range DeleteCollection + 1 {
		assert.Equal(t, v == Get || v == List || v == Watch, v.Reads(), v)
	}
	assert.Equal(t, "invalid", (DeleteCollection + 1).String())
}
