package k8sretryctrl_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// oneMap is a server that has room for one ConfigMap, and loses the answer to the first
// write.
type oneMap struct {
	mu       sync.Mutex
	stored   *corev1.ConfigMap
	lost     bool
	requests []string
}

var longAgo = metav1.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

const mapPath = "/api/v1/namespaces/default/configmaps/new"

func (s *oneMap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	resource := corev1.Resource("configmaps")
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		if err, ok := v.(*apierrors.StatusError); ok {
			err.ErrStatus.Kind, err.ErrStatus.APIVersion = "Status", "v1"
			w.WriteHeader(int(err.ErrStatus.Code))
			v = err.ErrStatus
		}
		_ = json.NewEncoder(w).Encode(v)
	}
	lose := func(v any) {
		if s.lost {
			answer(v)
			return
		}
		s.lost = true
		w.WriteHeader(http.StatusGatewayTimeout)
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path != mapPath, r.Method == http.MethodGet && s.stored == nil:
		answer(apierrors.NewNotFound(resource, "new"))
	case r.Method == http.MethodGet:
		answer(s.stored)
	case r.Method == http.MethodPost && s.stored != nil:
		answer(apierrors.NewAlreadyExists(resource, "new"))
	case r.Method == http.MethodPost:
		s.stored = &corev1.ConfigMap{}
		_ = json.NewDecoder(r.Body).Decode(s.stored)
		s.stored.APIVersion, s.stored.Kind = "v1", "ConfigMap"
		s.stored.UID, s.stored.ResourceVersion = "1", "1"
		lose(s.stored)
	case r.Method == http.MethodPut && s.stored.ResourceVersion != "1":
		answer(apierrors.NewConflict(resource, "new", nil))
	case r.Method == http.MethodPut:
		_ = json.NewDecoder(r.Body).Decode(s.stored)
		s.stored.ResourceVersion = "2"
		lose(s.stored)
	case r.Method == http.MethodDelete && s.lost:
		answer(apierrors.NewForbidden(resource, "new", nil))
	case r.Method == http.MethodDelete:
		s.lost = true
		w.WriteHeader(http.StatusGatewayTimeout)
	}
}

// client is one of controller-runtime that reads from an empty cache, as that of a manager
// whose cache has not seen the object.
func (s *oneMap) client(t *testing.T) client.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	config := &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	cache := builder().Build()
	c, err := client.New(config, client.Options{
		HTTPClient: &http.Client{Transport: transport}, Scheme: cache.Scheme(), Mapper: cache.RESTMapper(),
		Cache: &client.CacheOptions{Reader: cache, Unstructured: true},
	})
	require.NoError(t, err)
	return k8sretryctrl.NewClient(c, k8sretry.WithInitialDelay(0))
}

// What proofs rest on: of a client of controller-runtime, the subresource without a name
// is the object itself, from the server.
func TestLiveReadOfARealClient(t *testing.T) {
	t.Run("create", func(t *testing.T) {
		for _, obj := range []client.Object{configMap("new"), asUnstructured("new", nil)} {
			s := &oneMap{}
			require.NoError(t, s.client(t).Create(t.Context(), obj))
			assert.Equal(t, "1", obj.GetResourceVersion())
			assert.Contains(t, s.requests, "GET "+mapPath)
		}
	})
	t.Run("update", func(t *testing.T) {
		read := configMap("new", "a", "b")
		read.UID, read.CreationTimestamp = "1", longAgo
		for _, obj := range []client.Object{read, configMap("new", "a", "b"), asUnstructured("new", map[string]any{"a": "b"})} {
			s := &oneMap{stored: configMap("new")}
			s.stored.APIVersion, s.stored.Kind = "v1", "ConfigMap"
			s.stored.UID, s.stored.ResourceVersion, s.stored.CreationTimestamp = "1", "1", longAgo
			obj.SetResourceVersion("1")
			require.NoError(t, s.client(t).Update(t.Context(), obj))
			assert.Equal(t, "2", obj.GetResourceVersion())
			assert.Contains(t, s.requests, "GET "+mapPath)
		}
	})
	t.Run("delete", func(t *testing.T) {
		for _, obj := range []client.Object{
			configMap("new"), asUnstructured("new", nil),
			&metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: meta("new")},
		} {
			s := &oneMap{stored: configMap("new")}
			s.stored.APIVersion, s.stored.Kind = "v1", "ConfigMap"
			s.stored.UID, s.stored.ResourceVersion = "1", "1"
			obj.SetUID("1")
			err := s.client(t).Delete(t.Context(), obj)
			assert.True(t, apierrors.IsForbidden(err), "%v", err) // and not a success, because the cache has none
			assert.Contains(t, s.requests, "GET "+mapPath)
		}
	})
	t.Run("a cached read", func(t *testing.T) {
		s := &oneMap{stored: configMap("new")}
		assert.True(t, apierrors.IsNotFound(s.client(t).Get(t.Context(), key("new"), &corev1.ConfigMap{})))
		assert.Empty(t, s.requests)
	})
}
