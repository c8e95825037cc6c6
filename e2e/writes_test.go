// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
	"github.com/k8sretry/k8sretry/e2e/internal/storm"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// seed returns the seed in the environment variable SEED, or 1.
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

// requireCorrect checks that every caller got a correct result.
func requireCorrect(t *testing.T, result storm.Result) {
	t.Helper()
	t.Log(result)
	for _, note := range result.Notes {
		t.Log(note)
	}
	assert.Zero(t, result.FalseFailures, "false failures")
	assert.Zero(t, result.Twice, "done twice")
	assert.Zero(t, result.Lost, "lost")
	assert.Equal(t, result.Expected, result.Reported+result.Ambiguous+result.ExpectedUnknown, "expected failures")
}

// Every caller gets a correct result while a fifth of the answers are lost and other
// clients change the same objects.
func TestWritesWithLostAnswers(t *testing.T) {
	for _, kind := range storm.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			protocols(t, func(t *testing.T, s storm.Setup) {
				// One of the protocols is tested with a Transport.
				result, err := storm.Writes(t.Context(), s, storm.Ours(storm.Mode{Transport: !s.HTTP1}), kind)
				require.NoError(t, err)
				requireCorrect(t, result)
				assert.Greater(t, result.Faulty, result.Ops/8, "too few faults: the test is inconclusive")
			})
		})
	}
}

// Every caller gets a correct result while other controllers write every object, in every
// way to use k8sretry: see package storm.
func TestWritesInCompany(t *testing.T) {
	const parallel = 6
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 20, Limit: 30 * time.Second, Companions: true}
	type cell struct {
		name     string
		provable bool
		result   storm.Result
		err      error
	}
	var cells []*cell
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, kind := range storm.Kinds() {
		for _, http1 := range []bool{false, true} {
			for i, mode := range storm.Modes() {
				s := s
				if s.HTTP1 = http1; kind.Slow {
					s.Ops = 4
				}
				s.Offset = s.Ops * i
				c := &cell{name: fmt.Sprintf("%s, HTTP/1.1 %v, %v", kind.Name, http1, mode), provable: kind.Provable}
				cells = append(cells, c)
				wg.Go(func() {
					if !kind.Slow { // the slow ones only wait
						slots <- struct{}{}
						defer func() { <-slots }()
					}
					c.result, c.err = storm.Writes(t.Context(), s, storm.Ours(mode), kind)
				})
			}
		}
	}
	wg.Wait()
	for _, c := range cells {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, c.err)
			requireCorrect(t, c.result)
			if c.provable {
				assert.Zero(t, c.result.Unknown, "unknown")
			}
		})
	}
}

// Updates store no mark: without a change they store no version, and a lost answer is
// determined by the content that kube-apiserver has completed.
func TestUpdatesAreProvenByTheContent(t *testing.T) {
	c := start(t)
	policy := k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithLogger(nil))
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		ns := namespace(t, c)
		config := p.Config(c.Config(app))
		config.UserAgent = "the-caller/v1"
		mine := client(t, config)
		config = c.Config(app)
		config.UserAgent = "another-client/v1"
		others := client(t, config)
		deployments, maps := mine.AppsV1().Deployments(ns), mine.CoreV1().ConfigMaps(ns)
		put := func(fault faultproxy.Fault) {
			p.SetRule(faultproxy.When(func(r *http.Request) bool { return r.Method == http.MethodPut }, faultproxy.Next(1, fault)))
		}
		isHTTP2 := strings.HasSuffix(t.Name(), "http2")

		labels := map[string]string{"app": "web"}
		pods := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}}}
		deployment, err := k8sretry.Create(t.Context(), deployments, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pods},
		}, metav1.CreateOptions{}, policy)
		require.NoError(t, err)
		for range 5 {
			updated, err := k8sretry.Update(t.Context(), deployments, deployment, metav1.UpdateOptions{}, policy)
			require.NoError(t, err)
			assert.Equal(t, deployment.ResourceVersion, updated.ResourceVersion, "an update without a change")
		}

		put(faultproxy.Close().AfterCommit())
		deployment.Spec.Template.Spec.Containers = append(deployment.Spec.Template.Spec.Containers, corev1.Container{Name: "b", Image: "b"})
		deployment, err = k8sretry.Update(t.Context(), deployments, deployment, metav1.UpdateOptions{}, policy)
		require.NoError(t, err, "defaults were added")
		assert.Len(t, deployment.Spec.Template.Spec.Containers, 2)
		assert.Len(t, deployment.Annotations, 1, "of the Create")

		put(faultproxy.Close().AfterCommit())
		status := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: deployment.UID, ResourceVersion: deployment.ResourceVersion}}
		status.Spec = deployment.Spec // which kube-apiserver validates
		status.Status.Replicas = 3
		deployment, err = k8sretry.Update(t.Context(), k8sretry.StatusSubresource(deployments), status, metav1.UpdateOptions{}, policy)
		require.NoError(t, err)
		assert.EqualValues(t, 3, deployment.Status.Replicas)

		// Another client is first, with the same field or with another one.
		for _, key := range []string{"key0", "key1"} {
			created, err := maps.Create(t.Context(), configMap(key, "initial", "initial"), metav1.CreateOptions{})
			require.NoError(t, err)
			loseFirstPut(p, func(ctx context.Context) {
				other := created.DeepCopy()
				other.Data[key] = "another client"
				_, err := others.CoreV1().ConfigMaps(ns).Update(ctx, other, metav1.UpdateOptions{})
				assert.NoError(t, err)
			})
			sent := created.DeepCopy()
			sent.Data["key0"] = "mine"
			_, err = k8sretry.Update(t.Context(), maps, sent, metav1.UpdateOptions{}, policy)
			assert.True(t, apierrors.IsConflict(err), "%v", err)
			if isHTTP2 || key != "key0" {
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown, key)
			}
		}
	})
}

