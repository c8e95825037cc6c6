package k8sretry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/k8sretry/k8sretry"
)

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
		"success":                           {requests: "update", stored: "this call"},
		"the resource version is old":       {prepare: func(c *cluster) { overwrite(c)() }, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update", stored: "another client"},
		"NotFound":                          {prepare: func(c *cluster) { c.remove("x") }, fails: requireUnchanged, is: apierrors.IsNotFound, requests: "update"},
		"denied by a webhook with Conflict": {prepare: func(c *cluster) { c.on("update", failed(denied(409, "Conflict"))) }, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update", stored: "initial"},
		"response lost, then Conflict: the token is on the object": {
			prepare:  func(c *cluster) { c.on("update", lost(lostReply())) },
			requests: "update update get", stored: "this call",
		},
		"request lost": {
			prepare:  func(c *cluster) { c.on("update", failed(gatewayTimeout())) },
			requests: "update update", stored: "this call",
		},
		"response lost, changed by another client that keeps the token": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["more"] = "1" }) }})
			},
			requests: "update update get", stored: "this call",
		},
		"response lost, overwritten since: the first change has the token": {
			prepare:  func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			requests: "update update get watch", stored: "another client",
		},
		"request lost, changed by another client: Conflict is returned": {
			prepare: func(c *cluster) { c.on("update", &fault{before: lostReply(), then: overwrite(c)}) },
			fails:   requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"response lost, overwritten since, the change is compacted: unknown": {
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: expired(c)}) },
			fails:   requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"response lost, overwritten since, the watch cannot start: unknown": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: overwrite(c)}).on("watch", failed(apierrors.NewResourceExpired("too old")))
			},
			fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"the watch fails for a while": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: overwrite(c)}).on("watch", failed(tooMany(1)), failed(lostReply()))
			},
			requests: "update update get watch get watch get watch", stored: "another client",
		},
		"the client cannot watch: unknown": {
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			client:  func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return noWatch{c} },
			fails:   requireUnknown, is: apierrors.IsConflict, requests: "update update get", stored: "another client",
		},
		"the watch reports nothing: unknown": {
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			client:  func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return silentWatch{c} },
			fails:   requireUnknown, is: apierrors.IsConflict, requests: "update update get", stored: "another client",
		},
		"the watch ends at once: watch again": {
			prepare:  func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			client:   func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return &endedWatch{c, 1} },
			requests: "update update get watch get watch", stored: "another client",
		},
		"the watch always ends at once: unknown": {
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			client:  func(c *cluster) k8sretry.Updater[*corev1.ConfigMap] { return &endedWatch{c, 100} },
			options: []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			fails:   requireUnknown, is: apierrors.IsConflict, stored: "another client",
		},
		"response lost, deleted since: updated": {
			prepare:  func(c *cluster) { c.on("update", &fault{after: lostReply(), then: func() { c.remove("x") }}) },
			requests: "update update get watch",
		},
		"request lost, deleted by another client: NotFound is returned": {
			prepare: func(c *cluster) { c.on("update", &fault{before: lostReply(), then: func() { c.remove("x") }}) },
			fails:   requireUnchanged, is: apierrors.IsNotFound, requests: "update update get watch",
		},
		"response lost, deleted and created again since: updated": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: func() { c.remove("x"); c.put(configMap("x", "by", "another client")) }})
			},
			requests: "update update get watch", stored: "another client",
		},
		"request lost, deleted and created again by another client: Conflict is returned": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() { c.remove("x"); c.put(configMap("x", "by", "another client")) }})
			},
			fails: requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"etcd timeout, then forbidden, unchanged: unknown, it may still be stored": {
			prepare: func(c *cluster) { c.on("update", failed(etcdTimeout()), failed(forbidden("x"))) },
			fails:   requireUnknown, is: apierrors.IsForbidden, requests: "update update get", stored: "initial",
		},
		"etcd timeout, stored, then forbidden: the token is on the object": {
			prepare:  func(c *cluster) { c.on("update", lost(etcdTimeout()), failed(forbidden("x"))) },
			requests: "update update get", stored: "this call",
		},
		"stored, but the response cannot be decoded": {
			prepare: func(c *cluster) {
				c.on("update", lost(errors.New("couldn't get version/kind; json parse error: unexpected end of JSON input")))
			},
			requests: "update get", stored: "this call",
		},
		"success without an object: send again": {
			prepare:  func(c *cluster) { c.on("update", &fault{empty: true}) },
			requests: "update update", stored: "this call",
		},
		"all responses lost: the final check finds the update": {
			prepare: func(c *cluster) {
				c.on("update", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			requests: "update update update update get", stored: "this call",
		},
		"all requests lost, another client was first: the final check rules the write out": {
			prepare: func(c *cluster) {
				c.on("update", repeated(3, failed(lostReply()))...).on("update", &fault{before: lostReply(), then: overwrite(c)})
			},
			fails: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			},
			requests: "update update update update get watch", stored: "another client",
		},
		"no token, response lost: unknown": {
			prepare: func(c *cluster) { c.on("update", lost(lostReply())) },
			options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			fails:   requireUnknown, is: apierrors.IsConflict, requests: "update update", stored: "this call",
		},
		"no resource version, response lost: checked, not sent again": {
			prepare:   func(c *cluster) { c.on("update", lost(lostReply())) },
			noVersion: true, requests: "update get", stored: "this call",
		},
		"no resource version, response lost, the check fails for a while": {
			prepare:   func(c *cluster) { c.on("update", lost(lostReply())).on("get", failed(unavailable())) },
			noVersion: true, requests: "update get get", stored: "this call",
		},
		"no resource version, response lost, deleted since: unknown": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: func() { c.remove("x") }})
			},
			noVersion: true, fails: requireUnknown, is: apierrors.IsNotFound, requests: "update get update get",
		},
		"no resource version, request lost: checked, then sent again": {
			prepare:   func(c *cluster) { c.on("update", failed(lostReply())) },
			noVersion: true, requests: "update get update", stored: "this call",
		},
		"dry run": {
			prepare:  func(c *cluster) { c.on("update", failed(gatewayTimeout())) },
			opts:     metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}},
			requests: "update update", stored: "initial",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				obj := c.put(configMap("x", "by", "initial"))
				obj.Data["by"] = "this call"
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

