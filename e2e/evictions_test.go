// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/cluster"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
)

// pods creates the pods of a test. There are no nodes: a pod without a node is deleted as
// soon as it is evicted, a pod bound to a nonexistent node stays terminating.
type pods struct {
	*testing.T
	kubernetes.Interface
	namespace string
}

func podsOf(t *testing.T, c *cluster.Cluster) pods {
	p := pods{t, client(t, c.Config(cluster.Admin)), namespace(t, c)}
	_, err := p.CoreV1().ServiceAccounts(p.namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return p
}

func (p pods) pending(name string) *corev1.Pod {
	p.Helper()
	pod, err := p.CoreV1().Pods(p.namespace).Create(p.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
	}, metav1.CreateOptions{})
	require.NoError(p, err)
	return pod
}

// running creates a pod that a disruption budget counts.
func (p pods) running(name string) *corev1.Pod {
	p.Helper()
	pod := p.pending(name)
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod, err := p.CoreV1().Pods(p.namespace).UpdateStatus(p.Context(), pod, metav1.UpdateOptions{})
	require.NoError(p, err)
	return pod
}

func (p pods) bound(name, node string) *corev1.Pod {
	p.Helper()
	pod := p.running(name)
	require.NoError(p, p.CoreV1().Pods(p.namespace).Bind(p.Context(), binding(pod, node), metav1.CreateOptions{}))
	return pod
}

// budget writes the status of a disruption budget, because no controller is running.
func (p pods) budget(allowed int32) {
	p.Helper()
	budgets := p.PolicyV1().PodDisruptionBudgets(p.namespace)
	b, err := budgets.Get(p.Context(), "web", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		b, err = budgets.Create(p.Context(), &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		}, metav1.CreateOptions{})
	}
	require.NoError(p, err)
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: b.Generation, DisruptionsAllowed: allowed, CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 1}
	_, err = budgets.UpdateStatus(p.Context(), b, metav1.UpdateOptions{})
	require.NoError(p, err)
}

// evicted reports whether the pod is deleted or terminating. Another pod may have its
// name.
func (p pods) evicted(pod *corev1.Pod) bool {
	p.Helper()
	current, err := p.CoreV1().Pods(p.namespace).Get(p.Context(), pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true
	}
	require.NoError(p, err)
	return current.UID != pod.UID || current.DeletionTimestamp != nil
}

func binding(pod *corev1.Pod, node string) *corev1.Binding {
	return &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
}

var fast = k8sretry.NewPolicy(k8sretry.WithInitialDelay(10*time.Millisecond), k8sretry.WithMaxDelay(100*time.Millisecond),
	k8sretry.WithAttemptTimeout(time.Second), k8sretry.WithLogger(nil))

// An eviction succeeds if its answer is lost, in every possible way.
func TestEvictionsWithLostAnswers(t *testing.T) {
	c := start(t)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		direct := podsOf(t, c)
		proxied := client(t, p.Config(c.Config(app))).CoreV1().Pods(direct.namespace)
		for _, fault := range faultproxy.LostAnswers() {
			for name, make := range map[string]func(string) *corev1.Pod{
				"pending": direct.pending, "running": direct.running,
				"terminating": func(name string) *corev1.Pod { return direct.bound(name, "nonexistent") },
			} {
				t.Run(fault.String()+" "+name, func(t *testing.T) {
					pod := make(objectName(t)[len("testevictionswithlostanswers-"):])
					p.SetRule(faultproxy.When(faultproxy.Path("/eviction"), faultproxy.Next(1, fault)))
					ctx := faultproxy.WithCall(within(t, 20*time.Second), t.Name())
					require.NoError(t, k8sretry.Evict(ctx, proxied, pod, metav1.DeleteOptions{}, fast))
					assert.True(t, direct.evicted(pod))
					assert.Equal(t, 2, p.Count(func(s faultproxy.Send) bool { return s.Call == t.Name() }))
				})
			}
			t.Run(fault.String()+", another pod has the name", func(t *testing.T) {
				name := "again" + objectName(t)[len("testevictionswithlostanswers-"):]
				pod := direct.running(name[:min(len(name), 60)])
				require.NoError(t, direct.CoreV1().Pods(direct.namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
				next := direct.running(pod.Name)
				p.SetRule(faultproxy.When(faultproxy.Path("/eviction"), faultproxy.Next(1, fault)))
				require.NoError(t, k8sretry.Evict(within(t, 20*time.Second), proxied, pod, metav1.DeleteOptions{}, fast))
				assert.False(t, direct.evicted(next), "the new pod was evicted")
			})
		}
	})
}