// Another client stores the same as an update whose request is lost. Over HTTP/1.1 the request alone
// does not show its field manager: a Transport sees it, and k8sretryctrl says it.
func TestTheSameUpdateOfAnotherClientIsNotTakenForItsOwn(t *testing.T) {
	c := start(t)
	policy := k8sretry.NewPolicy(k8sretry.WithInitialDelay(time.Millisecond), k8sretry.WithLogger(nil))
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		ns := namespace(t, c)
		others := client(t, c.Config(app)).CoreV1().ConfigMaps(ns)
		typed := func(wrap func(http.RoundTripper) http.RoundTripper) func(*corev1.ConfigMap) error {
			config := p.Config(c.Config(app))
			config.UserAgent = "the-caller/v1"
			if wrap != nil {
				config.Wrap(wrap)
			}
			maps := client(t, config).CoreV1().ConfigMaps(ns)
			return func(cm *corev1.ConfigMap) error {
				_, err := k8sretry.Update(t.Context(), maps, cm, metav1.UpdateOptions{}, policy)
				return err
			}
		}
		controller := func(owner string, opts ...ctrl.UpdateOption) func(*corev1.ConfigMap) error {
			inner, err := ctrl.NewWithWatch(p.Config(c.Config(app)), ctrl.Options{FieldOwner: owner})
			require.NoError(t, err)
			client := k8sretryctrl.NewClient(inner, policy)
			return func(cm *corev1.ConfigMap) error { return client.Update(t.Context(), cm, opts...) }
		}
		for name, update := range map[string]func(*corev1.ConfigMap) error{
			"typed":          typed(nil),
			"transport":      typed(k8sretry.Transport(policy)),
			"controller":     controller("the-caller"),
			"owner-per-call": controller("the-caller", ctrl.FieldOwner("me")),
			"without-owner":  controller(""),
		} {
			created, err := others.Create(t.Context(), configMap(name, "initial"), metav1.CreateOptions{FieldManager: "creator"})
			require.NoError(t, err)
			loseFirstPut(p, func(ctx context.Context) {
				other := created.DeepCopy()
				other.Data["key0"] = "the same"
				_, err := others.Update(ctx, other, metav1.UpdateOptions{FieldManager: "another"})
				assert.NoError(t, err)
			})
			sent := created.DeepCopy()
			sent.Data["key0"] = "the same"
			err = update(sent)
			assert.True(t, apierrors.IsConflict(err), "%s: %v", name, err)
			known := name != "typed" || strings.HasSuffix(t.Name(), "http2")
			assert.Equal(t, known, !errors.Is(err, k8sretry.ErrOutcomeUnknown), "%s: %v", name, err)
		}
	})
}

// loseFirstPut makes the proxy close the connection of the first PUT, after another client was first.
func loseFirstPut(p *faultproxy.Proxy, another func(context.Context)) {
	lost := faultproxy.Next(1, faultproxy.Close())
	var once sync.Once
	p.SetRule(func(r *http.Request) faultproxy.Fault {
		if r.Method != http.MethodPut {
			return faultproxy.Fault{}
		}
		once.Do(func() { another(r.Context()) })
		return lost(r)
	})
}

