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

// A user who has one seat on the server, no queue before it, and more calls than
// that: the server refuses most of them at first (429), and all are served.
func TestPriorityAndFairness(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Users: []string{greedy}, APIServerArgs: fairness.FewSeats()})
	require.NoError(t, fairness.OneSeat(t.Context(), c, greedy))
	ns := namespace(t, c)
	admin := client(t, c.Config(cluster.Admin)).CoreV1().ConfigMaps(ns)
	// An object that keeps its seat for a while.
	_, err := admin.Create(t.Context(), configMap("big", strings.Repeat("0123456789", 50_000)), metav1.CreateOptions{})
	require.NoError(t, err)

	events := &recorder{}
	policy := k8sretry.NewPolicy(k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithMaxRetries(20),
		k8sretry.WithInitialDelay(100*time.Millisecond), k8sretry.WithMaxDelay(time.Second), k8sretry.WithObserver(events))
	rest := client(t, c.Config(greedy)).CoreV1().RESTClient()
	get := func(ctx context.Context) (int, error) {
		// client-go would wait and repeat by itself and keep the 429 a secret.
		body, err := rest.Get().Namespace(ns).Resource("configmaps").Name("big").MaxRetries(0).DoRaw(ctx)
		return len(body), err
	}

	const calls = 32
	errs := make([]error, calls)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = k8sretry.Do(within(t, time.Minute), get, policy) })
	}
	wg.Wait()
	for _, err := range errs {
		assert.NoError(t, err)
	}
	retries := events.all(k8sretry.EventRetry)
	t.Logf("%d calls served after %d refusals in %v", calls, len(retries), time.Since(begin).Round(time.Millisecond))
	require.NotEmpty(t, retries, "nobody was refused")
	for _, e := range retries {
		assert.Equal(t, 429, e.StatusCode)
		assert.Equal(t, k8sretry.ClassThrottled, e.Class)
		assert.True(t, apierrors.IsTooManyRequests(e.Err), "%v", e.Err)
		assert.GreaterOrEqual(t, e.RetryAfter, time.Second)
		assert.GreaterOrEqual(t, e.Delay, e.RetryAfter, "the server's wait is the least")
	}
}
