// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

func TestUpdate(t *testing.T) {
	expired := func(c *cluster) func() { return func() { overwrite(c)(); c.compacted = c.version } }
	unchanged := func(o *corev1.ConfigMap) { o.Data["by"] = "initial" }
	for name, tt := range map[string]struct {
		prepare   func(*cluster)
		send      func(*corev1.ConfigMap) // changes what is sent
		client    func(*cluster) k8sretry.Updater[*corev1.ConfigMap]
		options   []k8sretry.Option
		opts      metav1.UpdateOptions
		noVersion bool
		unnamed   bool // the field manager of the call is not known
		fails     func(*testing.T, error)
		is        func(error) bool
		requests  string
		stored    string // by whom, at the end
	}{
		"success":                           {requests: "update", stored: "this call"},
		"the resource version is old":       {prepare: func(c *cluster) { overwrite(c)() }, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update", stored: "another client"},
		"NotFound":                          {prepare: func(c *cluster) { c.remove("x") }, fails: requireUnchanged, is: apierrors.IsNotFound, requests: "update"},
		"denied by a webhook with Conflict": {prepare: func(c *cluster) { c.on("update", failed(denied(409, "Conflict"))) }, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update", stored: "initial"},
		"response lost, then Conflict: the object has what was sent": {
			prepare:  func(c *cluster) { c.on("update", lost(lostReply())) },
			requests: "update update get", stored: "this call",
		},
		"request lost": {
			prepare:  func(c *cluster) { c.on("update", failed(gatewayTimeout())) },
			requests: "update update", stored: "this call",
		},
		"response lost, changed by another client since: the first change has what was sent": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["more"] = "1" }) }})
			},
			requests: "update update get watch", stored: "this call",
		},
		"response lost, overwritten since: the first change has what was sent": {
			prepare:  func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			requests: "update update get watch", stored: "another client",
		},
		"response lost, nothing was changed: success, and no new version": {
			send:     unchanged,
			prepare:  func(c *cluster) { c.on("update", lost(lostReply())) },
			requests: "update update", stored: "initial",
		},
		"response lost, nothing was changed, overwritten since: Conflict, nothing was stored": {
			send:    unchanged,
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			unnamed: true, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"response lost, nothing but the managed fields was changed, overwritten since: unknown": {
			send:    func(o *corev1.ConfigMap) { unchanged(o); o.ManagedFields[0].Manager = "renamed" },
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: overwrite(c)}) },
			unnamed: true, fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"request lost, another client was first, the version is the next: Conflict is returned": {
			prepare: func(c *cluster) { c.on("update", &fault{before: lostReply(), then: overwrite(c)}) },
			fails:   requireUnchanged, is: apierrors.IsConflict, requests: "update update get", stored: "another client",
		},
		"request lost, another client was first, and a second one: Conflict is returned": {
			prepare: func(c *cluster) { c.on("update", &fault{before: lostReply(), then: twice(overwrite(c), c)}) },
			fails:   requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"request lost, another client changed the same field, the managers are not known: unknown": {
			prepare: func(c *cluster) { c.on("update", &fault{before: lostReply(), then: overwrite(c)}) },
			unnamed: true, fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"request lost, another client changed another field, the managers are not known: Conflict is returned": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Labels = map[string]string{"a": "b"} }) }})
			},
			unnamed: true, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "initial",
		},
		"request lost, another client has sent the same: conflict": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["by"] = "this call" }) }})
			},
			fails: requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "this call",
		},
		// The assumption was that what is stored is what was sent.
		"response lost, an admission plugin has added a field: success": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Data["default"] = "1" }
				c.on("update", lost(lostReply()))
			},
			unnamed: true, requests: "update update get watch", stored: "this call",
		},
		"response lost, an admission plugin has added a field, overwritten since: success": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Data["default"] = "1" }
				c.on("update", &fault{after: lostReply(), then: overwrite(c)})
			},
			requests: "update update get watch", stored: "another client",
		},
		"response lost, an admission plugin has replaced what was sent: unknown": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Data["by"] = "the plugin" }
				c.on("update", lost(lostReply()))
			},
			fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "the plugin",
		},
		"response lost, an admission plugin has replaced what was sent, the managers are not known: unknown": {
			prepare: func(c *cluster) {
				c.admit = func(o *corev1.ConfigMap) { o.Data["by"] = "the plugin" }
				c.on("update", lost(lostReply()))
			},
			unnamed: true, fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "the plugin",
		},
		// The assumption was that the first event of a watch is the first change.
		"response lost, overwritten since, the watch begins with the current state: unknown": {
			prepare: func(c *cluster) {
				c.watches = func(all []watch.Event) []watch.Event {
					return []watch.Event{{Type: watch.Added, Object: all[len(all)-1].Object}}
				}
				c.on("update", &fault{after: lostReply(), then: func() {
					overwrite(c)()
					// Nothing of what the call has written is left, and so no entry of its manager.
					c.change("x", func(o *corev1.ConfigMap) { o.ManagedFields = o.ManagedFields[:1] })
				}})
			},
			fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"response lost, overwritten since, the watch begins with the state before and repeats history": {
			prepare: func(c *cluster) {
				old := configMap("x", "by", "long ago")
				old.ResourceVersion, old.UID = "5", "an earlier object"
				bookmark := old.DeepCopy()
				bookmark.ResourceVersion = "99"
				c.watches = func(all []watch.Event) []watch.Event {
					return append([]watch.Event{
						{Type: watch.Added, Object: old}, {Type: watch.Modified, Object: old}, {Type: watch.Deleted, Object: old},
						{Type: watch.Bookmark, Object: bookmark}, {Type: watch.Added, Object: all[0].Object},
					}, all...)
				}
				c.on("update", &fault{after: lostReply(), then: overwrite(c)})
			},
			requests: "update update get watch", stored: "another client",
		},
		"request lost, deleted and created again, the watch has only the new object: unknown": {
			prepare: func(c *cluster) {
				c.watches = func(all []watch.Event) []watch.Event {
					return []watch.Event{{Type: watch.Modified, Object: all[len(all)-1].Object}}
				}
				c.on("update", &fault{before: lostReply(), then: func() { c.remove("x"); c.put(configMap("x", "by", "another client")) }})
			},
			fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch", stored: "another client",
		},
		"request lost, deleted, the event has the version before: NotFound is returned": {
			prepare: func(c *cluster) {
				c.watches = func(all []watch.Event) []watch.Event {
					return []watch.Event{all[0], {Type: watch.Deleted, Object: all[0].Object}}
				}
				c.on("update", &fault{before: lostReply(), then: func() { c.remove("x") }})
			},
			fails: requireUnchanged, is: apierrors.IsNotFound, requests: "update update get watch",
		},
		"response lost, overwritten since, the change is compacted: unknown": {
			prepare: func(c *cluster) { c.on("update", &fault{after: lostReply(), then: expired(c)}) },
			fails:   requireUnknown, is: apierrors.IsConflict, requests: "update update get watch watch", stored: "another client",
		},
		"response lost, overwritten since, the state before is compacted, the change is not": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: func() { c.compacted = c.version - 1; overwrite(c)() }})
			},
			requests: "update update get watch watch", stored: "another client",
		},
		"response lost, overwritten since, the watch cannot start: unknown": {
			prepare: func(c *cluster) {
				tooOld := failed(apierrors.NewResourceExpired("too old"))
				c.on("update", &fault{after: lostReply(), then: overwrite(c)}).on("watch", tooOld, tooOld)
			},
			fails: requireUnknown, is: apierrors.IsConflict, requests: "update update get watch watch", stored: "another client",
		},
		"response lost, overwritten since, the watch is forbidden: unknown": {
			prepare: func(c *cluster) {
				c.on("update", &fault{after: lostReply(), then: overwrite(c)}).on("watch", failed(forbidden("x")))
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
		"request lost, another manager has sent the same and more: Conflict is returned": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: twice(func() {
					c.change("x", func(o *corev1.ConfigMap) { o.Data["by"], o.Data["also"] = "this call", "more" })
				}, c)})
			},
			fails: requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "this call",
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
		// The assumption was that the next version is one of the same object. A server whose deletions have no
		// version of their own, such as a fake, gives it to the next object of the name.
		"request lost, deleted and created again with the same content, as the next version: Conflict is returned": {
			prepare: func(c *cluster) {
				c.on("update", &fault{before: lostReply(), then: func() {
					c.remove("x")
					c.version--
					c.put(configMap("x", "by", "this call"))
				}})
			},
			unnamed: true, fails: requireUnchanged, is: apierrors.IsConflict, requests: "update update get watch", stored: "this call",
		},
		"etcd timeout, then forbidden, unchanged: unknown, it may still be stored": {
			prepare: func(c *cluster) { c.on("update", failed(etcdTimeout()), failed(forbidden("x"))) },
			fails:   requireUnknown, is: apierrors.IsForbidden, requests: "update update get", stored: "initial",
		},
		"etcd timeout, stored, then forbidden: the object has what was sent": {
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
			requests: "update update update update get", stored: "another client",
		},
		"WithTokenAnnotation has no effect": {
			prepare:  func(c *cluster) { c.on("update", lost(lostReply())) },
			options:  []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			requests: "update update get", stored: "this call",
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
		test := func(t *testing.T, version string) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				obj := c.put(configMap("x", "by", "initial"))
				obj.Data["by"] = "this call"
				if tt.noVersion {
					obj.ResourceVersion = version
				}
				if tt.send != nil {
					tt.send(obj)
				}
				if tt.prepare != nil {
					tt.prepare(c)
				}
				var client k8sretry.Updater[*corev1.ConfigMap] = c
				if tt.client != nil {
					client = tt.client(c)
				}
				given, opts := obj.DeepCopy(), tt.opts
				if !tt.unnamed {
					opts.FieldManager = "me"
				}

				updated, err := k8sretry.Update(context.Background(), client, obj, opts, tt.options...)

				assert.Equal(t, given, obj, "the caller's object was changed")
				if tt.fails == nil {
					require.NoError(t, err)
					assert.Equal(t, "x", updated.Name)
					assert.Empty(t, updated.Annotations)
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
		}
		t.Run(name, func(t *testing.T) { test(t, "") })
		if tt.noVersion { // the server takes 0 for none
			t.Run(name+", but 0", func(t *testing.T) { test(t, "0") })
		}
	}
}

