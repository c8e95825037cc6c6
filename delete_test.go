// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
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

func TestDelete(t *testing.T) {
	recreate := func(c *cluster) func() { return func() { c.put(configMap("x", "by", "another client")) } }
	noNamespace := func() error {
		return apierrors.NewNotFound(corev1.SchemeGroupVersion.WithResource("namespaces").GroupResource(), "default")
	}
	for name, tt := range map[string]struct {
		prepare  func(c *cluster, obj *corev1.ConfigMap)
		opts     func(obj *corev1.ConfigMap) metav1.DeleteOptions
		options  []k8sretry.Option
		noUID    bool
		fails    func(*testing.T, error)
		is       func(error) bool
		requests string
		stays    bool // an object of the name is there at the end
	}{
		"success": {requests: "delete"},
		"NotFound at the first attempt": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.remove("x") },
			fails:   requireUnchanged, is: apierrors.IsNotFound, requests: "delete",
		},
		"another object has the name at the first attempt": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.remove("x"); recreate(c)() },
			fails:   requireUnchanged, is: apierrors.IsConflict, requests: "delete", stays: true,
		},
		"response lost, then NotFound": {
			prepare:  func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", lost(lostReply())) },
			requests: "delete delete",
		},
		"response lost, created again at once: the new object is kept": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &fault{after: lostReply(), then: recreate(c)})
			},
			requests: "delete delete", stays: true,
		},
		"response lost, finalizers: the deletion is accepted again": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.change("x", func(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/wait"} })
				c.on("delete", lost(gatewayTimeout()))
			},
			requests: "delete delete", stays: true,
		},
		"all responses lost, finalizers: the final check sees the deletion": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.change("x", func(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/wait"} })
				c.on("delete", repeated(4, lost(gatewayTimeout()))...)
			},
			requests: "delete delete delete delete get", stays: true,
		},
		"all requests lost, deleted by another client before: unknown": {
			prepare: func(c *cluster, obj *corev1.ConfigMap) {
				c.change("x", terminating(30))
				terminating(30)(obj)
				c.on("delete", repeated(4, failed(unavailable()))...)
			},
			fails: requireUnknown, is: apierrors.IsServiceUnavailable, requests: "delete delete delete delete get", stays: true,
		},
		"all requests with a grace period of 0 lost, deleted by another client with 30 s: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.change("x", terminating(30))
				c.on("delete", repeated(4, failed(unavailable()))...)
			},
			opts:  func(*corev1.ConfigMap) metav1.DeleteOptions { return *metav1.NewDeleteOptions(0) },
			fails: requireUnknown, is: apierrors.IsServiceUnavailable, requests: "delete delete delete delete get", stays: true,
		},
		"no UID, the same: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.change("x", terminating(30))
				c.on("delete", failed(unavailable()))
			},
			opts:  func(*corev1.ConfigMap) metav1.DeleteOptions { return *metav1.NewDeleteOptions(0) },
			noUID: true, fails: requireUnknown, is: apierrors.IsServiceUnavailable, requests: "delete get", stays: true,
		},
		"all requests that keep the dependents lost, deleted with them by another client: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", repeated(4, &fault{before: gatewayTimeout(), then: func() { c.change("x", terminating(0)) }})...)
			},
			opts:  func(*corev1.ConfigMap) metav1.DeleteOptions { return propagation(metav1.DeletePropagationOrphan) },
			fails: requireUnknown, is: apierrors.IsTimeout, requests: "delete delete delete delete get", stays: true,
		},
		"all requests for a foreground deletion lost, deleted in the background by another client: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", repeated(4, &fault{before: gatewayTimeout(), then: func() { c.change("x", terminating(0)) }})...)
			},
			opts:  func(*corev1.ConfigMap) metav1.DeleteOptions { return propagation(metav1.DeletePropagationForeground) },
			fails: requireUnknown, is: apierrors.IsTimeout, requests: "delete delete delete delete get", stays: true,
		},
		"all requests for a background deletion lost, another client keeps the dependents: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", repeated(4, &fault{before: gatewayTimeout(), then: func() {
					c.change("x", terminating(0, metav1.FinalizerOrphanDependents))
				}})...)
			},
			opts:  func(*corev1.ConfigMap) metav1.DeleteOptions { return propagation(metav1.DeletePropagationBackground) },
			fails: requireUnknown, is: apierrors.IsTimeout, requests: "delete delete delete delete get", stays: true,
		},
		"all responses to a foreground deletion lost: the final check sees it": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", repeated(4, &fault{before: gatewayTimeout(), then: func() {
					c.change("x", terminating(0, metav1.FinalizerDeleteDependents))
				}})...)
			},
			opts:     func(*corev1.ConfigMap) metav1.DeleteOptions { return propagation(metav1.DeletePropagationForeground) },
			requests: "delete delete delete delete get", stays: true,
		},
		"no UID, the dependents are to be kept, deleted with them by another client: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &fault{before: gatewayTimeout(), then: func() { c.change("x", terminating(0)) }})
			},
			opts:  func(*corev1.ConfigMap) metav1.DeleteOptions { return propagation(metav1.DeletePropagationOrphan) },
			noUID: true, fails: requireUnknown, is: apierrors.IsTimeout, requests: "delete get", stays: true,
		},
		"all responses to a grace period of 0 lost, finalizers: the final check sees the deletion": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", repeated(4, &fault{before: gatewayTimeout(), then: func() { c.change("x", terminating(0)) }})...)
			},
			opts:     func(*corev1.ConfigMap) metav1.DeleteOptions { return *metav1.NewDeleteOptions(0) },
			requests: "delete delete delete delete get", stays: true,
		},
		"all requests lost: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", repeated(4, failed(unavailable()))...) },
			fails:   requireUnknown, is: apierrors.IsServiceUnavailable, requests: "delete delete delete delete get", stays: true,
		},
		"request lost": {
			prepare:  func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", failed(lostReply())) },
			requests: "delete delete",
		},
		"request lost, then NotFound for the namespace: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", failed(unavailable()), failed(noNamespace())).on("get", failed(noNamespace()))
			},
			fails: requireUnknown, is: apierrors.IsNotFound, requests: "delete delete get", stays: true,
		},
		"response lost, then denied by a webhook: the object is gone": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", lost(unavailable()), failed(denied(403, "Forbidden")))
			},
			requests: "delete delete get",
		},
		"request lost, then denied by a webhook: unknown while the object exists": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", failed(etcdTimeout()), failed(denied(403, "Forbidden")))
			},
			fails: requireUnknown, is: apierrors.IsForbidden, requests: "delete delete get", stays: true,
		},
		"denied by a webhook with Conflict": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", failed(denied(409, "Conflict"))) },
			fails:   requireUnchanged, is: apierrors.IsConflict, requests: "delete", stays: true,
		},
		"required resource version, changed after an ambiguous failure: Conflict is returned": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &fault{before: gatewayTimeout(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["a"] = "b" }) }})
			},
			opts: func(obj *corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &obj.ResourceVersion}}
			},
			fails: requireUnchanged, is: apierrors.IsConflict, requests: "delete delete get", stays: true,
		},
		"the UID in opts overrides that of the object": {
			opts: func(*corev1.ConfigMap) metav1.DeleteOptions {
				other := types.UID("another")
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}
			},
			fails: requireUnchanged, is: apierrors.IsConflict, requests: "delete", stays: true,
		},
		"no UID, response lost: the object is gone": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", lost(lostReply())) },
			noUID:   true, requests: "delete get",
		},
		"no UID, response lost, created again: the new object is kept": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &fault{after: unavailable(), then: recreate(c)})
			},
			noUID: true, fails: requireUnknown, is: apierrors.IsServiceUnavailable, requests: "delete get", stays: true,
		},
		"response lost, then denied by a webhook, the check fails for a while": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", lost(unavailable()), failed(denied(403, "Forbidden"))).on("get", failed(unavailable()))
			},
			requests: "delete delete get get",
		},
		"no UID, response lost, the check fails for a while": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", lost(lostReply())).on("get", failed(unavailable()))
			},
			noUID: true, requests: "delete get get",
		},
		"no UID, response lost, the check always fails: unknown, with the error of the delete": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", lost(gatewayTimeout()))
				c.always = func(string) *fault { return failed(unavailable()) }
			},
			options: []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			noUID:   true, fails: requireUnknown, is: apierrors.IsTimeout,
		},
		"no UID, 429: retried": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", failed(tooMany(0))) },
			noUID:   true, requests: "delete delete",
		},
		"dry run": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", failed(gatewayTimeout())) },
			opts: func(*corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
			},
			requests: "delete delete", stays: true,
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
					tt.prepare(c, obj)
				}
				var opts metav1.DeleteOptions
				if tt.opts != nil {
					opts = tt.opts(obj)
				}
				given, givenOpts := obj.DeepCopy(), opts.DeepCopy()

				err := k8sretry.Delete(context.Background(), c, obj, opts, tt.options...)

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
				if tt.requests != "" {
					c.expectRequests(t, strings.Fields(tt.requests)...)
				}
				assert.Equal(t, tt.stays, c.objects["x"] != nil)
			})
		})
	}
}

