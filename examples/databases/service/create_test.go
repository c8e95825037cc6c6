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

func TestCreateADatabase(t *testing.T) {
	cases := map[string]struct {
		arrange func(*cluster)
		config  service.Config
		code    int
		word    string // of the error
		outcome string
		retry   string // the Retry-After header
		took    time.Duration
		creates int
		stored  bool
	}{
		"at once": {arrange: func(*cluster) {}, code: 201, creates: 1, stored: true},
		"the server fails twice": {
			arrange: func(c *cluster) { c.fail("create", unavailable, badGateway) },
			code:    201, took: 6 * time.Second, creates: 3, stored: true,
		},
		"the reply is lost, the database is ours": {
			arrange: func(c *cluster) { c.loseReply("create", lost) },
			code:    201, took: 2 * time.Second, creates: 2, stored: true,
		},
		"the reply is lost, and the proof is slow": {
			arrange: func(c *cluster) { c.loseReply("create", lost); c.fail("get", unavailable, unavailable) },
			code:    201, took: 5 * time.Second, creates: 2, stored: true,
		},
		"the reply is lost, and so is the proof": {
			arrange: func(c *cluster) {
				c.loseReply("create", lost)
				c.fail("get", unavailable, unavailable, unavailable, unavailable)
			},
			code: 503, word: "unavailable", outcome: "unknown", retry: "5", took: 9 * time.Second, creates: 2, stored: true,
		},
		"the name is taken": {
			arrange: func(c *cluster) {
				_ = c.Tracker().Add(object("Database", "orders", map[string]any{"spec": map[string]any{"engine": "mysql"}}))
			},
			code: 409, word: "already_exists", creates: 1, stored: true,
		},
		"the server is away for too long": {
			arrange: func(c *cluster) {
				c.fail("create", unavailable, unavailable, unavailable, unavailable, unavailable, unavailable)
			},
			code: 503, word: "unavailable", outcome: "unknown", retry: "5", took: time.Minute, creates: 6,
		},
		"the server asks for time, and then for more": {
			arrange: func(c *cluster) {
				c.fail("create", throttled, throttled, throttled, throttled, throttled, throttled)
			},
			code: 503, word: "unavailable", retry: "7", took: (7 + 7 + 8 + 16 + 30) * time.Second, creates: 6,
		},
		"the time for the request is too short": {
			arrange: func(c *cluster) { c.fail("create", unavailable, unavailable, unavailable) },
			config:  service.Config{RequestTimeout: 10 * time.Second},
			code:    504, word: "deadline", outcome: "unknown", took: 6 * time.Second, creates: 3,
		},
		"the cluster refuses the object": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewInvalid(schema.GroupKind{Group: "databases.example.dev", Kind: "Database"}, "orders", nil))
			},
			code: 422, word: "refused", creates: 1,
		},
		"the cluster does not allow it": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewForbidden(schema.GroupResource{Resource: "databases"}, "orders", errors.New("User \"svc\" cannot")))
			},
			code: 403, word: "forbidden", creates: 1,
		},
		"the definition is not installed": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewGenericServerResponse(404, "POST", schema.GroupResource{Resource: "databases"}, "", "404 page not found", 0, true))
			},
			code: 503, word: "not_installed", retry: "5", creates: 1,
		},
		"the namespace is missing": {
			arrange: func(c *cluster) {
				c.fail("create", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "default"))
			},
			code: 503, word: "not_installed", retry: "5", creates: 1,
		},
		"the cluster makes no sense": {
			arrange: func(c *cluster) { c.fail("create", errors.New("what?")) },
			code:    500, word: "internal", creates: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(tc.config)
				tc.arrange(c)
				got := c.ask("POST", "/api/v1/databases", orders)
				assert.Equal(t, tc.code, got.code, "%v", got.body)
				assert.Equal(t, tc.took, got.took)
				assert.Equal(t, tc.creates, c.calls("create"))
				assert.Equal(t, tc.retry, got.header.Get("Retry-After"))
				if tc.code == 201 {
					assert.Equal(t, "/api/v1/databases/orders", got.header.Get("Location"))
					assert.Equal(t, map[string]any{"name": "orders", "engine": "postgres", "version": "16.2", "storage": "10Gi", "phase": "Pending"}, got.body)
				} else {
					assert.Equal(t, tc.word, got.body["error"], "%v", got.body)
					outcome, _ := got.body["outcome"].(string)
					assert.Equal(t, tc.outcome, outcome)
				}
				_, err := c.Tracker().Get(service.DatabaseResource, "default", "orders")
				assert.Equal(t, tc.stored, err == nil)
			})
		})
	}
}

func TestARepeatedPostWithItsKeyIsTheSameDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(service.Config{})
		first := c.ask("POST", "/api/v1/databases", orders, key("k-1"))
		again := c.ask("POST", "/api/v1/databases", orders, key("k-1"))
		assert.Equal(t, 201, first.code)
		assert.Equal(t, first.code, again.code)
		assert.Equal(t, first.body, again.body)
		assert.Equal(t, 409, c.ask("POST", "/api/v1/databases", orders, key("k-2")).code, "another key")
		other := strings.Replace(orders, "16.2", "15", 1)
		assert.Equal(t, 409, c.ask("POST", "/api/v1/databases", other, key("k-1")).code, "another wish under the same key")
		assert.Equal(t, 400, c.ask("POST", "/api/v1/databases", orders, key("not a key!")).code)
	})
}
