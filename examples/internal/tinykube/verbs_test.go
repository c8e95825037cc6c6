// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

func TestTypedClientReadsAndWrites(t *testing.T) {
	contentTypes := map[string]func(*rest.Config){
		"client-go's default": func(*rest.Config) {},
		"JSON":                func(c *rest.Config) { c.ContentType = "application/json" },
		"JSON, protobuf preferred": func(c *rest.Config) {
			c.ContentType, c.AcceptContentTypes = "application/json", "application/vnd.kubernetes.protobuf,application/json"
		},
	}
	for name, set := range contentTypes {
		t.Run(name, func(t *testing.T) {
			ctx, server := context.Background(), start(t)
			config := server.Config()
			set(config)
			maps := clientset(t, config).CoreV1().ConfigMaps("default")

			created, err := maps.Create(ctx, configMap("settings"), metav1.CreateOptions{})
			require.NoError(t, err)
			assert.NotEmpty(t, created.UID)
			assert.NotEmpty(t, created.ResourceVersion)
			assert.False(t, created.CreationTimestamp.IsZero())

			changed := created.DeepCopy()
			changed.Data["a"] = "2"
			changed, err = maps.Update(ctx, changed, metav1.UpdateOptions{})
			require.NoError(t, err)
			assert.NotEqual(t, created.ResourceVersion, changed.ResourceVersion)

			_, err = maps.Update(ctx, created, metav1.UpdateOptions{})
			assert.True(t, apierrors.IsConflict(err), "an update with an old resource version: %v", err)

			same, err := maps.Update(ctx, changed, metav1.UpdateOptions{})
			require.NoError(t, err)
			assert.Equal(t, changed.ResourceVersion, same.ResourceVersion, "a write without a change")

			list, err := maps.List(ctx, metav1.ListOptions{})
			require.NoError(t, err)
			require.Len(t, list.Items, 1)
			assert.Equal(t, "2", list.Items[0].Data["a"])

			require.NoError(t, maps.Delete(ctx, "settings", metav1.DeleteOptions{}))
			_, err = maps.Get(ctx, "settings", metav1.GetOptions{})
			assert.True(t, apierrors.IsNotFound(err))
		})
	}
}

func TestErrorsAreThoseOfKubernetes(t *testing.T) {
	ctx, server := context.Background(), start(t)
	cs := clientset(t, server.Config())
	maps := cs.CoreV1().ConfigMaps("default")
	kept, err := maps.Create(ctx, configMap("kept"), metav1.CreateOptions{})
	require.NoError(t, err)
	other := types.UID("11111111-2222-3333-4444-555555555555")

	cases := map[string]struct {
		call   func() error
		is     func(error) bool
		code   int32
		object string // details.kind and name
		text   string
	}{
		"get a missing object": {
			call: func() error { _, err := maps.Get(ctx, "gone", metav1.GetOptions{}); return err },
			is:   apierrors.IsNotFound, code: 404, object: "configmaps/gone", text: `configmaps "gone" not found`,
		},
		"create an existing object": {
			call: func() error { _, err := maps.Create(ctx, configMap("kept"), metav1.CreateOptions{}); return err },
			is:   apierrors.IsAlreadyExists, code: 409, object: "configmaps/kept", text: `configmaps "kept" already exists`,
		},
		"create with an invalid name": {
			call: func() error { _, err := maps.Create(ctx, configMap("Not_Good"), metav1.CreateOptions{}); return err },
			is:   apierrors.IsInvalid, code: 422, object: "ConfigMap/Not_Good", text: "metadata.name",
		},
		"create without a name": {
			call: func() error { _, err := maps.Create(ctx, configMap(""), metav1.CreateOptions{}); return err },
			is:   apierrors.IsInvalid, code: 422, object: "ConfigMap/", text: "name or generateName is required",
		},
		"create in a missing namespace": {
			call: func() error {
				_, err := cs.CoreV1().ConfigMaps("nowhere").Create(ctx, configMap("a"), metav1.CreateOptions{})
				return err
			},
			is: apierrors.IsNotFound, code: 404, object: "namespaces/nowhere", text: `namespaces "nowhere" not found`,
		},
		"create with a resource version": {
			call: func() error { _, err := maps.Create(ctx, kept, metav1.CreateOptions{}); return err },
			is:   apierrors.IsInternalError, code: 500, text: "resourceVersion should not be set",
		},
		"delete with another UID": {
			call: func() error {
				return maps.Delete(ctx, "kept", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
			},
			is: apierrors.IsConflict, code: 409, object: "configmaps/kept", text: "Precondition failed: UID in precondition",
		},
		"get from an API that is not served": {
			call: func() error {
				_, err := dynamic.NewForConfigOrDie(server.Config()).Resource(schema.GroupVersionResource{Group: "x.dev", Version: "v1", Resource: "ys"}).Get(ctx, "a", metav1.GetOptions{})
				return err
			},
			is:   func(err error) bool { return apierrors.IsNotFound(err) && apierrors.IsUnexpectedServerError(err) },
			code: 404, text: "the server could not find the requested resource",
		},
		"patch with a JSON patch": {
			call: func() error {
				_, err := maps.Patch(ctx, "kept", types.JSONPatchType, []byte(`[]`), metav1.PatchOptions{})
				return err
			},
			is: apierrors.IsUnsupportedMediaType, code: 415, text: "unknown format",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.call()
			require.Error(t, err)
			assert.True(t, c.is(err), "%T %v", err, err)
			var status apierrors.APIStatus
			require.ErrorAs(t, err, &status)
			assert.Equal(t, c.code, status.Status().Code)
			assert.ErrorContains(t, err, c.text)
			if c.object != "" {
				d := status.Status().Details
				require.NotNil(t, d)
				assert.Equal(t, c.object, d.Kind+"/"+d.Name)
			}
		})
	}
}

