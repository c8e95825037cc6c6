package k8sretry_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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

// terminating marks an object as being deleted after a grace period.
func terminating(seconds int64) func(*corev1.ConfigMap) {
	return func(o *corev1.ConfigMap) {
		o.DeletionTimestamp, o.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, &seconds
	}
}

// A NotFound for a PodDisruptionBudget is special for Evict only.
func TestDeleteReturnsNotFoundOfABudget(t *testing.T) {
	c := newCluster()
	c.on("delete", failed(budgetGone()))
	requireUnchanged(t, k8sretry.Delete(t.Context(), c, configMap("x"), metav1.DeleteOptions{}))
	c.expectRequests(t, "delete")
}
