// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/k8sretry/k8sretry/examples/databases/service"
	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestOperatorIgnoresDeletedDatabases(t *testing.T) {
	server, err := tinykube.Start(resources()...)
	require.NoError(t, err)
	defer server.Stop()
	client, err := dynamic.NewForConfig(server.Config())
	require.NoError(t, err)
	databases := client.Resource(service.DatabaseResource).Namespace("default")
	server.FailNext(1, tinykube.Match{Verb: "patch", Resource: "databases"}, tinykube.Fail(404))
	stop := startOperator(client, newLogger(io.Discard), "default")
	defer stop()
	for _, name := range []string{"deleted", "existing"} {
		_, err := databases.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "databases.example.dev/v1", "kind": "Database", "metadata": map[string]any{"name": name},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	assert.Eventually(t, func() bool {
		u, err := databases.Get(t.Context(), "existing", metav1.GetOptions{})
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		return err == nil && phase == "Ready"
	}, 10*time.Second, 10*time.Millisecond)
}