// terminating marks an object as being deleted after a grace period, with the finalizers that the
// server has added.
func terminating(seconds int64, finalizers ...string) func(*corev1.ConfigMap) {
	return func(o *corev1.ConfigMap) {
		o.DeletionTimestamp, o.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, &seconds
		o.Finalizers = append(o.Finalizers, finalizers...)
	}
}

// propagation says what is to become of the dependents.
func propagation(policy metav1.DeletionPropagation) metav1.DeleteOptions {
	return metav1.DeleteOptions{PropagationPolicy: &policy}
}

// A NotFound for a PodDisruptionBudget is special for Evict only.
func TestDeleteReturnsNotFoundOfABudget(t *testing.T) {
	c := newCluster()
	c.on("delete", failed(budgetGone()))
	requireUnchanged(t, k8sretry.Delete(t.Context(), c, configMap("x"), metav1.DeleteOptions{}))
	c.expectRequests(t, "delete")
}

var (
	_ evictor[*corev1.Pod]                = typedcorev1.PodInterface(nil)
	_ evictor[*unstructured.Unstructured] = (*k8sretry.DynamicClient)(nil)
)

// evictor is the client that Evict needs.
type evictor[T k8sretry.Object] interface {
	k8sretry.Getter[T]
	EvictV1(ctx context.Context, eviction *policyv1.Eviction) error
}

