// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
)

// seen is an event as a list in a test shows it.
type seen struct {
	event watch.EventType
	name  string
	value string
}

// events returns the n first events of a watch, and checks that there are no others.
func events(t *testing.T, cs *fake.Clientset, n int, opts metav1.ListOptions) (all []seen) {
	t.Helper()
	w, err := maps(cs).Watch(t.Context(), opts)
	require.NoError(t, err)
	defer w.Stop()
	for range n {
		e := <-w.ResultChan()
		m := e.Object.(*corev1.ConfigMap)
		all = append(all, seen{e.Type, m.Name, m.Data["a"]})
	}
	assert.Empty(t, w.ResultChan())
	return all
}

// write stores values of an object, one after the other, and returns the first version.
func write(t *testing.T, cs *fake.Clientset, name string, values ...string) (first *corev1.ConfigMap) {
	t.Helper()
	first = create(t, cs, configMap(name))
	m := first
	for _, value := range values {
		m = m.DeepCopy()
		m.Data = map[string]string{"a": value}
		var err error
		m, err = maps(cs).Update(t.Context(), m, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	return first
}

// A watch begins with each change since its version, in order, as the first one shows who
// has changed an object first.
func TestAWatchBeginsWithEachChange(t *testing.T) {
	cs := withOptions()
	a := write(t, cs, "a", "1", "2")
	write(t, cs, "b", "3")
	require.NoError(t, maps(cs).Delete(t.Context(), "a", metav1.DeleteOptions{}))
	write(t, cs, "a", "4")
	since := func(m *corev1.ConfigMap) metav1.ListOptions {
		return metav1.ListOptions{ResourceVersion: m.ResourceVersion}
	}

	all := []seen{
		{watch.Modified, "a", "1"}, {watch.Modified, "a", "2"}, {watch.Added, "b", ""}, {watch.Modified, "b", "3"},
		{watch.Deleted, "a", "2"}, {watch.Added, "a", ""}, {watch.Modified, "a", "4"},
	}
	assert.Equal(t, all, events(t, cs, 7, since(a)))
	only := since(a)
	only.FieldSelector = "metadata.name=b"
	assert.Equal(t, all[2:4], events(t, cs, 2, only))
	assert.Empty(t, events(t, cs, 0, since(read(t, cs, "a"))))
}

// A deletion comes after the last version of its object.
func TestAWatchFromTheLastVersionBeginsWithTheDeletion(t *testing.T) {
	cs := withOptions()
	a := write(t, cs, "a")
	require.NoError(t, maps(cs).Delete(t.Context(), "a", metav1.DeleteOptions{}))
	assert.Equal(t, []seen{{watch.Deleted, "a", ""}}, events(t, cs, 1, metav1.ListOptions{ResourceVersion: a.ResourceVersion}))
}

func TestAWatchFromLongAgoHasExpired(t *testing.T) {
	cs := withOptions()
	values := make([]string, 91)
	for i := range values {
		values[i] = strconv.Itoa(i)
	}
	first := write(t, cs, "a", values...)
	_, err := maps(cs).Watch(t.Context(), metav1.ListOptions{ResourceVersion: first.ResourceVersion})
	assert.True(t, apierrors.IsResourceExpired(err), "%v", err)
	_, err = maps(cs).Watch(t.Context(), metav1.ListOptions{ResourceVersion: "x"})
	assert.True(t, apierrors.IsBadRequest(err), "%v", err)
}
