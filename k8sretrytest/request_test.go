// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestRequestsAreNamedAsRBACDoes(t *testing.T) {
	cases := []struct{ method, url, contentType, verb, resource string }{
		{"GET", "/api/v1/namespaces/default/pods/web-0", "", "get", "pods"},
		{"GET", "/api/v1/namespaces/default/pods/web-0/log?follow=1", "", "get", "pods/log"},
		{"GET", "/api/v1/namespaces/default/pods", "", "list", "pods"},
		{"GET", "/api/v1/pods?watch=true", "", "watch", "pods"},
		{"GET", "/api/v1/pods?watch=1&fieldSelector=metadata.name%3Da", "", "watch", "pods"},
		{"GET", "/api/v1/nodes/n-0", "", "get", "nodes"},
		{"GET", "/api/v1/namespaces", "", "list", "namespaces"},
		{"GET", "/api/v1/namespaces/default", "", "get", "namespaces"},
		{"PUT", "/api/v1/namespaces/default/finalize", "", "update", "namespaces/finalize"},
		{"PUT", "/api/v1/namespaces/default/status", "", "update", "namespaces/status"},
		{"POST", "/apis/apps/v1/namespaces/default/deployments", "", "create", "deployments"},
		{"POST", "/api/v1/namespaces/default/pods/web-0/eviction", "", "create", "pods/eviction"},
		{"PUT", "/apis/apps/v1/namespaces/default/deployments/web/scale", "", "update", "deployments/scale"},
		{"PATCH", "/apis/apps/v1/namespaces/default/deployments/web", "application/merge-patch+json", "patch", "deployments"},
		{"PATCH", "/apis/apps/v1/namespaces/default/deployments/web", "application/apply-patch+yaml", "apply", "deployments"},
		{"DELETE", "/apis/apps/v1/namespaces/default/deployments/web", "", "delete", "deployments"},
		{"DELETE", "/apis/apps/v1/namespaces/default/deployments", "", "deletecollection", "deployments"},
		{"GET", "/k8s/clusters/c-1/apis/apps/v1/namespaces/default/deployments/web", "", "get", "deployments"},
		{"PATCH", "/api/v1/namespaces/default/services/s/proxy/x", "application/merge-patch+json", "patch", "services/proxy"},
		{"GET", "/api/v1/watch/namespaces/default/pods", "", "watch", "pods"},
		// The assumption was that the first path of the API is that of the request.
		{"GET", "/api/v1/tenants/t/k8s/apis/apps/v1/namespaces/default/deployments", "", "list", "deployments"},
		{"DELETE", "/apis/cluster.karmada.io/v1alpha1/clusters/m1/proxy/api/v1/namespaces/default/pods/web-0", "", "delete", "pods"},
		{"DELETE", "/apis/cluster.karmada.io/v1alpha1/clusters/m1/proxy/api/v1/namespaces/default/pods", "", "deletecollection", "pods"},
		{"GET", "/api", "", "", ""},
		{"GET", "/api/v1", "", "", ""},
		{"GET", "/apis/apps/v1", "", "", ""},
		{"GET", "/version", "", "", ""},
		{"GET", "/healthz", "", "", ""},
		{"OPTIONS", "/api/v1/pods", "", "", ""},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.url, func(t *testing.T) {
			var faults k8sretrytest.Faults
			reached := false
			transport := faults.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
				reached = true
				return httptest.NewRecorder().Result(), nil
			}))
			faults.FailNext(1, "*", "*", errFault)
			req := httptest.NewRequest(c.method, c.url, nil)
			req.Header.Set("Content-Type", c.contentType)
			resp, err := transport.RoundTrip(req)
			if c.verb == "" {
				require.NoError(t, err)
				assert.NoError(t, resp.Body.Close())
				assert.True(t, reached, "a path that is not a resource reaches the server")
				assert.Zero(t, faults.Calls("*", "*"))
				return
			}
			assert.ErrorIs(t, err, errFault)
			assert.False(t, reached)
			assert.Equal(t, 1, faults.Calls(c.verb, c.resource))
		})
	}
}
