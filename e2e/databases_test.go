// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
	dbservice "github.com/k8sretry/k8sretry/examples/databases/service"
)

// The example service with custom resources of a real server.
func TestDatabasesCreateReadDelete(t *testing.T) {
	c := start(t)
	installDatabases(t, c)
	ns := namespace(t, c)
	api := databasesAPI(t, c.Config(app), ns)
	stored := dynamicClient(t, c.Config(cluster.Admin)).Resource(dbservice.DatabaseResource).Namespace(ns)

	created := api.post("orders", "key-1")
	require.Equal(t, http.StatusCreated, created.code, created)
	assert.Equal(t, "Pending", created.body["phase"])
	assert.Equal(t, "/api/v1/databases/orders", created.location)
	object, err := stored.Get(t.Context(), "orders", metav1.GetOptions{})
	require.NoError(t, err)
	uid := object.GetUID()

	// The service returns the status that an operator sets.
	require.NoError(t, unstructured.SetNestedStringMap(object.Object, map[string]string{"phase": "Ready", "endpoint": "orders.example:5432"}, "status"))
	_, err = stored.UpdateStatus(t.Context(), object, metav1.UpdateOptions{})
	require.NoError(t, err)
	got := api.do("GET", "/api/v1/databases/orders", "", "")
	assert.Equal(t, http.StatusOK, got.code, got)
	assert.Equal(t, "Ready", got.body["phase"])
	assert.Equal(t, "orders.example:5432", got.body["endpoint"])

	again := api.post("orders", "key-1")
	assert.Equal(t, http.StatusCreated, again.code, "the same key: %v", again)
	for _, key := range []string{"key-2", ""} {
		foreign := api.post("orders", key)
		assert.Equal(t, http.StatusConflict, foreign.code, "another key: %v", foreign)
		assert.Equal(t, "already_exists", foreign.body["error"])
	}
	object, err = stored.Get(t.Context(), "orders", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, uid, object.GetUID())

	for name, body := range map[string]string{
		"invalid name":    `{"name":"Not_A_Name","engine":"postgres","version":"16","storage":"10Gi"}`,
		"unknown engine":  `{"name":"fine","engine":"db2","version":"16","storage":"10Gi"}`,
		"invalid storage": `{"name":"fine","engine":"redis","version":"7","storage":"much"}`,
		"unknown field":   `{"name":"fine","engine":"redis","version":"7","storage":"1Gi","size":1}`,
		"not JSON":        `name: fine`,
	} {
		bad := api.do("POST", "/api/v1/databases", body, "")
		assert.Equal(t, http.StatusBadRequest, bad.code, "%s: %v", name, bad)
	}
	list, err := stored.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, list.Items, 1)

	gone := api.do("DELETE", "/api/v1/databases/orders", "", "")
	assert.Equal(t, http.StatusAccepted, gone.code, gone)
	for _, method := range []string{"GET", "DELETE"} {
		absent := api.do(method, "/api/v1/databases/orders", "", "")
		assert.Equal(t, http.StatusNotFound, absent.code, "%s: %v", method, absent)
		assert.Equal(t, "not_found", absent.body["error"])
	}

	operations := dynamicClient(t, c.Config(cluster.Admin)).Resource(dbservice.OpsRequestResource).Namespace(ns)
	operation, err := operations.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": dbservice.OpsRequestResource.GroupVersion().String(), "kind": "OpsRequest",
		"metadata": map[string]any{"name": "restart-1"},
		"spec":     map[string]any{"type": "Restart", "database": "orders"},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.Equal(t, "Pending", api.do("GET", "/api/v1/opsrequests/restart-1", "", "").body["phase"])
	require.NoError(t, unstructured.SetNestedField(operation.Object, "Successful", "status", "phase"))
	_, err = operations.UpdateStatus(t.Context(), operation, metav1.UpdateOptions{})
	require.NoError(t, err)
	status := api.do("GET", "/api/v1/opsrequests/restart-1", "", "")
	assert.Equal(t, http.StatusOK, status.code)
	assert.Equal(t, map[string]any{"name": "restart-1", "type": "Restart", "database": "orders", "phase": "Successful"}, status.body)
	assert.Equal(t, http.StatusNotFound, api.do("GET", "/api/v1/opsrequests/restart-2", "", "").code)
}

// A crash of the apiserver does not change the answers of the service.
func TestDatabasesWhileServerIsKilled(t *testing.T) {
	c := start(t)
	installDatabases(t, c)
	ns := namespace(t, c)
	events := &recorder{}
	api := databasesAPI(t, c.Config(app), ns, k8sretry.WithObserver(events))
	for i := range 20 {
		require.Equal(t, http.StatusCreated, api.post(fmt.Sprint("old-", i), fmt.Sprint("old-", i)).code)
	}

	const calls, workers = 160, 8
	third, wait := startCalls(calls, workers, calls/3, func(i int) {
		var a answer
		want := http.StatusCreated
		switch n := i / 8; i % 8 {
		case 0:
			want = http.StatusConflict
			a = api.post(fmt.Sprint("old-", n), "foreign")
		case 1:
			want = http.StatusOK
			a = api.do("GET", fmt.Sprint("/api/v1/databases/old-", n), "", "")
		case 2:
			want = http.StatusNotFound
			a = api.do("GET", fmt.Sprint("/api/v1/databases/none-", n), "", "")
		case 3:
			want = http.StatusAccepted
			created := api.post(fmt.Sprint("short-", n), "")
			if assert.Equal(t, http.StatusCreated, created.code, created) {
				a = api.do("DELETE", fmt.Sprint("/api/v1/databases/short-", n), "", "")
			}
		default:
			a = api.post(fmt.Sprint("new-", i), fmt.Sprint("key-", i))
		}
		assert.Equal(t, want, a.code, "call %d: %v", i, a)
	})
	<-third
	c.KillAPIServer()
	<-within(t, 500*time.Millisecond).Done()
	require.NoError(t, c.StartAPIServer())
	wait()
	t.Logf("retries: %v", events.classes())
	assert.NotZero(t, events.classes()[k8sretry.ClassRefused], "no call was refused")

	list, err := dynamicClient(t, c.Config(cluster.Admin)).Resource(dbservice.DatabaseResource).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	count := map[string]int{}
	for _, item := range list.Items {
		kind, _, _ := strings.Cut(item.GetName(), "-")
		count[kind]++
	}
	assert.Equal(t, map[string]int{"old": 20, "new": calls / 2}, count)
}

