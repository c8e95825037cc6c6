package k8sretrytest_test

import (
	"context"
	"strconv"
	"sync"
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
	"k8s.io/apimachinery/pkg/watch"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// served is a fake clientset that keeps the rules, with faults before them.
func served(objects ...string) (*fake.Clientset, *k8sretrytest.Faults) {
	cs, faults := faulty(objects...)
	k8sretrytest.EmulateServer(&cs.Fake)
	return cs, faults
}

func create(t *testing.T, cs *fake.Clientset, m *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	created, err := maps(cs).Create(context.Background(), m, metav1.CreateOptions{})
	require.NoError(t, err)
	return created
}

func read(t *testing.T, cs *fake.Clientset, name string) *corev1.ConfigMap {
	t.Helper()
	m, err := maps(cs).Get(context.Background(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return m
}

func version(t *testing.T, m metav1.Object) int {
	t.Helper()
	v, err := strconv.Atoi(m.GetResourceVersion())
	require.NoError(t, err)
	return v
}

func TestANewObjectGetsWhatAServerGives(t *testing.T) {
	ctx := context.Background()
	cs, _ := served()
	sent := configMap("a")
	created := create(t, cs, sent)
	assert.Len(t, created.UID, 36)
	assert.NotEmpty(t, created.ResourceVersion)
	assert.False(t, created.CreationTimestamp.IsZero())
	assert.Equal(t, configMap("a"), sent, "the caller's object stays as it was")
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
	cs, faults := served()
	sent := configMap("")
	sent.GenerateName = "job-"
	faults.LoseResponses(1, "create", "configmaps", k8sretrytest.ConnectionClosed())
	_, err := maps(cs).Create(context.Background(), sent, metav1.CreateOptions{})
	require.Error(t, err)
	assert.Regexp(t, `^job-[a-z0-9]{5}$`, create(t, cs, sent).Name)
	list, err := maps(cs).List(context.Background(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, list.Items, 2, "a blind repetition makes a second object, as a server does")
}

func TestAnUpdateKeepsItsPreconditions(t *testing.T) {
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
			cs, _ := served("before")
			was := create(t, cs, configMap("a"))
			m := was.DeepCopy()
			c.change(m)
			_, err := maps(cs).Update(context.Background(), m, metav1.UpdateOptions{})
			is := read(t, cs, "a")
			if c.conflict == "" {
				require.NoError(t, err)
			} else {
				assert.True(t, apierrors.IsConflict(err))
				assert.ErrorContains(t, err, `Operation cannot be fulfilled on configmaps "a": `+c.conflict)
				assert.Equal(t, k8sretry.ClassConflict, k8sretry.Classify(err).Class)
			}
			assert.Equal(t, was.UID, is.UID)
			assert.Equal(t, was.CreationTimestamp, is.CreationTimestamp)
			if c.stored {
				assert.Equal(t, version(t, was)+1, version(t, is))
				assert.Equal(t, "2", is.Data["a"])
			} else {
				assert.Equal(t, was, is)
			}
		})
	}
	cs, _ := served()
	_, err := maps(cs).Update(context.Background(), configMap("missing"), metav1.UpdateOptions{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestAPatchKeepsItsPreconditions(t *testing.T) {
	cases := map[string]struct {
		kind             kubetypes.PatchType
		patch            string
		conflict, stored bool
	}{
		"merge":                    {kubetypes.MergePatchType, `{"data":{"a":"2"}}`, false, true},
		"strategic":                {kubetypes.StrategicMergePatchType, `{"data":{"a":"2"}}`, false, true},
		"JSON":                     {kubetypes.JSONPatchType, `[{"op":"add","path":"/data","value":{"a":"2"}}]`, false, true},
		"apply":                    {kubetypes.ApplyPatchType, `{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"2"}}`, false, true},
		"that changes nothing":     {kubetypes.MergePatchType, `{"data":null}`, false, false},
		"with a stale version":     {kubetypes.MergePatchType, `{"metadata":{"resourceVersion":"1"},"data":{"a":"2"}}`, true, false},
		"with another UID":         {kubetypes.StrategicMergePatchType, `{"metadata":{"uid":"other"},"data":{"a":"2"}}`, true, false},
		"apply of a stale version": {kubetypes.ApplyPatchType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"1"},"data":{"a":"2"}}`, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cs, _ := served()
			was := create(t, cs, configMap("a"))
			opts := metav1.PatchOptions{FieldManager: "test"}
			patched, err := maps(cs).Patch(context.Background(), "a", c.kind, []byte(c.patch), opts)
			is := read(t, cs, "a")
			assert.Equal(t, c.conflict, apierrors.IsConflict(err), "%v", err)
			if !c.conflict {
				require.NoError(t, err)
				assert.Equal(t, is, patched)
			}
			assert.Equal(t, was.UID, is.UID)
			if c.stored {
				assert.Greater(t, version(t, is), version(t, was))
				assert.Equal(t, "2", is.Data["a"])
			} else {
				assert.Equal(t, was, is)
			}
		})
	}
	cs, _ := served()
	_, err := maps(cs).Patch(context.Background(), "missing", kubetypes.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestAnApplyCreates(t *testing.T) {
	ctx, opts := context.Background(), metav1.ApplyOptions{FieldManager: "test"}
	cs, _ := served()
	applied, err := maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default").WithData(map[string]string{"a": "1"}), opts)
	require.NoError(t, err)
	assert.Len(t, applied.UID, 36)
	again, err := maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default").WithData(map[string]string{"a": "2"}), opts)
	require.NoError(t, err)
	assert.Equal(t, applied.UID, again.UID)
	assert.Greater(t, version(t, again), version(t, applied))
	_, err = maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default").WithData(map[string]string{"a": "3"}), metav1.ApplyOptions{FieldManager: "other"})
	assert.True(t, apierrors.IsConflict(err), "fields have owners: %v", err)
	_, err = maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default"), metav1.ApplyOptions{FieldManager: "test", DryRun: []string{"All"}})
	assert.ErrorContains(t, err, "cannot do a dry run of a server-side apply")
}

func TestADeleteKeepsItsPreconditions(t *testing.T) {
	ctx := context.Background()
	cs, _ := served()
	was := create(t, cs, configMap("a"))
	other, stale := kubetypes.UID("other"), "1"

	err := maps(cs).Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	assert.True(t, apierrors.IsConflict(err))
	assert.ErrorContains(t, err, `Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match`)
	err = maps(cs).Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &stale}})
	assert.True(t, apierrors.IsConflict(err))
	assert.ErrorContains(t, err, "the ResourceVersion in the precondition (1) does not match")
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &was.UID, ResourceVersion: &was.ResourceVersion}}))
	assert.True(t, apierrors.IsNotFound(maps(cs).Delete(ctx, "a", metav1.DeleteOptions{})))
}

func TestFinalizersHoldAnObject(t *testing.T) {
	ctx := context.Background()
	cs, _ := served()
	held := configMap("a")
	held.Finalizers = []string{"example.com/cleanup"}
	created := create(t, cs, held)
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{}))
	going := read(t, cs, "a")
	assert.NotNil(t, going.DeletionTimestamp)
	assert.Greater(t, version(t, going), version(t, created))
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{}), "a second delete changes nothing")
	assert.Equal(t, going, read(t, cs, "a"))

	going.Finalizers = nil
	_, err := maps(cs).Update(ctx, going, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.True(t, apierrors.IsNotFound(get(cs)))
}

func TestADryRunStoresNothing(t *testing.T) {
	ctx, all := context.Background(), []string{metav1.DryRunAll}
	cs, _ := served()
	dry, err := maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{DryRun: all})
	require.NoError(t, err)
	assert.NotEmpty(t, dry.UID)
	assert.True(t, apierrors.IsNotFound(get(cs)))

	was := create(t, cs, configMap("a"))
	_, err = maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{DryRun: all})
	assert.True(t, apierrors.IsAlreadyExists(err))
	changed := was.DeepCopy()
	changed.Data = map[string]string{"a": "2"}
	updated, err := maps(cs).Update(ctx, changed, metav1.UpdateOptions{DryRun: all})
	require.NoError(t, err)
	assert.Equal(t, changed.Data, updated.Data)
	patched, err := maps(cs).Patch(ctx, "a", kubetypes.MergePatchType, []byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{DryRun: all})
	require.NoError(t, err)
	assert.Equal(t, changed.Data, patched.Data)
	require.NoError(t, maps(cs).Delete(ctx, "a", metav1.DeleteOptions{DryRun: all}))
	assert.Equal(t, was, read(t, cs, "a"))
}

func TestObjectsFromBeforeHaveUIDsToo(t *testing.T) {
	ctx := context.Background()
	cs, _ := served("a", "b")
	was := read(t, cs, "a")
	assert.Len(t, was.UID, 36)
	assert.Equal(t, "1", was.ResourceVersion)
	assert.Equal(t, was, read(t, cs, "a"), "the same each time")
	assert.NotEqual(t, was.UID, read(t, cs, "b").UID)
	list, err := maps(cs).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Equal(t, *was, list.Items[0])

	was.Data = map[string]string{"a": "2"}
	is, err := maps(cs).Update(ctx, was, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Equal(t, was.UID, is.UID)
	_, err = maps(cs).Update(ctx, was, metav1.UpdateOptions{})
	assert.True(t, apierrors.IsConflict(err), "written before it: %v", err)
}

// The versions of objects, of lists and of watches are of one count, so that a watch
// goes on where a list or an event ended.
func TestAWatchGoesOnFromAnObjectsVersion(t *testing.T) {
	ctx := context.Background()
	cs, _ := served("a", "b")
	c := create(t, cs, configMap("c"))
	list, err := maps(cs).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Equal(t, c.ResourceVersion, list.ResourceVersion)
	d := create(t, cs, configMap("d"))

	for _, from := range []string{list.ResourceVersion, c.ResourceVersion} {
		w, err := maps(cs).Watch(ctx, metav1.ListOptions{ResourceVersion: from})
		require.NoError(t, err)
		assert.Equal(t, watch.Event{Type: watch.Added, Object: d}, <-w.ResultChan())
		w.Stop()
	}
	_, err = maps(cs).Apply(ctx, corev1ac.ConfigMap("d", "default").WithData(map[string]string{"a": "1"}), metav1.ApplyOptions{FieldManager: "test"})
	require.NoError(t, err)
	list, err = maps(cs).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Equal(t, list.ResourceVersion, read(t, cs, "d").ResourceVersion)
}

func TestTheRulesAreBehindTheFaults(t *testing.T) {
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
			faults.FailNext(9, "get", "*", errScripted)
			m := create(t, cs, configMap("a"))
			m.Data = map[string]string{"a": "2"}
			_, err := maps(cs).Update(context.Background(), m, metav1.UpdateOptions{})
			require.NoError(t, err)
			require.NoError(t, maps(cs).Delete(context.Background(), "a", metav1.DeleteOptions{}))
			assert.Equal(t, 3, faults.Calls("*", "*"), "reads of the rules are no calls")
		})
	}
}

func TestOtherSubresourcesGoThrough(t *testing.T) {
	ctx := context.Background()
	cs, _ := served()
	pod, err := cs.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, cs.PolicyV1().Evictions("default").Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}}))

	pod.Status.Phase = corev1.PodRunning
	running, err := cs.CoreV1().Pods("default").UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Greater(t, version(t, running), version(t, pod))
	_, err = cs.CoreV1().Pods("default").UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	assert.True(t, apierrors.IsConflict(err), "a status has the version of its object: %v", err)
}

func TestTheRulesFitDynamicFakes(t *testing.T) {
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
	other := kubetypes.UID("other")
	err = widgets.Delete(ctx, created.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	assert.ErrorContains(t, err, `Operation cannot be fulfilled on Widget.example.com "`+created.GetName())
}

func TestCountersLoseNothingUnderConflicts(t *testing.T) {
	cs, _ := served()
	create(t, cs, configMap("counter"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := false; !done; {
				m, err := maps(cs).Get(context.Background(), "counter", metav1.GetOptions{})
				if !assert.NoError(t, err) {
					return
				}
				n, _ := strconv.Atoi(m.Data["n"])
				m.Data = map[string]string{"n": strconv.Itoa(n + 1)}
				_, err = maps(cs).Update(context.Background(), m, metav1.UpdateOptions{})
				done = err == nil
				assert.True(t, done || apierrors.IsConflict(err), "%v", err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, "8", read(t, cs, "counter").Data["n"])
}

func TestAFakeWithoutATrackerSaysSo(t *testing.T) {
	cs := &fake.Clientset{Fake: clienttesting.Fake{}}
	k8sretrytest.EmulateServer(&cs.Fake)
	assert.ErrorContains(t, get(cs), "EmulateServer needs a fake clientset that stores objects")
}
