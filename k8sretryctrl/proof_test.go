package k8sretryctrl_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// with is a client whose only mishap is what f says, over the cluster behind it.
func with(f *faults) (c, behind client.WithWatch) {
	behind = cluster()
	return k8sretryctrl.NewClient(f.in(behind)), behind
}

func read(t *testing.T, c client.Client, name string) *corev1.ConfigMap {
	t.Helper()
	cm := &corev1.ConfigMap{}
	require.NoError(t, c.Get(t.Context(), key(name), cm))
	return cm
}

func asUnstructured(name string, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": data,
		"metadata": map[string]any{"name": name, "namespace": "default"},
	}}
}

func TestCreateWhoseAnswerIsLost(t *testing.T) {
	for situation, c := range map[string]struct {
		obj  client.Object
		lose int
	}{
		"once":         {configMap("new", "a", "b"), 1},
		"twice":        {configMap("new", "a", "b"), 2},
		"every time":   {configMap("new", "a", "b"), 1000},
		"unstructured": {asUnstructured("new", map[string]any{"a": "b"}), 1},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{only: "Create", err: inDoubt, lose: c.lose}
			retrying, behind := with(f)
			require.NoError(t, retrying.Create(t.Context(), c.obj))
			stored := read(t, behind, "new")
			assert.Equal(t, stored.ResourceVersion, c.obj.GetResourceVersion(), "the object is filled in")
			assert.NotEmpty(t, c.obj.GetResourceVersion())
			assert.Equal(t, stored.Annotations, c.obj.GetAnnotations())
			assert.NotEmpty(t, stored.Annotations[k8sretry.TokenAnnotation])
			assert.Equal(t, map[string]string{"a": "b"}, stored.Data)
		})
	}
	inVirtualTime(t, "with a name to be generated: one object", func(t *testing.T) {
		retrying, behind := with(&faults{only: "Create", err: inDoubt, lose: 2})
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-", Namespace: "default"}}
		require.NoError(t, retrying.Create(t.Context(), cm))
		assert.Regexp(t, "^job-.....$", cm.Name)
		var list corev1.ConfigMapList
		require.NoError(t, behind.List(t.Context(), &list))
		assert.Len(t, list.Items, 2, "x and one more")
	})
	inVirtualTime(t, "without a token: unknown, and the object as it was", func(t *testing.T) {
		f := &faults{only: "Create", err: inDoubt, lose: 1}
		cm := configMap("new")
		err := k8sretryctrl.NewClient(f.in(cluster()), k8sretry.WithTokenAnnotation("")).Create(t.Context(), cm)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.True(t, apierrors.IsAlreadyExists(err))
		assert.Equal(t, configMap("new"), cm)
	})
	inVirtualTime(t, "lost before the server saw it, and the name is another's: AlreadyExists", func(t *testing.T) {
		retrying, _ := with(&faults{only: "Create", err: inDoubt, fail: 1})
		cm := configMap("x")
		err := retrying.Create(t.Context(), cm)
		assert.True(t, apierrors.IsAlreadyExists(err))
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, configMap("x"), cm)
	})
}