// twice lets another client change the object once more.
func twice(first func(), c *cluster) func() {
	return func() {
		first()
		c.change("x", func(o *corev1.ConfigMap) { o.Labels = map[string]string{"a": "b"} })
	}
}

// The assumption was that a token costs nothing. With one, each of these updates would be a
// new version, and a controller that watches what it writes would never rest.
// What Update returns after a check is the object as it is, not as the call has stored it.
func TestUpdateReturnsTheObjectAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("x", "by", "initial"))
		c.on("update", &fault{after: lostReply(), then: func() { c.change("x", func(o *corev1.ConfigMap) { o.Data["more"] = "1" }) }})
		x := c.get("x")
		x.Data["by"] = "this call"
		got, err := k8sretry.Update(t.Context(), c, x, metav1.UpdateOptions{})
		require.NoError(t, err)
		assert.Equal(t, c.get("x"), got)
		c.expectRequests(t, "update", "update", "get", "watch")
	})
}

type watchFails struct {
	*cluster
	err error
}

func (c watchFails) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return nil, c.err
}

func TestUpdateWithAWatchThatDoesNotBegin(t *testing.T) {
	for situation, err := range map[string]error{"an error": apierrors.NewResourceExpired("too old"), "nothing": nil} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(configMap("x", "by", "initial"))
				c.on("update", &fault{after: lostReply(), then: overwrite(c)})
				x := c.get("x")
				x.Data["by"] = "this call"
				var seen recorder
				_, err := k8sretry.Update(t.Context(), watchFails{c, err}, x, metav1.UpdateOptions{}, k8sretry.WithObserver(&seen))
				requireUnknown(t, err)
				assert.Equal(t, "the outcome cannot be determined", seen.last(t).Detail)
			})
		})
	}
}