// An eviction is repeated until the disruption budget allows it, or until the deadline,
// when the last answer is returned.
func TestEvictionWaitsForTheBudget(t *testing.T) {
	p := podsOf(t, start(t))
	pod := p.running("web-0")
	p.budget(0)
	client := p.CoreV1().Pods(p.namespace)

	err := k8sretry.Evict(within(t, 3*time.Second), client, pod, metav1.DeleteOptions{}, fast, k8sretry.WithMaxDelay(time.Second))
	require.Error(t, err)
	assert.ErrorIs(t, err, k8sretry.ErrDeadline)
	assert.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	assert.True(t, apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause))
	assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	assert.False(t, p.evicted(pod))

	var events recorder
	allow := k8sretry.WithObserver(observerFunc(func(ctx context.Context, e k8sretry.Event) {
		events.Observe(ctx, e)
		if e.Kind == k8sretry.EventRetry {
			p.budget(1)
		}
	}))
	require.NoError(t, k8sretry.Evict(within(t, 20*time.Second), client, pod, metav1.DeleteOptions{}, fast, k8sretry.WithMaxDelay(time.Second), allow))
	assert.True(t, p.evicted(pod))
	assert.Equal(t, map[k8sretry.Class]int{k8sretry.ClassDisruptionBudget: 1}, events.classes())
}

type observerFunc func(context.Context, k8sretry.Event)

func (f observerFunc) Observe(ctx context.Context, e k8sretry.Event) { f(ctx, e) }

// The dynamic client can evict. A dry run evicts nothing.
func TestEvictionWithTheDynamicClient(t *testing.T) {
	c := start(t)
	p := podsOf(t, c)
	pod := p.running("web-0")
	set, err := dynamic.NewForConfig(c.Config(app))
	require.NoError(t, err)
	resource := k8sretry.Dynamic(set.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(p.namespace))
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	require.NoError(t, err)
	obj := &unstructured.Unstructured{Object: content}

	require.NoError(t, k8sretry.Evict(within(t, 20*time.Second), resource, obj, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, fast))
	assert.False(t, p.evicted(pod))
	require.NoError(t, k8sretry.Evict(within(t, 20*time.Second), resource, obj, metav1.DeleteOptions{}, fast))
	assert.True(t, p.evicted(pod))
}

// A second binding of a pod is answered Conflict, even by the same caller. With VerbCreate
// a lost answer ends the call with ErrOutcomeUnknown.
func TestBindingsWithLostAnswers(t *testing.T) {
	c := start(t)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		direct := podsOf(t, c)
		config := p.Config(c.Config(app))
		config.Wrap(k8sretry.Transport(fast))
		proxied := client(t, config).CoreV1().Pods(direct.namespace)
		pod := direct.pending("web-0")
		bind := func(node string, opts ...k8sretry.Option) error {
			return k8sretry.Run(within(t, 20*time.Second), func(ctx context.Context) error {
				return proxied.Bind(ctx, binding(pod, node), metav1.CreateOptions{})
			}, append(opts, fast)...)
		}
		p.SetRule(faultproxy.When(faultproxy.Path("/binding"), faultproxy.Next(1, faultproxy.Reset().AfterCommit())))
		err := bind("here", k8sretry.WithVerb(k8sretry.VerbCreate))
		require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)

		p.SetRule(nil)
		err = bind("here", k8sretry.WithVerb(k8sretry.VerbCreate))
		v := k8sretry.Classify(err)
		assert.Equal(t, k8sretry.ClassConflict, v.Class, "%v", err)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, v.Outcome)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.ErrorContains(t, err, `already assigned to node "here"`)

		// Without a verb it is repeated, and the outcome of the conflict is unknown.
		pod = direct.pending("web-1")
		p.SetRule(faultproxy.When(faultproxy.Path("/binding"), faultproxy.Next(1, faultproxy.Reset().AfterCommit())))
		err = bind("here")
		assert.True(t, apierrors.IsConflict(err), "%v", err)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		bound, err := proxied.Get(t.Context(), "web-1", metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, "here", bound.Spec.NodeName, "the pod shows the outcome")

		// The server rejects a binding with the UID of another pod.
		pod.UID = "another"
		err = bind("here")
		assert.Equal(t, k8sretry.ClassConflict, k8sretry.Classify(err).Class, "%v", err)
		assert.ErrorContains(t, err, "UID in precondition")
	})
}
