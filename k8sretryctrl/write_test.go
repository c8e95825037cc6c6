// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

func TestAnUpdateIsVerifiedByTheContent(t *testing.T) {
	for _, lose := range []int{1, 2, 1000} {
		inVirtualTime(t, fmt.Sprintf("typed, %d lost responses", lose), func(t *testing.T) {
			retrying, server := newClient(&faults{only: "Update", err: unknownOutcome, lose: lose})
			cm := read(t, server, "x")
			before := cm.ResourceVersion
			cm.Data["n"] = "1"
			require.NoError(t, retrying.Update(t.Context(), cm))
			assert.NotEqual(t, before, cm.ResourceVersion)
			assert.Equal(t, read(t, server, "x"), cm, "the object is updated")
			assert.Empty(t, cm.Annotations)
		})
		inVirtualTime(t, fmt.Sprintf("unstructured, %d lost responses", lose), func(t *testing.T) {
			retrying, server := newClient(&faults{only: "Update", err: unknownOutcome, lose: lose})
			u := asUnstructured("x", nil)
			require.NoError(t, server.Get(t.Context(), key("x"), u))
			u.Object["data"] = map[string]any{"n": "1"}
			require.NoError(t, retrying.Update(t.Context(), u))
			assert.Equal(t, read(t, server, "x").ResourceVersion, u.GetResourceVersion())
			assert.Empty(t, u.GetAnnotations())
		})
	}
	inVirtualTime(t, "another client has updated the object: unknown outcome, and the object is unchanged", func(t *testing.T) {
		server := cluster()
		c := interruptFirstUpdate(server, func(update func() error) {
			require.NoError(t, update())
			other := read(t, server, "x")
			other.Labels = map[string]string{"updated-by": "other"}
			require.NoError(t, server.Update(t.Context(), other))
		})
		cm := read(t, server, "x")
		cm.Data["n"] = "1"
		before := cm.DeepCopy()
		err := c.Update(t.Context(), cm)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.True(t, apierrors.IsConflict(err))
		assert.Equal(t, before, cm)
		result, err := k8sretryctrl.Result(err)
		require.NoError(t, err)
		assert.NotZero(t, result.RequeueAfter)
	})
	inVirtualTime(t, "not executed, and another client has updated the object: unknown outcome", func(t *testing.T) {
		server := cluster()
		c := interruptFirstUpdate(server, func(func() error) {
			require.NoError(t, server.Update(t.Context(), configMap("x", "n", "other")))
		})
		cm := read(t, server, "x")
		cm.Data["n"] = "1"
		err := c.Update(t.Context(), cm)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, "other", read(t, server, "x").Data["n"])
	})
	inVirtualTime(t, "a conflict of the first attempt: returned unchanged", func(t *testing.T) {
		f := &faults{}
		retrying, server := newClient(f)
		cm := read(t, server, "x")
		require.NoError(t, server.Update(t.Context(), configMap("x", "n", "other")))
		err := retrying.Update(t.Context(), cm)
		assert.True(t, apierrors.IsConflict(err))
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, []string{"Update"}, f.all())
	})
}

// history is a server that keeps the changes that are made through it, for watches.
type history struct {
	mu     sync.Mutex
	events []watch.Event
	// begin, if it is not nil, is what a watch begins with, instead of the changes since a version.
	begin []watch.Event
}

func (h *history) of(server client.WithWatch) client.WithWatch {
	keep := func(obj client.Object, err error) error {
		if err == nil {
			stored := obj.DeepCopyObject().(client.Object)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, watch.Event{Type: watch.Modified, Object: stored})
			return server.Get(context.Background(), client.ObjectKeyFromObject(obj), stored)
		}
		return err
	}
	return interceptor.NewClient(server, interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return keep(obj, c.Update(ctx, obj, opts...))
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return keep(obj, c.Patch(ctx, obj, patch, opts...))
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return keep(obj, c.SubResource(name).Update(ctx, obj, opts...))
		},
		Watch: func(_ context.Context, _ client.WithWatch, _ client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			o := (&client.ListOptions{}).ApplyOptions(opts)
			since, err := strconv.Atoi(o.Raw.ResourceVersion)
			if err != nil || o.Namespace != "default" || !strings.HasPrefix(o.Raw.FieldSelector, "metadata.name=") {
				return nil, fmt.Errorf("unexpected watch: %+v", o)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			events := h.begin
			if events == nil {
				for _, e := range h.events {
					if version, _ := strconv.Atoi(e.Object.(client.Object).GetResourceVersion()); version > since {
						events = append(events, e)
					}
				}
			}
			w := watch.NewFakeWithChanSize(len(events), false)
			for _, e := range events {
				w.Action(e.Type, e.Object.DeepCopyObject())
			}
			return w, nil
		},
	})
}

