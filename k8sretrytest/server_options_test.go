// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubetypes "k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// withOptions returns a fake clientset whose server has the options.
func withOptions(options ...k8sretrytest.ServerOption) *fake.Clientset {
	cs := fake.NewClientset()
	k8sretrytest.EmulateServer(&cs.Fake, options...)
	return cs
}

// An admission plugin changes the annotations of every write.
func TestAdmissionChangesAnnotations(t *testing.T) {
	cases := map[string]struct {
		option k8sretrytest.ServerOption
		want   map[string]string
	}{
		"strips one":                {k8sretrytest.StripAnnotations("configmaps", "mine"), map[string]string{"other": "1"}},
		"strips all":                {k8sretrytest.StripAnnotations("*"), nil},
		"strips none that is there": {k8sretrytest.StripAnnotations("*", "absent"), map[string]string{"mine": "1", "other": "1"}},
		"replaces one":              {k8sretrytest.ReplaceAnnotations("*", map[string]string{"mine": "2"}), map[string]string{"mine": "2", "other": "1"}},
		"of another resource":       {k8sretrytest.StripAnnotations("pods"), map[string]string{"mine": "1", "other": "1"}},
	}
	annotate := func(m *corev1.ConfigMap) *corev1.ConfigMap {
		m.Annotations = map[string]string{"mine": "1", "other": "1"}
		return m
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cs := withOptions(c.option)
			sent := annotate(configMap("a"))
			created := create(t, cs, sent)
			assert.Equal(t, c.want, created.Annotations)
			assert.Equal(t, c.want, read(t, cs, "a").Annotations)
			assert.Equal(t, annotate(configMap("a")), sent, "the caller's object is not changed")

			created.Data = map[string]string{"a": "1"}
			updated, err := maps(cs).Update(t.Context(), annotate(created), metav1.UpdateOptions{})
			require.NoError(t, err)
			assert.Equal(t, c.want, updated.Annotations)
			assert.Equal(t, c.want, read(t, cs, "a").Annotations)

			_, err = maps(cs).Patch(t.Context(), "a", kubetypes.MergePatchType, []byte(`{"metadata":{"annotations":{"mine":"1"}},"data":{"a":"2"}}`), metav1.PatchOptions{})
			require.NoError(t, err)
			assert.Equal(t, c.want, read(t, cs, "a").Annotations)

			_, err = maps(cs).Apply(t.Context(), corev1ac.ConfigMap("b", "default").WithAnnotations(map[string]string{"mine": "1", "other": "1"}), metav1.ApplyOptions{FieldManager: "test"})
			require.NoError(t, err)
			assert.Equal(t, c.want, read(t, cs, "b").Annotations)
		})
	}
}

// A change of nothing but what admission takes away is no write.
func TestAStrippedAnnotationIsNoChange(t *testing.T) {
	cs := withOptions(k8sretrytest.StripAnnotations("*"))
	before := create(t, cs, configMap("a"))
	changed := before.DeepCopy()
	changed.Annotations = map[string]string{"mine": "2"}
	_, err := maps(cs).Update(t.Context(), changed, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Equal(t, before, read(t, cs, "a"))
}

// Another object has the name of a deleted one as soon as it is gone.
func TestASuccessorTakesTheName(t *testing.T) {
	cases := map[string]struct {
		finalizers []string
		delete     func(*fake.Clientset, *corev1.ConfigMap) error
	}{
		"after a delete": {nil, func(cs *fake.Clientset, _ *corev1.ConfigMap) error {
			return maps(cs).Delete(t.Context(), "a", metav1.DeleteOptions{})
		}},
		"after the last finalizer": {[]string{"example.com/cleanup"}, func(cs *fake.Clientset, m *corev1.ConfigMap) error {
			if err := maps(cs).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
				return err
			}
			m = m.DeepCopy()
			m.ResourceVersion, m.Finalizers = "", nil
			_, err := maps(cs).Update(t.Context(), m, metav1.UpdateOptions{})
			return err
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cs := withOptions(k8sretrytest.RecreateDeleted("configmaps"))
			m := configMap("a")
			m.Finalizers, m.Labels, m.Annotations = c.finalizers, map[string]string{"app": "a"}, map[string]string{"mine": "1"}
			m.Data = map[string]string{"a": "1"}
			first := create(t, cs, m)
			require.NoError(t, c.delete(cs, first))

			second := read(t, cs, "a")
			assert.NotEqual(t, first.UID, second.UID)
			assert.Greater(t, version(t, second), version(t, first))
			assert.Nil(t, second.DeletionTimestamp)
			assert.Empty(t, second.Finalizers)
			assert.Empty(t, second.Annotations)
			assert.Equal(t, first.Labels, second.Labels)
			assert.Equal(t, first.Data, second.Data)
		})
	}
	t.Run("not of another resource", func(t *testing.T) {
		cs := withOptions(k8sretrytest.RecreateDeleted("pods"))
		create(t, cs, configMap("a"))
		require.NoError(t, maps(cs).Delete(t.Context(), "a", metav1.DeleteOptions{}))
		assert.Error(t, get(cs))
	})
}
