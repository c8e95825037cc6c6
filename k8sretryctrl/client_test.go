// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func TestWrappersAreAppliedBeforeAndAfter(t *testing.T) {
	type wrap = func(client.Client) client.Client
	owner := func(c client.Client) client.Client { return client.WithFieldOwner(c, "me") }
	validation := func(c client.Client) client.Client { return client.WithFieldValidation(c, "Strict") }
	retries := func(c client.Client) client.Client { return k8sretryctrl.NewClient(c) }
	for situation, order := range map[string][]wrap{
		"before":           {owner, validation, retries},
		"after":            {retries, owner, validation},
		"before and after": {owner, retries, validation},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			var seen client.CreateOptions
			lost := 0
			var c client.Client = interceptor.NewClient(cluster(), interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					seen = client.CreateOptions{}
					seen.ApplyOptions(opts)
					err := c.Create(ctx, obj, opts...)
					if lost++; lost == 1 {
						return unknownOutcome()
					}
					return err
				},
			})
			for _, w := range order {
				c = w(c)
			}
			cm := owned(configMap("new"))
			require.NoError(t, c.Create(t.Context(), cm))
			assert.NotEmpty(t, cm.ResourceVersion)
			assert.Equal(t, "me", seen.FieldManager)
			assert.Equal(t, "Strict", seen.FieldValidation)
			assert.Equal(t, 2, lost)
			assert.NoError(t, c.Status().Patch(t.Context(), pod(), labelPatch()))
		})
	}
	t.Run("a namespaced client", func(t *testing.T) {
		c := client.NewNamespacedClient(k8sretryctrl.NewClient(cluster()), "default")
		cm := &corev1.ConfigMap{}
		require.NoError(t, c.Get(t.Context(), client.ObjectKey{Name: "x"}, cm))
		require.NoError(t, c.Update(t.Context(), cm))
		require.NoError(t, c.Delete(t.Context(), cm))
	})
}

// The assumption was that what fails in a call is the request of the call. A RESTMapper asks the server first
// for a kind that it does not know, with a context of its own.
func TestTheDiscoveryOfARESTMapperIsNotTheCall(t *testing.T) {
	const found = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"default","uid":"1","resourceVersion":"7"}}`
	answers := map[string]string{
		"/api":    `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":   `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"configmaps","namespaced":true,"kind":"ConfigMap","verbs":["get","update","delete"]}]}`,
	}
	for situation, c := range map[string]struct {
		transport bool
		down      int           // how many requests of the discovery fail
		slow      time.Duration // each of them
		fails     bool
	}{
		"down for a moment, with a Transport": {true, 1, 0, false},
		"down for a moment, without":          {false, 1, 0, false},
		"down, with a Transport":              {true, 1000, 0, true},
		"down, without":                       {false, 1000, 0, true},
		"down and slow, with a Transport":     {true, 1000, 4 * time.Second, true},
		"down and slow, without":              {false, 1000, 4 * time.Second, true},
	} {
		for name, call := range map[string]func(context.Context, client.Client, client.Object) error{
			"get":    func(ctx context.Context, c client.Client, obj client.Object) error { return c.Get(ctx, key("x"), obj) },
			"update": func(ctx context.Context, c client.Client, obj client.Object) error { return c.Update(ctx, obj) },
			"delete": func(ctx context.Context, c client.Client, obj client.Object) error { return c.Delete(ctx, obj) },
			"modify": func(ctx context.Context, c client.Client, obj client.Object) error {
				return k8sretryctrl.Modify(ctx, c, obj, func(obj client.Object) error { obj.SetLabels(map[string]string{"a": "b"}); return nil })
			},
		} {
			inVirtualTime(t, situation+", "+name, func(t *testing.T) {
				down, reached := c.down, 0
				config := &rest.Config{Host: "http://server", QPS: -1, Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
					recorder := httptest.NewRecorder()
					recorder.Header().Set("Content-Type", "application/json")
					answer, isDiscovery := answers[req.URL.Path]
					switch {
					case !isDiscovery:
						reached++
						answer = found
					case down > 0:
						down--
						<-time.After(c.slow)
						recorder.WriteHeader(http.StatusServiceUnavailable)
					}
					_, _ = recorder.WriteString(answer)
					return recorder.Result(), nil
				})}
				if c.transport {
					config.Wrap(k8sretry.Transport())
				}
				plain, err := client.New(config, client.Options{})
				require.NoError(t, err)
				cm := configMap("x")
				cm.UID, cm.ResourceVersion = "1", "7"
				err = call(t.Context(), k8sretryctrl.NewClient(plain), cm)
				if !c.fails {
					require.NoError(t, err)
					return
				}
				assert.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Zero(t, reached)
			})
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestUnknownKindsAreNotRetried(t *testing.T) {
	noMatch := &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Widget"}}
	for situation, c := range map[string]struct {
		client client.WithWatch
		is     func(error) bool
	}{
		"not in the scheme": {fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build(), runtime.IsNotRegisteredError},
		"not served": {interceptor.NewClient(cluster(), interceptor.Funcs{
			Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return noMatch },
			Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return noMatch },
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				return noMatch
			},
			Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return noMatch },
		}), apimeta.IsNoMatchError},
	} {
		t.Run(situation, func(t *testing.T) {
			retrying := k8sretryctrl.NewClient(c.client)
			for _, err := range []error{
				retrying.Create(t.Context(), configMap("x")), retrying.Update(t.Context(), configMap("x")),
				retrying.Patch(t.Context(), configMap("x"), labelPatch()), retrying.Delete(t.Context(), configMap("x")),
			} {
				assert.True(t, c.is(err), "%v", err)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}
		})
	}
}

