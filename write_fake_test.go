package k8sretry_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

// The clients of client-go have the shapes, with T inferred.
var (
	_ k8sretry.DynamicResource = dynamic.ResourceInterface(nil)
)

// losing makes a fake carry out the next n calls of a verb and lose the answers.
func losing(fake *k8stesting.Fake, tracker k8stesting.ObjectTracker, verb string, n int) {
	react := k8stesting.ObjectReaction(tracker)
	fake.PrependReactor(verb, "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
		if n--; n < 0 {
			return false, nil, nil
		}
		_, _, _ = react(action)
		return true, nil, lostReply()
	})
}

func verbs(actions []k8stesting.Action) (all []string) {
	for _, a := range actions {
		all = append(all, a.GetVerb())
	}
	return all
}

// Fakes know neither UIDs nor resource versions, and take no notice of preconditions.
func TestWritesOnAFakeClientset(t *testing.T) {
	ctx := context.Background()
	t.Run("no mishap", func(t *testing.T) {
		clientset := fake.NewClientset()
		client := clientset.CoreV1().ConfigMaps("default")
		made, err := k8sretry.Create(ctx, client, configMap("x"), metav1.CreateOptions{})
		require.NoError(t, err)
		made.Data = map[string]string{"a": "b"}
		made, err = k8sretry.Update(ctx, client, made, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = k8sretry.Modify(ctx, client, "x", plusOne)
		require.NoError(t, err)
		require.NoError(t, k8sretry.Delete(ctx, client, made, metav1.DeleteOptions{}))
		assert.Equal(t, []string{"create", "update", "get", "update", "delete"}, verbs(clientset.Actions()))
	})
	t.Run("generateName", func(t *testing.T) {
		client := fake.NewClientset().CoreV1().ConfigMaps("default")
		obj := configMap("")
		obj.GenerateName = "job-"
		made, err := k8sretry.Create(ctx, client, obj, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Regexp(t, "^job-.....$", made.Name)
	})
	for verb, write := range map[string]func(*testing.T, *fake.Clientset) error{
		"create": func(t *testing.T, c *fake.Clientset) error {
			_, err := k8sretry.Create(ctx, c.CoreV1().ConfigMaps("default"), configMap("new"), metav1.CreateOptions{})
			return err
		},
		"update": func(t *testing.T, c *fake.Clientset) error {
			_, err := k8sretry.Update(ctx, c.CoreV1().ConfigMaps("default"), configMap("x", "n", "1"), metav1.UpdateOptions{})
			return err
		},
		"delete": func(t *testing.T, c *fake.Clientset) error {
			return k8sretry.Delete(ctx, c.CoreV1().ConfigMaps("default"), configMap("x"), metav1.DeleteOptions{})
		},
	} {
		t.Run("answer lost: "+verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset := fake.NewClientset(configMap("x", "n", "0"))
				losing(&clientset.Fake, clientset.Tracker(), verb, 2)
				require.NoError(t, write(t, clientset))
			})
		})
		t.Run("lost before: "+verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset := fake.NewClientset(configMap("x", "n", "0"))
				n := 2
				clientset.PrependReactor(verb, "*", func(k8stesting.Action) (bool, runtime.Object, error) {
					n--
					return n >= 0, nil, gatewayTimeout()
				})
				require.NoError(t, write(t, clientset))
			})
		})
	}
	t.Run("answer lost: modify counts once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			losing(&clientset.Fake, clientset.Tracker(), "update", 1)
			got, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			require.NoError(t, err)
			assert.Equal(t, "1", got.Data["n"])
		})
	})
	t.Run("answer lost, and changed in between: cannot be told without resource versions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			clientset.PrependReactor("update", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				_ = clientset.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), configMap("x", "n", "5"), "default")
				return true, nil, lostReply()
			})
			_, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			outcomeUnknown(t, err)
			assert.ErrorContains(t, err, "EOF")
		})
	})
	t.Run("never stored, unchanged: sent again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			n := 1
			clientset.PrependReactor("update", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				n--
				return n >= 0, nil, gatewayTimeout()
			})
			got, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			require.NoError(t, err)
			assert.Equal(t, "1", got.Data["n"])
			assert.Equal(t, []string{"get", "update", "get", "update"}, verbs(clientset.Actions()))
		})
	})
	t.Run("a reactor's conflict: mutated again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			n := 2
			clientset.PrependReactor("update", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				n--
				return n >= 0, nil, apierrors.NewConflict(configMaps, "x", assert.AnError)
			})
			got, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			require.NoError(t, err)
			assert.Equal(t, "1", got.Data["n"])
		})
	})
}

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		clientset := fake.NewClientset()
		n, err := 0, lostReply()
		clientset.PrependReactor("patch", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			n++
			return n <= 2, nil, err
		})
		client := clientset.CoreV1().ConfigMaps("default")
		applied, got := k8sretry.Apply(ctx, client, corev1apply.ConfigMap("x", "default").WithData(map[string]string{"a": "b"}), metav1.ApplyOptions{FieldManager: "me"})
		require.NoError(t, got)
		assert.Equal(t, "b", applied.Data["a"])
		assert.Equal(t, 3, n)

		n, err = 0, apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "owned")
		_, got = k8sretry.Apply(ctx, client, corev1apply.ConfigMap("x", "default"), metav1.ApplyOptions{FieldManager: "me"})
		asItCame(t, got)
		assert.Equal(t, 1, n)
	})
}