// The apiserver is killed and started again during 1,000 creates.
func TestCreatesWhileServerIsKilled(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 500}
	with := s
	with.HTTP1, with.Companions = true, true
	results, err := storm.Restart(t.Context(), storm.Contender{Setup: s, Caller: storm.Ours(storm.Mode{})},
		storm.Contender{Setup: with, Caller: storm.Ours(storm.Mode{Transport: true})})
	require.NoError(t, err)
	for _, result := range results {
		requireCorrect(t, result)
	}
}

// No call fails if 30 % of the requests fail before they reach the server.
func TestCallsWithEarlyFaults(t *testing.T) {
	protocols(t, func(t *testing.T, s storm.Setup) {
		result, err := storm.Early(t.Context(), s, storm.Ours(storm.Mode{Transport: s.HTTP1}))
		require.NoError(t, err)
		requireCorrect(t, result)
		assert.Greater(t, result.Faulty, result.Ops/5, "too few faults: the test is inconclusive")
	})
}

// Without k8sretry the same faults give callers wrong results.
func TestWritesWithoutK8sretry(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 128}
	for _, caller := range []storm.Caller{storm.Plain(), storm.OnError()} {
		result, err := storm.Writes(t.Context(), s, caller, storm.Kinds()[0])
		require.NoError(t, err)
		t.Log(caller.Name(), result)
		assert.Greater(t, result.Wrong(), s.Ops/20)
	}
}

// A server that answers every request with 429 gets one request and five retries, one
// second apart. client-go's own retries are disabled.
func TestPersistentThrottling(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app}
	var wg sync.WaitGroup
	for _, http1 := range []bool{false, true} {
		s := s
		s.HTTP1 = http1
		wg.Go(func() {
			sends, took, err := storm.Throttled(t.Context(), s, true)
			assert.NoError(t, err)
			assert.Equal(t, 6, sends)
			assert.GreaterOrEqual(t, took, 5*time.Second, "the Retry-After is the minimum")
			assert.Less(t, took, 7*time.Second)
			t.Logf("http1 %v: %d sends in %v", http1, sends, took.Round(time.Millisecond))
		})
	}
	wg.Wait()
}

// longestDelay is the longest delay of a reflector after 3 s of faults. Its delays are
// 0.8 s, doubled each time, with a jitter of up to 100 %. The third delay can start within
// that time, the fourth cannot (k8s.io/client-go/tools/cache/reflector.go).
const longestDelay = 2 * 3200 * time.Millisecond

// With resets, aborted watches and failing lists, an informer with a Transport recovers as
// fast as one without.
func TestInformerWithAbortedWatches(t *testing.T) {
	s := storm.Setup{Cluster: start(t), User: app, Seed: seed(t), Ops: 300}
	type outcome struct {
		delay  time.Duration
		faults int
		err    error
	}
	for _, http1 := range []bool{false, true} {
		s.HTTP1 = http1
		var with, without outcome
		var wg sync.WaitGroup
		wg.Go(func() { with.delay, with.faults, with.err = storm.Informer(t.Context(), s, true, 3*time.Second) })
		wg.Go(func() {
			without.delay, without.faults, without.err = storm.Informer(t.Context(), s, false, 3*time.Second)
		})
		wg.Wait()
		require.NoError(t, with.err)
		require.NoError(t, without.err)
		t.Logf("http1 %v: in sync %v after the last fault (%d faults); without a Transport %v (%d)",
			http1, with.delay.Round(time.Millisecond), with.faults, without.delay.Round(time.Millisecond), without.faults)
		assert.NotZero(t, with.faults)
		assert.Less(t, with.delay, without.delay+time.Second+longestDelay)
	}
}

// Sixteen concurrent deletes on a new connection, of objects that are missing or whose name
// another object has. No answer is lost, so the first answer is returned without
// ErrOutcomeUnknown, even if net/http tried several connections.
func TestFirstAnswersOnNewConnections(t *testing.T) {
	c := start(t)
	direct := client(t, c.Config(app)).CoreV1().ConfigMaps(namespace(t, c))
	created, err := direct.Create(t.Context(), configMap("existing"), metav1.CreateOptions{})
	require.NoError(t, err)
	stale := created.DeepCopy()
	stale.UID = "another"
	absent := created.DeepCopy()
	absent.Name = "absent"
	for range 5 {
		both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
			maps := client(t, p.Config(c.Config(app))).CoreV1().ConfigMaps(created.Namespace)
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