// A Retry-After that client-go does not read is kept by a safe write, too.
func TestUpdateWaitsUntilTheDateOfARetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := over(t, func(req *http.Request) (*http.Response, error) {
			if requests++; requests == 1 {
				return answer(req, 429, "text/plain", "busy", "Retry-After", time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat)), nil
			}
			return answer(req, 200, "application/json", string(mustJSON(settings("x")))), nil
		}, wrapper(t))
		began := time.Now()
		_, err := k8sretry.Update(t.Context(), client.CoreV1().ConfigMaps("default"), settings("x"), metav1.UpdateOptions{})
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(began), 20*time.Second)
	})
}

func TestUpdatesWithoutAChangeStoreNoVersion(t *testing.T) {
	c := newCluster()
	obj := c.put(configMap("x", "by", "this call"))
	before := c.version
	for range 5 {
		updated, err := k8sretry.Update(t.Context(), c, obj, metav1.UpdateOptions{})
		require.NoError(t, err)
		assert.Equal(t, obj, updated)
	}
	assert.Equal(t, before, c.version)
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

// The assumption was that an object that is being deleted and has no finalizers is removed by
// the update. A terminating pod is removed when its grace period ends, by the kubelet.
func TestUpdateOfATerminatingObject(t *testing.T) {
	for situation, grace := range map[string]*int64{"a grace period": pointer(int64(30)), "no finalizers before": nil} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				o := configMap("x", "n", "1")
				o.DeletionTimestamp, o.DeletionGracePeriodSeconds = pointer(metav1.Now()), grace
				o = c.put(o)
				o.Data["n"] = "2"
				c.on("update", &fault{before: lostReply(), then: func() {
					c.remove("x")
					if grace == nil {
						c.put(configMap("x"))
					}
				}})
				_, err := k8sretry.Update(t.Context(), c, o, metav1.UpdateOptions{})
				requireUnchanged(t, err)
			})
		})
	}
}

// A namespace has finalizers in its spec, too, and the namespace controller removes it when its content
// is gone. The assumption was that a namespace that is being deleted is removed by any update.
func TestUpdateOfATerminatingNamespace(t *testing.T) {
	for situation, c := range map[string]struct {
		spec    []corev1.FinalizerName
		removed bool // by the update
	}{
		"its content is not yet gone":           {[]corev1.FinalizerName{corev1.FinalizerKubernetes}, false},
		"the update removes the last finalizer": {nil, true},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				typed, untyped := fake.NewClientset(), dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
				for _, server := range []*k8stesting.Fake{&typed.Fake, &untyped.Fake} {
					requests := 0
					server.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
						if requests++; requests == 1 {
							return true, nil, unavailable()
						}
						return true, nil, apierrors.NewNotFound(corev1.Resource("namespaces"), "web")
					})
					server.PrependWatchReactor("*", func(k8stesting.Action) (bool, watch.Interface, error) { return true, nil, forbidden("web") })
				}
				obj := &corev1.Namespace{
					ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "u", ResourceVersion: "7", DeletionTimestamp: pointer(metav1.Now())},
					Spec:       corev1.NamespaceSpec{Finalizers: c.spec},
				}
				content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
				require.NoError(t, err)
				unstructuredObj := &unstructured.Unstructured{Object: content}
				unstructuredObj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
				namespaces := k8sretry.Dynamic(untyped.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")))
				_, err = k8sretry.Update(t.Context(), typed.CoreV1().Namespaces(), obj, metav1.UpdateOptions{})
				_, dynamicErr := k8sretry.Update(t.Context(), namespaces, unstructuredObj, metav1.UpdateOptions{})
				for _, err := range []error{err, dynamicErr} {
					if c.removed {
						assert.NoError(t, err)
					} else {
						requireUnknown(t, err)
						assert.True(t, apierrors.IsNotFound(err))
					}
				}
			})
		})
	}
}

