// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

// clients are clients whose server is not available.
type clients struct {
	kubernetes.Interface
	dynamic dynamic.Interface
}

func (c clients) of(gvr schema.GroupVersionResource) dynamic.ResourceInterface {
	return c.dynamic.Resource(gvr).Namespace("shop")
}

// Safe writes are named by what they do, as the requests of a Transport are, and not by the
// function that makes them.
func TestSafeWritesAreNamedByVerbAndResource(t *testing.T) {
	in := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "1", ResourceVersion: "7"}
	}
	widget := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7"}}}
	noKind := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "web", "namespace": "shop", "uid": "1"}}}
	scale := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": map[string]any{"name": "web", "namespace": "shop", "resourceVersion": "7"}}}
	widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	deployments := appsv1.SchemeGroupVersion.WithResource("deployments")
	merge := []byte(`{"data":{"a":"b"}}`)
	// named is with fakes, wired over a Transport; object is what the events name.
	for _, c := range []struct {
		situation    string
		call         func(ctx context.Context, c clients, opts ...k8sretry.Option) error
		named, wired string
		object       string
	}{
		{"Create", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(ctx, c.CoreV1().ConfigMaps("shop"), &corev1.ConfigMap{ObjectMeta: in("web")}, metav1.CreateOptions{}, opts...)
			return err
		}, "create configmaps", "create configmaps", "shop/web"},
		{"Create of another group", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(ctx, c.RbacV1().ClusterRoles(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "admin"}}, metav1.CreateOptions{}, opts...)
			return err
		}, "create clusterroles.rbac.authorization.k8s.io", "create clusterroles.rbac.authorization.k8s.io", "/admin"},
		{"Update", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(ctx, c.AppsV1().Deployments("shop"), &appsv1.Deployment{ObjectMeta: in("web")}, metav1.UpdateOptions{}, opts...)
			return err
		}, "update deployments.apps", "update deployments.apps", "shop/web"},
		{"Update of a status", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(ctx, k8sretry.StatusSubresource(c.CoreV1().Pods("shop")), &corev1.Pod{ObjectMeta: in("web")}, metav1.UpdateOptions{}, opts...)
			return err
		}, "update pods/status", "update pods/status", "shop/web"},
		{"Modify that cannot read", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Modify(ctx, c.CoreV1().ConfigMaps("shop"), "web", func(*corev1.ConfigMap) error { return nil }, opts...)
			return err
		}, "update configmaps", "update configmaps", "/web"},
		{"Delete", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			return k8sretry.Delete(ctx, c.CoreV1().Pods("shop"), &corev1.Pod{ObjectMeta: in("web")}, metav1.DeleteOptions{}, opts...)
		}, "delete pods", "delete pods", "shop/web"},
		{"Evict", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			return k8sretry.Evict(ctx, c.CoreV1().Pods("shop"), &corev1.Pod{ObjectMeta: in("web")}, metav1.DeleteOptions{}, append(opts, k8sretry.WithMaxRetries(1))...)
		}, "create pods/eviction", "create pods/eviction", "shop/web"},
		{"Apply", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Apply(ctx, c.CoreV1().ConfigMaps("shop"), applycorev1.ConfigMap("web", "shop"), metav1.ApplyOptions{}, opts...)
			return err
		}, "apply configmaps", "apply configmaps", "/web"},
		{"Patch", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Patch(ctx, c.CoreV1().ConfigMaps("shop"), "web", types.MergePatchType, merge, metav1.PatchOptions{}, opts...)
			return err
		}, "patch configmaps", "patch configmaps", "/web"},
		{"Patch of a subresource", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Patch(ctx, k8sretry.PatchSubresource(c.AppsV1().Deployments("shop"), "scale"), "web", types.MergePatchType, merge, metav1.PatchOptions{}, opts...)
			return err
		}, "patch deployments.apps/scale", "patch deployments.apps/scale", "/web"},
		{"Create by the dynamic client", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(ctx, k8sretry.Dynamic(c.of(widgets)), widget, metav1.CreateOptions{}, opts...)
			return err
		}, "create widgets.example.com", "create widgets.example.com", "shop/web"},
		{"Update of a status by the dynamic client", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(ctx, k8sretry.Dynamic(c.of(widgets), "status"), widget, metav1.UpdateOptions{}, opts...)
			return err
		}, "update widgets.example.com/status", "update widgets.example.com/status", "shop/web"},
		{"Update of a scale by the dynamic client", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Update(ctx, k8sretry.Dynamic(c.of(deployments), "scale"), scale, metav1.UpdateOptions{}, opts...)
			return err
		}, "", "update deployments.apps/scale", "shop/web"},
		{"Delete by the dynamic client of an object without a kind", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			return k8sretry.Delete(ctx, k8sretry.Dynamic(c.of(widgets)), noKind, metav1.DeleteOptions{}, opts...)
		}, "", "delete widgets.example.com", "shop/web"},
		{"Modify by the dynamic client that cannot read", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Modify(ctx, k8sretry.Dynamic(c.of(widgets)), "web", func(*unstructured.Unstructured) error { return nil }, opts...)
			return err
		}, "", "update widgets.example.com", "/web"},
		{"a name of the caller's", func(ctx context.Context, c clients, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(ctx, c.CoreV1().ConfigMaps("shop"), &corev1.ConfigMap{ObjectMeta: in("web")}, metav1.CreateOptions{}, append(opts, k8sretry.WithName("mine"))...)
			return err
		}, "mine", "mine", "shop/web"},
	} {
		check := func(t *testing.T, clients clients, want, object string) {
			var seen recorder
			logger, lines := jsonLogs()
			err := c.call(t.Context(), clients, logger, k8sretry.WithObserver(&seen), k8sretry.WithMaxRetries(1))
			if want == "" {
				want = "TestSafeWritesAreNamedByVerbAndResource.func"
			}
			assert.Contains(t, asError(t, err).Function, want)
			if want[0] != 'T' {
				assert.Equal(t, want, asError(t, err).Function)
			}
			require.Len(t, seen.events, 2)
			for i, e := range seen.events {
				assert.Equal(t, asError(t, err).Function, e.Function)
				assert.Equal(t, object, e.ObjectNamespace+"/"+e.ObjectName)
				assert.NotContains(t, lines(t)[i], "object")
			}
		}
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				typed, dynamically := fake.NewClientset(), dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{widgets: "WidgetList", deployments: "DeploymentList"})
				fail := func(k8stesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewServiceUnavailable("not now")
				}
				typed.PrependReactor("*", "*", fail)
				dynamically.PrependReactor("*", "*", fail)
				check(t, clients{typed, dynamically}, c.named, c.object)
			})
		})
		t.Run(c.situation+", over a Transport", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := &rest.Config{Host: "https://server", Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
					return answer(req, 503, "application/json", statusJSON(503, metav1.StatusReasonServiceUnavailable, "not now")), nil
				})}
				typed := clientset(t, cfg, wrapper(t, k8sretry.WithLogger(nil)))
				object := c.object
				if object == "/web" {
					object = "shop/web" // the request says more
				}
				check(t, clients{typed, dynamic.NewForConfigOrDie(cfg)}, c.wired, object)
			})
		})
	}
	t.Run("the resource of an answer about the object", func(t *testing.T) {
		for kind, want := range map[string]string{"widgets": "delete widgets.example.com", "Widget": "delete widgets.example.com"} {
			typed := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
			typed.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				return true, nil, about(failure(403, metav1.StatusReasonForbidden, "no"), "example.com", kind, "web")
			})
			logger, lines := jsonLogs()
			err := k8sretry.Delete(t.Context(), k8sretry.Dynamic(typed.Resource(widgets)), noKind, metav1.DeleteOptions{}, logger)
			require.True(t, apierrors.IsForbidden(err))
			assert.Equal(t, want, lines(t)[0]["function"])
		}
	})
	t.Run("an answer about another object", func(t *testing.T) {
		typed := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
		typed.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			return true, nil, about(failure(404, metav1.StatusReasonNotFound, "no"), "", "namespaces", "shop")
		})
		logger, lines := jsonLogs()
		_ = k8sretry.Delete(t.Context(), k8sretry.Dynamic(typed.Resource(widgets)), noKind, metav1.DeleteOptions{}, logger)
		assert.Contains(t, lines(t)[0]["function"], "TestSafeWritesAreNamedByVerbAndResource")
	})
}

