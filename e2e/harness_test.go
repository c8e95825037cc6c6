// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// The tests in this file check that the harness injects the faults that the other tests
// need.

func TestServerIsReal(t *testing.T) {
	c := start(t)
	version, err := client(t, c.Config(cluster.Admin)).Discovery().ServerVersion()
	require.NoError(t, err)
	assert.Equal(t, "1", version.Major)

	anonymous := rest.AnonymousClientConfig(c.Config(cluster.Admin))
	_, err = client(t, anonymous).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	assert.True(t, apierrors.IsUnauthorized(err), "%v", err)
}

func TestServerTakesFlags(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Users: []string{app}, APIServerArgs: []string{"--authorization-mode=RBAC"}})
	_, err := client(t, c.Config(app)).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	assert.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = client(t, c.Config(cluster.Admin)).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	assert.NoError(t, err)

	// A rolling update: the server shuts down gracefully and starts again.
	c.StopAPIServer()
	require.NoError(t, c.RestartAPIServer(t.Context()))
	_, err = client(t, c.Config(cluster.Admin)).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	assert.NoError(t, err)
}

func TestKilledServerKeepsItsData(t *testing.T) {
	c := start(t)
	maps := client(t, c.Config(app)).CoreV1().ConfigMaps(namespace(t, c))
	created, err := maps.Create(t.Context(), configMap("kept", "value"), metav1.CreateOptions{})
	require.NoError(t, err)

	c.KillAPIServer()
	_, err = maps.Get(within(t, 2*time.Second), "kept", metav1.GetOptions{})
	require.Error(t, err)
	assert.True(t, utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || errors.Is(err, context.DeadlineExceeded), "%v", err)

	start := time.Now()
	require.NoError(t, c.StartAPIServer())
	require.NoError(t, c.WaitReady(t.Context()))
	t.Logf("ready again after %v", time.Since(start).Round(time.Millisecond))
	kept, err := maps.Get(t.Context(), "kept", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, created.UID, kept.UID)
}

func TestStoppedEtcdCausesTimeouts(t *testing.T) {
	c := start(t)
	config := c.Config(app)
	config.Timeout = time.Second
	maps := client(t, config).CoreV1().ConfigMaps(namespace(t, c))
	created, err := maps.Create(t.Context(), configMap("stopped", "before"), metav1.CreateOptions{})
	require.NoError(t, err)

	timedOut := func(err error) bool {
		var network net.Error
		return apierrors.IsTimeout(err) || errors.As(err, &network) && network.Timeout()
	}
	c.StopEtcd()
	_, err = maps.Get(t.Context(), "stopped", metav1.GetOptions{})
	assert.True(t, timedOut(err), "get: %v", err)
	created.Data["key0"] = "after"
	_, err = maps.Update(t.Context(), created, metav1.UpdateOptions{})
	assert.True(t, timedOut(err), "update: %v", err)

	c.ContinueEtcd()
	assert.Eventually(t, func() bool {
		_, err = maps.Get(t.Context(), "stopped", metav1.GetOptions{})
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
}

func TestProxyLosesAnswers(t *testing.T) {
	c := start(t)
	ns := namespace(t, c)
	direct := client(t, c.Config(app)).CoreV1().ConfigMaps(ns)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		maps := client(t, p.Config(c.Config(app))).CoreV1().ConfigMaps(ns)
		for _, fault := range faultproxy.LostAnswers() {
			t.Run(fault.String(), func(t *testing.T) {
				p.SetRule(faultproxy.When(faultproxy.Verbs("create"), faultproxy.Always(fault)))
				limit := 20 * time.Second
				if fault == faultproxy.Hang().AfterCommit() {
					limit = time.Second
				}
				ctx := faultproxy.WithCall(within(t, limit), t.Name())
				_, err := maps.Create(ctx, configMap(objectName(t)), metav1.CreateOptions{})
				require.Error(t, err)
				_, err = direct.Get(t.Context(), objectName(t), metav1.GetOptions{})
				require.NoError(t, err, "the server has carried it out")
				assert.Equal(t, 1, p.Count(func(s faultproxy.Send) bool { return s.Call == t.Name() && s.Committed() }))
			})
		}
	})
}
