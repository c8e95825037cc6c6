// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry/examples/databases/service"
)

func TestCreateDatabase(t *testing.T) {
	cases := map[string]struct {
		arrange func(*cluster)
		config  service.Config
		code    int
		reason  string // the error field
		outcome string
		header  string // Retry-After
		took    time.Duration
		creates int
		stored  bool
	}{
		"first attempt succeeds": {arrange: func(*cluster) {}, code: 201, creates: 1, stored: true},
		"two attempts fail": {
			arrange: func(c *cluster) { c.fail("create", unavailable, badGateway) },
			code:    201, took: 6 * time.Second, creates: 3, stored: true,
		},
		"reply is lost": {
			arrange: func(c *cluster) { c.loseReply("create", lost) },
			code:    201, took: 2 * time.Second, creates: 2, stored: true,
		},
		"reply is lost, reading the database is retried": {
			arrange: func(c *cluster) { c.loseReply("create", lost); c.fail("get", unavailable, unavailable) },
			code:    201, took: 5 * time.Second, creates: 2, stored: true,
		},
		"reply is lost, reading the database fails": {
			arrange: func(c *cluster) {
				c.loseReply("create", lost)
				c.fail("get", unavailable, unavailable, unavailable, unavailable)
			},
			code: 503, reason: "unavailable", outcome: "unknown", header: "5", took: 9 * time.Second, creates: 2, stored: true,
		},
		"another database has the name": {
			arrange: func(c *cluster) {
				_ = c.Tracker().Add(object("Database", "orders", map[string]any{"spec": map[string]any{"engine": "mysql"}}))
			},
			code: 409, reason: "already_exists", creates: 1, stored: true,
		},
		"all attempts are answered 503": {
			arrange: func(c *cluster) {
				c.fail("create", unavailable, unavailable, unavailable, unavailable, unavailable, unavailable)
			},
			code: 503, reason: "unavailable", outcome: "unknown", header: "5", took: time.Minute, creates: 6,
		},
		"all attempts are throttled": {
			arrange: func(c *cluster) {
				c.fail("create", throttled, throttled, throttled, throttled, throttled, throttled)
			},
			code: 503, reason: "unavailable", header: "7", took: (7 + 7 + 8 + 16 + 30) * time.Second, creates: 6,
		},
		"the next attempt would start after the request timeout": {
			arrange: func(c *cluster) { c.fail("create", unavailable, unavailable, unavailable) },
			config:  service.Config{RequestTimeout: 10 * time.Second},
			code:    504, reason: "deadline", outcome: "unknown", took: 6 * time.Second, creates: 3,
		},
		"the object is invalid": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewInvalid(schema.GroupKind{Group: "databases.example.dev", Kind: "Database"}, "orders", nil))
			},
			code: 422, reason: "refused", creates: 1,
		},
		"the service has no permission": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewForbidden(schema.GroupResource{Resource: "databases"}, "orders", errors.New("User \"svc\" cannot")))
			},
			code: 403, reason: "forbidden", creates: 1,
		},
		"the custom resource definition is missing": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewGenericServerResponse(404, "POST", schema.GroupResource{Resource: "databases"}, "", "404 page not found", 0, true))
			},
			code: 503, reason: "not_installed", header: "5", creates: 1,
		},
		"the namespace is missing": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "default"))
			},
			code: 503, reason: "not_installed", header: "5", creates: 1,
		},
		"the error is unknown": {
			arrange: func(c *cluster) { c.fail("create", errors.New("unknown")) },
			code:    500, reason: "internal", creates: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(tc.config)
				tc.arrange(c)
				got := c.request("POST", "/api/v1/databases", orders)
				assert.Equal(t, tc.code, got.code, "%v", got.body)
				assert.Equal(t, tc.took, got.took)
				assert.Equal(t, tc.creates, c.calls("create"))
				assert.Equal(t, tc.header, got.header.Get("Retry-After"))
				if tc.code == 201 {
					assert.Equal(t, "/api/v1/databases/orders", got.header.Get("Location"))
					assert.Equal(t, map[string]any{"name": "orders", "engine": "postgres", "version": "16.2", "storage": "10Gi", "phase": "Pending"}, got.body)
				} else {
					assert.Equal(t, tc.reason, got.body["error"], "%v", got.body)
					outcome, _ := got.body["outcome"].(string)
					assert.Equal(t, tc.outcome, outcome)
				}
				_, err := c.Tracker().Get(service.DatabaseResource, "default", "orders")
				assert.Equal(t, tc.stored, err == nil)
			})
		})
	}
}

func TestPostWithTheSameKeyReturnsTheSameDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(service.Config{})
		first := c.request("POST", "/api/v1/databases", orders, key("k-1"))
		again := c.request("POST", "/api/v1/databases", orders, key("k-1"))
		assert.Equal(t, 201, first.code)
		assert.Equal(t, first.code, again.code)
		assert.Equal(t, first.body, again.body)
		assert.Equal(t, 409, c.request("POST", "/api/v1/databases", orders, key("k-2")).code, "another key")
		other := strings.Replace(orders, "16.2", "15", 1)
		assert.Equal(t, 409, c.request("POST", "/api/v1/databases", other, key("k-1")).code, "another version with the same key")
		assert.Equal(t, 400, c.request("POST", "/api/v1/databases", orders, key("not a key!")).code)
	})
}