func TestUpdateWhoseAnswerIsLost(t *testing.T) {
	for _, lose := range []int{1, 2, 1000} {
		inVirtualTime(t, "typed", func(t *testing.T) {
			retrying, behind := with(&faults{only: "Update", err: inDoubt, lose: lose})
			cm := read(t, behind, "x")
			before := cm.ResourceVersion
			cm.Data["n"] = "1"
			require.NoError(t, retrying.Update(t.Context(), cm))
			assert.NotEqual(t, before, cm.ResourceVersion)
			assert.Equal(t, read(t, behind, "x"), cm, "the object is filled in")
			assert.Empty(t, cm.Annotations)
		})
		inVirtualTime(t, "unstructured", func(t *testing.T) {
			retrying, behind := with(&faults{only: "Update", err: inDoubt, lose: lose})
			u := asUnstructured("x", nil)
			require.NoError(t, behind.Get(t.Context(), key("x"), u))
			u.Object["data"] = map[string]any{"n": "1"}
			require.NoError(t, retrying.Update(t.Context(), u))
			assert.Equal(t, read(t, behind, "x").ResourceVersion, u.GetResourceVersion())
			assert.Empty(t, u.GetAnnotations())
		})
	}
	inVirtualTime(t, "somebody has written since: unknown, and the object as it was", func(t *testing.T) {
		behind := cluster()
		f := &faults{}
		c := k8sretryctrl.NewClient(interceptor.NewClient(behind, interceptor.Funcs{
			Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
				return f.strike("Update", func() error {
					if f.count("Update") > 1 {
						return c.Update(ctx, obj, opts...)
					}
					require.NoError(t, c.Update(ctx, obj, opts...))
					other := read(t, c, "x")
					other.Labels = map[string]string{"other": "was here"}
					require.NoError(t, c.Update(ctx, other))
					return inDoubt()
				})
			},
		}))
		cm := read(t, behind, "x")
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
	inVirtualTime(t, "lost before the server saw it, and somebody else writes something else: unknown", func(t *testing.T) {
		behind := cluster()
		f := &faults{}
		c := k8sretryctrl.NewClient(interceptor.NewClient(behind, interceptor.Funcs{
			Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
				return f.strike("Update", func() error {
					if f.count("Update") > 1 {
						return c.Update(ctx, obj, opts...)
					}
					require.NoError(t, c.Update(ctx, configMap("x", "n", "other")))
					return inDoubt()
				})
			},
		}))
		cm := read(t, behind, "x")
		cm.Data["n"] = "1"
		err := c.Update(t.Context(), cm)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, "other", read(t, behind, "x").Data["n"])
	})
	inVirtualTime(t, "a conflict at once: as it came", func(t *testing.T) {
		f := &faults{}
		retrying, behind := with(f)
		cm := read(t, behind, "x")
		require.NoError(t, behind.Update(t.Context(), configMap("x", "n", "other")))
		err := retrying.Update(t.Context(), cm)
		assert.True(t, apierrors.IsConflict(err))
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, []string{"Update"}, f.all())
	})
}

// An annotation that is another one each time would make a change of an update that
// changes nothing, and wake the controller that made it, for ever.
func TestUpdateSendsWhatItWasGiven(t *testing.T) {
	for _, annotations := range []map[string]string{nil, {}, {"a": "b"}} {
		inVirtualTime(t, "", func(t *testing.T) {
			var sent []client.Object
			behind := cluster()
			c := k8sretryctrl.NewClient(interceptor.NewClient(behind, interceptor.Funcs{
				Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
					sent = append(sent, obj.DeepCopyObject().(client.Object))
					if len(sent) == 1 {
						return inDoubt()
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
			assert.Len(t, read(t, behind, "x").Annotations, len(annotations))
		})
	}
}

func TestStatusUpdateWhoseAnswerIsLost(t *testing.T) {
	get := func(t *testing.T, c client.Client) *corev1.Pod {
		p := pod()
		require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(p), p))
		return p
	}
	for _, lose := range []int{1, 2, 1000} {
		inVirtualTime(t, "proven", func(t *testing.T) {
			retrying, behind := with(&faults{only: "status.Update", err: inDoubt, lose: lose})
			p := get(t, behind)
			p.Status.Phase = corev1.PodRunning
			require.NoError(t, retrying.Status().Update(t.Context(), p))
			assert.Equal(t, get(t, behind), p)
			assert.Equal(t, corev1.PodRunning, p.Status.Phase)
		})
	}
	inVirtualTime(t, "somebody else has changed the labels since: proven by the status", func(t *testing.T) {
		behind := cluster()
		f := &faults{}
		c := k8sretryctrl.NewClient(interceptor.NewClient(behind, interceptor.Funcs{
			SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
				return f.strike("Update", func() error {
					if f.count("Update") > 1 {
						return c.SubResource(name).Update(ctx, obj, opts...)
					}
					require.NoError(t, c.SubResource(name).Update(ctx, obj, opts...))
					require.NoError(t, c.Patch(ctx, pod(), merged()))
					return inDoubt()
				})
			},
		}))
		p := get(t, behind)
		p.Status.Phase = corev1.PodRunning
		require.NoError(t, c.Status().Update(t.Context(), p))
		assert.Equal(t, "b", p.Labels["a"])
	})
	inVirtualTime(t, "lost before, and somebody else has set another status: unknown", func(t *testing.T) {
		behind := cluster()
		f := &faults{}
		c := k8sretryctrl.NewClient(interceptor.NewClient(behind, interceptor.Funcs{
			SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
				return f.strike("Update", func() error {
					if f.count("Update") > 1 {
						return c.SubResource(name).Update(ctx, obj, opts...)
					}
					other := get(t, behind)
					other.Status.Phase = corev1.PodFailed
					require.NoError(t, behind.Status().Update(ctx, other))
					return inDoubt()
				})
			},
		}))
		p := get(t, behind)
		p.Status.Phase = corev1.PodRunning
		assert.ErrorIs(t, c.Status().Update(t.Context(), p), k8sretry.ErrOutcomeUnknown)
	})
}

