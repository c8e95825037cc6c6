// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
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
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// configMapServer is a server for one ConfigMap that loses the response to the first write.
type configMapServer struct {
	mu       sync.Mutex
	stored   *corev1.ConfigMap
	lost     bool
	requests []string
}

var longAgo = metav1.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

const mapPath = "/api/v1/namespaces/default/configmaps/new"

func (s *configMapServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	resource := corev1.Resource("configmaps")
	respond := func(v any) {
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
			respond(v)
			return
		}
		s.lost = true
		w.WriteHeader(http.StatusGatewayTimeout)
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path != mapPath, r.Method == http.MethodGet && s.stored == nil:
		respond(apierrors.NewNotFound(resource, "new"))
	case r.Method == http.MethodGet:
		respond(s.stored)
	case r.Method == http.MethodPost && s.stored != nil:
		respond(apierrors.NewAlreadyExists(resource, "new"))
	case r.Method == http.MethodPost:
		s.stored = &corev1.ConfigMap{}
		_ = json.NewDecoder(r.Body).Decode(s.stored)
		s.stored.APIVersion, s.stored.Kind = "v1", "ConfigMap"
		s.stored.UID, s.stored.ResourceVersion = "1", "1"
		lose(s.stored)
	case r.Method == http.MethodPatch && s.stored.ResourceVersion != "1":
		respond(apierrors.NewConflict(resource, "new", nil))
	case r.Method == http.MethodPatch:
		s.stored.Data = map[string]string{"a": "b"}
		s.stored.ResourceVersion = "2"
		lose(s.stored)
	case r.Method == http.MethodPut && s.stored.ResourceVersion != "1":
		respond(apierrors.NewConflict(resource, "new", nil))
	case r.Method == http.MethodPut:
		_ = json.NewDecoder(r.Body).Decode(s.stored)
		s.stored.ResourceVersion = "2"
		lose(s.stored)
	case r.Method == http.MethodDelete && s.lost:
		respond(apierrors.NewForbidden(resource, "new", nil))
	case r.Method == http.MethodDelete:
		s.lost = true
		w.WriteHeader(http.StatusGatewayTimeout)
	}
}

// client returns a retrying client of controller-runtime that reads from an empty cache, like
// that of a manager whose cache has not received the object.
func (s *configMapServer) client(t *testing.T) client.Client {
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

// A client of controller-runtime reads the subresource with an empty name from the server, and
// it is the object itself.
func TestARealClientVerifiesWithTheServer(t *testing.T) {
	t.Run("create", func(t *testing.T) {
		for _, obj := range []client.Object{owned(configMap("new")), owned(asUnstructured("new", nil))} {
			s := &configMapServer{}
			require.NoError(t, s.client(t).Create(t.Context(), obj))
			assert.Equal(t, "1", obj.GetResourceVersion())
			assert.Contains(t, s.requests, "GET "+mapPath)
		}
	})
	t.Run("update", func(t *testing.T) {
		read := configMap("new", "a", "b")
		read.UID, read.CreationTimestamp = "1", longAgo
		for _, obj := range []client.Object{read, configMap("new", "a", "b"), asUnstructured("new", map[string]any{"a": "b"})} {
			s := &configMapServer{stored: configMap("new")}
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
			s := &configMapServer{stored: configMap("new")}
			s.stored.APIVersion, s.stored.Kind = "v1", "ConfigMap"
			s.stored.UID, s.stored.ResourceVersion = "1", "1"
			obj.SetUID("1")
			err := s.client(t).Delete(t.Context(), obj)
			assert.True(t, apierrors.IsForbidden(err), "%v", err) // not a success, although the cache does not have the object
			assert.Contains(t, s.requests, "GET "+mapPath)
		}
	})
	t.Run("a cached read", func(t *testing.T) {
		s := &configMapServer{stored: configMap("new")}
		assert.True(t, apierrors.IsNotFound(s.client(t).Get(t.Context(), key("new"), &corev1.ConfigMap{})))
		assert.Empty(t, s.requests)
	})
}

// cached is a client that reads from a cache with the given objects, like that of a manager
// with a stale cache. It has no Watch.
type cached struct {
	client.Client
	live client.WithWatch
}

func newCached(live client.WithWatch, stale ...client.Object) *cached {
	return &cached{builder().WithObjects(stale...).Build(), live}
}

func (c *cached) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return c.live.Create(ctx, obj, opts...)
}

func (c *cached) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	return c.live.Update(ctx, obj, opts...)
}

func (c *cached) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.live.Delete(ctx, obj, opts...)
}

func (c *cached) SubResource(name string) client.SubResourceClient {
	return &uncached{c.live.SubResource(name), name, c.live}
}

// uncached is a subresource that reads from the server if its name is empty, as in
// TestARealClientVerifiesWithTheServer.
type uncached struct {
	client.SubResourceClient
	name string
	live client.WithWatch
}

func (u *uncached) Get(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
	if u.name == "" {
		return u.live.Get(ctx, client.ObjectKeyFromObject(obj), sub)
	}
	return u.SubResourceClient.Get(ctx, obj, sub, opts...)
}

