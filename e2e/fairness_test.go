// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/fairness"
)

// A user with one seat and no queue makes more calls at once. The server rejects most of
// them with 429 at first, and serves all of them in the end.
func TestPriorityAndFairness(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Users: []string{greedy}, APIServerArgs: fairness.FewSeats()})
	require.NoError(t, fairness.OneSeat(t.Context(), c, greedy, "*"))
	ns := namespace(t, c)
	admin := client(t, c.Config(cluster.Admin)).CoreV1().ConfigMaps(ns)
	// A large object, so that a request occupies its seat for some time.
	_, err := admin.Create(t.Context(), configMap("big", strings.Repeat("0123456789", 50_000)), metav1.CreateOptions{})
	require.NoError(t, err)

	events := &recorder{}
	policy := k8sretry.NewPolicy(k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithMaxRetries(20),
		k8sretry.WithInitialDelay(100*time.Millisecond), k8sretry.WithMaxDelay(time.Second), k8sretry.WithObserver(events))
	rest := client(t, c.Config(greedy)).CoreV1().RESTClient()
	get := func(ctx context.Context) (int, error) {
		// Without MaxRetries(0) client-go would wait and repeat the request itself.
		body, err := rest.Get().Namespace(ns).Resource("configmaps").Name("big").MaxRetries(0).DoRaw(ctx)
		return len(body), err
	}

	const calls = 32
	errs := make([]error, calls)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = k8sretry.Do(within(t, time.Minute), get, policy) })
	}
	wg.Wait()
	for _, err := range errs {
		assert.NoError(t, err)
	}
	retries := events.all(k8sretry.EventRetry)
	t.Logf("%d calls served after %d rejections in %v", calls, len(retries), time.Since(start).Round(time.Millisecond))
	require.NotEmpty(t, retries, "no request was rejected")
	for _, e := range retries {
		assert.Equal(t, 429, e.StatusCode)
		assert.Equal(t, k8sretry.ClassThrottled, e.Class)
		assert.True(t, apierrors.IsTooManyRequests(e.Err), "%v", e.Err)
		assert.GreaterOrEqual(t, e.RetryAfter, time.Second)
		assert.GreaterOrEqual(t, e.Delay, e.RetryAfter, "the Retry-After is the minimum")
	}
}
