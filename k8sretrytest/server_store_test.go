// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestAnApplyCreatesAndUpdates(t *testing.T) {
	ctx, opts := context.Background(), metav1.ApplyOptions{FieldManager: "test"}
	cs, _ := emulated()
	applied, err := maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default").WithData(map[string]string{"a": "1"}), opts)
	require.NoError(t, err)
	assert.Len(t, applied.UID, 36)
	again, err := maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default").WithData(map[string]string{"a": "2"}), opts)
	require.NoError(t, err)
	assert.Equal(t, applied.UID, again.UID)
	assert.Greater(t, version(t, again), version(t, applied))
	_, err = maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default").WithData(map[string]string{"a": "3"}), metav1.ApplyOptions{FieldManager: "other"})
	assert.True(t, apierrors.IsConflict(err), "another manager owns the field: %v", err)
	_, err = maps(cs).Apply(ctx, corev1ac.ConfigMap("a", "default"), metav1.ApplyOptions{FieldManager: "test", DryRun: []string{"All"}})
	assert.ErrorContains(t, err, "does not support a dry run of a server-side apply")
}

func TestInitialObjectsHaveUIDsAndVersions(t *testing.T) {
	ctx := context.Background()
	cs, _ := emulated("a", "b")
	was := read(t, cs, "a")
	assert.Len(t, was.UID, 36)
	assert.Equal(t, "1", was.ResourceVersion)
	assert.Equal(t, was, read(t, cs, "a"), "each read returns the same")
	assert.NotEqual(t, was.UID, read(t, cs, "b").UID)
	list, err := maps(cs).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Equal(t, *was, list.Items[0])

	was.Data = map[string]string{"a": "2"}
	is, err := maps(cs).Update(ctx, was, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Equal(t, was.UID, is.UID)
	_, err = maps(cs).Update(ctx, was, metav1.UpdateOptions{})
	assert.True(t, apierrors.IsConflict(err), "the object has a newer version: %v", err)
}

// Objects, lists and watches have the same versions, so that a watch continues after a
// list or an event.
func TestAWatchContinuesFromAnObjectsVersion(t *testing.T) {
	ctx := context.Background()
	cs, _ := emulated("a", "b")
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

func TestAFakeWithoutATrackerReturnsAnError(t *testing.T) {
	cs := &fake.Clientset{Fake: clienttesting.Fake{}}
	k8sretrytest.EmulateServer(&cs.Fake)
	assert.ErrorContains(t, get(cs), "EmulateServer needs a fake clientset that stores objects")
}

func TestConcurrentUpdatesLoseNoWrites(t *testing.T) {
	cs, _ := emulated()
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
