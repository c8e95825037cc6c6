package k8sretry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/k8sretry/k8sretry"
)

// overwrite is the write of somebody who puts a whole object of his own, annotations
// and all.
func overwrite(c *cluster) func() {
	return func() {
		c.change("x", func(o *corev1.ConfigMap) { o.Annotations, o.Data = nil, map[string]string{"by": "somebody"} })
	}
}

// noWatch hides the Watch of a client.
type noWatch struct {
	k8sretry.Updater[*corev1.ConfigMap]
}

func TestUpdate(t *testing.T) {
	expired := func(c *cluster) func() { return func() { overwrite(c)(); c.compacted = c.version } }
	for name, tt := range map[string]struct {
		prepare   func(*cluster)
		client    func(*cluster) k8sretry.Updater[*corev1.ConfigMap]
		options   []k8sretry.Option
		opts      metav1.UpdateOptions
		noVersion bool
		fails     func(*testing.T, error)
		is        func(error) bool
		requests  string
		stored    string // by whom, at the end
	}{
		"no mishap":          {requests: "update", stored: "us"},
		"a stale object":     {prepare: func(c *cluster) { overwrite(c)() }, fails: asItCame, is: apierrors.IsConflict, requests: "update", stored: "somebody"},
		"not there":          {prepare: func(c *cluster) { c.remove("x") }, fails: asItCame, is: apierrors.IsNotFound, requests: "update"},
		"a webhook's denial": {prepare: func(c *cluster) { c.on("update", failed(denied(409, "Conflict"))) }, fails: asItCame, is: apierrors.IsConflict, requests: "update", stored: "nobody"},
		"answer lost, then Conflict: the token is there": {
			prepare:  func(c *cluster) { c.on("update", lost(lostReply())) },
			requests: "update update get", stored: "us",
		},
		"lost before the server": {
			prepare:  func(c *cluster) { c.on("update", failed(gatewayTimeout())) },
			requests: "update update", stored: "us",
		},
		"answer lost, changed by somebody who keeps annotations": {
			prepare: func(c *cluster) {
				c.on("update", &mishap{after: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["more"] = "1" }) }})
			},
			requests: "update update get", stored: "us",
		},
		"answer lost, overwritten since: the first change was ours": {
			prepare:  func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: overwrite(c)}) },
			requests: "update update get watch", stored: "somebody",
		},
		"never stored, somebody else was first: the Conflict stands": {
			prepare: func(c *cluster) { c.on("update", &mishap{before: lostReply(), then: overwrite(c)}) },
			fails:   asItCame, is: apierrors.IsConflict, requests: "update update get watch", stored: "somebody",
		},
		"the history is gone: unknown": {
			prepare: func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: expired(c)}) },
			fails:   outcomeUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "somebody",
		},
		"the history is gone, said at the start of the watch": {
			prepare: func(c *cluster) {
				c.on("update", &mishap{after: lostReply(), then: overwrite(c)}).on("watch", failed(apierrors.NewResourceExpired("too old")))
			},
			fails: outcomeUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "somebody",
		},
		"the watch fails for a while": {
			prepare: func(c *cluster) {
				c.on("update", &mishap{after: lostReply(), then: overwrite(c)}).on("watch", failed(tooMany(1)), failed(lostReply()))
			},
			requests: "update update get watch get watch get watch", stored: "somebody",
		},
		"no watch: unknown": {
			prepare: func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: overwrite(c)}) },
			client:  func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return noWatch{c} },
			fails:   outcomeUnknown, is: apierrors.IsConflict, requests: "update update get", stored: "somebody",
		},
		"a watch that tells nothing: unknown": {
			prepare: func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: overwrite(c)}) },
			client:  func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return silentWatch{c} },
			fails:   outcomeUnknown, is: apierrors.IsConflict, requests: "update update get", stored: "somebody",
		},
		"a watch that ends at once: asked again, then unknown": {
			prepare: func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: overwrite(c)}) },
			client:  func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return endedWatch{c} },
			options: []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			fails:   outcomeUnknown, is: apierrors.IsConflict, stored: "somebody",
		},
		"answer lost, deleted since: it was updated": {
			prepare:  func(c *cluster) { c.on("update", &mishap{after: lostReply(), then: func() { c.remove("x") }}) },
			requests: "update update get watch",
		},
		"never stored, deleted instead: NotFound stands": {
			prepare: func(c *cluster) { c.on("update", &mishap{before: lostReply(), then: func() { c.remove("x") }}) },
			fails:   asItCame, is: apierrors.IsNotFound, requests: "update update get watch",
		},
		"answer lost, replaced by another object since": {
			prepare: func(c *cluster) {
				c.on("update", &mishap{after: lostReply(), then: func() { c.remove("x"); c.put(configMap("x", "by", "somebody")) }})
			},
			requests: "update update get watch", stored: "somebody",
		},
		"never stored, replaced by another object instead": {
			prepare: func(c *cluster) {
				c.on("update", &mishap{before: lostReply(), then: func() { c.remove("x"); c.put(configMap("x", "by", "somebody")) }})
			},
			fails: asItCame, is: apierrors.IsConflict, requests: "update update get watch", stored: "somebody",
		},
		"forbidden after an unknown attempt, unchanged: it may still land": {
			prepare: func(c *cluster) { c.on("update", failed(etcdTimeout()), failed(forbidden("x"))) },
			fails:   outcomeUnknown, is: apierrors.IsForbidden, requests: "update update get", stored: "nobody",
		},
		"forbidden after an unknown attempt, stored": {
			prepare:  func(c *cluster) { c.on("update", lost(etcdTimeout()), failed(forbidden("x"))) },
			requests: "update update get", stored: "us",
		},
		"stored, but the answer cannot be decoded": {
			prepare: func(c *cluster) {
				c.on("update", lost(errors.New("couldn't get version/kind; json parse error: unexpected end of JSON input")))
			},
			requests: "update get", stored: "us",
		},
		"a success that is none": {
			prepare:  func(c *cluster) { c.on("update", &mishap{empty: true}) },
			requests: "update update", stored: "us",
		},
		"all answers lost: the last check": {
			prepare: func(c *cluster) {
				c.on("update", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			requests: "update update update update get", stored: "us",
		},
		"all answers lost, somebody else was first: not in doubt any more": {
			prepare: func(c *cluster) {
				c.on("update", repeated(3, failed(lostReply()))...).on("update", &mishap{before: lostReply(), then: overwrite(c)})
			},
			fails: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			},
			requests: "update update update update get watch", stored: "somebody",
		},
		"without a token: unknown": {
			prepare: func(c *cluster) { c.on("update", lost(lostReply())) },
			options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			fails:   outcomeUnknown, is: apierrors.IsConflict, requests: "update update", stored: "us",
		},
		"without a resource version, answer lost: looked for, not sent again": {
			prepare:   func(c *cluster) { c.on("update", lost(lostReply())) },
			noVersion: true, requests: "update get", stored: "us",
		},
		"without a resource version, lost before the server": {
			prepare:   func(c *cluster) { c.on("update", failed(lostReply())) },
			noVersion: true, requests: "update get update", stored: "us",
		},
		"dry run": {
			prepare:  func(c *cluster) { c.on("update", failed(gatewayTimeout())) },
			opts:     metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}},
			requests: "update update", stored: "nobody",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				obj := c.put(configMap("x", "by", "nobody"))
				obj.Data["by"] = "us"
				if tt.noVersion {
					obj.ResourceVersion = ""
				}
				if tt.prepare != nil {
					tt.prepare(c)
				}
				var client k8sretry.Updater[*corev1.ConfigMap] = c
				if tt.client != nil {
					client = tt.client(c)
				}
				given := obj.DeepCopy()

				updated, err := k8sretry.Update(context.Background(), client, obj, tt.opts, tt.options...)

				assert.Equal(t, given, obj, "the caller's object was changed")
				if tt.fails == nil {
					require.NoError(t, err)
					assert.Equal(t, "x", updated.Name)
					assert.Equal(t, given.UID, updated.UID)
				} else {
					tt.fails(t, err)
					assert.Nil(t, updated)
				}
				if tt.is != nil {
					assert.True(t, tt.is(err), "%v", err)
				}
				if tt.requests != "" {
					c.expectRequests(t, strings.Fields(tt.requests)...)
				}
				if tt.stored == "" {
					assert.Nil(t, c.objects["x"])
				} else {
					assert.Equal(t, tt.stored, c.objects["x"].Data["by"])
				}
			})
		})
	}
}

