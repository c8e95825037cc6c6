// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubetypes "k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestRulesApplyAfterFaults(t *testing.T) {
	for name, install := range map[string]func(*fake.Clientset, *k8sretrytest.Faults){
		"installed first": func(cs *fake.Clientset, f *k8sretrytest.Faults) {
			k8sretrytest.EmulateServer(&cs.Fake)
			f.Install(&cs.Fake)
		},
		"installed last": func(cs *fake.Clientset, f *k8sretrytest.Faults) {
			f.Install(&cs.Fake)
			k8sretrytest.EmulateServer(&cs.Fake)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cs := fake.NewClientset()
			var faults k8sretrytest.Faults
			install(cs, &faults)
			faults.FailNext(9, "get", "*", errFault)
			m := create(t, cs, configMap("a"))
			m.Data = map[string]string{"a": "2"}
			_, err := maps(cs).Update(context.Background(), m, metav1.UpdateOptions{})
			require.NoError(t, err)
			require.NoError(t, maps(cs).Delete(context.Background(), "a", metav1.DeleteOptions{}))
			assert.Equal(t, 3, faults.Calls("*", "*"), "reads by the rules are not counted")
		})
	}
}

func TestStatusAndEvictions(t *testing.T) {
	ctx := context.Background()
	cs, _ := emulated()
	pod, err := cs.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod.Status.Phase = corev1.PodRunning
	running, err := cs.CoreV1().Pods("default").UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Greater(t, version(t, running), version(t, pod))
	_, err = cs.CoreV1().Pods("default").UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	assert.True(t, apierrors.IsConflict(err), "status and object have the same version: %v", err)

	other := kubetypes.UID("other")
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}}
	err = cs.PolicyV1().Evictions("default").Evict(ctx, eviction)
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	eviction.DeleteOptions = nil
	require.NoError(t, cs.PolicyV1().Evictions("default").Evict(ctx, eviction))
	err = cs.CoreV1().Pods("default").EvictV1(ctx, eviction)
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestDynamicFakesAreSupported(t *testing.T) {
	ctx := context.Background()
	gvr := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	cs := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{gvr: "WidgetList"})
	k8sretrytest.EmulateServer(&cs.Fake)
	widgets := cs.Resource(gvr).Namespace("default")
	created, err := widgets.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"generateName": "w-", "namespace": "default"},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.Len(t, created.GetUID(), 36)
	changed := created.DeepCopy()
	changed.Object["spec"] = "2"
	_, err = widgets.Update(ctx, changed, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = widgets.Update(ctx, changed, metav1.UpdateOptions{})
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	patched, err := widgets.Patch(ctx, created.GetName(), kubetypes.MergePatchType, []byte(`{"spec":"3"}`), metav1.PatchOptions{})
	require.NoError(t, err)
	assert.Equal(t, "3", patched.Object["spec"])
}

func TestACreateSetsMetadata(t *testing.T) {
	ctx := context.Background()
	cs, _ := emulated()
	sent := configMap("a")
	created := create(t, cs, sent)
	assert.Len(t, created.UID, 36)
	assert.NotEmpty(t, created.ResourceVersion)
	assert.False(t, created.CreationTimestamp.IsZero())
	assert.Equal(t, configMap("a"), sent, "the caller's object is not changed")
	assert.Equal(t, created, read(t, cs, "a"))

	other := create(t, cs, configMap("b"))
	assert.NotEqual(t, created.UID, other.UID)
	assert.Greater(t, version(t, other), version(t, created))

	_, err := maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.True(t, apierrors.IsAlreadyExists(err), "%v", err)
	_, err = maps(cs).Create(ctx, created, metav1.CreateOptions{})
	assert.EqualError(t, err, "resourceVersion should not be set on objects to be created")
	_, err = maps(cs).Create(ctx, configMap(""), metav1.CreateOptions{})
	assert.EqualError(t, err, `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`)
}