func TestDeleteWhoseAnswerIsLost(t *testing.T) {
	for situation, obj := range map[string]client.Object{
		"typed":         configMap("x"),
		"unstructured":  asUnstructured("x", nil),
		"metadata only": &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: meta("x")},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			retrying, behind := with(&faults{only: "Delete", err: inDoubt, lose: 1})
			require.NoError(t, retrying.Delete(t.Context(), obj))
			assert.True(t, apierrors.IsNotFound(behind.Get(t.Context(), key("x"), &corev1.ConfigMap{})))
		})
		inVirtualTime(t, situation+", lost before", func(t *testing.T) {
			f := &faults{only: "Delete", err: inDoubt, fail: 2}
			retrying, _ := with(f)
			require.NoError(t, retrying.Delete(t.Context(), obj))
			assert.Equal(t, 3, f.count("Delete"))
		})
	}
	t.Run("what was not there is not found", func(t *testing.T) {
		retrying, _ := with(&faults{})
		assert.True(t, apierrors.IsNotFound(retrying.Delete(t.Context(), configMap("none"))))
	})
	t.Run("the UID and the caller's options are sent", func(t *testing.T) {
		var o client.DeleteOptions
		c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
			Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, opts ...client.DeleteOption) error {
				o.ApplyOptions(opts)
				return nil
			},
		}))
		cm := configMap("x")
		cm.UID = "1"
		require.NoError(t, c.Delete(t.Context(), cm, client.GracePeriodSeconds(7), client.Preconditions{ResourceVersion: new("5")}))
		assert.Equal(t, &metav1.Preconditions{UID: new(types.UID("1")), ResourceVersion: new("5")}, o.Preconditions)
		assert.EqualValues(t, 7, *o.GracePeriodSeconds)
	})
}

// The pod of an eviction that names it is gone: that is what was asked for.
func TestEvictionWhoseAnswerIsLost(t *testing.T) {
	inVirtualTime(t, "with the UID", func(t *testing.T) {
		f := &faults{only: "eviction.Create", err: inDoubt, lose: 1}
		retrying, _ := with(f)
		require.NoError(t, retrying.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1")))
		assert.Equal(t, 2, f.count("eviction.Create"))
	})
	inVirtualTime(t, "without", func(t *testing.T) {
		f := &faults{only: "eviction.Create", err: inDoubt, lose: 1}
		retrying, _ := with(f)
		assert.ErrorIs(t, retrying.SubResource("eviction").Create(t.Context(), pod(), evictionOf("")), k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, 1, f.count("eviction.Create"))
	})
	for situation, answer := range map[string]error{
		"another pod has the name": apierrors.NewConflict(corev1.Resource("pods"), "web-0", errors.New("Precondition failed: UID in precondition: 1, UID in object meta: 2")),
		"there is none":            apierrors.NewNotFound(corev1.Resource("pods"), "web-0"),
	} {
		for _, doubt := range []bool{true, false} {
			inVirtualTime(t, situation, func(t *testing.T) {
				n := 0
				c := k8sretryctrl.NewClient(interceptor.NewClient(cluster(), interceptor.Funcs{
					SubResourceCreate: func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error {
						if n++; n == 1 && doubt {
							return inDoubt()
						}
						return answer
					},
				}))
				err := c.SubResource("eviction").Create(t.Context(), pod(), evictionOf("1"))
				if doubt {
					assert.NoError(t, err)
				} else {
					assert.Same(t, answer, err, "as the first answer it is told")
				}
			})
		}
	}
}

// cached reads from a cache that holds what was there when it was made, as the client
// of a manager whose cache lags behind, and cannot watch.
type cached struct {
	client.Client
	live client.WithWatch
}

func newCached(live client.WithWatch, stale ...client.Object) *cached {
	return &cached{builder().WithObjects(stale...).Build(), live}
}

func (c *cached) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return c.live.Create(ctx, obj, opts...)
}

