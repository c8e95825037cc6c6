package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

var (
	_ evictor[*corev1.Pod]                = typedcorev1.PodInterface(nil)
	_ evictor[*unstructured.Unstructured] = (*k8sretry.DynamicClient)(nil)
)

// evictor is what Evict needs of a client.
type evictor[T k8sretry.Object] interface {
	k8sretry.Getter[T]
	EvictV1(ctx context.Context, eviction *policyv1.Eviction) error
}

// Answers to an eviction, as k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go
// and k8s.io/apiserver/pkg/registry/rest/delete.go give them.

func anotherUID(name string) error {
	return apierrors.NewConflict(corev1.Resource("Pod"), name, errors.New("the UID in the precondition (1) does not match the UID in record (2). The object might have been deleted and then recreated"))
}

func podChanged(name string) error {
	return apierrors.NewConflict(corev1.Resource("Pod"), name, errors.New("the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (2). The object might have been modified"))
}

func budgetRace() error {
	return apierrors.NewConflict(policyv1.Resource("poddisruptionbudgets"), "x", errors.New("the object has been modified"))
}

func budgetGone() error {
	return apierrors.NewNotFound(policyv1.Resource("poddisruptionbudgets"), "x")
}

// budgetPending is a budget that its controller has yet to see.
func budgetPending() error {
	err := budgetSpent().(*apierrors.StatusError)
	err.ErrStatus.Details.RetryAfterSeconds = 10
	return err
}

func twoBudgets() error {
	err := status(500, "")
	err.ErrStatus.Message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
	return err
}

func namespaceEnds() error {
	err := forbidden("x").(*apierrors.StatusError)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	return err
}

