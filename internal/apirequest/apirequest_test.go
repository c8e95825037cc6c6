// SPDX-License-Identifier: Apache-2.0

package apirequest

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReadDescribesARequest(t *testing.T) {
	const (
		pods   = "/api/v1/namespaces/web/pods"
		deploy = "/apis/apps/v1/namespaces/web/deployments"

		kubevirt   = "/apis/subresources.kubevirt.io/v1/namespaces/web"
		karmada    = "/apis/cluster.karmada.io/v1alpha1/clusters/m1/proxy"
		clusternet = "/apis/proxies.clusternet.io/v1alpha1/sockets/0b1c/proxy"
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
		{"DELETE", pods, "", DeleteCollection, "deletecollection pods", "a collection"},
		{"DELETE", pods + "?labelSelector=a%3Db", "", DeleteCollection, "deletecollection pods", "a collection"},
		{"POST", deploy, "", Create, "create deployments.apps", "generates a name"},
		{"GET", "/apis/example.com/v1beta2/widgets/w", "", Get, "get widgets.example.com", ""},

		// Patches.
		{"PATCH", pods + "/a", "application/merge-patch+json", Patch, "patch pods", ""},
		{"PATCH", pods + "/a", "application/strategic-merge-patch+json", Patch, "patch pods", "merges lists"},
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
		{"PATCH", pods + "/a/ephemeralcontainers", "application/strategic-merge-patch+json", Patch, "patch pods/ephemeralcontainers", "merges lists"},
		{"GET", pods + "/a/log", "", Get, "get pods/log", ""},
		{"GET", pods + "/a/log?follow=false", "", Get, "get pods/log", ""},
		{"GET", pods + "/a/log?follow=true&container=c", "", Get, "get pods/log", "once"},

		// A write to a subresource that is not known as a part of the state may do anything.
		{"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval", "", Update, "update certificatesigningrequests.certificates.k8s.io/approval", ""},
		{"PUT", pods + "/a/ephemeralcontainers", "", Update, "update pods/ephemeralcontainers", ""},
		{"PATCH", pods + "/a/resize", "application/strategic-merge-patch+json", Patch, "patch pods/resize", "merges lists"},
		{"PATCH", deploy + "/d/status", "application/apply-patch+yaml", Apply, "apply deployments.apps/status", ""},
		{"PATCH", deploy + "/d/status", "application/json-patch+json", Patch, "patch deployments.apps/status", "patches without a test"},
		{"PUT", kubevirt + "/virtualmachines/x/restart", "", Update, "update virtualmachines.subresources.kubevirt.io/restart", "acts"},
		{"PUT", kubevirt + "/virtualmachineinstances/x/pause?dryRun=All", "", Update, "update virtualmachineinstances.subresources.kubevirt.io/pause", "acts"},
		{"PATCH", kubevirt + "/virtualmachines/x/restart", "application/merge-patch+json", Patch, "patch virtualmachines.subresources.kubevirt.io/restart", "acts"},
		{"PATCH", kubevirt + "/virtualmachines/x/restart", "application/apply-patch+yaml", Apply, "apply virtualmachines.subresources.kubevirt.io/restart", "acts"},
		{"DELETE", kubevirt + "/virtualmachines/x/volume", "", Delete, "delete virtualmachines.subresources.kubevirt.io/volume", "acts"},
		{"DELETE", pods + "/a/status", "", Delete, "delete pods/status", "acts"},

		// The API of another cluster, behind a proxy or a gateway whose path looks like the API.
		{"DELETE", karmada + pods, "", DeleteCollection, "deletecollection pods", "a collection"},
		{"DELETE", karmada + pods + "/a", "", Delete, "delete pods", ""},
		{"GET", karmada + deploy + "?watch=true", "", Watch, "watch deployments.apps", "watch, once"},
		{"GET", karmada + deploy + "/d", "", Get, "get deployments.apps", ""},
		{"POST", karmada + pods, "", Create, "create pods", "generates a name"},
		{"POST", karmada + pods + "?dryRun=All", "", Create, "create pods", "stores nothing"},
		{"PATCH", karmada + pods + "/a", "application/merge-patch+json", Patch, "patch pods", ""},
		{"POST", karmada + pods + "/a/exec", "", Create, "create pods/exec", "once, opens a stream"},
		{"DELETE", karmada + pods + "/a/proxy/api/v1/things/1", "", Delete, "delete pods/proxy", "acts"},
		{"DELETE", karmada + "/elsewhere", "", Delete, "delete clusters.cluster.karmada.io/proxy", "acts"},
		{"GET", karmada + "/apis/apps/v1", "", Get, "get clusters.cluster.karmada.io/proxy", ""},
		{"GET", karmada + "/elsewhere?watch=true", "", Watch, "watch clusters.cluster.karmada.io/proxy", "watch, once"},
		{"DELETE", clusternet + "/https/10.0.0.1:6443" + pods, "", DeleteCollection, "deletecollection pods", "a collection"},
		{"GET", clusternet + "/direct" + pods + "?watch=true", "", Watch, "watch pods", "watch, once"},
		{"DELETE", clusternet + "/direct" + karmada + pods, "", DeleteCollection, "deletecollection pods", "a collection"},
		{"DELETE", "/api/v1/gateway" + pods, "", DeleteCollection, "deletecollection pods", "a collection"},
		{"DELETE", "/api/v1/clusters/c-1" + pods, "", DeleteCollection, "deletecollection pods", "a collection"},
		{"DELETE", "/apis/gateway.example.com/v1/tenants/t/clusters/c-1" + deploy, "", DeleteCollection, "deletecollection deployments.apps", "a collection"},
		{"GET", "/api/v1/tenants/t/k8s" + deploy + "/d", "", Get, "get deployments.apps", ""},
		{"PUT", "/apis/apps/v1/namespaces/apis/deployments/v1/scale", "", Update, "update deployments.apps/scale", ""},

		// Streams and proxied requests.
		{"POST", pods + "/a/exec?command=ls", "", Create, "create pods/exec", "once, opens a stream"},
		{"GET", pods + "/a/exec?command=ls", "", Get, "get pods/exec", "once, opens a stream"},
		{"POST", pods + "/a/attach", "", Create, "create pods/attach", "once, opens a stream"},
		{"POST", pods + "/a/portforward", "", Create, "create pods/portforward", "once, opens a stream"},
		{"GET", pods + "/a/proxy/healthz", "", Get, "get pods/proxy", ""},
		{"POST", pods + "/a/proxy/orders", "", Create, "create pods/proxy", "acts"},
		{"PUT", pods + "/a/proxy/orders/1", "", Update, "update pods/proxy", "acts"},
		{"DELETE", pods + "/a/proxy/orders/1", "", Delete, "delete pods/proxy", "acts"},
		{"DELETE", pods + "/a/proxy/orders?dryRun=All", "", Delete, "delete pods/proxy", "acts"},
		{"PATCH", "/api/v1/namespaces/web/services/s:80/proxy/api/v1/x", "application/merge-patch+json", Create, "create services/proxy", "acts"},
		{"POST", "/api/v1/nodes/n/proxy/run", "", Create, "create nodes/proxy", "acts"},
		{"GET", "/api/v1/namespaces/web/services/s:80/proxy/api/v1/x?watch=true", "", Watch, "watch services/proxy", "watch, once"},

		{"GET", "/api/v1/proxy/namespaces/web/services/s/api", "", Get, "get services/proxy", ""},

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
		{"GET", "/api/v/pods", "", Get, "get /api", ""},
		{"GET", "/api/v1x2/pods", "", Get, "get /api", ""},
		{"GET", "/apis/example.com/vx/widgets", "", Get, "get /apis", ""},
		{"GET", "/apis/example.com/valpha1/widgets", "", Get, "get /apis", ""},
		{"GET", "/apis/example.com/v2alpha/widgets", "", Get, "get /apis", ""},
		{"GET", "/apis/example.com/v2alpha10/widgets", "", List, "list widgets.example.com", ""},
		{"POST", "/elsewhere", "", Create, "create /elsewhere", "acts"},
		{"PUT", "/elsewhere", "", Update, "update /elsewhere", "acts"},
		{"DELETE", "/elsewhere", "", Delete, "delete /elsewhere", "acts"},
		{"PATCH", "/elsewhere?dryRun=All", "application/merge-patch+json", Patch, "patch /elsewhere", "acts"},
		{"GET", "/elsewhere?watch=1", "", Watch, "watch /elsewhere", "watch, once"},
		{"GET", "/elsewhere?follow=true", "", Get, "get /elsewhere", "once"},
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
			case RiskNoName:
				traits = append(traits, "generates a name")
			case RiskJSONPatch:
				traits = append(traits, "patches without a test")
			case RiskStrategicPatch:
				traits = append(traits, "merges lists")
			case RiskStream:
				traits = append(traits, "opens a stream")
			case RiskAction:
				traits = append(traits, "acts")
			case RiskCollection:
				traits = append(traits, "a collection")
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

// client-go adds the header Upgrade below its wrappers. What it asks for is in another header by then.
func TestReadTakesTheHandshakesOfClientGoForStreams(t *testing.T) {
	for header, value := range map[string]string{"Sec-WebSocket-Protocol": "v5.channel.k8s.io", "X-Stream-Protocol-Version": "v4.channel.k8s.io"} {
		req := httptest.NewRequest("GET", "https://server/shell", nil)
		assert.False(t, Read(req).Once)
		req.Header.Set(header, value)
		assert.True(t, Read(req).Once, header)
	}
}

func TestReadFindsWhatComesBeforeTheAPI(t *testing.T) {
	for path, prefix := range map[string]string{
		"/api/v1/namespaces/web/pods":                                     "",
		"/apis/apps/v1/deployments":                                       "",
		"/elsewhere":                                                      "",
		"/k8s/clusters/c-1/api/v1/namespaces/web/pods":                    "k8s/clusters/c-1",
		"/k8s/clusters/c-1/apis/apps/v1/deployments/":                     "k8s/clusters/c-1",
		"/k8s/clusters/c-1/version":                                       "",
		"/apis/cluster.karmada.io/v1alpha1/clusters/m1/proxy/api/v1/pods": "apis/cluster.karmada.io/v1alpha1/clusters/m1/proxy",
		"/api/v1/namespaces/web/services/s/proxy/api/v1/pods":             "",
	} {
		r := Read(httptest.NewRequest("GET", "https://server"+path, nil))
		assert.Equal(t, prefix, r.Prefix, path)
	}
}

func TestReadDoesNotAllocate(t *testing.T) {
	req := httptest.NewRequest("GET", "https://server/apis/apps/v1/namespaces/web/deployments/d", nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { Read(req) }))
}

func TestVerbsThatReadChangeNothing(t *testing.T) {
	for v := range DeleteCollection + 1 {
		assert.Equal(t, v == Get || v == List || v == Watch, v.Reads(), v)
	}
	assert.Equal(t, "invalid", (DeleteCollection + 1).String())
}