// An update of a status stores no finalizers. The assumption was that it removes an object that is being
// deleted and is sent without any.
func TestUpdateOfTheStatusOfATerminatingObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		o := configMap("x", statusKey+"ready", "false")
		o.Finalizers = []string{"example.com/wait"}
		c.put(o)
		require.NoError(t, c.Delete(t.Context(), "x", metav1.DeleteOptions{}))
		obj, err := widgets{c}.Get(t.Context(), "x", metav1.GetOptions{})
		require.NoError(t, err)
		obj.SetFinalizers(nil) // with an update of the object, which follows
		require.NoError(t, unstructured.SetNestedField(obj.Object, "true", "status", "ready"))
		c.on("updatestatus", &fault{before: lostReply(), then: func() { c.remove("x") }})
		_, err = k8sretry.Update(t.Context(), k8sretry.StatusSubresource(widgets{c}), obj, metav1.UpdateOptions{})
		requireUnchanged(t, err)
		assert.True(t, apierrors.IsNotFound(err))
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

// The assumption was that an attempt that has ended with its context may have been carried out. The
// discovery of a RESTMapper has a context of its own, and may outlast the attempt.
func TestUpdateThatIsNotSentBecauseOfItsDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		cause   error
		unknown bool
	}{
		"the list of groups":                      {fmt.Errorf("failed to get server groups: %w", unavailable()), false},
		"the list, in a Transport":                {fmt.Errorf("failed to get server groups: %w", &k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Attempts: 4, Err: unavailable()}), false},
		"the list, not allowed":                   {fmt.Errorf("failed to get server groups: %w", forbidden("x")), false},
		"a group":                                 {&discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{{Version: "v1"}: unavailable()}}, false},
		"anything else, which may hide a request": {errors.New("too late"), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newCluster()
				obj := server.put(configMap("x"))
				obj.Data["by"] = "this call"
				slow := &fault{before: c.cause, then: func() { testkit.Sleep(7 * time.Second) }}
				server.on("update", repeated(9, slow)...)
				_, err := k8sretry.Update(t.Context(), server, obj, metav1.UpdateOptions{}, k8sretry.WithAttemptTimeout(3*time.Second), k8sretry.WithMaxElapsed(10*time.Second))
				assert.ErrorIs(t, err, c.cause)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				assert.Equal(t, c.unknown, server.count("get") > 0, "there is nothing to check otherwise")
			})
		})
	}
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

// The assumption was that an update stores an object. A PUT to a subresource may do something, such as
// to restart a machine.
func TestUpdateThatIsAnAction(t *testing.T) {
	machines := schema.GroupVersionResource{Group: "kubevirt.example.com", Version: "v1", Resource: "machines"}
	for _, version := range []string{"", "7"} {
		for subresource, repeated := range map[string]int{"restart": 1, "scale": 2} {
			for verb, write := range map[string]func(context.Context, *k8sretry.DynamicClient, *unstructured.Unstructured) error{
				"update": func(ctx context.Context, client *k8sretry.DynamicClient, o *unstructured.Unstructured) error {
					_, err := k8sretry.Update(ctx, client, o, metav1.UpdateOptions{})
					return err
				},
				"modify": func(ctx context.Context, client *k8sretry.DynamicClient, _ *unstructured.Unstructured) error {
					_, err := k8sretry.Modify(ctx, client, "m", func(o *unstructured.Unstructured) error {
						return unstructured.SetNestedField(o.Object, int64(2), "spec", "replicas")
					})
					return err
				},
				"delete": func(ctx context.Context, client *k8sretry.DynamicClient, o *unstructured.Unstructured) error {
					o.SetUID("u") // which an action ignores
					return k8sretry.Delete(ctx, client, o, metav1.DeleteOptions{})
				},
				"apply": func(ctx context.Context, client *k8sretry.DynamicClient, o *unstructured.Unstructured) error {
					_, err := k8sretry.Apply(ctx, client, o, metav1.ApplyOptions{FieldManager: "me"})
					return err
				},
			} {
				sent := repeated
				if verb == "delete" {
					sent = 1
				}
				t.Run(fmt.Sprint(verb, " of ", subresource, ", version ", version), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						client, n := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), 0
						client.PrependReactor("*", "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
							o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "kubevirt.example.com/v1", "kind": "Machine"}}
							o.SetName("m")
							o.SetUID("u")
							o.SetResourceVersion("7")
							switch action.GetVerb() {
							case "get":
								return true, o, nil
							case "watch":
								return true, nil, forbidden("m")
							case "update":
								sent := action.(k8stesting.UpdateAction).GetObject().(*unstructured.Unstructured)
								assert.Equal(t, verb == "modify" && subresource == "scale", sent.GetAnnotations() != nil)
							}
							if n++; n == 1 {
								return true, nil, gatewayTimeout()
							}
							return true, o, nil
						})
						o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "kubevirt.example.com/v1", "kind": "Machine"}}
						o.SetName("m")
						o.SetResourceVersion(version)
						if subresource == "scale" {
							_ = unstructured.SetNestedField(o.Object, int64(2), "spec", "replicas")
						}
						err := write(t.Context(), k8sretry.Dynamic(client.Resource(machines), subresource), o)
						assert.Equal(t, sent, n)
						assert.Equal(t, sent == 1, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
					})
				})
			}
		}
	}
}

