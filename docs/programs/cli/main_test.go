// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestSetOutlastsALostAnswer(t *testing.T) {
	clientset := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: "default"}, Data: map[string]string{"size": "1"},
	})
	k8sretrytest.EmulateServer(&clientset.Fake)
	var faults k8sretrytest.Faults
	faults.Install(&clientset.Fake)
	faults.FailNext(1, "get", "configmaps", k8sretrytest.Status(503))
	faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())

	require.NoError(t, set(t.Context(), clientset, "default", "settings", "color", "blue", k8sretry.WithInitialDelay(0)))

	cm, err := clientset.CoreV1().ConfigMaps("default").Get(context.Background(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"size": "1", "color": "blue"}, cm.Data)
}

func TestUsage(t *testing.T) {
	assert.ErrorContains(t, run("default", 0, nil), "usage")
}
