// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/examples/databases/service"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestInvalidRequestsAreNotSentToTheCluster(t *testing.T) {
	cases := map[string]struct {
		body  string
		code  int
		field string
	}{
		"not JSON":           {body: `name=orders`, code: 400},
		"empty body":         {body: ``, code: 400},
		"two values":         {body: orders + orders, code: 400},
		"an unknown field":   {body: `{"name":"a","engine":"mysql","version":"8","storage":"1Gi","replicas":3}`, code: 400},
		"a number as name":   {body: `{"name":1}`, code: 400},
		"too large":          {body: `{"name":"` + strings.Repeat("a", 20_000) + `"}`, code: 413},
		"no name":            {body: `{"engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"upper case":         {body: `{"name":"Orders","engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"a path as name":     {body: `{"name":"../secrets","engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"a long name":        {body: `{"name":"` + strings.Repeat("a", 51) + `","engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"an unknown engine":  {body: `{"name":"a","engine":"excel","version":"8","storage":"1Gi"}`, code: 400, field: "engine"},
		"a word as version":  {body: `{"name":"a","engine":"mysql","version":"latest","storage":"1Gi"}`, code: 400, field: "version"},
		"storage in words":   {body: `{"name":"a","engine":"mysql","version":"8","storage":"much"}`, code: 400, field: "storage"},
		"too little storage": {body: `{"name":"a","engine":"mysql","version":"8","storage":"-1Gi"}`, code: 400, field: "storage"},
		"too much storage":   {body: `{"name":"a","engine":"mysql","version":"8","storage":"1Ei"}`, code: 400, field: "storage"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(service.Config{})
			got := c.request("POST", "/api/v1/databases", tc.body)
			assert.Equal(t, tc.code, got.code, "%v", got.body)
			assert.NotEmpty(t, got.body["message"])
			if tc.field != "" {
				fields, _ := got.body["fields"].(map[string]any)
				assert.Len(t, fields, 1)
				assert.Contains(t, fields, tc.field)
			}
			assert.Empty(t, c.Actions())
		})
	}
}

func TestPathsAndMethods(t *testing.T) {
	cases := map[string]struct {
		method, path string
		code         int
		allow        string
	}{
		"health":                         {"GET", "/healthz", 200, ""},
		"no such path":                   {"GET", "/api/v2/databases", 404, ""},
		"no list":                        {"GET", "/api/v1/databases", 405, "POST"},
		"no update":                      {"PUT", "/api/v1/databases/orders", 405, "DELETE, GET"},
		"no delete of ops":               {"DELETE", "/api/v1/opsrequests/orders", 405, "GET"},
		"get with an invalid name":       {"GET", "/api/v1/databases/No_Name", 400, ""},
		"delete with an invalid name":    {"DELETE", "/api/v1/databases/No_Name", 400, ""},
		"operation with an invalid name": {"GET", "/api/v1/opsrequests/No_Name", 400, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(service.Config{})
			got := c.request(tc.method, tc.path, "")
			assert.Equal(t, tc.code, got.code)
			assert.Equal(t, tc.allow, got.header.Get("Allow"))
			assert.Equal(t, "application/json", got.header.Get("Content-Type"))
			assert.NotContains(t, got.body, "not JSON")
			assert.Empty(t, c.Actions())
		})
	}
	plain := func(r *http.Request) *http.Request { r.Header.Set("Content-Type", "text/plain"); return r }
	assert.Equal(t, 415, newCluster(service.Config{}).request("POST", "/api/v1/databases", orders, plain).code)
}

func TestReplyWhenTheRequestIsCanceled(t *testing.T) {
	stopping := errors.New("the service is stopping")
	cases := map[string]struct {
		cause error
		code  int
	}{
		"caller disconnects": {context.Canceled, 499},
		"service stops":      {stopping, 503},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(service.Config{})
				c.fail("create", throttled, throttled, throttled)
				ctx, cancel := context.WithCancelCause(context.Background())
				go func() {
					testkit.Sleep(9 * time.Second) // virtual
					cancel(tc.cause)
				}()
				got := c.request("POST", "/api/v1/databases", orders, withContext(ctx))
				assert.Equal(t, tc.code, got.code, "%v", got.body)
				assert.Equal(t, 9*time.Second, got.took)
			})
		})
	}
}

func TestRetriesAndRequestsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(service.Config{})
		c.fail("create", unavailable)
		c.request("POST", "/api/v1/databases", orders)
		var events []string
		for _, line := range c.log.All() {
			events = append(events, line.Message)
		}
		require.Equal(t, []string{"k8s_api_call_failed_retrying", "k8s_api_call_succeeded_after_retry", "http_request"}, events)
		assert.Equal(t, "create_database", c.log.All()[0].ContextMap()["function"])
		assert.EqualValues(t, 503, c.log.All()[0].ContextMap()["status_code"])
		assert.EqualValues(t, 201, c.log.All()[2].ContextMap()["code"])
	})
}