// The field manager is what the server sees: a client may set another one than the
// options, and the User-Agent is known to the client only.
func TestUpdateKnowsItsFieldManager(t *testing.T) {
	stranger := func(c *cluster) {
		c.on("update", &fault{before: unavailable(), then: overwrite(c)})
	}
	same := func(c *cluster) { // another client stores what the call sends
		c.on("update", &fault{before: unavailable(), then: func() {
			testkit.Sleep(2 * time.Second) // the times of managed fields have whole seconds
			c.change("x", func(o *corev1.ConfigMap) { o.Data["by"] = "this call" })
		}})
	}
	plugin := func(c *cluster) {
		c.admit = func(o *corev1.ConfigMap) { o.Data["by"] = "the plugin" }
		c.on("update", lost(unavailable()))
	}
	const (
		transport, says = true, true
		nothing         = "-"
	)
	for name, tt := range map[string]struct {
		proto     string
		option    string
		inURL     string // what the client adds; nothing: it removes that of the options
		says      bool   // the client says so
		transport bool
		prepare   func(*cluster)
		known     bool
	}{
		"HTTP/2, the User-Agent":                                              {protoHTTP2, "", "", !says, !transport, stranger, true},
		"HTTP/2, the User-Agent, changed by an admission plugin":              {protoHTTP2, "", "", !says, !transport, plugin, false},
		"HTTP/2, the User-Agent, equal content":                               {protoHTTP2, "", "", !says, !transport, same, true},
		"HTTP/2, the options":                                                 {protoHTTP2, "me", "", !says, !transport, stranger, true},
		"HTTP/2, the options, changed by an admission plugin":                 {protoHTTP2, "me", "", !says, !transport, plugin, false},
		"HTTP/2, the client adds another one":                                 {protoHTTP2, "", "added", !says, !transport, stranger, true},
		"HTTP/2, the client adds another one, changed by an admission plugin": {protoHTTP2, "", "added", !says, !transport, plugin, false},
		"HTTP/2, the client ignores the options, an admission plugin":         {protoHTTP2, "me", nothing, !says, !transport, plugin, false},
		"HTTP/1.1, the User-Agent is not enough":                              {protoHTTP1, "", "", !says, !transport, stranger, false},
		"HTTP/1.1, the User-Agent, equal content":                             {protoHTTP1, "", "", !says, !transport, same, false},
		"HTTP/1.1, the client adds one, changed by an admission plugin":       {protoHTTP1, "", "added", !says, !transport, plugin, false},
		"HTTP/1.1, the options":                                               {protoHTTP1, "me", "", !says, !transport, stranger, true},
		"HTTP/1.1, the options, equal content":                                {protoHTTP1, "me", "", !says, !transport, same, true},
		"HTTP/1.1, the client says that it adds one":                          {protoHTTP1, "", "added", says, !transport, stranger, true},
		"HTTP/1.1, the client says that it adds one, equal content":           {protoHTTP1, "", "added", says, !transport, same, true},
		"HTTP/1.1, the client says that it adds one, an admission plugin":     {protoHTTP1, "me", "added", says, !transport, plugin, false},
		"HTTP/1.1, the client says that it adds none":                         {protoHTTP1, "", "", says, !transport, stranger, true},
		"HTTP/1.1, the client says that it adds none, equal content":          {protoHTTP1, "", "", says, !transport, same, true},
		"HTTP/1.1, a Transport sees the User-Agent":                           {protoHTTP1, "", "", !says, transport, stranger, true},
		"HTTP/1.1, a Transport sees the User-Agent, equal content":            {protoHTTP1, "", "", !says, transport, same, true},
		"HTTP/1.1, a Transport sees the URL, equal content":                   {protoHTTP1, "me", "added", !says, transport, same, true},
		"HTTP/1.1, a Transport sees the URL, an admission plugin":             {protoHTTP1, "me", "added", !says, transport, plugin, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				server := serveInMemory(t, tt.proto, func(w http.ResponseWriter, r *http.Request, _ int) { c.handler(nil)(w, r) })
				add := func(next http.RoundTripper) http.RoundTripper {
					if tt.transport {
						next = k8sretry.Transport()(next)
					}
					return roundTripper(func(r *http.Request) (*http.Response, error) {
						if tt.inURL != "" && r.Method == http.MethodPut {
							r = r.Clone(r.Context())
							if r.URL.RawQuery = "fieldManager=" + tt.inURL; tt.inURL == nothing {
								r.URL.RawQuery = ""
							}
						}
						return next.RoundTrip(r)
					})
				}
				cfg := server.config()
				cfg.ContentType = "application/json"
				var client k8sretry.Updater[*corev1.ConfigMap] = clientset(t, cfg, add).CoreV1().ConfigMaps("default")
				if tt.says {
					client = managedClient{client, tt.inURL}
				}
				obj := c.put(configMap("x", "by", "initial"))
				obj.Data["by"] = "this call"
				tt.prepare(c)
				_, err := k8sretry.Update(t.Context(), client, obj, metav1.UpdateOptions{FieldManager: tt.option})
				assert.True(t, apierrors.IsConflict(err), "%v", err)
				assert.Equal(t, tt.known, !errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		})
	}
}

