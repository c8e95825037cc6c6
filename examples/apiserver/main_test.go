// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer runs the program. command sends a request to its control address.
func startServer(t *testing.T) (maps typed.ConfigMapInterface, command func(method, path string) (code int, text string)) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, dir, nil) }()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		cancel()
		assert.NoError(t, <-done)
	})
	var control []byte
	require.Eventually(t, func() (ready bool) {
		var err error
		control, err = os.ReadFile(filepath.Join(dir, "control"))
		return err == nil
	}, 10*time.Second, time.Millisecond)
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	require.NoError(t, err)
	clients, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return clients.CoreV1().ConfigMaps("default"), func(method, path string) (int, string) {
		request, err := http.NewRequest(method, strings.TrimSpace(string(control))+path, nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, strings.TrimSpace(string(text))
	}
}

func TestCommandsTakeEffect(t *testing.T) {
	ctx := context.Background()
	maps, command := startServer(t)
	create := func(name string) error {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err
	}
	post := func(path string) {
		code, text := command("POST", path)
		require.Equal(t, 200, code, text)
	}

	post("/fail?verb=create&code=503&times=2")
	assert.True(t, apierrors.IsServiceUnavailable(create("a")))
	post("/heal")
	assert.NoError(t, create("a"))
	post("/fail?name=b&code=drop&after-commit=true")
	assert.ErrorIs(t, create("b"), io.EOF)
	assert.True(t, apierrors.IsAlreadyExists(create("b")))
	post("/limit?verb=list&in-flight=1&each=1ms")
	_, err := maps.List(ctx, metav1.ListOptions{})
	assert.NoError(t, err)
	post("/fail?verb=update&code=429&retry-after=1")

	_, text := command("GET", "/requests?verb=create&resource=configmaps")
	assert.Equal(t, "create configmaps a 503\ncreate configmaps a 201\ncreate configmaps b 0\ncreate configmaps b 409", text)
	post("/down")
	assert.Error(t, create("c"))
	post("/up")
	assert.NoError(t, create("c"))
}

func TestInvalidCommandsAreRejected(t *testing.T) {
	_, command := startServer(t)
	for _, path := range []string{
		"/fail", "/fail?code=200", "/fail?code=503&times=0", "/fail?code=503&times=x", "/fail?code=429&retry-after=x",
		"/limit?in-flight=0&each=1s", "/limit?in-flight=1", "/limit?in-flight=x&each=1s",
	} {
		code, text := command("POST", path)
		assert.Equal(t, 400, code, path)
		assert.NotEmpty(t, text)
	}
	code, _ := command("GET", "/down")
	assert.Equal(t, 405, code, "a GET changes nothing")
}

func TestResourceFlag(t *testing.T) {
	var l resourceList
	require.NoError(t, l.Set("databases.example.dev/v1/databases/Database"))
	assert.Equal(t, "Database", l[0].Kind)
	for _, bad := range []string{"", "a/b/c", "a//c/d", "a/b/c/d/e"} {
		assert.Error(t, l.Set(bad), bad)
	}
}
