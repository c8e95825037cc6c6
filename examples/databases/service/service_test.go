package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/examples/databases/service"
)

// The failures of the tests, as client-go hands them over.
var (
	unavailable = apierrors.NewServiceUnavailable("the server is currently unable to handle the request")
	badGateway  = apierrors.NewGenericServerResponse(502, "POST", schema.GroupResource{Resource: "databases"}, "", "<html>", 0, true)
	throttled   = apierrors.NewTooManyRequests("too many requests", 7)
	lost        = &url.Error{Op: "Post", URL: "https://10.0.0.1", Err: io.EOF}
)

// cluster is a fake cluster with a service in front.
type cluster struct {
	*fake.FakeDynamicClient
	handler http.Handler
	log     *observer.ObservedLogs
	began   time.Time
}

func newCluster(config service.Config, objects ...runtime.Object) *cluster {
	core, log := observer.New(zapcore.InfoLevel)
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		service.DatabaseResource: "DatabaseList", service.OpsRequestResource: "OpsRequestList",
	}, objects...)
	config.Retry = append(config.Retry, k8sretry.WithJitter(k8sretry.JitterNone))
	return &cluster{FakeDynamicClient: client, handler: service.New(client, zap.New(core), config), log: log, began: time.Now()}
}

// fail makes the calls with the verb fail, one after the other; nil lets one pass.
func (c *cluster) fail(verb string, errs ...error) {
	c.PrependReactor(verb, "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		if len(errs) == 0 {
			return false, nil, nil
		}
		err := errs[0]
		errs = errs[1:]
		return err != nil, nil, err
	})
}

// loseReply lets the next calls with the verb do their work and loses the answer.
func (c *cluster) loseReply(verb string, err error) {
	done := false
	c.PrependReactor(verb, "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if done {
			return false, nil, nil
		}
		done = true
		if _, _, failed := clienttesting.ObjectReaction(c.Tracker())(action); failed != nil {
			return true, nil, failed
		}
		return true, nil, err
	})
}

type answer struct {
	code   int
	header http.Header
	body   map[string]any
	took   time.Duration
}

func (c *cluster) ask(method, path, body string, set ...func(*http.Request) *http.Request) answer {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, s := range set {
		request = s(request)
	}
	began := time.Now()
	recorder := httptest.NewRecorder()
	c.handler.ServeHTTP(recorder, request)
	got := answer{code: recorder.Code, header: recorder.Header(), took: time.Since(began)}
	if err := json.Unmarshal(recorder.Body.Bytes(), &got.body); err != nil {
		got.body = map[string]any{"not JSON": recorder.Body.String()}
	}
	return got
}

func (c *cluster) calls(verb string) (n int) {
	for _, action := range c.Actions() {
		if action.GetVerb() == verb {
			n++
		}
	}
	return n
}

func key(k string) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request { r.Header.Set("Idempotency-Key", k); return r }
}

func within(ctx context.Context) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request { return r.WithContext(ctx) }
}

const orders = `{"name":"orders","engine":"postgres","version":"16.2","storage":"10Gi"}`

func object(kind, name string, fields map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "databases.example.dev/v1", "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": "default", "uid": "uid-of-" + name},
	}}
	for field, value := range fields {
		u.Object[field] = value
	}
	return u
}

func TestWhatIsNotValidNeverReachesTheCluster(t *testing.T) {
	cases := map[string]struct {
		body  string
		code  int
		field string
	}{
		"no JSON":             {body: `name=orders`, code: 400},
		"nothing":             {body: ``, code: 400},
		"two values":          {body: orders + orders, code: 400},
		"an unknown field":    {body: `{"name":"a","engine":"mysql","version":"8","storage":"1Gi","replicas":3}`, code: 400},
		"a number for a name": {body: `{"name":1}`, code: 400},
		"too large":           {body: `{"name":"` + strings.Repeat("a", 20_000) + `"}`, code: 413},
		"no name":             {body: `{"engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"upper case":          {body: `{"name":"Orders","engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"a path for a name":   {body: `{"name":"../secrets","engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"a long name":         {body: `{"name":"` + strings.Repeat("a", 51) + `","engine":"mysql","version":"8","storage":"1Gi"}`, code: 400, field: "name"},
		"an unknown engine":   {body: `{"name":"a","engine":"excel","version":"8","storage":"1Gi"}`, code: 400, field: "engine"},
		"a word for version":  {body: `{"name":"a","engine":"mysql","version":"latest","storage":"1Gi"}`, code: 400, field: "version"},
		"storage in words":    {body: `{"name":"a","engine":"mysql","version":"8","storage":"much"}`, code: 400, field: "storage"},
		"too little storage":  {body: `{"name":"a","engine":"mysql","version":"8","storage":"-1Gi"}`, code: 400, field: "storage"},
		"too much storage":    {body: `{"name":"a","engine":"mysql","version":"8","storage":"1Ei"}`, code: 400, field: "storage"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(service.Config{})
			got := c.ask("POST", "/api/v1/databases", tc.body)
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
		"health":             {"GET", "/healthz", 200, ""},
		"no such path":       {"GET", "/api/v2/databases", 404, ""},
		"no list":            {"GET", "/api/v1/databases", 405, "POST"},
		"no update":          {"PUT", "/api/v1/databases/orders", 405, "DELETE, GET"},
		"no deleting of ops": {"DELETE", "/api/v1/opsrequests/orders", 405, "GET"},
		"a bad name":         {"GET", "/api/v1/databases/No_Name", 400, ""},
		"a bad delete":       {"DELETE", "/api/v1/databases/No_Name", 400, ""},
		"a bad operation":    {"GET", "/api/v1/opsrequests/No_Name", 400, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(service.Config{})
			got := c.ask(tc.method, tc.path, "")
			assert.Equal(t, tc.code, got.code)
			assert.Equal(t, tc.allow, got.header.Get("Allow"))
			assert.Equal(t, "application/json", got.header.Get("Content-Type"))
			assert.NotContains(t, got.body, "not JSON")
			assert.Empty(t, c.Actions())
		})
	}
	plain := func(r *http.Request) *http.Request { r.Header.Set("Content-Type", "text/plain"); return r }
	assert.Equal(t, 415, newCluster(service.Config{}).ask("POST", "/api/v1/databases", orders, plain).code)
}

func TestACallerWhoLeavesAndAServiceThatStops(t *testing.T) {
	stopping := errors.New("the service is stopping")
	cases := map[string]struct {
		cause error
		code  int
	}{
		"the caller left":  {context.Canceled, 499},
		"the service ends": {stopping, 503},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(service.Config{})
				c.fail("create", throttled, throttled, throttled)
				ctx, cancel := context.WithCancelCause(context.Background())
				go func() {
					time.Sleep(9 * time.Second) // virtual
					cancel(tc.cause)
				}()
				got := c.ask("POST", "/api/v1/databases", orders, within(ctx))
				assert.Equal(t, tc.code, got.code, "%v", got.body)
				assert.Equal(t, 9*time.Second, got.took, "at that instant")
			})
		})
	}
}

func TestTheLogTellsOfRetriesAndRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(service.Config{})
		c.fail("create", unavailable)
		c.ask("POST", "/api/v1/databases", orders)
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

func TestTheDefinitions(t *testing.T) {
	crds, err := service.CRDs()
	require.NoError(t, err)
	var names []string
	for _, crd := range crds {
		assert.Equal(t, "CustomResourceDefinition", crd.GetKind())
		names = append(names, crd.GetName())
	}
	assert.Equal(t, []string{"databases.databases.example.dev", "opsrequests.databases.example.dev"}, names)
}