// The server takes the field manager from the User-Agent by rules of its own.
func TestUpdateOfAClientWithAnUnusualUserAgent(t *testing.T) {
	for situation, userAgent := range map[string]string{
		"longer than a field manager may be":      strings.Repeat("a", 200) + "/1.0",
		"longer, and cut within a rune":           strings.Repeat("a", 127) + "é" + "/1.0",
		"with a character that cannot be printed": "a\tb/1.0",
		"not in UTF-8":   "caf\xe9/1.0",
		"without a name": "/1.0",
		"with nothing that can be printed as name": "\u00a0/1.0",
	} {
		for _, stored := range []bool{true, false} {
			t.Run(fmt.Sprint(situation, ", stored by the call: ", stored), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster()
					server := serveInMemory(t, protoHTTP2, func(w http.ResponseWriter, r *http.Request, _ int) { c.handler(nil)(w, r) })
					cfg := server.config()
					cfg.ContentType, cfg.UserAgent = "application/json", userAgent
					client := clientset(t, cfg).CoreV1().ConfigMaps("default")
					obj := c.put(configMap("x", "by", "initial"))
					obj.Data["by"] = "this call"
					testkit.Sleep(2 * time.Second)
					if stored {
						c.on("update", lost(unavailable()))
					} else {
						c.on("update", &fault{before: unavailable(), then: func() {
							c.change("x", func(o *corev1.ConfigMap) { o.Data["by"] = "this call" })
						}})
					}
					_, err := k8sretry.Update(t.Context(), client, obj, metav1.UpdateOptions{})
					if stored {
						require.NoError(t, err)
						return
					}
					assert.True(t, apierrors.IsConflict(err), "%v", err)
					assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				})
			})
		}
	}
}

// The first request may be carried out, and the next one shows another field manager.
func TestUpdateWhoseRequestsHaveDifferentFieldManagers(t *testing.T) {
	const transport, inURL = true, "-"
	for situation, tt := range map[string]struct {
		proto     string
		option    string
		userAgent string // of the request with this number, if the client sets it
		transport bool
		known     bool // the requests have one manager
	}{
		"HTTP/2, a redirect to a URL without it":                {protoHTTP2, "me", "", !transport, false},
		"HTTP/1.1, a redirect to a URL without it, a Transport": {protoHTTP1, "me", "", transport, false},
		"HTTP/2, other User-Agents":                             {protoHTTP2, "", "client%d/1.0", !transport, false},
		"HTTP/1.1, other User-Agents, a Transport":              {protoHTTP1, "", "client%d/1.0", transport, false},
		"HTTP/2, User-Agents with one name":                     {protoHTTP2, "", "client/1.0 %d", !transport, true},
		"HTTP/1.1, User-Agents with one name, a Transport":      {protoHTTP1, "", "client/1.0 %d", transport, true},
		"HTTP/2, other managers in the URL":                     {protoHTTP2, inURL, "client%d", !transport, false},
		"HTTP/1.1, other managers in the URL, a Transport":      {protoHTTP1, inURL, "client%d", transport, false},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				server := serveInMemory(t, tt.proto, func(w http.ResponseWriter, r *http.Request, n int) {
					if r.Method == http.MethodPut && tt.userAgent == "" && n > 1 && r.URL.RawQuery != "" {
						http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
						return
					}
					c.handler(nil)(w, r)
				})
				n := 0
				change := func(next http.RoundTripper) http.RoundTripper {
					if tt.transport {
						next = k8sretry.Transport()(next)
					}
					return roundTripper(func(r *http.Request) (*http.Response, error) {
						if tt.userAgent != "" {
							n++
							r = r.Clone(r.Context())
							if name := fmt.Sprintf(tt.userAgent, n); tt.option != inURL {
								r.Header.Set("User-Agent", name)
							} else if r.Method == http.MethodPut {
								r.URL.RawQuery = "fieldManager=" + name
							}
						}
						return next.RoundTrip(r)
					})
				}
				cfg := server.config()
				cfg.ContentType = "application/json"
				client := clientset(t, cfg, change).CoreV1().ConfigMaps("default")
				obj := c.put(configMap("x", "by", "initial"))
				obj.Data["by"] = "this call"
				testkit.Sleep(2 * time.Second)
				if tt.known { // then that of another client is certainly not that of the call
					c.on("update", &fault{before: unavailable(), then: func() {
						c.change("x", func(o *corev1.ConfigMap) { o.Data["by"] = "this call" })
					}})
				} else {
					c.on("update", lost(unavailable()))
				}
				_, err := k8sretry.Update(t.Context(), client, obj, metav1.UpdateOptions{FieldManager: tt.option})
				require.Error(t, err)
				assert.Equal(t, tt.known, !errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		})
	}
}

// What has stored the same is another client, but no request of the call has come as far as net/http,
// where its User-Agent is seen.
func TestUpdateWhoseRequestsAreNotSent(t *testing.T) {
	for _, proto := range []string{protoHTTP1, protoHTTP2} {
		for _, verb := range []string{http.MethodPut, http.MethodPatch} {
			for situation, known := range map[string]bool{"the options name the manager": true, "no manager is known": false} {
				t.Run(fmt.Sprint(proto, ", ", verb, ", ", situation), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := newCluster()
						server := serveInMemory(t, proto, func(w http.ResponseWriter, r *http.Request, _ int) { c.handler(nil)(w, r) })
						lose := func(next http.RoundTripper) http.RoundTripper {
							return roundTripper(func(r *http.Request) (*http.Response, error) {
								if r.Method != verb {
									return next.RoundTrip(r)
								}
								if c.get("x").Data["by"] == "initial" {
									testkit.Sleep(2 * time.Second)
									c.change("x", func(o *corev1.ConfigMap) { o.Data["by"] = "this call" })
								}
								return nil, io.EOF
							})
						}
						cfg := server.config()
						cfg.ContentType = "application/json"
						client := clientset(t, cfg, lose).CoreV1().ConfigMaps("default")
						obj := c.put(configMap("x", "by", "initial"))
						obj.Data["by"] = "this call"
						manager := ""
						if known {
							manager = "me"
						}
						var err error
						if verb == http.MethodPut {
							_, err = k8sretry.Update(t.Context(), client, obj, metav1.UpdateOptions{FieldManager: manager})
						} else {
							body := `{"metadata":{"resourceVersion":"` + obj.ResourceVersion + `"},"data":{"by":"this call"}}`
							watched := watchedInMemory{client, c}
							_, err = k8sretry.Patch(t.Context(), watched, "x", types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager})
						}
						require.Error(t, err)
						assert.Equal(t, known, !errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
					})
				})
			}
		}
	}
}

