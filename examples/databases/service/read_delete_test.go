// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/examples/databases/service"
)

func TestGetDatabaseAndOpsRequest(t *testing.T) {
	database := object("Database", "orders", map[string]any{
		"spec":   map[string]any{"engine": "postgres", "version": "16.2", "storage": "10Gi"},
		"status": map[string]any{"phase": "Ready", "endpoint": "orders.default:5432"},
	})
	operation := object("OpsRequest", "orders-restart", map[string]any{
		"spec":   map[string]any{"type": "Restart", "database": "orders"},
		"status": map[string]any{"phase": "Running", "message": "1 of 3"},
	})
	cases := map[string]struct {
		path string
		errs []error
		code int
		body map[string]any
		took time.Duration
		gets int
	}{
		"existing database": {
			path: "/api/v1/databases/orders", code: 200, gets: 1,
			body: map[string]any{"name": "orders", "engine": "postgres", "version": "16.2", "storage": "10Gi", "phase": "Ready", "endpoint": "orders.default:5432"},
		},
		"existing operation": {
			path: "/api/v1/opsrequests/orders-restart", code: 200, gets: 1,
			body: map[string]any{"name": "orders-restart", "type": "Restart", "database": "orders", "phase": "Running", "message": "1 of 3"},
		},
		"two attempts fail, database": {
			path: "/api/v1/databases/orders", errs: []error{unavailable, lost}, code: 200, took: 3 * time.Second, gets: 3,
		},
		"one attempt fails, operation": {
			path: "/api/v1/opsrequests/orders-restart", errs: []error{badGateway}, code: 200, took: time.Second, gets: 2,
		},
		"missing database":  {path: "/api/v1/databases/nothing", code: 404, gets: 1},
		"missing operation": {path: "/api/v1/opsrequests/nothing", code: 404, gets: 1},
		"all attempts fail": {
			path: "/api/v1/databases/orders", errs: []error{unavailable, unavailable, unavailable, unavailable}, code: 503, took: 7 * time.Second, gets: 4,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(service.Config{}, database.DeepCopy(), operation.DeepCopy())
				c.fail("get", tc.errs...)
				got := c.request("GET", tc.path, "")
				assert.Equal(t, tc.code, got.code, "%v", got.body)
				assert.Equal(t, tc.took, got.took)
				assert.Equal(t, tc.gets, c.calls("get"))
				assert.NotContains(t, got.body, "outcome", "a read has no outcome")
				if tc.body != nil {
					assert.Equal(t, tc.body, got.body)
				}
			})
		})
	}
}

func TestDeleteDatabase(t *testing.T) {
	uidConflict := apierrors.NewConflict(schema.GroupResource{Resource: "databases"}, "orders", errors.New("Precondition failed: UID in precondition: a, UID in object meta: b"))
	cases := map[string]struct {
		arrange func(*cluster)
		code    int
		reason  string
		took    time.Duration
		deletes int
	}{
		"first attempt succeeds": {arrange: func(*cluster) {}, code: 202, deletes: 1},
		"two attempts fail":      {arrange: func(c *cluster) { c.fail("delete", unavailable, badGateway) }, code: 202, took: 6 * time.Second, deletes: 3},
		"reply is lost":          {arrange: func(c *cluster) { c.loseReply("delete", lost) }, code: 202, took: 2 * time.Second, deletes: 2},
		"reply is lost, another database has the name": {
			arrange: func(c *cluster) { c.fail("delete", lost, uidConflict) }, code: 202, took: 2 * time.Second, deletes: 2,
		},
		"another database has the name": {
			arrange: func(c *cluster) { c.fail("delete", uidConflict) }, code: 409, reason: "conflict", deletes: 1,
		},
		"missing database": {
			arrange: func(c *cluster) { _ = c.Tracker().Delete(service.DatabaseResource, "default", "orders") },
			code:    404, reason: "not_found",
		},
		"all attempts are answered 503": {
			arrange: func(c *cluster) {
				c.fail("delete", unavailable, unavailable, unavailable, unavailable, unavailable, unavailable)
			},
			code: 503, reason: "unavailable", took: time.Minute, deletes: 6,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(service.Config{}, object("Database", "orders", nil))
				tc.arrange(c)
				got := c.request("DELETE", "/api/v1/databases/orders", "")
				assert.Equal(t, tc.code, got.code, "%v", got.body)
				assert.Equal(t, tc.took, got.took)
				assert.Equal(t, tc.deletes, c.calls("delete"))
				if tc.code == 202 {
					assert.Equal(t, true, got.body["deleting"])
				} else {
					assert.Equal(t, tc.reason, got.body["error"])
				}
				assert.Len(t, c.deletes, tc.deletes)
				for _, options := range c.deletes {
					uid := types.UID("uid-of-orders")
					assert.Equal(t, &metav1.Preconditions{UID: &uid}, options.Preconditions, "only the database that was read")
				}
			})
		})
	}
}