func (c *cached) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	return c.live.Update(ctx, obj, opts...)
}

func (c *cached) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.live.Delete(ctx, obj, opts...)
}

func (c *cached) SubResource(name string) client.SubResourceClient {
	return &uncached{c.live.SubResource(name), name, c.live}
}

// uncached is the subresource without a name, as the client of controller-runtime has it
// (TestLiveReadOfARealClient).
type uncached struct {
	client.SubResourceClient
	name string
	live client.WithWatch
}

func (u *uncached) Get(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
	if u.name == "" {
		return u.live.Get(ctx, client.ObjectKeyFromObject(obj), sub)
	}
	return u.SubResourceClient.Get(ctx, obj, sub, opts...)
}

// A proof never rests on a cache: that something is not in it, or is as it was, says
// nothing about the server.
func TestProofsDoNotTrustTheCache(t *testing.T) {
	for situation, wrap := range map[string]func(client.Client) client.Client{
		"a manager's client":     func(c client.Client) client.Client { return c },
		"with a field owner":     func(c client.Client) client.Client { return client.WithFieldOwner(c, "me") },
		"with a namespace":       func(c client.Client) client.Client { return client.NewNamespacedClient(c, "default") },
		"with retries inside it": func(c client.Client) client.Client { return k8sretryctrl.NewClient(c) },
	} {
		make := func(f *faults, stale ...client.Object) (client.Client, client.WithWatch) {
			behind := cluster()
			return k8sretryctrl.NewClient(wrap(newCached(f.in(behind), stale...))), behind
		}
		inVirtualTime(t, situation+": create, not yet in the cache", func(t *testing.T) {
			c, behind := make(&faults{only: "Create", err: inDoubt, lose: 1})
			cm := configMap("new")
			require.NoError(t, c.Create(t.Context(), cm))
			assert.Equal(t, read(t, behind, "new").ResourceVersion, cm.ResourceVersion)
		})
		inVirtualTime(t, situation+": create, one that is gone is still in the cache", func(t *testing.T) {
			c, behind := make(&faults{only: "Create", err: inDoubt, lose: 1}, configMap("new", "gone", "yes"))
			require.NoError(t, c.Create(t.Context(), configMap("new", "a", "b")))
			assert.Equal(t, "b", read(t, behind, "new").Data["a"])
		})
		inVirtualTime(t, situation+": update, not yet in the cache", func(t *testing.T) {
			f := &faults{only: "Update", err: inDoubt, lose: 1}
			c, behind := make(f, configMap("x", "n", "0"))
			cm := read(t, behind, "x")
			cm.Data["n"] = "1"
			require.NoError(t, c.Update(t.Context(), cm))
			assert.Equal(t, read(t, behind, "x"), cm)
		})
		inVirtualTime(t, situation+": delete, refused in the end, and the cache never knew the object", func(t *testing.T) {
			behind := cluster()
			n := 0
			c := k8sretryctrl.NewClient(wrap(newCached(interceptor.NewClient(behind, interceptor.Funcs{
				Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
					if n++; n == 1 {
						return inDoubt()
					}
					return refused()
				},
			}))))
			err := c.Delete(t.Context(), configMap("x"))
			assert.True(t, apierrors.IsForbidden(err), "%v", err)
			read(t, behind, "x")
		})
	}
	t.Run("a NotFound of the cache is passed at once", func(t *testing.T) {
		c := k8sretryctrl.NewClient(newCached(cluster()))
		err := c.Get(t.Context(), key("x"), &corev1.ConfigMap{})
		assert.True(t, apierrors.IsNotFound(err))
		_, isStatus := err.(*apierrors.StatusError)
		assert.True(t, isStatus, "as it came")
	})
}

// Clients decode answers into the object that they were given. What a failed attempt has
// left there is neither sent by the next one nor seen by the caller.
func TestObjectsOfFailedAttemptsAreNotUsed(t *testing.T) {
	spoil := func(obj client.Object) error {
		obj.SetResourceVersion("spoilt")
		obj.SetLabels(map[string]string{"spoilt": "yes"})
		return notDone()
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
					return spoil(obj)
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
