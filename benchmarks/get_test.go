// SPDX-License-Identifier: Apache-2.0

package benchmarks

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// getter returns a function that calls Get of a real clientset over loopback.
func getter(tb testing.TB) call {
	body, err := json.Marshal(configMap)
	require.NoError(tb, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	tb.Cleanup(server.Close)
	clientset, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	require.NoError(tb, err)
	return func(ctx context.Context) (*corev1.ConfigMap, error) {
		return clientset.CoreV1().ConfigMaps("default").Get(ctx, "settings", metav1.GetOptions{})
	}
}

func TestGetReturnsTheObject(t *testing.T) {
	v, err := getter(t)(t.Context())
	require.NoError(t, err)
	require.Equal(t, configMap.Data, v.Data)
}

// BenchmarkGet measures the overhead of a retry library in a real call over the
// fastest possible network.
func BenchmarkGet(b *testing.B) {
	fn := getter(b)
	each(b, 1, func() call { return fn })
}
