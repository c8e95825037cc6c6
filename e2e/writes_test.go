package e2e_test

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
	"github.com/k8sretry/k8sretry/e2e/internal/storm"
)

// seed is that of the environment variable SEED, or 1.
func seed(t *testing.T) uint64 {
	t.Helper()
	text, ok := os.LookupEnv("SEED")
	if !ok {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, "SEED")
	return n
}

// protocols runs a test over HTTP/2 and over HTTP/1.1.
func protocols(t *testing.T, test func(t *testing.T, s storm.Setup)) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 512}
	t.Run("http2", func(t *testing.T) { test(t, s) })
	s.HTTP1 = true
	t.Run("http1", func(t *testing.T) { test(t, s) })
}

// right demands that nothing went wrong.
func right(t *testing.T, result storm.Result) {
	t.Helper()
	t.Log(result)
	for _, note := range result.Notes {
		t.Log(note)
	}
	assert.Zero(t, result.FalseFailures, "false failures")
	assert.Zero(t, result.Twice, "done twice")
	assert.Zero(t, result.Lost, "lost")
	assert.Equal(t, result.Right, result.Reported+result.Moot, "right failures")
}

// Every kind of write, while one answer in five is lost and others are at work on the
// same objects: what each caller is told is true.
func TestWritesWithLostAnswers(t *testing.T) {
	for _, kind := range storm.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			protocols(t, func(t *testing.T, s storm.Setup) {
				// Over one of the protocols with a Transport below.
				result, err := storm.Writes(t.Context(), s, storm.Ours(!s.HTTP1), kind)
				require.NoError(t, err)
				right(t, result)
				assert.Greater(t, result.Struck, result.Ops/8, "too few faults: the test shows nothing")
			})
		})
	}
}

// 1,000 creates, and the apiserver killed and started again in the middle of them.
func TestCreatesWhileServerIsKilled(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 1000}
	result, err := storm.Restart(t.Context(), s, storm.Ours(false))
	require.NoError(t, err)
	right(t, result)
}

// Three requests in ten fail before the server has seen them, and no call does.
func TestCallsWithEarlyFaults(t *testing.T) {
	protocols(t, func(t *testing.T, s storm.Setup) {
		result, err := storm.Early(t.Context(), s, storm.Ours(s.HTTP1))
		require.NoError(t, err)
		right(t, result)
		assert.Greater(t, result.Struck, result.Ops/5, "too few faults: the test shows nothing")
	})
}

// The faults are real ones: without k8sretry, callers are told what is not true.
func TestWritesWithoutUs(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 128}
	for _, caller := range []storm.Caller{storm.Plain(), storm.OnError()} {
		result, err := storm.Writes(t.Context(), s, caller, storm.Kinds()[0])
		require.NoError(t, err)
		t.Log(caller.Name(), result)
		assert.Greater(t, result.Wrong(), s.Ops/20)
	}
}

// A server that answers nothing but 429 sees one request and five retries, a second
// apart, whatever client-go would do by itself.
func TestPersistentThrottling(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app}
	var wg sync.WaitGroup // waiting takes nobody's time
	for _, http1 := range []bool{false, true} {
		s := s
		s.HTTP1 = http1
		wg.Go(func() {
			sends, took, err := storm.Throttled(t.Context(), s, true)
			assert.NoError(t, err)
			assert.Equal(t, 6, sends)
			assert.GreaterOrEqual(t, took, 5*time.Second, "the server's wait is the least")
			assert.Less(t, took, 7*time.Second)
			t.Logf("http1 %v: %d sends in %v", http1, sends, took.Round(time.Millisecond))
		})
	}
	wg.Wait()
}

// longestDelay is what a reflector may wait when 3 s of faults end: its delays are 0.8 s,
// doubled each time, spread upwards by up to their double, and the third one can begin
// within that time, the fourth cannot (k8s.io/client-go/tools/cache/reflector.go).
const longestDelay = 2 * 3200 * time.Millisecond

// An informer on a Transport, beside one without: resets, cut watches and failing lists
// leave its cache no less right and no later.
func TestInformerWithCutWatches(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 300}
	type outcome struct {
		late   time.Duration
		struck int
		err    error
	}
	for _, http1 := range []bool{false, true} {
		s.HTTP1 = http1
		var with, without outcome
		var wg sync.WaitGroup
		wg.Go(func() { with.late, with.struck, with.err = storm.Informer(t.Context(), s, true, 3*time.Second) })
		wg.Go(func() {
			without.late, without.struck, without.err = storm.Informer(t.Context(), s, false, 3*time.Second)
		})
		wg.Wait()
		require.NoError(t, with.err)
		require.NoError(t, without.err)
		t.Logf("http1 %v: right %v after the last fault (%d faults); without a Transport %v (%d)",
			http1, with.late.Round(time.Millisecond), with.struck, without.late.Round(time.Millisecond), without.struck)
		assert.NotZero(t, with.struck)
		assert.Less(t, with.late, without.late+time.Second+longestDelay)
	}
}

// Sixteen deletes at once on a connection that is still being made, of objects whose
// names have passed to others: no answer is lost, and the first one counts, however
// often net/http has looked for a connection.
func TestFirstAnswersOnNewConnections(t *testing.T) {
	c := start(t)
	direct := client(t, c.Config(app)).CoreV1().ConfigMaps(namespace(t, c))
	made, err := direct.Create(t.Context(), configMap("taken"), metav1.CreateOptions{})
	require.NoError(t, err)
	stale := made.DeepCopy()
	stale.UID = "another"
	absent := made.DeepCopy()
	absent.Name = "absent"
	for range 5 {
		both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
			maps := client(t, p.Config(c.Config(app))).CoreV1().ConfigMaps(made.Namespace)
			errs := make([]error, 16)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					object := stale
					if i%2 == 1 {
						object = absent
					}
					errs[i] = k8sretry.Delete(within(t, 20*time.Second), maps, object, metav1.DeleteOptions{})
				})
			}
			wg.Wait()
			for i, err := range errs {
				is := apierrors.IsConflict
				if i%2 == 1 {
					is = apierrors.IsNotFound
				}
				assert.True(t, is(err), "delete %d: %v", i, err)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}
		})
	}
}
