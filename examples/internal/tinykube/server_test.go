// SPDX-License-Identifier: Apache-2.0

package tinykube_test

import (
	"context"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

func TestDownRefusesConnectionsUntilUp(t *testing.T) {
	ctx, server := context.Background(), start(t)
	maps := clientset(t, server.Config()).CoreV1().ConfigMaps("default")
	created, err := maps.Create(ctx, configMap("a"), metav1.CreateOptions{})
	require.NoError(t, err)
	url := server.URL()

	server.Down()
	server.Down()                                                  // no effect
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // a write on an idle connection would get EOF
	_, err = maps.Create(ctx, configMap("b"), metav1.CreateOptions{})
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, server.Up())
	require.NoError(t, server.Up())
	assert.Equal(t, url, server.URL())
	got, err := maps.Get(ctx, "a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, created.UID, got.UID, "objects are kept")

	server.Stop()
	assert.ErrorContains(t, server.Up(), "stopped")
}

func TestKubeconfigIsForTheServer(t *testing.T) {
	server := start(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, server.WriteKubeconfig(path))
	config, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	_, err = clientset(t, config).CoreV1().Namespaces().Get(context.Background(), "default", metav1.GetOptions{})
	assert.NoError(t, err)
}
