// SPDX-License-Identifier: Apache-2.0

package newest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func TestAnIndexIsAddedToTheInnerFake(t *testing.T) {
	object := configMap("x")
	object.Data = map[string]string{"n": "0"}
	c := k8sretryctrl.NewClient(fake.NewClientBuilder().WithObjects(object, configMap("y")).Build())
	require.NoError(t, fake.AddIndex(c, &corev1.ConfigMap{}, "data.n", func(o client.Object) []string {
		return []string{o.(*corev1.ConfigMap).Data["n"]}
	}))
	var list corev1.ConfigMapList
	require.NoError(t, c.List(t.Context(), &list, client.MatchingFields{"data.n": "0"}))
	assert.Len(t, list.Items, 1)
}