type silentWatch struct{ *cluster }

func (silentWatch) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewFake(), nil
}

type endedWatch struct{ *cluster }

func (endedWatch) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewEmptyWatch(), nil
}

// The update that takes the last finalizer off an object that is being deleted is its
// deletion.
func TestUpdateThatEndsTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		o := configMap("x")
		o.Finalizers = []string{"example.com/wait"}
		c.put(o)
		require.NoError(t, c.Delete(context.Background(), "x", metav1.DeleteOptions{}))
		o = c.get("x")
		o.Finalizers = nil
		c.requests = nil
		c.on("update", lost(lostReply()))
		_, err := k8sretry.Update(context.Background(), c, o, metav1.UpdateOptions{})
		require.NoError(t, err)
		c.expectRequests(t, "update", "update", "get")
	})
}

func TestUpdateStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		keeps   bool
		prepare func(*cluster)
		fails   func(*testing.T, error)
	}{
		"no mishap":                       {},
		"lost before the server":          {prepare: func(c *cluster) { c.on("updatestatus", failed(unavailable())) }},
		"a kind that keeps annotations":   {keeps: true, prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) }},
		"a kind that keeps none: unknown": {prepare: func(c *cluster) { c.on("updatestatus", lost(lostReply())) }, fails: outcomeUnknown},
		"another call of ours was first": {
			keeps: true, fails: asItCame,
			prepare: func(c *cluster) {
				c.on("updatestatus", &mishap{before: lostReply(), then: func() {
					c.change("x", func(o *corev1.ConfigMap) { o.Annotations = map[string]string{k8sretry.TokenAnnotation: "another"} })
				}})
			},
		},
		"the first change was one of the spec": {
			fails: asItCame,
			prepare: func(c *cluster) {
				c.on("updatestatus", &mishap{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Generation++ }) }})
			},
		},
		"deleted instead": {
			fails: asItCame,
			prepare: func(c *cluster) {
				c.on("updatestatus", &mishap{before: lostReply(), then: func() { c.remove("x") }})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.keeps = tt.keeps
				obj := c.put(configMap("x"))
				obj.Data["ready"] = "true"
				if tt.prepare != nil {
					tt.prepare(c)
				}
				updated, err := k8sretry.Update(context.Background(), k8sretry.StatusSubresource(c), obj, metav1.UpdateOptions{})
				assert.Zero(t, c.count("update"))
				if tt.fails != nil {
					tt.fails(t, err)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, "true", updated.Data["ready"])
			})
		})
	}
	var none k8sretry.StatusUpdater[*corev1.ConfigMap]
	_, err := k8sretry.Update(context.Background(), k8sretry.StatusSubresource(none), configMap("x"), metav1.UpdateOptions{})
	assert.ErrorContains(t, err, "client is nil")
}

func TestUpdateWithAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		obj := c.put(configMap("x"))
		obj.Data["by"] = "us"
		c.on("update", &mishap{after: context.DeadlineExceeded, then: func() { time.Sleep(2 * time.Second) }})
		_, err := k8sretry.Update(context.Background(), c, obj, metav1.UpdateOptions{}, k8sretry.WithAttemptTimeout(time.Second))
		require.NoError(t, err)
		c.expectRequests(t, "update", "update", "get")
	})
}
