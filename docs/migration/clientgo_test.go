// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func runs(t *testing.T, clientset kubernetes.Interface) string {
	t.Helper()
	totals, err := clientset.CoreV1().ConfigMaps("default").Get(t.Context(), "totals", metav1.GetOptions{})
	require.NoError(t, err)
	return totals.Data["runs"]
}

func TestOnErrorIgnoresTheContext(t *testing.T) {
	for name, want := range map[string]struct {
		read  reader
		waits time.Duration
	}{
		"before": {onErrorBefore, 7 * time.Second}, // 1 + 2 + 4, or a fifth more
		"after":  {onErrorAfter, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				faults.FailNext(9, "get", "pods", k8sretrytest.Status(503))
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second/2, cancel)
				start := time.Now()
				_, err := want.read(ctx, clientset, "web-0")
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.InDelta(t, want.waits.Seconds(), time.Since(start).Seconds(), 1.5)
			})
		})
	}
}

func TestCapOfWaitBackoffEndsTheRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, start := 0, time.Now()
		err := retry.OnError(wait.Backoff{Steps: 10, Duration: time.Second, Factor: 2, Cap: 5 * time.Second}, transient, func() error {
			calls++
			return k8sretrytest.Status(503)
		})
		assert.Error(t, err)
		assert.Equal(t, 3, calls, "three attempts instead of ten")
		assert.Equal(t, 7*time.Second, time.Since(start), "1 + 2 + 4: it also waits after the last attempt")
	})
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		_ = k8sretry.Run(t.Context(), func(context.Context) error {
			calls++
			return k8sretrytest.Status(503)
		}, k8sretry.WithMaxRetries(9), k8sretry.WithMaxDelay(5*time.Second))
		assert.Equal(t, 10, calls)
	})
}

func TestOnErrorIgnoresRetryAfter(t *testing.T) {
	for name, want := range map[string]struct {
		read  reader
		waits float64
	}{"before": {onErrorBefore, 1.1}, "after": {onErrorAfter, 10}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				faults.FailNext(1, "get", "pods", k8sretrytest.TooManyRequests(8*time.Second))
				start := time.Now()
				_, err := want.read(t.Context(), clientset, "web-0")
				require.NoError(t, err)
				assert.InDelta(t, want.waits, time.Since(start).Seconds(), 2)
			})
		})
	}
}

func TestConflictsAreRetriedBeforeAndAfter(t *testing.T) {
	for name, count := range map[string]func(context.Context, kubernetes.Interface) error{"before": onConflictBefore, "after": onConflictAfter} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster()
				faults.FailNext(2, "update", "configmaps", conflict())
				require.NoError(t, count(t.Context(), clientset))
				assert.Equal(t, "42", runs(t, clientset))
				assert.Equal(t, 3, faults.Calls("update", "configmaps"))
			})
		})
	}
}

func TestRetryOnConflictRetriesConflictsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster()
		faults.FailNext(1, "update", "configmaps", k8sretrytest.Status(503))
		assert.True(t, apierrors.IsServiceUnavailable(onConflictBefore(t.Context(), clientset)))

		faults.FailNext(1, "update", "configmaps", k8sretrytest.Status(503))
		require.NoError(t, onConflictAfter(t.Context(), clientset))
		assert.Equal(t, "42", runs(t, clientset))
	})
}

func TestRetryOnConflictGivesUpAfterFiveAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster()
		faults.FailNext(20, "update", "configmaps", conflict())
		assert.True(t, apierrors.IsConflict(onConflictBefore(t.Context(), clientset)))
		assert.Equal(t, 5, faults.Calls("update", "configmaps"))
		require.NoError(t, onConflictAfter(t.Context(), clientset))
	})
}

// The update is carried out, but its answer is lost. Repeating the read-modify-write
// counts it twice.
func TestUpdateWithLostAnswerIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, faults := cluster()
		faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())
		require.NoError(t, retry.OnError(retry.DefaultRetry, transient, func() error { return onConflictBefore(t.Context(), clientset) }))
		assert.Equal(t, "43", runs(t, clientset), "41 + 1")

		faults.LoseResponses(1, "update", "configmaps", k8sretrytest.ConnectionClosed())
		require.NoError(t, onConflictAfter(t.Context(), clientset))
		assert.Equal(t, "44", runs(t, clientset), "43 + 1")
	})
}

func conflict() error {
	return k8sretrytest.ServerStatus(409, metav1.StatusReasonConflict, "the object has been modified")
}