func TestDynamicClientReadsAndWritesCustomResources(t *testing.T) {
	ctx, server := context.Background(), start(t)
	dbs := dynamicDatabases(t, server)

	_, err := dbs.Create(ctx, database("orders", ""), metav1.CreateOptions{})
	assert.True(t, apierrors.IsInvalid(err), "the Validate of the resource: %v", err)

	sent := database("orders", "postgres")
	sent.Object["status"] = map[string]any{"phase": "Ready"}
	created, err := dbs.Create(ctx, sent, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 1, created.GetGeneration())
	assert.NotContains(t, created.Object, "status", "a create ignores the status")

	created.Object["status"] = map[string]any{"phase": "Ready"}
	ready, err := dbs.UpdateStatus(ctx, created, metav1.UpdateOptions{})
	require.NoError(t, err)
	phase, _, _ := unstructured.NestedString(ready.Object, "status", "phase")
	assert.Equal(t, "Ready", phase)
	assert.EqualValues(t, 1, ready.GetGeneration(), "a status update keeps the generation")

	merged, err := dbs.Patch(ctx, "orders", types.MergePatchType, []byte(`{"spec":{"engine":"mysql"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, merged.GetGeneration())
	phase, _, _ = unstructured.NestedString(merged.Object, "status", "phase")
	assert.Equal(t, "Ready", phase, "a patch of the object keeps its status")

	unversioned := database("orders", "postgres")
	_, err = dbs.Update(ctx, unversioned, metav1.UpdateOptions{})
	assert.True(t, apierrors.IsInvalid(err), "an update of a custom resource needs a resourceVersion: %v", err)

	applied, err := dbs.Apply(ctx, "fresh", database("fresh", "postgres"), metav1.ApplyOptions{FieldManager: "test"})
	require.NoError(t, err)
	assert.NotEmpty(t, applied.GetUID(), "apply creates a missing object")
	again, err := dbs.Apply(ctx, "fresh", database("fresh", "postgres"), metav1.ApplyOptions{FieldManager: "test"})
	require.NoError(t, err)
	assert.Equal(t, applied.GetResourceVersion(), again.GetResourceVersion(), "the same apply twice changes nothing")

	_, err = dbs.Create(ctx, database("dry", "postgres"), metav1.CreateOptions{DryRun: []string{"All"}})
	require.NoError(t, err)
	_, err = dbs.Get(ctx, "dry", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), "a dry run stores nothing")

	require.NoError(t, dbs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	list, err := dbs.List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, list.Items)
}

func TestGenerateNameCreatesAnotherObjectEachTime(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	job := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}}
	for range 2 {
		created, err := maps.Create(ctx, job, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Regexp(t, `^job-.{5}$`, created.Name)
	}
	list, err := maps.List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, list.Items, 2)
}

func TestNewPodsAndNamespacesHaveAPhase(t *testing.T) {
	ctx, server := context.Background(), start(t)
	cs := clientset(t, server.Config())
	ns, err := cs.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.Equal(t, corev1.NamespaceActive, ns.Status.Phase)
	pod, err := cs.CoreV1().Pods("team").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.Equal(t, corev1.PodPending, pod.Status.Phase)
	pod.Status.Phase = corev1.PodRunning
	pod, err = cs.CoreV1().Pods("team").UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Equal(t, corev1.PodRunning, pod.Status.Phase)
	all, err := cs.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, all.Items, 1, "a list over all namespaces")
}
