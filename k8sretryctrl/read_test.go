// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func TestTheStartOfAWatchIsRetried(t *testing.T) {
	inVirtualTime(t, "the second attempt succeeds", func(t *testing.T) {
		f := &faults{only: "Watch", err: unknownOutcome, fail: 1}
		retrying, server := newClient(f)
		w, err := retrying.Watch(t.Context(), &corev1.ConfigMapList{}, client.InNamespace("default"))
		require.NoError(t, err)
		defer w.Stop()
		go func() { _ = server.Create(t.Context(), configMap("new")) }()
		event := <-w.ResultChan()
		assert.Equal(t, watch.Added, event.Type)
		assert.Equal(t, "new", event.Object.(*corev1.ConfigMap).Name)
		assert.Equal(t, 2, f.count("Watch"))
	})
	t.Run("the inner client has no Watch", func(t *testing.T) {
		c := k8sretryctrl.NewClient(client.WithFieldOwner(cluster(), "me"))
		_, err := c.Watch(t.Context(), &corev1.ConfigMapList{})
		assert.ErrorContains(t, err, "the client is not a client.WithWatch")
	})
}

func TestARetriedReadKeepsTheKind(t *testing.T) {
	obj := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}
	inVirtualTime(t, "partial metadata", func(t *testing.T) {
		f := &faults{err: unknownOutcome, fail: 1}
		retrying, _ := newClient(f)
		require.NoError(t, retrying.Get(t.Context(), key("x"), obj))
		assert.Equal(t, "ConfigMap", obj.Kind, "the kind of the request")
		assert.Equal(t, "x", obj.Name)
	})
}