// The errors of an eviction are those of
// k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go.

func budgetRace() error {
	return apierrors.NewConflict(policyv1.Resource("poddisruptionbudgets"), "x", errors.New("the object has been modified"))
}

func budgetGone() error {
	return apierrors.NewNotFound(policyv1.Resource("poddisruptionbudgets"), "x")
}

// budgetPending is the refusal for a budget that its controller has not yet seen.
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

func namespaceGone() error { return apierrors.NewNotFound(corev1.Resource("namespaces"), "default") }

func TestEvict(t *testing.T) {
	recreate := func(c *cluster) func() {
		return func() { c.remove("x"); c.put(configMap("x", "by", "the StatefulSet")) }
	}
	terminateSlowly := func(c *cluster) {
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
		"success": {requests: "evict"},
		"response lost, then NotFound": {
			prepare:  func(c *cluster) { c.on("evict", lost(lostReply())) },
			requests: "evict get", took: time.Second,
		},
		"response lost, the StatefulSet has created the pod again: the new pod is kept": {
			prepare: func(c *cluster) {
				c.on("evict", &fault{after: lostReply(), then: recreate(c)})
			},
			requests: "evict get", stays: true, took: time.Second,
		},
		"response lost, the pod terminates": {
			prepare:  func(c *cluster) { terminateSlowly(c); c.on("evict", lost(gatewayTimeout())) },
			requests: "evict get", stays: true, took: 500 * time.Millisecond,
		},
		"request lost": {
			prepare:  func(c *cluster) { c.on("evict", failed(lostReply())) },
			requests: "evict get evict", took: time.Second,
		},
		"the response lost, no retries, the pod terminates: the final check sees it": {
			prepare:  func(c *cluster) { terminateSlowly(c); c.on("evict", lost(gatewayTimeout())) },
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			requests: "evict get", stays: true,
		},
		"request lost, the pod cannot be read: it is evicted": {
			prepare:  func(c *cluster) { c.on("evict", failed(lostReply())).on("get", failed(forbidden("x"))) },
			requests: "evict get evict", took: time.Second,
		},
		"response lost, the pod cannot be read: the server refuses to evict the new one": {
			prepare: func(c *cluster) {
				c.on("evict", &fault{after: lostReply(), then: recreate(c)}).on("get", failed(forbidden("x")))
			},
			requests: "evict get evict", stays: true, took: time.Second,
		},
		"two requests lost, the reads fail, too": {
			prepare: func(c *cluster) {
				c.on("evict", failed(lostReply()), failed(lostReply()), failed(lostReply())).on("get", failed(unavailable()))
			},
			requests: "evict get evict evict get evict", took: 7 * time.Second,
		},
		"a request with a grace period of 0 lost, deleted by another client with 30 s: the pod terminates": {
			prepare:  func(c *cluster) { c.change("x", terminating(30)); c.on("evict", repeated(3, failed(unavailable()))...) },
			opts:     func(*corev1.ConfigMap) metav1.DeleteOptions { return *metav1.NewDeleteOptions(0) },
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(2)},
			requests: "evict get", stays: true, took: time.Second,
		},
		"all requests lost: unknown": {
			prepare: func(c *cluster) { c.on("evict", repeated(3, failed(unavailable()))...) },
			options: []k8sretry.Option{k8sretry.WithMaxRetries(2)},
			fails:   requireUnknown, is: apierrors.IsServiceUnavailable, requests: "evict get evict get evict get", stays: true, took: 3 * time.Second,
		},
		"the pod has ended before": {
			prepare:  func(c *cluster) { c.remove("x") },
			requests: "evict",
		},
		"another pod has the name": {
			prepare:  func(c *cluster) { recreate(c)() },
			requests: "evict", stays: true,
		},
		"refused by the budget twice, then allowed": {
			prepare:  func(c *cluster) { c.on("evict", repeated(2, failed(budgetSpent()))...) },
			requests: "evict evict evict", took: 12500 * time.Millisecond,
		},
		"the pod ends while the budget refuses": {
			prepare: func(c *cluster) {
				c.on("evict", &fault{before: budgetSpent(), then: func() { c.remove("x") }})
			},
			requests: "evict evict", took: 5 * time.Second,
		},
		"the controller has not yet seen the budget": {
			prepare:  func(c *cluster) { c.on("evict", failed(budgetPending())) },
			requests: "evict evict", took: 10 * time.Second,
		},
		"refused by the budget until the deadline: the refusal is returned": {
			prepare: func(c *cluster) { c.always = func(string) *fault { return failed(budgetSpent()) } },
			fails: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Equal(t, k8sretry.ClassDisruptionBudget, k8sretry.Classify(err).Class)
			},
			is: apierrors.IsTooManyRequests, requests: "evict evict evict evict evict", stays: true, took: 40625 * time.Millisecond,
		},
		"request lost, then refused until the deadline: unknown, with the refusal": {
			prepare: func(c *cluster) {
				c.on("evict", failed(lostReply()))
				c.always = func(verb string) *fault {
					if verb == "evict" {
						return failed(budgetSpent())
					}
					return nil
				}
			},
			fails: requireUnknown, is: apierrors.IsTooManyRequests, requests: "evict get evict get evict get evict get evict get evict get", stays: true, took: 56625 * time.Millisecond,
		},
		"the caller's options override the preset": {
			prepare: func(c *cluster) { c.on("evict", repeated(9, failed(budgetSpent()))...) },
			options: []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			fails:   func(t *testing.T, err error) { assert.ErrorIs(t, err, k8sretry.ErrMaxRetries) },
			is:      apierrors.IsTooManyRequests, requests: "evict evict", stays: true, took: 5 * time.Second,
		},
		"conflict about the budget: retried": {
			prepare:  func(c *cluster) { c.on("evict", failed(budgetRace())) },
			requests: "evict evict", took: time.Second,
		},
		"the budget, which has the pod's name, is deleted during the request": {
			prepare:  func(c *cluster) { c.on("evict", failed(budgetGone())) },
			requests: "evict evict", took: time.Second,
		},
		"request lost, then the budget is deleted during the request": {
			prepare:  func(c *cluster) { c.on("evict", failed(etcdTimeout()), failed(budgetGone())) },
			requests: "evict get evict get evict", took: 3 * time.Second,
		},
		"conflict about the pod's resource version: retried": {
			prepare:  func(c *cluster) { c.on("evict", failed(podChanged("x"))) },
			requests: "evict evict", took: time.Second,
		},
		"two budgets: 500 is returned": {
			prepare: func(c *cluster) { c.on("evict", failed(twoBudgets())) },
			fails:   requireUnchanged, is: apierrors.IsInternalError, requests: "evict", stays: true,
		},
		"response lost, the pod cannot be read, then a conflict about the UID of another object: unknown": {
			prepare: func(c *cluster) {
				c.on("evict", failed(etcdTimeout()), failed(anotherUID("y"))).on("get", repeated(2, failed(forbidden("x")))...)
			},
			options: []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			fails:   requireUnknown, is: apierrors.IsConflict, requests: "evict get evict get", stays: true, took: time.Second,
		},
		"response lost, then two budgets: the pod is gone": {
			prepare: func(c *cluster) {
				c.on("evict", lost(etcdTimeout()), failed(twoBudgets())).on("get", failed(forbidden("x")))
			},
			requests: "evict get evict get", took: time.Second,
		},
		"the namespace is terminating, and deletes the pod later": {
			prepare: func(c *cluster) {
				c.on("evict", failed(namespaceEnds()), &fault{before: namespaceEnds(), then: func() { c.remove("x") }})
			},
			requests: "evict get evict get", took: time.Second,
		},
		"the namespace is terminating, and the pod, too": {
			prepare:  func(c *cluster) { c.change("x", terminating(30)); c.on("evict", failed(namespaceEnds())) },
			requests: "evict get", stays: true,
		},
		"the namespace is terminating, and another pod has the name": {
			prepare:  func(c *cluster) { c.on("evict", &fault{before: namespaceEnds(), then: recreate(c)}) },
			requests: "evict get", stays: true,
		},
		// The assumption was that a NotFound is about the pod: a namespace that is gone has none.
		"the namespace is gone, and the pod with it": {
			prepare:  func(c *cluster) { c.remove("x"); c.on("evict", failed(namespaceGone())) },
			requests: "evict get",
		},
		"the namespace is terminating, then it is gone": {
			prepare: func(c *cluster) {
				c.on("evict", failed(namespaceEnds()), &fault{before: namespaceGone(), then: func() { c.remove("x") }})
			},
			requests: "evict get evict get", took: time.Second,
		},
		"request lost, then the namespace is gone": {
			prepare: func(c *cluster) {
				c.on("evict", failed(etcdTimeout()), &fault{before: namespaceGone(), then: func() { c.remove("x") }})
			},
			requests: "evict get evict get", took: time.Second,
		},
		"the namespace is gone, says a server whose cache is behind, and the pod is there": {
			prepare:  func(c *cluster) { c.on("evict", failed(namespaceGone())) },
			requests: "evict get evict", took: time.Second,
		},
		"no UID, the namespace does not exist": {
			prepare: func(c *cluster) { c.remove("x"); c.on("evict", failed(namespaceGone())) },
			noUID:   true, fails: requireUnchanged, is: apierrors.IsNotFound, requests: "evict",
		},
		"the namespace is terminating, and the pod cannot be read": {
			prepare:  func(c *cluster) { c.on("evict", failed(namespaceEnds())).on("get", failed(forbidden("x"))) },
			requests: "evict get evict", took: time.Second,
		},
		"the namespace is terminating, and the server cannot read the pod now": {
			prepare:  func(c *cluster) { c.on("evict", failed(namespaceEnds())).on("get", failed(unavailable())) },
			requests: "evict get evict", took: time.Second,
		},
		"forbidden": {
			prepare: func(c *cluster) { c.on("evict", failed(forbidden("x"))) },
			fails:   requireUnchanged, is: apierrors.IsForbidden, requests: "evict", stays: true,
		},
		"the namespace is terminating until the deadline: the refusal is returned": {
			prepare: func(c *cluster) {
				c.always = func(verb string) *fault {
					if verb == "evict" {
						return failed(namespaceEnds())
					}
					return nil
				}
			},
			fails: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			},
			is: apierrors.IsForbidden, requests: "evict get evict get evict get evict get evict get evict get", stays: true, took: 31 * time.Second,
		},
		"request lost, then the namespace is terminating": {
			prepare:  func(c *cluster) { c.on("evict", failed(etcdTimeout()), failed(namespaceEnds())) },
			requests: "evict get evict get get evict", took: 3 * time.Second,
		},
		"denied by a webhook with Conflict": {
			prepare: func(c *cluster) { c.on("evict", failed(denied(409, "Conflict"))) },
			fails:   requireUnchanged, is: apierrors.IsConflict, requests: "evict", stays: true,
		},
		"required resource version, changed before": {
			prepare: func(c *cluster) { terminateSlowly(c) },
			opts: func(obj *corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &obj.ResourceVersion}}
			},
			fails: requireUnchanged, is: apierrors.IsConflict, requests: "evict", stays: true,
		},
		"required resource version, changed after an ambiguous failure: unknown, the eviction itself may have changed it": {
			prepare: func(c *cluster) {
				c.on("evict", &fault{before: etcdTimeout(), then: func() { terminateSlowly(c) }})
			},
			opts: func(obj *corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &obj.ResourceVersion}}
			},
			fails: requireUnknown, is: apierrors.IsConflict, requests: "evict get evict get", stays: true, took: time.Second,
		},
		"the UID in opts overrides that of the object": {
			opts: func(*corev1.ConfigMap) metav1.DeleteOptions {
				other := types.UID("another")
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}
			},
			requests: "evict", stays: true,
		},
		"no UID, NotFound": {
			prepare: func(c *cluster) { c.remove("x") },
			noUID:   true, fails: requireUnchanged, is: apierrors.IsNotFound, requests: "evict",
		},
		"no UID, response lost: the object is gone": {
			prepare: func(c *cluster) { c.on("evict", lost(lostReply())) },
			noUID:   true, requests: "evict get", took: time.Second,
		},
		"no UID, response lost, created again: the new pod is kept": {
			prepare: func(c *cluster) { c.on("evict", &fault{after: unavailable(), then: recreate(c)}) },
			noUID:   true, fails: requireUnknown, is: apierrors.IsServiceUnavailable, requests: "evict get", stays: true, took: time.Second,
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

// kube-apiserver takes 10 s to refuse an eviction with the UID of a pod that was replaced.
// The assumption was that the refusal ends the call: with a shorter attempt timeout it never
// came, and the call lasted until its deadline.
func TestEvictOfAReplacedPodDoesNotWaitForItsRefusal(t *testing.T) {
	for _, readable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			pod := c.put(configMap("x"))
			c.remove("x")
			c.put(configMap("x", "by", "the StatefulSet"))
			client := slowEvictions{c, readable}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			err := k8sretry.Evict(ctx, client, pod, metav1.DeleteOptions{}, exact, k8sretry.WithAttemptTimeout(5*time.Second))
			assert.NotNil(t, c.get("x"))
			if !readable {
				requireUnknown(t, err)
				return
			}
			require.NoError(t, err)
			assert.Less(t, time.Since(start), 10*time.Second)
		})
	}
}