func TestEvict(t *testing.T) {
	recreate := func(c *cluster) func() {
		return func() { c.remove("x"); c.put(configMap("x", "by", "the StatefulSet")) }
	}
	slowly := func(c *cluster) {
		c.change("x", func(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/grace"} })
	}
	for name, tt := range map[string]struct {
		prepare  func(c *cluster)
		opts     func(obj *corev1.ConfigMap) metav1.DeleteOptions
		options  []k8sretry.Option
		noUID    bool
		fails    func(*testing.T, error)
		is       func(error) bool
		requests string
		stays    bool // an object of the name is there at the end
		took     time.Duration
	}{
		"no mishap": {requests: "evict"},
		"answer lost, then NotFound": {
			prepare:  func(c *cluster) { c.on("evict", lost(lostReply())) },
			requests: "evict evict", took: time.Second,
		},
		"answer lost, and the StatefulSet was quick: the new pod stays": {
			prepare: func(c *cluster) {
				c.on("evict", &mishap{after: lostReply(), then: recreate(c)})
			},
			requests: "evict evict", stays: true, took: time.Second,
		},
		"answer lost, the pod terminates: accepted again": {
			prepare:  func(c *cluster) { slowly(c); c.on("evict", lost(gatewayTimeout())) },
			requests: "evict evict", stays: true, took: 500 * time.Millisecond,
		},
		"lost before the server": {
			prepare:  func(c *cluster) { c.on("evict", failed(lostReply())) },
			requests: "evict evict", took: time.Second,
		},
		"all answers lost, the pod terminates: the last check sees it": {
			prepare:  func(c *cluster) { slowly(c); c.on("evict", repeated(3, lost(gatewayTimeout()))...) },
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(2)},
			requests: "evict evict evict get", stays: true, took: 1500 * time.Millisecond,
		},
		"all lost before the server: unknown": {
			prepare: func(c *cluster) { c.on("evict", repeated(3, failed(unavailable()))...) },
			options: []k8sretry.Option{k8sretry.WithMaxRetries(2)},
			fails:   outcomeUnknown, is: apierrors.IsServiceUnavailable, requests: "evict evict evict get", stays: true, took: 3 * time.Second,
		},
		"the pod has ended before": {
			prepare:  func(c *cluster) { c.remove("x") },
			requests: "evict",
		},
		"another pod has its name": {
			prepare:  func(c *cluster) { recreate(c)() },
			requests: "evict", stays: true,
		},
		"the budget allows it in the end": {
			prepare:  func(c *cluster) { c.on("evict", repeated(2, failed(budgetSpent()))...) },
			requests: "evict evict evict", took: 12500 * time.Millisecond,
		},
		"the pod ends while the budget allows nothing": {
			prepare: func(c *cluster) {
				c.on("evict", &mishap{before: budgetSpent(), then: func() { c.remove("x") }})
			},
			requests: "evict evict", took: 5 * time.Second,
		},
		"the budget is new to its controller": {
			prepare:  func(c *cluster) { c.on("evict", failed(budgetPending())) },
			requests: "evict evict", took: 10 * time.Second,
		},
		"the budget never allows it: the refusal at the end": {
			prepare: func(c *cluster) { c.always = func(string) *mishap { return failed(budgetSpent()) } },
			fails: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Equal(t, k8sretry.ClassDisruptionBudget, k8sretry.Classify(err).Class)
			},
			is: apierrors.IsTooManyRequests, requests: "evict evict evict evict evict", stays: true, took: 40625 * time.Millisecond,
		},
		"an answer lost before the server, then refusals to the end: in doubt, and the refusal": {
			prepare: func(c *cluster) {
				c.on("evict", failed(lostReply()))
				c.always = func(verb string) *mishap {
					if verb == "evict" {
						return failed(budgetSpent())
					}
					return nil
				}
			},
			fails: outcomeUnknown, is: apierrors.IsTooManyRequests, requests: "evict evict evict evict evict evict get", stays: true, took: 56625 * time.Millisecond,
		},
		"a pace of the caller's": {
			prepare: func(c *cluster) { c.on("evict", repeated(9, failed(budgetSpent()))...) },
			options: []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			fails:   func(t *testing.T, err error) { assert.ErrorIs(t, err, k8sretry.ErrMaxRetries) },
			is:      apierrors.IsTooManyRequests, requests: "evict evict", stays: true, took: 5 * time.Second,
		},
		"the server loses a race for the budget": {
			prepare:  func(c *cluster) { c.on("evict", failed(budgetRace())) },
			requests: "evict evict", took: time.Second,
		},
		"the budget goes meanwhile, which has the pod's name": {
			prepare:  func(c *cluster) { c.on("evict", failed(budgetGone())) },
			requests: "evict evict", took: time.Second,
		},
		"the budget goes meanwhile, after an unknown attempt": {
			prepare:  func(c *cluster) { c.on("evict", failed(etcdTimeout()), failed(budgetGone())) },
			requests: "evict evict evict", took: 3 * time.Second,
		},
		"the server loses a race for the pod, at a version of its own": {
			prepare:  func(c *cluster) { c.on("evict", failed(podChanged("x"))) },
			requests: "evict evict", took: time.Second,
		},
		"two budgets": {
			prepare: func(c *cluster) { c.on("evict", failed(twoBudgets())) },
			fails:   asItCame, is: apierrors.IsInternalError, requests: "evict", stays: true,
		},
		"two budgets, after an unknown attempt that was carried out": {
			prepare:  func(c *cluster) { c.on("evict", lost(etcdTimeout()), failed(twoBudgets())) },
			requests: "evict evict get", took: time.Second,
		},
		"the namespace ends": {
			prepare: func(c *cluster) { c.on("evict", failed(namespaceEnds())) },
			fails:   asItCame, is: apierrors.IsForbidden, requests: "evict", stays: true,
		},
		"the namespace ends, after an unknown attempt": {
			prepare: func(c *cluster) { c.on("evict", failed(etcdTimeout()), failed(namespaceEnds())) },
			fails:   outcomeUnknown, is: apierrors.IsForbidden, requests: "evict evict get", stays: true, took: time.Second,
		},
		"a webhook denies with Conflict": {
			prepare: func(c *cluster) { c.on("evict", failed(denied(409, "Conflict"))) },
			fails:   asItCame, is: apierrors.IsConflict, requests: "evict", stays: true,
		},
		"a version of the caller's, changed before": {
			prepare: func(c *cluster) { slowly(c) },
			opts: func(obj *corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &obj.ResourceVersion}}
			},
			fails: asItCame, is: apierrors.IsConflict, requests: "evict", stays: true,
		},
		"a version of the caller's, changed after an unknown attempt: it may be the eviction that has changed it": {
			prepare: func(c *cluster) {
				c.on("evict", &mishap{before: etcdTimeout(), then: func() { slowly(c) }})
			},
			opts: func(obj *corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &obj.ResourceVersion}}
			},
			fails: outcomeUnknown, is: apierrors.IsConflict, requests: "evict evict get", stays: true, took: time.Second,
		},
		"the caller's UID goes before the object's": {
			opts: func(*corev1.ConfigMap) metav1.DeleteOptions {
				other := types.UID("another")
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}
			},
			requests: "evict", stays: true,
		},
		"without a UID, not there": {
			prepare: func(c *cluster) { c.remove("x") },
			noUID:   true, fails: asItCame, is: apierrors.IsNotFound, requests: "evict",
		},
		"without a UID, answer lost: NotFound is done": {
			prepare: func(c *cluster) { c.on("evict", lost(lostReply())) },
			noUID:   true, requests: "evict get", took: time.Second,
		},
		"without a UID, answer lost, the StatefulSet was quick: never evicted": {
			prepare: func(c *cluster) { c.on("evict", &mishap{after: unavailable(), then: recreate(c)}) },
			noUID:   true, fails: outcomeUnknown, is: apierrors.IsServiceUnavailable, requests: "evict get", stays: true, took: time.Second,
		},
		"dry run": {
			prepare: func(c *cluster) { c.on("evict", failed(gatewayTimeout())) },
			opts: func(*corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
			},
			requests: "evict evict", stays: true, took: 500 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				obj := c.put(configMap("x"))
				if tt.noUID {
					obj = configMap("x")
				}
				if tt.prepare != nil {
					tt.prepare(c)
				}
				var opts metav1.DeleteOptions
				if tt.opts != nil {
					opts = tt.opts(obj)
				}
				given, givenOpts := obj.DeepCopy(), opts.DeepCopy()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()

				err := k8sretry.Evict(ctx, c, obj, opts, append(tt.options, exact)...)

				assert.Equal(t, tt.took, time.Since(start))
				assert.Equal(t, given, obj, "the caller's object was changed")
				assert.Equal(t, givenOpts, &opts, "the caller's options were changed")
				if tt.fails == nil {
					require.NoError(t, err)
				} else {
					tt.fails(t, err)
				}
				if tt.is != nil {
					assert.True(t, tt.is(err), "%v", err)
				}
				c.expectRequests(t, strings.Fields(tt.requests)...)
				assert.Equal(t, tt.stays, c.objects["x"] != nil)
			})
		})
	}
}