// noWatch hides the Watch of a client.
type noWatch struct {
	k8sretry.Updater[*corev1.ConfigMap]
}

// silentWatch has watches that report nothing.
type silentWatch struct{ *cluster }

func (silentWatch) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewFake(), nil
}

// endedWatch ends the next watches at once.
type endedWatch struct {
	*cluster
	left int
}

func (w *endedWatch) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	events, err := w.cluster.Watch(ctx, opts)
	if w.left--; w.left >= 0 {
		return watch.NewEmptyWatch(), nil
	}
	return events, err
}

// An update that removes the last finalizer of an object that is being deleted removes the
// object.
func TestUpdateThatCompletesADeletion(t *testing.T) {
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

func TestUpdateWithAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		obj := c.put(configMap("x"))
		obj.Data["by"] = "this call"
		c.on("update", &fault{after: context.DeadlineExceeded, then: func() { testkit.Sleep(2 * time.Second) }})
		_, err := k8sretry.Update(context.Background(), c, obj, metav1.UpdateOptions{}, k8sretry.WithAttemptTimeout(time.Second))
		require.NoError(t, err)
		c.expectRequests(t, "update", "update", "get")
	})
}

// Package context panics if the parent of a context ends without an error.
func TestUpdateWithAContextWhoseErrStaysNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		obj := c.put(configMap("x"))
		obj.Data["by"] = "this call"
		ctx := newDoneOnly()
		c.on("update", &fault{after: lostReply(), then: bump(c)}).on("get", &fault{then: func() { close(ctx.done) }})
		_, err := k8sretry.Update(ctx, c, obj, metav1.UpdateOptions{})
		require.NoError(t, err, "the final check has a context of its own")
		c.expectRequests(t, "update", "update", "get", "get", "watch") // no watch began with the ended context
	})
}
