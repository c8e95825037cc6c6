// SPDX-License-Identifier: Apache-2.0

package newest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// The code of docs/testing.md about informers.

func web() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
}

func TestAnInformerCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset(web())
		var faults k8sretrytest.Faults
		faults.Install(&clientset.Fake)
		faults.FailNext(3, "list", "deployments", k8sretrytest.ConnectionRefused())

		ctx, cancel := context.WithCancel(t.Context())
		factory := informers.NewSharedInformerFactory(clientset, 0)
		lister := factory.Apps().V1().Deployments().Lister()
		factory.Start(ctx.Done())
		defer factory.Shutdown() // no goroutine may be left when the bubble ends
		defer cancel()
		factory.WaitForCacheSync(ctx.Done())

		if _, err := lister.Deployments("default").Get("web"); err != nil {
			t.Error(err)
		}
	})
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
}

func TestAnInformerSeesWritesBetweenFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset(configMap("before"))
		k8sretrytest.EmulateServer(&clientset.Fake)
		var faults k8sretrytest.Faults
		faults.Install(&clientset.Fake)
		faults.FailNext(2, "watch", "configmaps", k8sretrytest.Status(503))
		ctx, cancel := context.WithCancel(t.Context())
		factory := informers.NewSharedInformerFactory(clientset, 0)
		seen := make(chan string, 10)
		_, err := factory.Core().V1().ConfigMaps().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { seen <- obj.(*corev1.ConfigMap).Name },
		})
		require.NoError(t, err)
		factory.Start(ctx.Done())
		defer factory.Shutdown()
		defer cancel()
		assert.Equal(t, "before", <-seen)
		_, err = clientset.CoreV1().ConfigMaps("default").Create(ctx, configMap("between"), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, "between", <-seen)
		testkit.Sleep(10 * time.Minute) // more than any backoff of an informer
		assert.Equal(t, 3, faults.Calls("watch", "configmaps"))
	})
}

// A watch without a version, and one without a history, begins with what exists and says
// nothing about what has happened before.
func TestAWatchBeginsWithWhatExists(t *testing.T) {
	ctx := t.Context()
	for name, tt := range map[string]struct {
		options []k8sretrytest.ServerOption
		at      func(first, last *corev1.ConfigMap) string
	}{
		"without a version":            {nil, func(_, _ *corev1.ConfigMap) string { return "" }},
		"without a history":            {[]k8sretrytest.ServerOption{k8sretrytest.WithoutHistory("configmaps")}, func(first, _ *corev1.ConfigMap) string { return first.ResourceVersion }},
		"without a history, from last": {[]k8sretrytest.ServerOption{k8sretrytest.WithoutHistory("configmaps")}, func(_, last *corev1.ConfigMap) string { return last.ResourceVersion }},
	} {
		t.Run(name, func(t *testing.T) {
			clientset := fake.NewClientset()
			k8sretrytest.EmulateServer(&clientset.Fake, tt.options...)
			maps := clientset.CoreV1().ConfigMaps("default")
			first, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
			require.NoError(t, err)
			last := first.DeepCopy()
			last.Data = map[string]string{"a": "1"}
			last, err = maps.Update(ctx, last, metav1.UpdateOptions{})
			require.NoError(t, err)
			_, err = maps.Create(ctx, configMap("b"), metav1.CreateOptions{})
			require.NoError(t, err)

			w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: tt.at(first, last)})
			require.NoError(t, err)
			defer w.Stop()
			var names []string
			for range 2 {
				e := <-w.ResultChan()
				m := e.Object.(*corev1.ConfigMap)
				assert.Equal(t, watch.Added, e.Type)
				names = append(names, m.Name+m.Data["a"])
			}
			slices.Sort(names)
			assert.Equal(t, []string{"a1", "b"}, names)
			require.NoError(t, maps.Delete(ctx, "a", metav1.DeleteOptions{}))
			assert.Equal(t, watch.Deleted, (<-w.ResultChan()).Type, "it goes on with real events")
			assert.Empty(t, w.ResultChan())
		})
	}
}

func TestAWatchWithoutHistoryIncludesWhatItSelects(t *testing.T) {
	ctx := t.Context()
	clientset := fake.NewClientset(configMap("a"), configMap("b"))
	k8sretrytest.EmulateServer(&clientset.Fake, k8sretrytest.WithoutHistory("configmaps"))
	w, err := clientset.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: "1", FieldSelector: "metadata.name=b"})
	require.NoError(t, err)
	defer w.Stop()
	assert.Equal(t, "b", (<-w.ResultChan()).Object.(*corev1.ConfigMap).Name)
	assert.Empty(t, w.ResultChan())
}

func TestADeleteOfADynamicFakeChecksPreconditions(t *testing.T) {
	ctx := t.Context()
	gvr := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	cs := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{gvr: "WidgetList"})
	k8sretrytest.EmulateServer(&cs.Fake)
	widgets := cs.Resource(gvr).Namespace("default")
	created, err := widgets.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"generateName": "w-", "namespace": "default"},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	other := types.UID("other")
	err = widgets.Delete(ctx, created.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	assert.ErrorContains(t, err, `Operation cannot be fulfilled on Widget.example.com "`+created.GetName())
}
