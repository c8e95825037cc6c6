// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/examples/internal/tinykube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var databases = schema.GroupVersionResource{Group: "databases.example.dev", Version: "v1", Resource: "databases"}

// start starts a server with a custom resource whose spec requires an engine. It
// stops the server and closes the client's idle connections when the test ends.
func start(t *testing.T) *tinykube.Server {
	t.Helper()
	server, err := tinykube.Start(tinykube.Resource{
		Group: databases.Group, Version: databases.Version, Plural: databases.Resource, Kind: "Database", Namespaced: true, Status: true,
		Validate: func(u *unstructured.Unstructured) field.ErrorList {
			if _, found, _ := unstructured.NestedString(u.Object, "spec", "engine"); !found {
				return field.ErrorList{field.Required(field.NewPath("spec", "engine"), "")}
			}
			return nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		server.Stop()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return server
}

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	cs, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return cs
}

func dynamicDatabases(t *testing.T, server *tinykube.Server) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(server.Config())
	require.NoError(t, err)
	return client.Resource(databases).Namespace("default")
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": "1"}}
}

func database(name, engine string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "databases.example.dev/v1", "kind": "Database", "metadata": map[string]any{"name": name}, "spec": map[string]any{},
	}}
	if engine != "" {
		u.Object["spec"] = map[string]any{"engine": engine}
	}
	return u
}