// Another client has changed the object after the update, so that the content proves nothing.
func TestAnOverwrittenUpdateIsVerifiedByTheFirstChange(t *testing.T) {
	setNumber := func(n string) func(*testing.T, client.Client, ...client.UpdateOption) {
		return func(t *testing.T, c client.Client, opts ...client.UpdateOption) {
			other := read(t, c, "x")
			other.Data["n"] = n
			require.NoError(t, c.Update(t.Context(), other, opts...))
		}
	}
	for situation, c := range map[string]struct {
		stored  bool // whether the update is carried out, first
		others  []string
		owner   client.FieldOwner // of the others
		unknown bool
		success bool
	}{
		"stored, then changed by another manager":         {true, []string{"8"}, "other", false, true},
		"stored, then changed by the same manager":        {true, []string{"8", "9"}, "me", false, true},
		"not stored, changed by another manager":          {false, []string{"8"}, "other", false, false},
		"not stored, the same change by another manager":  {false, []string{"1", "8"}, "other", false, false},
		"not stored, another change by the same manager":  {false, []string{"8"}, "me", true, false},
		"not stored, the same change by the same manager": {false, []string{"1", "8"}, "me", false, true},
	} {
		for _, where := range []string{"in the options", "below, before the options", "below, after the options"} {
			inVirtualTime(t, situation+", the owner is set "+where, func(t *testing.T) {
				untyped := where == "below, before the options"
				h := &history{}
				server := h.of(builder().WithReturnManagedFields().WithObjects(configMap("x", "n", "0")).Build())
				setNumber("5")(t, server, client.FieldOwner("creator"))
				inner, owned := server, []client.UpdateOption{client.FieldOwner("me")}
				switch where {
				case "below, before the options":
					inner, owned = ownedBy(server, "me"), nil
				case "below, after the options":
					inner, owned = alwaysOwnedBy(server, "me"), []client.UpdateOption{client.FieldOwner("caller")}
				}
				retrying := interruptFirstUpdate(inner, func(update func() error) {
					if c.stored {
						require.NoError(t, update())
					}
					for _, n := range c.others {
						setNumber(n)(t, server, c.owner)
					}
				})
				var obj client.Object = read(t, server, "x")
				obj.(*corev1.ConfigMap).Data["n"] = "1"
				if untyped {
					content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
					require.NoError(t, err)
					content["apiVersion"], content["kind"] = "v1", "ConfigMap"
					obj = &unstructured.Unstructured{Object: content}
				}
				before := obj.DeepCopyObject()
				err := retrying.Update(t.Context(), obj, owned...)
				if c.success {
					require.NoError(t, err)
					return
				}
				assert.True(t, apierrors.IsConflict(err), "%v", err)
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
				assert.Equal(t, before, obj, "the object is unchanged")
			})
		}
	}
}

// A server without history begins a watch with the objects as they are.
func TestAWatchWithoutHistoryProvesNothing(t *testing.T) {
	for situation, begin := range map[string]func(stored *corev1.ConfigMap) watch.Event{
		"an event of type Added": func(stored *corev1.ConfigMap) watch.Event {
			stored.ResourceVersion = "99999"
			return watch.Event{Type: watch.Added, Object: stored}
		},
		"a version that is not above the requested one": func(stored *corev1.ConfigMap) watch.Event {
			stored.ResourceVersion = "1"
			return watch.Event{Type: watch.Modified, Object: stored}
		},
	} {
		for _, manager := range []string{"me", "other"} {
			inVirtualTime(t, situation+" by "+manager, func(t *testing.T) {
				h := &history{}
				server := h.of(builder().WithReturnManagedFields().WithObjects(configMap("x", "n", "0")).Build())
				setup := read(t, server, "x")
				require.NoError(t, server.Patch(t.Context(), setup, labelPatch(), client.FieldOwner("creator")))
				c := interruptFirstUpdate(server, func(func() error) {
					other := read(t, server, "x")
					for _, n := range []string{"7", "8"} { // the version that is read is not the first
						other.Data["n"] = n
						require.NoError(t, server.Update(t.Context(), other, client.FieldOwner("other")))
					}
					stored := other.DeepCopy()
					stored.Data["n"] = "1"
					stored.ManagedFields[len(stored.ManagedFields)-1].Manager = manager
					h.begin = []watch.Event{begin(stored)}
				})
				cm := read(t, server, "x")
				cm.Data["n"] = "1"
				assert.ErrorIs(t, c.Update(t.Context(), cm, client.FieldOwner("me")), k8sretry.ErrOutcomeUnknown)
			})
		}
	}
}