// The read before a repetition may be refused with a Retry-After. The assumption was that a read
// that brings nothing changes nothing: the eviction followed at once.
func TestEvictKeepsTheRetryAfterOfItsReads(t *testing.T) {
	terminating := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", errors.New("the namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, first := range map[string]error{"after a lost response": unavailable(), "in a terminating namespace": terminating} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := throttledReads{cluster: newCluster(), first: first, refused: new(int)}
				pod := c.put(configMap("x"))
				var read, evicted time.Time
				c.onGet = func() { read = time.Now() }
				c.onEvict = func() { evicted = time.Now() }
				var seen recorder
				require.NoError(t, k8sretry.Evict(t.Context(), c, pod, metav1.DeleteOptions{}, exact, k8sretry.WithInitialDelay(time.Second), k8sretry.WithObserver(&seen)))
				assert.GreaterOrEqual(t, evicted.Sub(read), 7*time.Second)
				assert.True(t, slices.ContainsFunc(seen.events, func(e k8sretry.Event) bool { return e.Class == k8sretry.ClassThrottled }), "that of the read")
			})
		})
	}
}

// throttledReads is a server that refuses the first eviction, and the first read with a
// Retry-After.
type throttledReads struct {
	*cluster
	first          error
	refused        *int
	onGet, onEvict func()
}