// The error of the inner client looks like that of a response without a kind, which is retried.
func TestAnObjectWithoutAKindIsNotRetried(t *testing.T) {
	inVirtualTime(t, "unstructured", func(t *testing.T) {
		c, begin := k8sretryctrl.NewClient(cluster()), time.Now()
		obj := &unstructured.Unstructured{}
		obj.SetName("x")
		obj.SetNamespace("default")
		obj.SetAPIVersion("v1")
		for name, err := range map[string]error{
			"get":           c.Get(t.Context(), key("x"), obj),
			"list":          c.List(t.Context(), &unstructured.UnstructuredList{}),
			"create":        c.Create(t.Context(), obj),
			"update":        c.Update(t.Context(), obj),
			"status update": c.Status().Update(t.Context(), obj),
			"patch":         c.Patch(t.Context(), obj, labelPatch()),
			"delete":        c.Delete(t.Context(), obj),
		} {
			assert.True(t, runtime.IsMissingKind(err), "%s: %v", name, err)
		}
		noVersion := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap"}}
		assert.True(t, runtime.IsMissingVersion(c.Get(t.Context(), key("x"), noVersion)))
		assert.Zero(t, time.Since(begin))
	})
}

func TestSchemeAndMapperAreThoseOfTheInnerClient(t *testing.T) {
	inner := cluster()
	c := k8sretryctrl.NewClient(inner)
	assert.Same(t, inner.Scheme(), c.Scheme())
	assert.Equal(t, inner.RESTMapper(), c.RESTMapper())
	gvk, err := c.GroupVersionKindFor(configMap("x"))
	require.NoError(t, err)
	assert.Equal(t, corev1.SchemeGroupVersion.WithKind("ConfigMap"), gvk)
	namespaced, err := c.IsObjectNamespaced(configMap("x"))
	require.NoError(t, err)
	assert.True(t, namespaced)
}

func TestInvalidArgumentsAreReportedByEachCall(t *testing.T) {
	var none *corev1.ConfigMap
	var typedNil *cached
	good := k8sretryctrl.NewClient(cluster())
	for _, inner := range []client.Client{nil, typedNil} {
		bad := k8sretryctrl.NewClient(inner)
		for _, m := range methods() {
			assert.EqualError(t, m.call(t.Context(), bad), "k8sretryctrl: the client is nil", m.name)
		}
		assert.Nil(t, bad.Scheme())
		assert.Nil(t, bad.RESTMapper())
		_, err := bad.GroupVersionKindFor(configMap("x"))
		assert.Error(t, err)
		_, err = bad.IsObjectNamespaced(configMap("x"))
		assert.Error(t, err)
	}
	for situation, err := range map[string]error{
		"get":                good.Get(t.Context(), key("x"), none),
		"get nil":            good.Get(t.Context(), key("x"), nil),
		"list":               good.List(t.Context(), nil),
		"create":             good.Create(t.Context(), none),
		"update":             good.Update(t.Context(), nil),
		"patch":              good.Patch(t.Context(), none, labelPatch()),
		"patch nil":          good.Patch(t.Context(), configMap("x"), nil),
		"apply":              good.Apply(t.Context(), (*corev1apply.ConfigMapApplyConfiguration)(nil)),
		"delete":             good.Delete(t.Context(), none),
		"delete all":         good.DeleteAllOf(t.Context(), nil),
		"status update":      good.Status().Update(t.Context(), none),
		"status patch":       good.Status().Patch(t.Context(), pod(), nil),
		"subresource get":    good.SubResource("scale").Get(t.Context(), pod(), nil),
		"subresource create": good.SubResource("eviction").Create(t.Context(), pod(), nil),
		"subresource apply":  good.SubResource("status").Apply(t.Context(), nil),
	} {
		assert.ErrorContains(t, err, "is nil", situation)
	}
	_, err := good.Watch(t.Context(), nil)
	assert.ErrorContains(t, err, "is nil")
	for _, m := range methods() {
		assert.ErrorContains(t, m.call(t.Context(), k8sretryctrl.NewClient(cluster(), k8sretry.WithMaxRetries(-1))), "WithMaxRetries", m.name)
	}
}

func TestNoCallIsMadeAfterTheContextEnds(t *testing.T) {
	cause := errors.New("cause")
	for _, m := range methods() {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		f := &faults{}
		assert.ErrorIs(t, m.call(ctx, k8sretryctrl.NewClient(f.in(cluster()))), cause, m.name)
		assert.Empty(t, f.all())
	}
}

// One create in three fails, and one in three loses its response.
func TestAClientIsSafeForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := cluster()
		var mu sync.Mutex
		n := 0
		c := k8sretryctrl.NewClient(interceptor.NewClient(server, interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
				mu.Lock()
				n++
				turn := n % 3
				mu.Unlock()
				if turn == 0 {
					return unknownOutcome()
				}
				err := c.Create(ctx, obj, opts...)
				if turn == 1 {
					return unknownOutcome()
				}
				return err
			},
		}), k8sretry.ForMaintenance(), k8sretry.WithMaxElapsed(0))
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				cm := owned(configMap(fmt.Sprint("cm-", i), "n", "0"))
				if assert.NoError(t, c.Create(t.Context(), cm)) {
					cm.Data["n"] = "1"
					assert.NoError(t, c.Update(t.Context(), cm))
				}
			})
		}
		wg.Wait()
		var list corev1.ConfigMapList
		require.NoError(t, server.List(t.Context(), &list))
		assert.Len(t, list.Items, 51)
		for _, cm := range list.Items {
			assert.True(t, cm.Name == "x" || cm.Data["n"] == "1")
		}
	})
}
