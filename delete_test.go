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
	recreate := func(c *cluster) func() { return func() { c.put(configMap("x", "by", "somebody")) } }
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
		"no mishap": {requests: "delete"},
		"not there at the first attempt": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.remove("x") },
			fails:   asItCame, is: apierrors.IsNotFound, requests: "delete",
		},
		"another object at the first attempt": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.remove("x"); recreate(c)() },
			fails:   asItCame, is: apierrors.IsConflict, requests: "delete", stays: true,
		},
		"answer lost, then NotFound": {
			prepare:  func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", lost(lostReply())) },
			requests: "delete delete",
		},
		"answer lost and recreated at once: the new one stays": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &mishap{after: lostReply(), then: recreate(c)})
			},
			requests: "delete delete", stays: true,
		},
		"answer lost, finalizers: accepted": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.change("x", func(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/wait"} })
				c.on("delete", lost(gatewayTimeout()))
			},
			requests: "delete delete", stays: true,
		},
		"all answers lost, finalizers: the last check sees it": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.change("x", func(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/wait"} })
				c.on("delete", repeated(4, lost(gatewayTimeout()))...)
			},
			requests: "delete delete delete delete get", stays: true,
		},
		"all lost before the server: unknown": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", repeated(4, failed(unavailable()))...) },
			fails:   outcomeUnknown, is: apierrors.IsServiceUnavailable, requests: "delete delete delete delete get", stays: true,
		},
		"lost before the server": {
			prepare:  func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", failed(lostReply())) },
			requests: "delete delete",
		},
		"the namespace is not there, after an unknown attempt: looked for": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", failed(unavailable()), failed(noNamespace())).on("get", failed(noNamespace()))
			},
			fails: outcomeUnknown, is: apierrors.IsNotFound, requests: "delete delete get", stays: true,
		},
		"a webhook denies after an unknown attempt, and it is gone": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", lost(unavailable()), failed(denied(403, "Forbidden")))
			},
			requests: "delete delete get",
		},
		"a webhook denies after an unknown attempt, and it is there": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", failed(etcdTimeout()), failed(denied(403, "Forbidden")))
			},
			fails: outcomeUnknown, is: apierrors.IsForbidden, requests: "delete delete get", stays: true,
		},
		"a webhook denies with Conflict": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", failed(denied(409, "Conflict"))) },
			fails:   asItCame, is: apierrors.IsConflict, requests: "delete", stays: true,
		},
		"the caller's resource version, changed in between": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &mishap{before: gatewayTimeout(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["a"] = "b" }) }})
			},
			opts: func(obj *corev1.ConfigMap) metav1.DeleteOptions {
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &obj.ResourceVersion}}
			},
			fails: asItCame, is: apierrors.IsConflict, requests: "delete delete get", stays: true,
		},
		"the caller's UID goes before the object's": {
			opts: func(*corev1.ConfigMap) metav1.DeleteOptions {
				other := types.UID("another")
				return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}
			},
			fails: asItCame, is: apierrors.IsConflict, requests: "delete", stays: true,
		},
		"without a UID, answer lost: NotFound is done": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) { c.on("delete", lost(lostReply())) },
			noUID:   true, requests: "delete get",
		},
		"without a UID, answer lost, recreated: never deleted": {
			prepare: func(c *cluster, _ *corev1.ConfigMap) {
				c.on("delete", &mishap{after: unavailable(), then: recreate(c)})
			},
			noUID: true, fails: outcomeUnknown, is: apierrors.IsServiceUnavailable, requests: "delete get", stays: true,
		},
		"without a UID, not executed: repeated": {
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
				c.expectRequests(t, strings.Fields(tt.requests)...)
				assert.Equal(t, tt.stays, c.objects["x"] != nil)
			})
		})
	}
}

func TestDeleteWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c := newCluster()
		obj := c.put(configMap("x"))
		c.on("delete", &mishap{after: context.DeadlineExceeded, then: func() { <-ctx.Done() }})
		require.NoError(t, k8sretry.Delete(ctx, c, obj, metav1.DeleteOptions{}))
		c.expectRequests(t, "delete", "get")
	})
}