// The object is in the lines of a call that asks for it.
func TestObjectNames(t *testing.T) {
	unavailable := func(req *http.Request) (*http.Response, error) {
		return answer(req, 404, "application/json", statusJSON(404, metav1.StatusReasonNotFound, "not found")), nil
	}
	for _, c := range []struct {
		situation string
		call      func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error
		object    any // nil for none
	}{
		{"a safe write", func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
			_, err := k8sretry.Create(ctx, client.CoreV1().ConfigMaps("shop"), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{}, opts...)
			return err
		}, "shop/web"},
		{"a Do", func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
			return k8sretry.Run(ctx, func(ctx context.Context) error {
				_, err := client.CoreV1().Pods("shop").Get(ctx, "web", metav1.GetOptions{})
				return err
			}, opts...)
		}, "shop/web"},
		{"an object without a namespace", func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap2(client.CoreV1().Nodes().Get, opts...)(ctx, "node-1", metav1.GetOptions{})
			return err
		}, "node-1"},
		{"a list", func(ctx context.Context, client kubernetes.Interface, opts ...k8sretry.Option) error {
			_, err := k8sretry.Wrap1(client.CoreV1().Pods("shop").List, opts...)(ctx, metav1.ListOptions{})
			return err
		}, nil},
	} {
		t.Run(c.situation, func(t *testing.T) {
			for _, opts := range [][]k8sretry.Option{{k8sretry.WithObjectNames()}, {k8sretry.NewPolicy(k8sretry.WithObjectNames()), k8sretry.ForRead()}, nil} {
				logger, lines := jsonLogs()
				observer, out := jsonSlog()
				require.Error(t, c.call(t.Context(), over(t, unavailable, wrapper(t)), append(opts, logger, k8sretry.WithObserver(observer))...))
				want := c.object
				if opts == nil {
					want = nil
				}
				assert.Equal(t, want, lines(t)[0]["object"])
				assert.Equal(t, want, decodeLines(t, out.String())[0]["object"])
			}
		})
	}
	t.Run("a Transport", func(t *testing.T) {
		logger, lines := jsonLogs()
		require.Error(t, get(t.Context(), over(t, unavailable, wrapper(t, logger, k8sretry.WithObjectNames()))))
		assert.Equal(t, "default/a", lines(t)[0]["object"])
	})
}

// Gadget is a type of a program that has no group in its package.
type Gadget struct{ corev1.ConfigMap }

type gadgets struct{}

func (gadgets) Get(context.Context, string, metav1.GetOptions) (*Gadget, error) {
	return nil, unavailable()
}

func (gadgets) Delete(context.Context, string, metav1.DeleteOptions) error { return forbidden("a") }

func TestTheGroupOfATypeOfAProgramIsNotKnown(t *testing.T) {
	var seen recorder
	err := k8sretry.Delete(t.Context(), gadgets{}, &Gadget{}, metav1.DeleteOptions{}, k8sretry.WithObserver(&seen))
	assert.True(t, apierrors.IsForbidden(err))
	assert.Equal(t, "delete gadgets", seen.last(t).Function)
}
