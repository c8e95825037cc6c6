package k8sretrytest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubetypes "k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

var errScripted = errors.New("scripted")

func TestARuleCoversItsVerbAndResource(t *testing.T) {
	ctx := context.Background()
	calls := map[string]func(*fake.Clientset) error{
		"get configmaps":   get,
		"list configmaps":  func(cs *fake.Clientset) error { _, err := maps(cs).List(ctx, metav1.ListOptions{}); return err },
		"watch configmaps": func(cs *fake.Clientset) error { _, err := maps(cs).Watch(ctx, metav1.ListOptions{}); return err },
		"create configmaps": func(cs *fake.Clientset) error {
			_, err := maps(cs).Create(ctx, configMap("new"), metav1.CreateOptions{})
			return err
		},
		"update configmaps": func(cs *fake.Clientset) error {
			_, err := maps(cs).Update(ctx, configMap("a"), metav1.UpdateOptions{})
			return err
		},
		"delete configmaps": func(cs *fake.Clientset) error { return maps(cs).Delete(ctx, "a", metav1.DeleteOptions{}) },
		"deletecollection configmaps": func(cs *fake.Clientset) error {
			return maps(cs).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"patch configmaps": func(cs *fake.Clientset) error {
			_, err := maps(cs).Patch(ctx, "a", kubetypes.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
			return err
		},
		"apply configmaps": func(cs *fake.Clientset) error {
			_, err := maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default"), metav1.ApplyOptions{FieldManager: "test"})
			return err
		},
		"create pods/eviction": func(cs *fake.Clientset) error {
			return cs.PolicyV1().Evictions("default").Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default"}})
		},
	}
	cases := []struct {
		verb, resource string
		covers         []string // of the calls above; nil is all
	}{
		{"*", "*", nil},
		{"create", "*", []string{"create configmaps", "create pods/eviction"}},
		{"*", "pods/eviction", []string{"create pods/eviction"}},
		{"*", "pods", []string{}},
		{"get", "configmaps", []string{"get configmaps"}},
		{"list", "configmaps", []string{"list configmaps"}},
		{"watch", "configmaps", []string{"watch configmaps"}},
		{"create", "configmaps", []string{"create configmaps"}},
		{"update", "configmaps", []string{"update configmaps"}},
		{"delete", "configmaps", []string{"delete configmaps"}},
		{"deletecollection", "configmaps", []string{"deletecollection configmaps"}},
		{"patch", "configmaps", []string{"patch configmaps", "apply configmaps"}},
		{"apply", "configmaps", []string{"apply configmaps"}},
	}
	for _, c := range cases {
		for name, do := range calls {
			t.Run(c.verb+" "+c.resource+" meets "+name, func(t *testing.T) {
				cs, faults := faulty("a")
				faults.FailNext(1, c.verb, c.resource, errScripted)
				covered := c.covers == nil
				for _, covers := range c.covers {
					covered = covered || covers == name
				}
				err := do(cs)
				assert.Equal(t, covered, errors.Is(err, errScripted), "%v", err)
				want := 0
				if covered {
					want = 1
				}
				assert.Equal(t, want, faults.Calls(c.verb, c.resource))
				assert.Len(t, cs.Actions(), 1, "the fake has noted the call, failed or not")
			})
		}
	}
}

func TestRulesAreUsedUpInTheOrderOfTheirSetting(t *testing.T) {
	cs, faults := faulty()
	other := errors.New("other")
	faults.FailNext(2, "get", "configmaps", errScripted)
	faults.FailNext(1, "*", "*", nil) // one goes through
	faults.FailNext(1, "get", "*", other)
	var told []string
	for range 5 {
		told = append(told, get(cs).Error())
	}
	assert.Equal(t, []string{"scripted", "scripted", `configmaps "a" not found`, "other", `configmaps "a" not found`}, told)
	assert.Equal(t, 5, faults.Calls("get", "configmaps"))
	assert.Zero(t, faults.Calls("update", "*"))

	faults.FailNext(9, "*", "*", errScripted)
	faults.Clear()
	assert.True(t, apierrors.IsNotFound(get(cs)), "healed")
	assert.Equal(t, 6, faults.Calls("*", "*"), "the counts stay")
}

func TestALostAnswerIsThatOfACallCarriedOut(t *testing.T) {
	ctx := context.Background()
	cs, faults := faulty()
	faults.LoseResponses(2, "create", "configmaps", k8sretrytest.ConnectionClosed())
	_, err := maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.ErrorContains(t, err, "EOF")
	require.NoError(t, get(cs), "it was stored")
	_, err = maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.ErrorContains(t, err, "EOF", "the AlreadyExists is lost, too")
	_, err = maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.True(t, apierrors.IsAlreadyExists(err), "%v", err)
	assert.Len(t, cs.Actions(), 4)

	faults.LoseResponses(1, "watch", "configmaps", k8sretrytest.ConnectionClosed())
	_, err = maps(cs).Watch(ctx, metav1.ListOptions{})
	assert.ErrorContains(t, err, "EOF")
	w, err := maps(cs).Watch(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	w.Stop()
}

func TestTheSameSeedGivesTheSameFaults(t *testing.T) {
	fates := func(seed uint64, p float64) (fates string) {
		cs, faults := faulty()
		faults.FailRandomly(seed, p, "get", "configmaps", errScripted)
		for range 200 {
			if errors.Is(get(cs), errScripted) {
				fates += "x"
			} else {
				fates += "."
			}
		}
		return fates
	}
	assert.Equal(t, fates(1, 0.3), fates(1, 0.3))
	assert.NotEqual(t, fates(1, 0.3), fates(2, 0.3))
	assert.NotContains(t, fates(1, 0), "x")
	assert.NotContains(t, fates(1, 1), ".")
	n := 0
	for _, fate := range fates(7, 0.3) {
		if fate == 'x' {
			n++
		}
	}
	assert.InDelta(t, 60, n, 25)
}

func TestAnswersAreLostAtRandom(t *testing.T) {
	cs, faults := faulty()
	faults.LoseResponsesRandomly(1, 0.5, "create", "configmaps", k8sretrytest.ConnectionClosed())
	failed := 0
	for i := range 100 {
		if _, err := maps(cs).Create(context.Background(), configMap(fmt.Sprint("m", i)), metav1.CreateOptions{}); err != nil {
			failed++
		}
	}
	list, err := maps(cs).List(context.Background(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, list.Items, 100, "all were carried out")
	assert.InDelta(t, 50, failed, 20)
}

func TestNoCallerSharesAStatusErrorWithAnother(t *testing.T) {
	cs, faults := faulty()
	faults.FailNext(2, "get", "*", k8sretrytest.DisruptionBudget())
	first := get(cs)
	first.(*apierrors.StatusError).ErrStatus.Details.Causes[0].Message = "changed"
	assert.Equal(t, k8sretrytest.DisruptionBudget(), get(cs))
}

func TestAVerbThatDoesNotExistPanics(t *testing.T) {
	const text = `k8sretrytest: unknown verb "Update", want one of * get list watch create update patch apply delete deletecollection`
	var faults k8sretrytest.Faults
	assert.PanicsWithValue(t, text, func() { faults.FailNext(1, "Update", "pods", errScripted) })
	assert.PanicsWithValue(t, text, func() { faults.LoseResponsesRandomly(1, 1, "Update", "pods", errScripted) })
	assert.PanicsWithValue(t, text, func() { faults.Calls("Update", "pods") })
}

func TestOneScriptServesSeveralFakes(t *testing.T) {
	ctx := context.Background()
	cs, faults := faulty()
	dynamic := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "a", "namespace": "default"},
	}})
	faults.Install(&dynamic.Fake)
	widgets := dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")

	faults.FailNext(1, "get", "widgets", errScripted)
	faults.LoseResponses(1, "delete", "widgets", k8sretrytest.ConnectionClosed())
	_, err := widgets.Get(ctx, "a", metav1.GetOptions{})
	assert.ErrorIs(t, err, errScripted)
	_, err = widgets.Get(ctx, "a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.ErrorContains(t, widgets.Delete(ctx, "a", metav1.DeleteOptions{}), "EOF")
	assert.True(t, apierrors.IsNotFound(widgets.Delete(ctx, "a", metav1.DeleteOptions{})))
	_ = get(cs)
	assert.Equal(t, 3, faults.Calls("get", "*"))
}

func TestFaultsAreForManyGoroutines(t *testing.T) {
	cs, faults := faulty()
	faults.FailNext(50, "get", "*", errScripted)
	faults.FailRandomly(1, 0.5, "get", "*", nil)
	var wg sync.WaitGroup
	failed := make(chan error, 200)
	for range 100 {
		wg.Go(func() {
			for range 2 {
				if err := get(cs); errors.Is(err, errScripted) {
					failed <- err
				}
				_ = faults.Calls("*", "*")
			}
		})
	}
	wg.Wait()
	assert.Len(t, failed, 50)
	assert.Equal(t, 200, faults.Calls("get", "configmaps"))
}