// If the answer of the API server to a create is lost, the service answers 201 and there
// is one database.
func TestDatabasesWithLostAnswers(t *testing.T) {
	c := start(t)
	installDatabases(t, c)
	ns := namespace(t, c)
	stored := dynamicClient(t, c.Config(cluster.Admin)).Resource(dbservice.DatabaseResource).Namespace(ns)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		api := databasesAPI(t, p.Config(c.Config(app)), ns)
		for _, fault := range p.Isolated(faultproxy.LostAnswers()) {
			t.Run(fault.String(), func(t *testing.T) {
				p.ClearSends()
				p.SetRule(faultproxy.When(faultproxy.Verbs("create", "delete"), faultproxy.Next(1, fault)))
				name := objectName(t)
				name = name[max(0, len(name)-50):]
				name = "db" + name[2:]
				created := api.post(name, "")
				assert.Equal(t, http.StatusCreated, created.code, created)
				committed := func(s faultproxy.Send) bool { return s.Method != "GET" && s.Committed() }
				assert.Equal(t, 1, p.Count(committed))
				assert.Equal(t, 2, p.Count(func(s faultproxy.Send) bool { return s.Method == "POST" }))
				object, err := stored.Get(t.Context(), name, metav1.GetOptions{})
				require.NoError(t, err)
				assert.Equal(t, "16.2", object.Object["spec"].(map[string]any)["version"])

				p.SetRule(faultproxy.When(faultproxy.Verbs("delete"), faultproxy.Next(1, fault)))
				gone := api.do("DELETE", "/api/v1/databases/"+name, "", "")
				assert.Equal(t, http.StatusAccepted, gone.code, gone)
				assert.Equal(t, 2, p.Count(committed))
				_, err = stored.Get(t.Context(), name, metav1.GetOptions{})
				assert.True(t, apierrors.IsNotFound(err), "%v", err)
			})
		}
	})
}

// installDatabases installs the custom resource definitions of the service and waits
// until the server serves them.
func installDatabases(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	crds, err := dbservice.CRDs()
	require.NoError(t, err)
	admin := dynamicClient(t, c.Config(cluster.Admin))
	definitions := admin.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, crd := range crds {
		_, err := definitions.Create(t.Context(), crd, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			require.NoError(t, err)
		}
	}
	for _, resource := range []schema.GroupVersionResource{dbservice.DatabaseResource, dbservice.OpsRequestResource} {
		var err error
		if !assert.Eventually(t, func() bool {
			_, err = admin.Resource(resource).Namespace("default").List(t.Context(), metav1.ListOptions{})
			return err == nil
		}, 20*time.Second, 50*time.Millisecond) {
			t.Fatalf("%s: %v", resource, err)
		}
	}
}

func dynamicClient(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	return client
}

// databases is a client of the service.
type databases struct {
	t      *testing.T
	server *httptest.Server
}

// databasesAPI runs the service with short delays until the test ends.
func databasesAPI(t *testing.T, config *rest.Config, namespace string, options ...k8sretry.Option) *databases {
	t.Helper()
	server := httptest.NewServer(dbservice.New(dynamicClient(t, config), nil, dbservice.Config{
		Namespace: namespace,
		Retry: append([]k8sretry.Option{
			k8sretry.WithInitialDelay(20 * time.Millisecond), k8sretry.WithMaxDelay(500 * time.Millisecond),
			k8sretry.WithMaxRetries(60), k8sretry.WithAttemptTimeout(time.Second),
		}, options...),
	}))
	t.Cleanup(server.Close)
	return &databases{t, server}
}

// answer is an answer of the service. code is 0 if there was none.
type answer struct {
	code     int
	location string
	body     map[string]any
}

func (d *databases) post(name, key string) answer {
	return d.do("POST", "/api/v1/databases", fmt.Sprintf(`{"name":%q,"engine":"postgres","version":"16.2","storage":"10Gi"}`, name), key)
}

func (d *databases) do(method, path, body, key string) answer {
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.server.URL+path, strings.NewReader(body))
	if !assert.NoError(d.t, err) {
		return answer{}
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := d.server.Client().Do(req)
	if !assert.NoError(d.t, err) {
		return answer{}
	}
	defer resp.Body.Close()
	a := answer{code: resp.StatusCode, location: resp.Header.Get("Location")}
	text, err := io.ReadAll(resp.Body)
	assert.NoError(d.t, err)
	assert.NoError(d.t, json.Unmarshal(text, &a.body), "%s", text)
	return a
}
