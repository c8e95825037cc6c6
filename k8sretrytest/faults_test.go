// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubetypes "k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestARuleAppliesToItsVerbAndResource(t *testing.T) {
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
		applies        []string // to these of the calls above; nil means all
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
			t.Run(c.verb+" "+c.resource+", call "+name, func(t *testing.T) {
				cs, faults := faulty("a")
				faults.FailNext(1, c.verb, c.resource, errFault)
				applies := c.applies == nil || slices.Contains(c.applies, name)
				err := do(cs)
				assert.Equal(t, applies, errors.Is(err, errFault), "%v", err)
				want := 0
				if applies {
					want = 1
				}
				assert.Equal(t, want, faults.Calls(c.verb, c.resource))
				assert.Len(t, cs.Actions(), 1, "the fake records the call, whether it fails or not")
			})
		}
	}
}

func TestTheRuleAddedFirstDecides(t *testing.T) {
	cs, faults := faulty()
	other := errors.New("other")
	faults.FailNext(2, "get", "configmaps", errFault)
	faults.FailNext(1, "*", "*", nil) // one call reaches the server
	faults.FailNext(1, "get", "*", other)
	var errs []string
	for range 5 {
		errs = append(errs, get(cs).Error())
	}
	assert.Equal(t, []string{"fault", "fault", `configmaps "a" not found`, "other", `configmaps "a" not found`}, errs)
	assert.Equal(t, 5, faults.Calls("get", "configmaps"))
	assert.Zero(t, faults.Calls("update", "*"))

	faults.FailNext(9, "*", "*", errFault)
	faults.Clear()
	assert.True(t, apierrors.IsNotFound(get(cs)), "no rules are left")
	assert.Equal(t, 6, faults.Calls("*", "*"), "Clear keeps the counts")
}

func TestLoseResponsesProcessesTheCalls(t *testing.T) {
	ctx := context.Background()
	cs, faults := faulty()
	faults.LoseResponses(2, "create", "configmaps", k8sretrytest.ConnectionClosed())
	_, err := maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.ErrorContains(t, err, "EOF")
	require.NoError(t, get(cs), "it was stored")
	_, err = maps(cs).Create(ctx, configMap("a"), metav1.CreateOptions{})
	assert.ErrorContains(t, err, "EOF", "an AlreadyExists is lost, too")
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

func TestTheSameSeedFailsTheSameCalls(t *testing.T) {
	results := func(seed uint64, p float64) (results string) {
		cs, faults := faulty()
		faults.FailRandomly(seed, p, "get", "configmaps", errFault)
		for range 200 {
			if errors.Is(get(cs), errFault) {
				results += "x"
			} else {
				results += "."
			}
		}
		return results
	}
	assert.Equal(t, results(1, 0.3), results(1, 0.3))
	assert.NotEqual(t, results(1, 0.3), results(2, 0.3))
	assert.NotContains(t, results(1, 0), "x")
	assert.NotContains(t, results(1, 1), ".")
	assert.InDelta(t, 60, strings.Count(results(7, 0.3), "x"), 25)
}

func TestLoseResponsesRandomlyProcessesTheCalls(t *testing.T) {
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
	assert.Len(t, list.Items, 100, "all calls are processed")
	assert.InDelta(t, 50, failed, 20)
}

func TestCallersDoNotShareAStatusError(t *testing.T) {
	cs, faults := faulty()
	faults.FailNext(2, "get", "*", k8sretrytest.DisruptionBudget())
	first := get(cs)
	first.(*apierrors.StatusError).ErrStatus.Details.Causes[0].Message = "changed"
	assert.Equal(t, k8sretrytest.DisruptionBudget(), get(cs))
}

func TestAnUnknownVerbPanics(t *testing.T) {
	const text = `k8sretrytest: unknown verb "Update", want one of * get list watch create update patch apply delete deletecollection`
	var faults k8sretrytest.Faults
	assert.PanicsWithValue(t, text, func() { faults.FailNext(1, "Update", "pods", errFault) })
	assert.PanicsWithValue(t, text, func() { faults.LoseResponsesRandomly(1, 1, "Update", "pods", errFault) })
	assert.PanicsWithValue(t, text, func() { faults.Calls("Update", "pods") })
}

func TestFaultsAreSafeForConcurrentUse(t *testing.T) {
	cs, faults := faulty()
	faults.FailNext(50, "get", "*", errFault)
	faults.FailRandomly(1, 0.5, "get", "*", nil)
	var wg sync.WaitGroup
	failed := make(chan error, 200)
	for range 100 {
		wg.Go(func() {
			for range 2 {
				if err := get(cs); errors.Is(err, errFault) {
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

// Another client writes between the processing of a call and its response.
func TestOthersWriteBeforeTheResponse(t *testing.T) {
	cs, faults := emulated()
	foreign := func() {
		m := read(t, cs, "a")
		m.Finalizers, m.Annotations = []string{"example.com/cleanup"}, nil
		_, err := maps(cs).Update(t.Context(), m, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	faults.AfterNext(1, "create", "configmaps", foreign)
	created := create(t, cs, configMap("a"))
	assert.Empty(t, created.Finalizers, "the response is that of the create")
	assert.Equal(t, []string{"example.com/cleanup"}, read(t, cs, "a").Finalizers)
	create(t, cs, configMap("b"))
	assert.Empty(t, read(t, cs, "b").Finalizers, "once")
}

// The writes of others, and the loss of the response, are independent of each other.
func TestOthersWriteBeforeAResponseIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(*k8sretrytest.Faults)
		runs int
	}{
		"lost after it was processed": {func(f *k8sretrytest.Faults) { f.LoseResponses(1, "create", "configmaps", errFault) }, 1},
		"failed before":               {func(f *k8sretrytest.Faults) { f.FailNext(1, "create", "configmaps", errFault) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cs, faults := emulated()
			runs := 0
			faults.AfterNext(1, "create", "configmaps", func() {
				assert.NotEmpty(t, read(t, cs, "a").UID, "it is stored")
				runs++
			})
			c.lose(faults)
			_, err := maps(cs).Create(t.Context(), configMap("a"), metav1.CreateOptions{})
			assert.ErrorIs(t, err, errFault)
			assert.Equal(t, c.runs, runs)
		})
		t.Run(name+", over the wire", func(t *testing.T) {
			overWire(t, func(t *testing.T, s served) {
				runs := 0
				s.faults.AfterNext(1, "create", "configmaps", func() {
					assert.Equal(t, []string{"a"}, s.objects(t), "it is stored")
					runs++
				})
				c.lose(s.faults)
				_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
				assert.ErrorIs(t, err, errFault)
				assert.Equal(t, c.runs, runs)
			})
		})
	}
}

func TestClearRemovesReactions(t *testing.T) {
	cs, faults := faulty("a")
	faults.AfterNext(1, "get", "configmaps", func() { t.Error("called") })
	faults.Clear()
	require.NoError(t, get(cs))
	assert.PanicsWithValue(t, `k8sretrytest: unknown verb "read", want one of * get list watch create update patch apply delete deletecollection`,
		func() { faults.AfterNext(1, "read", "*", func() {}) })
}

// Flow control limits one resource. The others are served.
func TestOneResourceIsThrottled(t *testing.T) {
	overWire(t, func(t *testing.T, s served) {
		end := s.faults.Throttle("configmaps", 0)
		for range 20 {
			_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
			require.True(t, apierrors.IsTooManyRequests(err), "%v", err)
			_, err = s.client.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
		}
		end()
		_, err := s.maps().Create(t.Context(), configMap("a"), metav1.CreateOptions{})
		require.NoError(t, err)
	})
}