// watchedInMemory is a client whose watches need no server.
type watchedInMemory struct {
	typedcorev1.ConfigMapInterface
	cluster *cluster
}

func (c watchedInMemory) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return c.cluster.Watch(ctx, opts)
}

// managedClient is a client that says which field manager it adds.
type managedClient struct {
	k8sretry.Updater[*corev1.ConfigMap]
	manager string
}

func (c managedClient) FieldManager() (string, bool) { return c.manager, true }

// managedResource is the same for the dynamic client.
type managedResource struct {
	dynamic.ResourceInterface
	manager string
}

func (c managedResource) FieldManager() (string, bool) { return c.manager, true }

// Over HTTP/1.1 only the client knows the field manager.
func TestUpdateAsksTheClientThatDynamicAdaptsForItsFieldManager(t *testing.T) {
	for _, says := range []bool{true, false} {
		t.Run(fmt.Sprint("it says what it adds: ", says), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				server := serveInMemory(t, protoHTTP1, func(w http.ResponseWriter, r *http.Request, _ int) { c.handler(nil)(w, r) })
				client, err := dynamic.NewForConfig(server.config())
				require.NoError(t, err)
				resource := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
				var adapted k8sretry.DynamicResource = resource
				if says {
					adapted = managedResource{resource, "me"}
				}
				c.put(configMap("x", "by", "initial"))
				obj, err := resource.Get(t.Context(), "x", metav1.GetOptions{})
				require.NoError(t, err)
				require.NoError(t, unstructured.SetNestedField(obj.Object, "this call", "data", "by"))
				testkit.Sleep(2 * time.Second)
				c.on("update", &fault{before: unavailable(), then: func() {
					c.change("x", func(o *corev1.ConfigMap) { o.Data["by"] = "this call" })
				}})
				_, err = k8sretry.Update(t.Context(), k8sretry.Dynamic(adapted), obj, metav1.UpdateOptions{})
				assert.True(t, apierrors.IsConflict(err), "%v", err)
				assert.Equal(t, says, !errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		})
	}
}

// The assumption was that equal content is the call's own. Two clients that count up from the
// same version send the same.
func TestUpdateIsNotTheSameUpdateOfAnotherManager(t *testing.T) {
	for situation, c := range map[string]struct {
		manager string
		stored  bool // the update of the call comes first
		want    func(error) bool
	}{
		"stored by another manager": {"me", false, func(err error) bool {
			return apierrors.IsConflict(err) && !errors.Is(err, k8sretry.ErrOutcomeUnknown)
		}},
		"stored by the call":                     {"me", true, func(err error) bool { return err == nil }},
		"stored by the same manager":             {"other", false, func(err error) bool { return err == nil }},
		"stored, and the manager is not known":   {"", true, func(err error) bool { return err == nil }},
		"stored by one of two unknown managers ": {"", false, func(err error) bool { return err == nil }},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster()
				obj := cl.put(configMap("x", "n", "1"))
				obj.Data["n"] = "2"
				testkit.Sleep(time.Second)
				lose := &fault{before: unavailable(), then: func() {
					cl.change("x", func(o *corev1.ConfigMap) { o.Data["n"] = "2" })
				}}
				if c.stored {
					lose = &fault{after: lostReply()}
				}
				cl.on("update", lose)
				_, err := k8sretry.Update(t.Context(), cl, obj, metav1.UpdateOptions{FieldManager: c.manager})
				assert.True(t, c.want(err), "%v", err)
			})
		})
	}
}

// requireOutcome requires a success, a certain conflict, or an unknown outcome.
func requireOutcome(t *testing.T, want string, err error) {
	t.Helper()
	switch want {
	case "success":
		require.NoError(t, err)
	case "conflict":
		requireUnchanged(t, err)
		assert.True(t, apierrors.IsConflict(err), "%v", err)
	default:
		requireUnknown(t, err)
	}
}