func TestDynamic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		gvr := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{gvr: "WidgetList"})
		widgets := k8sretry.Dynamic(client.Resource(gvr).Namespace("default"))
		widget := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "namespace": "default"},
		}}
		given := widget.DeepCopy()
		losing(&client.Fake, client.Tracker(), "create", 1)
		losing(&client.Fake, client.Tracker(), "delete", 1)

		made, err := k8sretry.Create(ctx, widgets, widget, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, given, widget)
		assert.NotEmpty(t, made.GetAnnotations()[k8sretry.TokenAnnotation])

		made, err = k8sretry.Modify(ctx, widgets, "w", func(w *unstructured.Unstructured) error {
			return unstructured.SetNestedField(w.Object, int64(3), "spec", "size")
		})
		require.NoError(t, err)
		_, err = k8sretry.Update(ctx, k8sretry.StatusSubresource(widgets), made, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = k8sretry.Update(ctx, k8sretry.Dynamic(client.Resource(gvr).Namespace("default"), "status"), made, metav1.UpdateOptions{})
		require.NoError(t, err)
		require.NoError(t, k8sretry.Delete(ctx, widgets, made, metav1.DeleteOptions{}))
		assert.Equal(t, []string{"create", "create", "get", "get", "update", "update", "update", "delete", "get"}, verbs(client.Actions()))

		applied, err := k8sretry.Apply(ctx, widgets, given, metav1.ApplyOptions{FieldManager: "me", Force: true}, k8sretry.WithMaxRetries(0))
		if err == nil { // the fake may not know how to apply a kind without a schema
			assert.Equal(t, "w", applied.GetName())
		}
		last := client.Actions()[len(client.Actions())-1]
		assert.Equal(t, "patch", last.GetVerb())
		assert.Equal(t, "w", last.(k8stesting.PatchAction).GetName())

		w, err := widgets.Watch(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		w.Stop()

		assert.Nil(t, k8sretry.Dynamic(nil))
		_, err = k8sretry.Create(ctx, k8sretry.Dynamic(nil), widget, metav1.CreateOptions{})
		assert.ErrorContains(t, err, "client is nil")
	})
}