// A NotFound about a budget is nothing special to who deletes a budget.
func TestDeleteOfABudgetThatIsGone(t *testing.T) {
	c := newCluster()
	c.on("delete", failed(budgetGone()))
	asItCame(t, k8sretry.Delete(t.Context(), c, configMap("x"), metav1.DeleteOptions{}))
	c.expectRequests(t, "delete")
}

func TestEvictTakesNoNil(t *testing.T) {
	assert.ErrorContains(t, k8sretry.Evict(t.Context(), nil, configMap("x"), metav1.DeleteOptions{}), "client is nil")
	assert.ErrorContains(t, k8sretry.Evict(t.Context(), k8sretry.Dynamic(nil), new(unstructured.Unstructured), metav1.DeleteOptions{}), "client is nil")
	assert.ErrorContains(t, k8sretry.Evict(t.Context(), newCluster(), nil, metav1.DeleteOptions{}), "object is nil")
}

func TestEvictWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c := newCluster()
		obj := c.put(configMap("x"))
		c.on("evict", &mishap{after: context.DeadlineExceeded, then: func() { <-ctx.Done() }})
		require.NoError(t, k8sretry.Evict(ctx, c, obj, metav1.DeleteOptions{}))
		c.expectRequests(t, "evict", "get")
	})
}

// What is sent: an eviction with the pod's UID, through a typed client and through a
// dynamic one.
func TestEvictionAsItIsSent(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop", UID: "1"}}
	grace := int64(7)
	opts := metav1.DeleteOptions{GracePeriodSeconds: &grace}
	t.Run("typed", func(t *testing.T) {
		clientset := fake.NewClientset(pod)
		require.NoError(t, k8sretry.Evict(t.Context(), clientset.CoreV1().Pods("shop"), pod, opts))
		require.Len(t, clientset.Actions(), 1)
		sent := clientset.Actions()[0].(k8stesting.CreateAction)
		assert.Equal(t, "pods/eviction in shop", fmt.Sprint(sent.GetResource().Resource, "/", sent.GetSubresource(), " in ", sent.GetNamespace()))
		assert.Equal(t, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: "web-0", Namespace: "shop"},
			DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: metav1.NewUIDPreconditions("1")},
		}, sent.GetObject())
	})
	t.Run("dynamic", func(t *testing.T) {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
		require.NoError(t, err)
		client := &evictions{}
		require.NoError(t, k8sretry.Evict(t.Context(), k8sretry.Dynamic(client), &unstructured.Unstructured{Object: content}, opts))
		assert.Equal(t, []string{"eviction"}, client.subresources)
		assert.Equal(t, schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "Eviction"}, client.obj.GroupVersionKind())
		var sent policyv1.Eviction
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(client.obj.Object, &sent))
		assert.Equal(t, "web-0", sent.Name)
		assert.Equal(t, &metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: metav1.NewUIDPreconditions("1")}, sent.DeleteOptions)
	})
}

// evictions keeps what was created last.
type evictions struct {
	k8sretry.DynamicResource
	obj          *unstructured.Unstructured
	subresources []string
}

func (e *evictions) Create(_ context.Context, obj *unstructured.Unstructured, _ metav1.CreateOptions, subresources ...string) (*unstructured.Unstructured, error) {
	e.obj, e.subresources = obj, subresources
	return obj, nil
}