// A token would change an object whose update changes nothing else, and its controller would
// update it forever.
func TestAnUpdateSendsNoToken(t *testing.T) {
	for _, annotations := range []map[string]string{nil, {}, {"a": "b"}} {
		inVirtualTime(t, fmt.Sprintf("annotations %v", annotations), func(t *testing.T) {
			var sent []client.Object
			server := cluster()
			c := k8sretryctrl.NewClient(interceptor.NewClient(server, interceptor.Funcs{
				Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
					sent = append(sent, obj.DeepCopyObject().(client.Object))
					if len(sent) == 1 {
						return unknownOutcome()
					}
					return c.Update(ctx, obj, opts...)
				},
			}))
			cm := configMap("x", "n", "1")
			cm.Annotations = annotations
			want := cm.DeepCopy()
			require.NoError(t, c.Update(t.Context(), cm))
			require.Len(t, sent, 2)
			for _, obj := range sent {
				assert.Equal(t, want.Data, obj.(*corev1.ConfigMap).Data)
				assert.Len(t, obj.GetAnnotations(), len(annotations))
			}
			assert.Len(t, cm.Annotations, len(annotations))
			assert.Len(t, read(t, server, "x").Annotations, len(annotations))
		})
	}
}

func TestADeleteIsVerifiedByTheUID(t *testing.T) {
	for situation, obj := range map[string]client.Object{
		"typed":         configMap("x"),
		"unstructured":  asUnstructured("x", nil),
		"metadata only": &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: meta("x")},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			retrying, server := newClient(&faults{only: "Delete", err: unknownOutcome, lose: 1})
			require.NoError(t, retrying.Delete(t.Context(), obj))
			assert.True(t, apierrors.IsNotFound(server.Get(t.Context(), key("x"), &corev1.ConfigMap{})))
		})
		inVirtualTime(t, situation+", not executed", func(t *testing.T) {
			f := &faults{only: "Delete", err: unknownOutcome, fail: 2}
			retrying, _ := newClient(f)
			require.NoError(t, retrying.Delete(t.Context(), obj))
			assert.Equal(t, 3, f.count("Delete"))
		})
	}
	t.Run("an object that does not exist is NotFound", func(t *testing.T) {
		retrying, _ := newClient(&faults{})
		assert.True(t, apierrors.IsNotFound(retrying.Delete(t.Context(), configMap("none"))))
	})
	t.Run("the UID and the options are sent", func(t *testing.T) {
		var o client.DeleteOptions
		c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
			Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, opts ...client.DeleteOption) error {
				o.ApplyOptions(opts)
				return nil
			},
		}))
		cm := configMap("x")
		cm.UID = "1"
		require.NoError(t, c.Delete(t.Context(), cm, client.GracePeriodSeconds(7), client.Preconditions{ResourceVersion: ptr("5")}))
		assert.Equal(t, &metav1.Preconditions{UID: ptr(types.UID("1")), ResourceVersion: ptr("5")}, o.Preconditions)
		assert.EqualValues(t, 7, *o.GracePeriodSeconds)
	})
}

// A deletion that was under way, or that leaves the object more time, proves nothing.
func TestAForcedDeleteOfATerminatingObjectIsNotProvenByIt(t *testing.T) {
	for situation, c := range map[string]struct {
		stale   bool // the caller's object does not show that it is terminating
		opts    []client.DeleteOption
		success bool
	}{
		"forced":                          {false, []client.DeleteOption{client.GracePeriodSeconds(0)}, false},
		"forced, with a stale object":     {true, []client.DeleteOption{client.GracePeriodSeconds(0)}, false},
		"not forced":                      {false, nil, false},
		"not forced, with a stale object": {true, nil, true},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			p := podWithUID("1")
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds, p.Finalizers = pointerTo(metav1.Now()), pointerTo(int64(30)), []string{"example.com/x"}
			f := &faults{only: "Delete", err: unknownOutcome, fail: 1000}
			retrying := k8sretryctrl.NewClient(f.in(builder().WithObjects(p.DeepCopy()).Build()))
			given := p
			if c.stale {
				given = podWithUID("1")
			}
			err := retrying.Delete(t.Context(), given, c.opts...)
			if c.success {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}
		})
	}
}