// overHTTP serves a cluster to a real client. mishap, if any, says what happens to the
// answer to a write: it gets the code and reports whether it has answered itself.
func overHTTP(t *testing.T, c *cluster, mishap func(http.ResponseWriter, *http.Request) bool, wrappers ...func(http.RoundTripper) http.RoundTripper) *kubernetes.Clientset {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in corev1.ConfigMap
		if r.Method == "POST" || r.Method == "PUT" {
			_ = json.NewDecoder(r.Body).Decode(&in)
		}
		var del metav1.DeleteOptions
		if r.Method == "DELETE" {
			_ = json.NewDecoder(r.Body).Decode(&del)
		}
		var out any
		var err error
		switch ctx := context.Background(); r.Method {
		case "POST":
			out, err = c.Create(ctx, &in, metav1.CreateOptions{})
		case "GET":
			out, err = c.Get(ctx, path.Base(r.URL.Path), metav1.GetOptions{})
		case "PUT":
			out, err = c.Update(ctx, &in, metav1.UpdateOptions{})
		case "DELETE":
			out, err = metav1.Status{Status: metav1.StatusSuccess}, c.Delete(ctx, path.Base(r.URL.Path), del)
		}
		if r.Method != "GET" && mishap != nil && mishap(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			status := err.(*apierrors.StatusError).ErrStatus
			status.Kind, status.APIVersion = "Status", "v1"
			w.WriteHeader(int(status.Code))
			out = status
		} else if cm, ok := out.(*corev1.ConfigMap); ok {
			cm.Kind, cm.APIVersion = "ConfigMap", "v1"
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1}
	config.ContentType = "application/json"
	for _, wrap := range wrappers {
		config.Wrap(wrap)
	}
	httpClient, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	t.Cleanup(httpClient.CloseIdleConnections)
	clientset, err := kubernetes.NewForConfigAndClient(config, httpClient)
	require.NoError(t, err)
	return clientset
}

// client-go repeats a write inside one attempt when the answer has a Retry-After: the
// first answer that a call sees may be about an earlier request.
func TestWritesSeeThroughTheRetriesOfClientGo(t *testing.T) {
	ctx := context.Background()
	var left atomic.Int32
	gateway := func(w http.ResponseWriter, _ *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	for name, wrappers := range map[string][]func(http.RoundTripper) http.RoundTripper{
		"client-go repeats, unseen":         nil,
		"a Transport leaves it to the call": {wrapper(t)},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			client := overHTTP(t, c, gateway, wrappers...).CoreV1().ConfigMaps("default")
			policy := k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond))

			left.Store(1)
			made, err := k8sretry.Create(ctx, client, configMap("x", "n", "0"), metav1.CreateOptions{}, policy)
			require.NoError(t, err)
			c.expectRequests(t, "create", "create", "get")

			left.Store(1)
			made.Data["n"] = "1"
			made, err = k8sretry.Update(ctx, client, made, metav1.UpdateOptions{}, policy)
			require.NoError(t, err)

			left.Store(1)
			made, err = k8sretry.Modify(ctx, client, made.Name, plusOne, policy)
			require.NoError(t, err)
			assert.Equal(t, "2", made.Data["n"])

			left.Store(1)
			require.NoError(t, k8sretry.Delete(ctx, client, made, metav1.DeleteOptions{}, policy))
			c.expectRequests(t, "create", "create", "get", "update", "update", "get", "get", "update", "update", "get", "delete", "delete")
		})
	}
}

// The wait that the server asks for reaches the call, though client-go is kept from
// seeing it.
func TestWritesObeyRetryAfterBelowATransport(t *testing.T) {
	var left atomic.Int32
	left.Store(1)
	c := newCluster()
	client := overHTTP(t, c, func(w http.ResponseWriter, _ *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}, wrapper(t)).CoreV1().ConfigMaps("default")
	made, err := k8sretry.Create(context.Background(), client, configMap("x"), metav1.CreateOptions{})
	require.NoError(t, err, "too long a wait ends the call, but the object is there")
	assert.Equal(t, "x", made.Name)
	c.expectRequests(t, "create", "get")
}

func TestWritesSendOneRequest(t *testing.T) {
	ctx := context.Background()
	c := newCluster()
	client := overHTTP(t, c, nil).CoreV1().ConfigMaps("default")
	made, err := k8sretry.Create(ctx, client, configMap("x"), metav1.CreateOptions{})
	require.NoError(t, err)
	made.Labels = map[string]string{"a": "b"}
	made, err = k8sretry.Update(ctx, client, made, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, k8sretry.Delete(ctx, client, made, metav1.DeleteOptions{}))
	c.expectRequests(t, "create", "update", "delete")
}