func (c throttledReads) EvictV1(ctx context.Context, eviction *policyv1.Eviction) error {
	c.onEvict()
	if c.first != nil && *c.refused == 0 {
		*c.refused = 1
		return c.first
	}
	return c.cluster.EvictV1(ctx, eviction)
}

func (c throttledReads) Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.ConfigMap, error) {
	if *c.refused == 1 {
		*c.refused = 2
		c.onGet()
		return nil, tooMany(7)
	}
	return c.cluster.Get(ctx, name, opts)
}

// slowEvictions is a server that takes 10 s for each eviction.
type slowEvictions struct {
	*cluster
	readable bool
}

func (c slowEvictions) EvictV1(ctx context.Context, eviction *policyv1.Eviction) error {
	select {
	case <-ctx.Done():
		return &url.Error{Op: "Post", URL: "https://server", Err: ctx.Err()}
	case <-time.After(10 * time.Second):
		return c.cluster.EvictV1(ctx, eviction)
	}
}

func (c slowEvictions) Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.ConfigMap, error) {
	if !c.readable {
		return nil, forbidden(name)
	}
	return c.cluster.Get(ctx, name, opts)
}

// Evict sends an Eviction with the options and the UID of the pod, with a typed client and
// with a dynamic one.
func TestEvictSendsAnEviction(t *testing.T) {
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

// evictions keeps the last object that was created.
type evictions struct {
	k8sretry.DynamicResource
	obj          *unstructured.Unstructured
	subresources []string
}

func (e *evictions) Create(_ context.Context, obj *unstructured.Unstructured, _ metav1.CreateOptions, subresources ...string) (*unstructured.Unstructured, error) {
	e.obj, e.subresources = obj, subresources
	return obj, nil
}