// Informers that save memory remove the managed fields. The watch still shows those of the object
// before the change.
func TestUpdateOfAnObjectWhoseManagedFieldsWereRemoved(t *testing.T) {
	const stored, mayWatch, alone = true, true, true
	for situation, c := range map[string]struct {
		stored, mayWatch bool
		alone            bool // no other manager has written the object
		want             string
	}{
		"stored by the call":                                     {stored, mayWatch, !alone, "success"},
		"stored by another manager":                              {!stored, mayWatch, !alone, "conflict"},
		"stored by the call, which may not watch":                {stored, !mayWatch, !alone, "unknown"},
		"stored by another manager, and the call may not watch":  {!stored, !mayWatch, !alone, "unknown"},
		"stored by the call, which may not watch, but was alone": {stored, !mayWatch, alone, "success"},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster()
				obj := cl.put(configMap("x", "n", "1"))
				testkit.Sleep(time.Second)
				if c.alone {
					cl.objects["x"].ManagedFields = nil
				}
				obj.Data["m"] = "1"
				obj, err := k8sretry.Update(t.Context(), cl, obj, metav1.UpdateOptions{FieldManager: "me"})
				require.NoError(t, err)
				testkit.Sleep(time.Second)
				obj.ManagedFields = nil
				obj.Data["n"] = "2"
				lose := &fault{before: unavailable(), then: func() {
					cl.change("x", func(o *corev1.ConfigMap) { o.Data["n"] = "2" })
				}}
				if c.stored {
					lose = &fault{after: lostReply()}
				}
				cl.on("update", lose)
				if !c.mayWatch {
					cl.on("watch", failed(forbidden("x")))
				}
				_, err = k8sretry.Update(t.Context(), cl, obj, metav1.UpdateOptions{FieldManager: "me"})
				requireOutcome(t, c.want, err)
			})
		})
	}
}

// The assumption was that the time of an entry shows who has written last. It has whole seconds:
// within one, only the fields that the entries own tell.
func TestUpdateIsNotThatOfAnotherManagerInTheSameSecond(t *testing.T) {
	fields := func(o *corev1.ConfigMap, manager, owned string) {
		for i := range o.ManagedFields {
			if o.ManagedFields[i].Manager == manager && owned != "" {
				o.ManagedFields[i].FieldsV1 = &metav1.FieldsV1{Raw: []byte(owned)}
			}
		}
	}
	const n, m = `{"f:data":{".":{},"f:n":{}}}`, `{"f:data":{".":{},"f:m":{}}}`
	for situation, c := range map[string]struct {
		stored      bool   // the update of the call comes first
		mine, other string // what the managers own afterwards
		noWatch     bool
		want        string
	}{
		"stored by the call":                             {true, n, m, false, "success"},
		"stored by another manager":                      {false, m, n, false, "conflict"},
		"stored by the call, and the fields are unknown": {true, "", "", false, "unknown"},
		"stored by another, and the fields are unknown":  {false, "", "", false, "unknown"},
		"stored by the call, which may not watch":        {true, n, m, true, "unknown"},
	} {
		for _, verb := range []string{"update", "patch"} {
			t.Run(verb+", "+situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cl := newCluster()
					obj := cl.put(configMap("x", "n", "1"))
					obj.Data["m"] = "1"
					_, err := k8sretry.Update(t.Context(), cl, obj, metav1.UpdateOptions{FieldManager: "me"})
					require.NoError(t, err)
					obj = cl.get("x")
					own := func(o *corev1.ConfigMap) { fields(o, "me", c.mine); fields(o, "other", c.other) }
					own(cl.objects["x"]) // no entry grows
					own(cl.history[1].Object.(*corev1.ConfigMap))
					own(obj)
					lose := &fault{before: unavailable(), then: func() {
						cl.change("x", func(o *corev1.ConfigMap) { o.Data["n"] = "2" })
					}}
					if c.stored {
						lose = &fault{after: lostReply()}
					}
					cl.on(verb, lose)
					if c.noWatch {
						cl.on("watch", failed(forbidden("x")))
					}
					if verb == "patch" {
						body := `{"metadata":{"resourceVersion":"` + obj.ResourceVersion + `"},"data":{"n":"2"}}`
						_, err = k8sretry.Patch(t.Context(), cl, "x", types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "me"})
					} else {
						obj.Data["n"] = "2"
						_, err = k8sretry.Update(t.Context(), cl, obj, metav1.UpdateOptions{FieldManager: "me"})
					}
					requireOutcome(t, c.want, err)
				})
			})
		}
	}
}

// The server ignores the status of an update, so that its owner has not made the change. Without a
// watch, the object before the change is not known.
func TestUpdateIsNotThatOfTheOwnerOfTheStatus(t *testing.T) {
	for situation, mine := range map[string]string{
		"the manager of the call owns nothing":               "",
		"the manager of the call has written in this second": `{"f:spec":{"f:mine":{}}}`,
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				now := metav1.Now()
				entry := func(manager, subresource, fields string) metav1.ManagedFieldsEntry {
					return metav1.ManagedFieldsEntry{
						Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, Time: &now, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)},
					}
				}
				c.put(configMap("x", "old", "1", "mine", "1", "status.ready", "false"))
				entries := []metav1.ManagedFieldsEntry{entry("other", "", `{"f:spec":{"f:old":{}}}`), entry("controller", "status", `{"f:status":{"f:ready":{}}}`)}
				if mine != "" {
					entries = append(entries, entry("me", "", mine))
				}
				c.objects["x"].ManagedFields = entries
				obj, err := widgets{c}.Get(t.Context(), "x", metav1.GetOptions{})
				require.NoError(t, err)
				unstructured.RemoveNestedField(obj.Object, "spec", "old")
				require.NoError(t, unstructured.SetNestedField(obj.Object, "true", "status", "ready"))
				c.on("update", &fault{after: lostReply(), then: func() { // a removal, which renews no entry
					c.objects["x"].ManagedFields = entries
				}})
				c.on("watch", failed(forbidden("x")))
				_, err = k8sretry.Update(t.Context(), widgets{c}, obj, metav1.UpdateOptions{FieldManager: "me"})
				requireUnknown(t, err)
			})
		})
	}
}
