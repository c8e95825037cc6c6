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

func TestARecorderTellsWhatACallDecided(t *testing.T) {
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

		var l listening
		assert.False(t, recorder.AssertRetried(&l, 1))
		assert.False(t, recorder.AssertStopped(&l, k8sretry.StopMaxRetries))
		story := ":" +
			"\n  get attempt 1: server, again in 1s: " + k8sretrytest.Status(503).Error() +
			"\n  get attempt 2: server, again in 2s: " + k8sretrytest.Status(503).Error() +
			"\n  get attempt 3: success"
		assert.Equal(t, []string{"retries: 2, want 1" + story, "the last call has not stopped with max_retries" + story}, l.said)
	})
}

func TestARecorderTellsWhyACallFailed(t *testing.T) {
	var recorder k8sretrytest.Recorder
	cs, _ := faulty()
	err := k8sretry.Run(context.Background(), func(context.Context) error { return get(cs) }, k8sretry.WithObserver(&recorder), k8sretry.WithName("get"))
	require.Error(t, err)
	assert.True(t, recorder.AssertRetried(t, 0))
	assert.True(t, recorder.AssertStopped(t, k8sretry.StopNonRetryable))
	var l listening
	assert.False(t, recorder.AssertSucceeded(&l))
	assert.False(t, recorder.AssertStopped(&l, k8sretry.StopDeadline))
	const story = ":\n  get attempt 1: permanent, stopped (non_retryable): configmaps \"a\" not found"
	assert.Equal(t, []string{"the last call has not succeeded" + story, "the last call has not stopped with deadline" + story}, l.said)
}

func TestARecorderThatHeardNothingSaysSo(t *testing.T) {
	var recorder k8sretrytest.Recorder
	var l listening
	assert.True(t, recorder.AssertRetried(&l, 0), "no call, no retry")
	assert.False(t, recorder.AssertSucceeded(&l))
	assert.False(t, recorder.AssertStopped(&l, k8sretry.StopNone))
	const silence = ": no event was recorded; is the Recorder given by k8sretry.WithObserver?"
	assert.Equal(t, []string{"the last call has not succeeded" + silence, "the last call has not stopped with " + silence}, l.said)
}

func TestALongStoryIsCut(t *testing.T) {
	var recorder k8sretrytest.Recorder
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			recorder.Observe(context.Background(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1})
		})
	}
	wg.Wait()
	var l listening
	recorder.AssertRetried(&l, 1)
	require.Len(t, l.said, 1)
	assert.Contains(t, l.said[0], "retries: 0, want 1:\n  (30 earlier events)\n")
}

// A new state of a limiter is no end of the call that brought it about.
func TestStoryOfANewState(t *testing.T) {
	var seen k8sretrytest.Recorder
	err := k8sretry.Run(t.Context(), func(context.Context) error { return k8sretrytest.TooManyRequests(0) },
		k8sretry.WithName("get"), k8sretry.WithLimiter(k8sretry.NewLimiter()), k8sretry.WithObserver(&seen), k8sretry.WithMaxRetries(0))
	assert.Error(t, err)
	var l listening
	assert.False(t, seen.AssertSucceeded(&l))
	require.Len(t, l.said, 1)
	assert.Contains(t, l.said[0], "get attempt 1: k8s_api_limiter_limiting: ")
	assert.Contains(t, l.said[0], "get attempt 1: throttled, stopped (max_retries): ")
}
