// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestOneFaultsServesSeveralFakes(t *testing.T) {
	ctx := context.Background()
	cs, faults := faulty()
	dynamic := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "a", "namespace": "default"},
	}})
	faults.Install(&dynamic.Fake)
	widgets := dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")

	faults.FailNext(1, "get", "widgets", errFault)
	faults.LoseResponses(1, "delete", "widgets", k8sretrytest.ConnectionClosed())
	_, err := widgets.Get(ctx, "a", metav1.GetOptions{})
	assert.ErrorIs(t, err, errFault)
	_, err = widgets.Get(ctx, "a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.ErrorContains(t, widgets.Delete(ctx, "a", metav1.DeleteOptions{}), "EOF")
	assert.True(t, apierrors.IsNotFound(widgets.Delete(ctx, "a", metav1.DeleteOptions{})))
	_ = get(cs)
	assert.Equal(t, 3, faults.Calls("get", "*"))
}