// Clients decode responses into the object that they get.
func TestChangesOfFailedAttemptsAreDiscarded(t *testing.T) {
	change := func(obj client.Object) error {
		obj.SetResourceVersion("changed")
		obj.SetLabels(map[string]string{"changed": "yes"})
		return notExecuted()
	}
	for situation, call := range map[string]func(context.Context, client.WithWatch, client.Object) error{
		"get": func(ctx context.Context, c client.WithWatch, obj client.Object) error {
			return c.Get(ctx, key("x"), obj)
		},
		"create": func(ctx context.Context, c client.WithWatch, obj client.Object) error { return c.Create(ctx, obj) },
		"update": func(ctx context.Context, c client.WithWatch, obj client.Object) error { return c.Update(ctx, obj) },
		"patch": func(ctx context.Context, c client.WithWatch, obj client.Object) error {
			return c.Patch(ctx, obj, client.Merge)
		},
		"status update": func(ctx context.Context, c client.WithWatch, obj client.Object) error {
			return c.Status().Update(ctx, obj)
		},
		"subresource": func(ctx context.Context, c client.WithWatch, obj client.Object) error {
			return c.SubResource("any").Update(ctx, pod(), client.WithSubResourceBody(obj))
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			attempts := 0
			attempt := func(obj client.Object) error {
				if attempts++; attempts < 3 {
					return change(obj)
				}
				assert.Empty(t, obj.GetResourceVersion())
				assert.Empty(t, obj.GetLabels())
				obj.SetResourceVersion("good")
				return nil
			}
			c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
					return attempt(obj)
				},
				Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
					return attempt(obj)
				},
				Update: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.UpdateOption) error {
					return attempt(obj)
				},
				Patch: func(_ context.Context, _ client.WithWatch, obj client.Object, _ client.Patch, _ ...client.PatchOption) error {
					return attempt(obj)
				},
				SubResourceUpdate: func(_ context.Context, _ client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
					var o client.SubResourceUpdateOptions
					if o.ApplyOptions(opts); o.SubResourceBody != nil {
						obj = o.SubResourceBody
					}
					return attempt(obj)
				},
			}))
			obj := configMap("x", "n", "1")
			require.NoError(t, call(t.Context(), c, obj))
			assert.Equal(t, "good", obj.ResourceVersion)
			assert.Empty(t, obj.Labels)
			assert.Equal(t, 3, attempts)
		})
	}
}

// Whether a typed object has its kind after a write is up to the inner client: the one of
// controller-runtime keeps it, its fake removes it.
func TestAWriteLeavesTheKindToTheInnerClient(t *testing.T) {
	for situation, write := range map[string]func(c client.Client, cm *corev1.ConfigMap) error{
		"create": func(c client.Client, cm *corev1.ConfigMap) error { return c.Create(t.Context(), cm) },
		"update": func(c client.Client, cm *corev1.ConfigMap) error {
			cm.Name = "x"
			return c.Update(t.Context(), cm)
		},
		"status update": func(c client.Client, cm *corev1.ConfigMap) error {
			cm.Name = "x"
			return c.Status().Update(t.Context(), cm)
		},
		"patch": func(c client.Client, cm *corev1.ConfigMap) error {
			cm.Name = "x"
			return c.Patch(t.Context(), cm, labelPatch())
		},
	} {
		for inner, clears := range map[string]bool{"clears the kind": true, "keeps the kind": false} {
			t.Run(situation+", the inner client "+inner, func(t *testing.T) {
				answer := func(err error, obj client.Object) error {
					obj.GetObjectKind().SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
					if clears {
						obj.(*corev1.ConfigMap).TypeMeta = metav1.TypeMeta{}
					}
					return err
				}
				c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
					Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
						return answer(c.Create(ctx, obj, opts...), obj)
					},
					Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
						return answer(c.Update(ctx, obj, opts...), obj)
					},
					Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
						return answer(c.Patch(ctx, obj, p, opts...), obj)
					},
					SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
						return answer(nil, obj)
					},
				}))
				cm := configMap("new")
				cm.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
				require.NoError(t, write(c, cm))
				assert.Equal(t, clears, cm.TypeMeta == metav1.TypeMeta{})
			})
		}
	}
}