func TestVerificationDoesNotReadTheCache(t *testing.T) {
	for situation, wrap := range map[string]func(client.Client) client.Client{
		"a manager's client":     func(c client.Client) client.Client { return c },
		"with a field owner":     func(c client.Client) client.Client { return client.WithFieldOwner(c, "me") },
		"with a namespace":       func(c client.Client) client.Client { return client.NewNamespacedClient(c, "default") },
		"with retries inside it": func(c client.Client) client.Client { return k8sretryctrl.NewClient(c) },
	} {
		setup := func(f *faults, stale ...client.Object) (client.Client, client.WithWatch) {
			server := cluster()
			return k8sretryctrl.NewClient(wrap(newCached(f.in(server), stale...))), server
		}
		inVirtualTime(t, situation+": create, not yet in the cache", func(t *testing.T) {
			c, server := setup(&faults{only: "Create", err: unknownOutcome, lose: 1})
			cm := owned(configMap("new"))
			require.NoError(t, c.Create(t.Context(), cm))
			assert.Equal(t, read(t, server, "new").ResourceVersion, cm.ResourceVersion)
		})
		inVirtualTime(t, situation+": create, a deleted object is still in the cache", func(t *testing.T) {
			c, server := setup(&faults{only: "Create", err: unknownOutcome, lose: 1}, configMap("new", "deleted", "yes"))
			require.NoError(t, c.Create(t.Context(), owned(configMap("new", "a", "b"))))
			assert.Equal(t, "b", read(t, server, "new").Data["a"])
		})
		inVirtualTime(t, situation+": update, not yet in the cache", func(t *testing.T) {
			f := &faults{only: "Update", err: unknownOutcome, lose: 1}
			c, server := setup(f, configMap("x", "n", "0"))
			cm := read(t, server, "x")
			cm.Data["n"] = "1"
			require.NoError(t, c.Update(t.Context(), cm))
			assert.Equal(t, read(t, server, "x"), cm)
		})
		inVirtualTime(t, situation+": delete, denied by the second attempt, and the cache does not have the object", func(t *testing.T) {
			server := cluster()
			n := 0
			c := k8sretryctrl.NewClient(wrap(newCached(interceptor.NewClient(server, interceptor.Funcs{
				Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
					if n++; n == 1 {
						return unknownOutcome()
					}
					return denied()
				},
			}))))
			err := c.Delete(t.Context(), configMap("x"))
			assert.True(t, apierrors.IsForbidden(err), "%v", err)
			read(t, server, "x")
		})
	}
	t.Run("a NotFound from the cache is returned at once", func(t *testing.T) {
		c := k8sretryctrl.NewClient(newCached(cluster()))
		err := c.Get(t.Context(), key("x"), &corev1.ConfigMap{})
		assert.True(t, apierrors.IsNotFound(err))
		_, isStatus := err.(*apierrors.StatusError)
		assert.True(t, isStatus, "returned unchanged")
	})
}

// Plain controller-runtime keeps the kind of an object that it updates.
func TestAProofKeepsTheKindOfATypedObject(t *testing.T) {
	kind := metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	for situation, c := range map[string]struct {
		kind metav1.TypeMeta
		call func(client.Client, *corev1.ConfigMap) error
	}{
		"update":                 {kind, func(c client.Client, cm *corev1.ConfigMap) error { return c.Update(t.Context(), cm) }},
		"update, without a kind": {metav1.TypeMeta{}, func(c client.Client, cm *corev1.ConfigMap) error { return c.Update(t.Context(), cm) }},
		"status update":          {kind, func(c client.Client, cm *corev1.ConfigMap) error { return c.Status().Update(t.Context(), cm) }},
		"modify": {kind, func(c client.Client, cm *corev1.ConfigMap) error {
			return k8sretryctrl.Modify(t.Context(), c, cm, func(cm *corev1.ConfigMap) error { cm.Data = map[string]string{"a": "b"}; return nil })
		}},
	} {
		t.Run(situation, func(t *testing.T) {
			s := &configMapServer{stored: configMap("new")}
			s.stored.TypeMeta = kind
			s.stored.UID, s.stored.ResourceVersion, s.stored.CreationTimestamp = "1", "1", longAgo
			cm := configMap("new", "a", "b")
			cm.TypeMeta, cm.ResourceVersion, cm.UID = c.kind, "1", "1"
			require.NoError(t, c.call(s.client(t), cm))
			assert.Equal(t, "2", cm.ResourceVersion)
			assert.Equal(t, c.kind, cm.TypeMeta)
			assert.True(t, s.lost)
		})
	}
	t.Run("create", func(t *testing.T) {
		cm := owned(configMap("new"))
		cm.TypeMeta = kind
		require.NoError(t, (&configMapServer{}).client(t).Create(t.Context(), cm))
		assert.Equal(t, kind, cm.TypeMeta)
	})
}

// The object that a watch reports has no kind either.
func TestAProofByTheFirstChangeKeepsTheKind(t *testing.T) {
	for call, update := range map[string]func(context.Context, client.Client, *corev1.ConfigMap) error{
		"update": func(ctx context.Context, c client.Client, cm *corev1.ConfigMap) error { return c.Update(ctx, cm) },
		"modify": func(ctx context.Context, c client.Client, cm *corev1.ConfigMap) error {
			return k8sretryctrl.Modify(ctx, c, cm, plusOne)
		},
	} {
		inVirtualTime(t, call+", stored, and then deleted by another client", func(t *testing.T) {
			h := &history{}
			server := h.of(builder().WithObjects(configMap("x", "n", "0")).Build())
			c := interruptFirstUpdate(server, func(update func() error) {
				require.NoError(t, update())
				require.NoError(t, server.Delete(t.Context(), configMap("x")))
			})
			cm := read(t, server, "x")
			cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
			cm.Data["n"] = "1"
			require.NoError(t, update(t.Context(), c, cm))
			assert.Equal(t, "ConfigMap", cm.Kind)
			assert.Equal(t, "1", cm.Data["n"])
		})
	}
}
