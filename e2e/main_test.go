// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// The users of the shared cluster besides cluster.Admin.
const (
	app    = "app"    // an ordinary user
	greedy = "greedy" // has one seat, in the test of Priority and Fairness
)

// All tests share one cluster, because its start takes longer than most tests. The tests
// do not run in parallel, because some kill or stop parts of it. Each test has its own
// namespace.
var (
	shared     = sync.OnceValues(func() (*cluster.Cluster, error) { return cluster.New(cluster.Options{Users: []string{app, greedy}}) })
	sharedUsed bool
)

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedUsed {
		if c, err := shared(); err == nil {
			c.Close()
		}
	}
	os.Exit(code)
}

// start returns the shared cluster, and restores it after the test.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	sharedUsed = true
	c, err := shared()
	require.NoError(t, err)
	c.ShowLogs(t)
	t.Cleanup(func() {
		c.ContinueEtcd()
		require.NoError(t, c.StartAPIServer())
		require.NoError(t, c.WaitReady(context.Background()))
	})
	return c
}

func client(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	set, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return set
}

// namespace creates a namespace for the test.
func namespace(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	ns, err := client(t, c.Config(cluster.Admin)).CoreV1().Namespaces().
		Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return ns.Name
}

// both runs a test with a fault proxy over HTTP/2 and over HTTP/1.1.
func both(t *testing.T, c *cluster.Cluster, test func(t *testing.T, p *faultproxy.Proxy)) {
	for _, o := range []faultproxy.Options{{}, {HTTP1: true}} {
		name := "http2"
		if o.HTTP1 {
			name = "http1"
		}
		t.Run(name, func(t *testing.T) { test(t, faultproxy.Start(t, c.URL(), c.CA(), o)) })
	}
}

func configMap(name string, data ...string) *corev1.ConfigMap {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{}}
	for i, value := range data {
		m.Data[fmt.Sprintf("key%d", i)] = value
	}
	return m
}

// within returns a context with a timeout.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// startCalls calls f for 0 to n-1 with the given number of workers. reached is closed before
// call at. wait returns after the last call.
func startCalls(n, workers, at int, f func(i int)) (reached <-chan struct{}, wait func()) {
	var next atomic.Int64
	var wg sync.WaitGroup
	signal := make(chan struct{})
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				if i == at {
					close(signal)
				}
				f(i)
			}
		})
	}
	return signal, wg.Wait
}

// objectName returns a name for an object of the running test.
func objectName(t *testing.T) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name())), "-")
}