func TestANameIsGenerated(t *testing.T) {
	cs, faults := emulated()
	sent := configMap("")
	sent.GenerateName = "job-"
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
	_, err := maps(cs).Create(context.Background(), sent, metav1.CreateOptions{})
	require.Error(t, err)
	assert.Regexp(t, `^job-[a-z0-9]{5}$`, create(t, cs, sent).Name)
	list, err := maps(cs).List(context.Background(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, list.Items, 2, "a retry creates a second object, as with a real server")
}

func TestAnUpdateChecksPreconditions(t *testing.T) {
	with := func(change func(*corev1.ConfigMap)) func(*corev1.ConfigMap) {
		return func(m *corev1.ConfigMap) { m.Data = map[string]string{"a": "2"}; change(m) }
	}
	cases := map[string]struct {
		change   func(*corev1.ConfigMap)
		conflict string
		stored   bool
	}{
		"as read":          {with(func(*corev1.ConfigMap) {}), "", true},
		"without versions": {with(func(m *corev1.ConfigMap) { m.ResourceVersion, m.UID = "", "" }), "", true},
		"stale":            {with(func(m *corev1.ConfigMap) { m.ResourceVersion = "1" }), "the object has been modified", false},
		"of another UID": {with(func(m *corev1.ConfigMap) { m.UID = "other" }),
			"Precondition failed: UID in precondition: other, UID in object meta: ", false},
		"stale, but the same as stored": {func(m *corev1.ConfigMap) { m.ResourceVersion = "1" }, "the object has been modified", false},
		"nothing changed":               {func(*corev1.ConfigMap) {}, "", false},
		"times and UID left out":        {with(func(m *corev1.ConfigMap) { m.ObjectMeta = configMap("a").ObjectMeta }), "", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cs, _ := emulated("before")
			before := create(t, cs, configMap("a"))
			m := before.DeepCopy()
			c.change(m)
			_, err := maps(cs).Update(context.Background(), m, metav1.UpdateOptions{})
			after := read(t, cs, "a")
			if c.conflict == "" {
				require.NoError(t, err)
			} else {
				assert.True(t, apierrors.IsConflict(err))
				assert.ErrorContains(t, err, `Operation cannot be fulfilled on configmaps "a": `+c.conflict)
				assert.Equal(t, k8sretry.ClassConflict, k8sretry.Classify(err).Class)
			}
			assert.Equal(t, before.UID, after.UID)
			assert.Equal(t, before.CreationTimestamp, after.CreationTimestamp)
			if c.stored {
				assert.Equal(t, version(t, before)+1, version(t, after))
				assert.Equal(t, "2", after.Data["a"])
			} else {
				assert.Equal(t, before, after)
			}
		})
	}
	cs, _ := emulated()
	_, err := maps(cs).Update(context.Background(), configMap("missing"), metav1.UpdateOptions{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestAPatchChecksPreconditions(t *testing.T) {
	cases := map[string]struct {
		kind             kubetypes.PatchType
		patch            string
		conflict, stored bool
	}{
		"merge":                    {kubetypes.MergePatchType, `{"data":{"a":"2"}}`, false, true},
		"strategic":                {kubetypes.StrategicMergePatchType, `{"data":{"a":"2"}}`, false, true},
		"JSON":                     {kubetypes.JSONPatchType, `[{"op":"add","path":"/data","value":{"a":"2"}}]`, false, true},
		"apply":                    {kubetypes.ApplyPatchType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"2"}}`, false, true},
		"that changes nothing":     {kubetypes.MergePatchType, `{"data":null}`, false, false},
		"with a stale version":     {kubetypes.MergePatchType, `{"metadata":{"resourceVersion":"1"},"data":{"a":"2"}}`, true, false},
		"with another UID":         {kubetypes.StrategicMergePatchType, `{"metadata":{"uid":"other"},"data":{"a":"2"}}`, true, false},
		"apply of a stale version": {kubetypes.ApplyPatchType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"1"},"data":{"a":"2"}}`, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cs, _ := emulated()
			before := create(t, cs, configMap("a"))
			opts := metav1.PatchOptions{FieldManager: "test"}
			patched, err := maps(cs).Patch(context.Background(), "a", c.kind, []byte(c.patch), opts)
			after := read(t, cs, "a")
			assert.Equal(t, c.conflict, apierrors.IsConflict(err), "%v", err)
			if !c.conflict {
				require.NoError(t, err)
				assert.Equal(t, after, patched)
			}
			assert.Equal(t, before.UID, after.UID)
			if c.stored {
				assert.Greater(t, version(t, after), version(t, before))
				assert.Equal(t, "2", after.Data["a"])
			} else {
				assert.Equal(t, before, after)
			}
		})
	}
	cs, _ := emulated()
	_, err := maps(cs).Patch(context.Background(), "missing", kubetypes.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestADeleteChecksPreconditions(t *testing.T) {
	ctx := context.Background()
	cs, _ := emulated()
	before := create(t, cs, configMap("a"))
	other, stale := kubetypes.UID("other"), "1"

	err := maps(cs).Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	assert.True(t, apierrors.IsConflict(err))
	assert.ErrorContains(t, err, `Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match`)
	err = maps(cs).Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &stale}})
	assert.True(t, apierrors.IsConflict(err))
	assert.ErrorContains(t, err, "the ResourceVersion in the precondition (1) does not match")
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &before.UID, ResourceVersion: &before.ResourceVersion}}))
	assert.True(t, apierrors.IsNotFound(maps(cs).Delete(ctx, "a", metav1.DeleteOptions{})))
}

func TestFinalizersDelayADelete(t *testing.T) {
	ctx := context.Background()
	cs, _ := emulated()
	finalized := configMap("a")
	finalized.Finalizers = []string{"example.com/cleanup"}
	created := create(t, cs, finalized)
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{}))
	deleting := read(t, cs, "a")
	assert.NotNil(t, deleting.DeletionTimestamp)
	assert.Greater(t, version(t, deleting), version(t, created))
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{}), "a second delete changes nothing")
	assert.Equal(t, deleting, read(t, cs, "a"))

	deleting.Finalizers = nil
	_, err := maps(cs).Update(ctx, deleting, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.True(t, apierrors.IsNotFound(get(cs)))
}

func TestADryRunStoresNothing(t *testing.T) {
	ctx, all := context.Background(), []string{metav1.DryRunAll}
	cs, _ := emulated()
	dry, err := maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{DryRun: all})
	require.NoError(t, err)
	assert.NotEmpty(t, dry.UID)
	assert.True(t, apierrors.IsNotFound(get(cs)))

	before := create(t, cs, configMap("a"))
	_, err = maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{DryRun: all})
	assert.True(t, apierrors.IsAlreadyExists(err))
	changed := before.DeepCopy()
	changed.Data = map[string]string{"a": "2"}
	updated, err := maps(cs).Update(ctx, changed, metav1.UpdateOptions{DryRun: all})
	require.NoError(t, err)
	assert.Equal(t, changed.Data, updated.Data)
	patched, err := maps(cs).Patch(ctx, "a", kubetypes.MergePatchType, []byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{DryRun: all})
	require.NoError(t, err)
	assert.Equal(t, changed.Data, patched.Data)
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{DryRun: all}))
	assert.Equal(t, before, read(t, cs, "a"))
}
