// SPDX-License-Identifier: Apache-2.0

package k8sretrytest_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestARecorderStoresTheEventsOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder k8sretrytest.Recorder
		assert.Zero(t, recorder.Last())
		assert.Empty(t, recorder.Events())

		cs, faults := faulty("a")
		faults.FailNext(2, "get", "configmaps", k8sretrytest.Status(503))
		err := k8sretry.Run(t.Context(), func(context.Context) error { return get(cs) }, exact, k8sretry.WithObserver(&recorder), k8sretry.WithName("get"))
		require.NoError(t, err)
		assert.Equal(t, 2, recorder.Retries())
		assert.Equal(t, []time.Duration{time.Second, 2 * time.Second}, recorder.Delays())
		assert.Len(t, recorder.Events(), 3)
		assert.True(t, recorder.AssertRetried(t, 2))
		assert.True(t, recorder.AssertSucceeded(t))

		var fake fakeT
		assert.False(t, recorder.AssertRetried(&fake, 1))
		assert.False(t, recorder.AssertStopped(&fake, k8sretry.StopMaxRetries))
		const unavailable = "the server is currently unable to handle the request (put configmaps a)"
		const events = ":" +
			"\n  get attempt 1: server, retry in 1s: " + unavailable +
			"\n  get attempt 2: server, retry in 2s: " + unavailable +
			"\n  get attempt 3: success"
		assert.Equal(t, []string{"retries: 2, want 1" + events, "the last call has not stopped with max_retries" + events}, fake.errors)
	})
}

func TestAFailedAssertionNamesTheStopReason(t *testing.T) {
	var recorder k8sretrytest.Recorder
	cs, _ := faulty()
	err := k8sretry.Run(context.Background(), func(context.Context) error { return get(cs) }, k8sretry.WithObserver(&recorder), k8sretry.WithName("get"))
	require.Error(t, err)
	assert.True(t, recorder.AssertRetried(t, 0))
	assert.True(t, recorder.AssertStopped(t, k8sretry.StopNonRetryable))
	var fake fakeT
	assert.False(t, recorder.AssertSucceeded(&fake))
	assert.False(t, recorder.AssertStopped(&fake, k8sretry.StopDeadline))
	const events = ":\n  get attempt 1: permanent, stopped (non_retryable): configmaps \"a\" not found"
	assert.Equal(t, []string{"the last call has not succeeded" + events, "the last call has not stopped with deadline" + events}, fake.errors)
}

func TestAssertionsWithoutEvents(t *testing.T) {
	var recorder k8sretrytest.Recorder
	var fake fakeT
	assert.True(t, recorder.AssertRetried(&fake, 0), "no call was retried")
	assert.False(t, recorder.AssertSucceeded(&fake))
	assert.False(t, recorder.AssertStopped(&fake, k8sretry.StopNone))
	const none = ": no event was recorded; is the Recorder passed to k8sretry.WithObserver?"
	assert.Equal(t, []string{"the last call has not succeeded" + none, "the last call has not stopped with " + none}, fake.errors)
}

func TestAFailedAssertionListsTheLatestEvents(t *testing.T) {
	var recorder k8sretrytest.Recorder
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			recorder.Observe(context.Background(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1})
		})
	}
	wg.Wait()
	var fake fakeT
	recorder.AssertRetried(&fake, 1)
	require.Len(t, fake.errors, 1)
	assert.Contains(t, fake.errors[0], "retries: 0, want 1:\n  (30 earlier events)\n")
}

// A limiter's change of state does not end the call that caused it.
func TestALimiterEventDoesNotEndACall(t *testing.T) {
	var seen k8sretrytest.Recorder
	err := k8sretry.Run(t.Context(), func(context.Context) error { return k8sretrytest.TooManyRequests(1) },
		k8sretry.WithName("get"), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithObserver(&seen), k8sretry.WithMaxRetries(0))
	assert.Error(t, err)
	var fake fakeT
	assert.False(t, seen.AssertSucceeded(&fake))
	require.Len(t, fake.errors, 1)
	assert.Contains(t, fake.errors[0], "get attempt 1: k8s_api_limiter_limiting: ")
	assert.Contains(t, fake.errors[0], "get attempt 1: throttled, stopped (max_retries): ")
}
