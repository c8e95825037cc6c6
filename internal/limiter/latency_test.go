package limiter

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestLatencies(t *testing.T) {
	var l latencies
	assert.False(t, l.late(getPods, time.Hour, 0), "nothing is known")
	assert.False(t, l.late(getPods, time.Second, time.Second), "a second is never late")
	assert.False(t, l.late(getPods, 2500*time.Millisecond, 10*time.Second), "a quarter of the timeout")
	assert.True(t, l.late(getPods, 2501*time.Millisecond, 10*time.Second))

	for range minSamples {
		assert.True(t, l.fewSamples(getPods))
		l.learn(getPods, 200*time.Millisecond)
	}
	assert.False(t, l.late(getPods, 2*time.Second, time.Second), "ten times the mean")
	assert.True(t, l.late(getPods, 2*time.Second+1, time.Hour))
	assert.False(t, l.late(listPods, time.Hour, 0), "nothing is known of the other key")

	for range newSamples - minSamples {
		l.learn(getPods, 200*time.Millisecond)
	}
	assert.False(t, l.fewSamples(getPods))
	mean := func() time.Duration { return time.Duration(math.Float64frombits(l.slot(getPods).mean.Load())) }
	assert.InDelta(t, 200*time.Millisecond, mean(), 1000)
	l.learn(getPods, time.Second)
	assert.InDelta(t, 250*time.Millisecond, mean(), 1000, "a sixteenth")
	now := time.Now()
	late := func(after time.Duration) { now = now.Add(after); l.learnLate(getPods, 10*time.Second, now) }
	for range 1000 {
		late(10 * time.Millisecond)
	}
	assert.InDelta(t, 412*time.Millisecond, mean(), 1e7, "ten seconds of ten minutes, however many came late")
	late(time.Hour)
	assert.InDelta(t, 1371*time.Millisecond, mean(), 1e7, "one alone counts for a minute at most")
	for range 180 {
		late(time.Minute)
	}
	assert.Greater(t, mean(), 9*time.Second, "within hours it becomes usual")
	now = now.Add(-time.Hour)
	late(0)
	assert.Greater(t, mean(), 9*time.Second, "a clock that has gone backwards")
	for range 200 {
		l.learn(getPods, 0)
	}
	assert.InDelta(t, 0, mean(), 1e5, "it adapts to fast answers")
}

// The fast path adds each of the first successes, then one in sixteen.
func TestFastPathAddsSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		attempt(t, l, health.Healthy, 0)
		for range 1000 {
			ticket, ok := l.enterFast()
			require.True(t, ok)
			testkit.Sleep(tick - 1) // a success in each tick, so that they do not end
			require.True(t, l.leaveFast(ticket, getPods))
		}
		mean := time.Duration(math.Float64frombits(l.latencies.slot(getPods).mean.Load()))
		assert.InDelta(t, tick, mean, float64(tick)/10)
		assert.EqualValues(t, newSamples, l.latencies.slot(getPods).n.Load())
	})
}

// If a server has become slower permanently, its latency becomes usual after some minutes, with a
// key and without.
func TestAdaptsToASlowerServer(t *testing.T) {
	for _, c := range []struct {
		situation string
		key       uint32
		timeout   time.Duration
		took      time.Duration
	}{
		{"a key", getPods, 0, 2 * time.Second},
		{"a key, very slow", getPods, 0, 30 * time.Second},
		{"a key and a timeout", getPods, 10 * time.Second, 9 * time.Second},
		{"a timeout", 0, 10 * time.Second, 3 * time.Second},
		{"a short timeout", 0, 4 * time.Second, 3900 * time.Millisecond},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New()
				attempt := func(took time.Duration) {
					ticket, _, ok := l.enter(t.Context(), time.Hour)
					require.True(t, ok)
					testkit.Sleep(took)
					l.leave(ticket, health.Healthy, c.key, c.timeout, 0)
				}
				for range 100 {
					attempt(10 * time.Millisecond)
				}
				require.Equal(t, State{}, l.State())
				attempt(c.took)
				assert.True(t, l.State().Limited, "a sign of overload")
				began := time.Now()
				for n := 0; l.State().Limited && n < 100; n++ {
					attempt(c.took)
				}
				assert.False(t, l.State().Limited)
				assert.Less(t, time.Since(began), 10*time.Minute)
				assert.Greater(t, time.Since(began), 30*time.Second, "no overload of half a minute becomes usual")

				for range 1000 {
					attempt(c.took)
					require.False(t, l.State().Limited, "permanently")
				}
			})
		})
	}
}
