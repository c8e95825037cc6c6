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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/k8sretry/k8sretry"
)

func TestWritesRejectNil(t *testing.T) {
	ctx := t.Context()
	c, cm := newCluster(), configMap("x")
	var noObject *corev1.ConfigMap
	var noCluster *cluster
	var noContext context.Context
	var noApplier k8sretry.Applier[*corev1.ConfigMap, *corev1.ConfigMap]
	create := func(ctx context.Context, c *cluster, cm *corev1.ConfigMap, opts ...k8sretry.Option) error {
		_, err := k8sretry.Create(ctx, c, cm, metav1.CreateOptions{}, opts...)
		return err
	}
	update := func(c *cluster, cm *corev1.ConfigMap) error {
		_, err := k8sretry.Update(ctx, c, cm, metav1.UpdateOptions{})
		return err
	}
	modify := func(c *cluster, mutate func(*corev1.ConfigMap) error) error {
		_, err := k8sretry.Modify(ctx, c, "x", mutate)
		return err
	}
	_, applied := k8sretry.Apply(ctx, noApplier, cm, metav1.ApplyOptions{})
	for name, tt := range map[string]struct {
		err  error
		says string
	}{
		"Create, client":  {create(ctx, noCluster, cm), "client is nil"},
		"Create, object":  {create(ctx, c, noObject), "object is nil"},
		"Create, context": {create(noContext, c, cm), "context is nil"},
		"Create, options": {create(ctx, c, cm, k8sretry.WithMaxRetries(-1)), "WithMaxRetries"},
		"Update, client":  {update(noCluster, cm), "client is nil"},
		"Update, object":  {update(c, noObject), "object is nil"},
		"Modify, client":  {modify(noCluster, plusOne), "client is nil"},
		"Modify, mutate":  {modify(c, nil), "function to call is nil"},
		"Delete, client":  {k8sretry.Delete(ctx, noCluster, cm, metav1.DeleteOptions{}), "client is nil"},
		"Delete, object":  {k8sretry.Delete(ctx, c, noObject, metav1.DeleteOptions{}), "object is nil"},
		"Evict, client":   {k8sretry.Evict(ctx, nil, cm, metav1.DeleteOptions{}), "client is nil"},
		"Evict, object":   {k8sretry.Evict(ctx, c, nil, metav1.DeleteOptions{}), "object is nil"},
		"Apply, client":   {applied, "client is nil"},
	} {
		assert.ErrorContains(t, tt.err, tt.says, name)
	}
	assert.Empty(t, c.requests)
}

// copiedAsBase takes DeepCopyObject from the ConfigMap, so its copy is only a ConfigMap.
func TestWritesRejectAnObjectThatCannotBeCopied(t *testing.T) {
	client := &copiedAsBaseClient{}
	obj := &copiedAsBase{ConfigMap: *configMap("x")}
	_, created := k8sretry.Create(t.Context(), client, obj, metav1.CreateOptions{})
	_, updated := k8sretry.Update(t.Context(), client, obj, metav1.UpdateOptions{})
	_, modified := k8sretry.Modify(t.Context(), client, "x", func(*copiedAsBase) error { return nil })
	for name, err := range map[string]error{"Create": created, "Update": updated, "Modify": modified} {
		assert.ErrorContains(t, err, "DeepCopyObject of *k8sretry_test.copiedAsBase returns another type", name)
	}
	assert.Zero(t, client.writes)
}

type copiedAsBaseClient struct{ writes int }

func (c *copiedAsBaseClient) Get(context.Context, string, metav1.GetOptions) (*copiedAsBase, error) {
	return &copiedAsBase{ConfigMap: *configMap("x")}, nil
}

func (c *copiedAsBaseClient) Create(_ context.Context, obj *copiedAsBase, _ metav1.CreateOptions) (*copiedAsBase, error) {
	c.writes++
	return obj, nil
}

func (c *copiedAsBaseClient) Update(_ context.Context, obj *copiedAsBase, _ metav1.UpdateOptions) (*copiedAsBase, error) {
	c.writes++
	return obj, nil
}

// A mark is stored only where nothing else proves: not by Update, and by Create only for an
// object with a name and without a controller. The two keys keep a Modify from replacing the
// mark of a Create.
func TestTokenAnnotation(t *testing.T) {
	const created = k8sretry.TokenAnnotation + "-create"
	ctx := t.Context()
	c := newCluster()
	create := func(obj *corev1.ConfigMap, opts ...k8sretry.Option) *corev1.ConfigMap {
		made, err := k8sretry.Create(ctx, c, obj, metav1.CreateOptions{}, opts...)
		require.NoError(t, err)
		return made
	}
	made, other := create(configMap("x")), create(configMap("y"))
	assert.Len(t, made.Annotations, 1)
	assert.NotEmpty(t, made.Annotations[created])
	assert.NotEqual(t, made.Annotations, other.Annotations)

	modified, err := k8sretry.Modify(ctx, c, "x", plusOne)
	require.NoError(t, err)
	assert.Equal(t, made.Annotations[created], modified.Annotations[created])
	assert.NotEmpty(t, modified.Annotations[k8sretry.TokenAnnotation])
	assert.Len(t, modified.Annotations, 2)

	modified.Data["n"] = "9"
	updated, err := k8sretry.Update(ctx, c, modified, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Equal(t, modified.Annotations, updated.Annotations)

	child := configMap("child")
	child.OwnerReferences = []metav1.OwnerReference{{Name: "o", UID: "owner", Controller: pointer(true)}}
	assert.Empty(t, create(child).Annotations)
	child.Name, child.OwnerReferences[0].Controller = "no-controller", nil
	assert.NotEmpty(t, create(child).Annotations)

	policy := k8sretry.NewPolicy(k8sretry.WithTokenAnnotation("example.com/token"))
	assert.Contains(t, create(configMap("z"), policy).Annotations, "example.com/token-create")
	assert.Contains(t, create(configMap("v"), policy, k8sretry.ForWrite()).Annotations, "example.com/token-create", "a Policy that does not set it leaves it")
	assert.Empty(t, create(configMap("w"), policy, k8sretry.WithTokenAnnotation("")).Annotations)
	modified, err = k8sretry.Modify(ctx, c, "w", plusOne, policy)
	require.NoError(t, err)
	assert.Contains(t, modified.Annotations, "example.com/token")
}

func TestWritesSendOneRequest(t *testing.T) {
	ctx := context.Background()
	c := newCluster()
	client := overHTTP(t, c, nil).CoreV1().ConfigMaps("default")
	made, err := k8sretry.Create(ctx, client, configMap("x"), metav1.CreateOptions{})
	require.NoError(t, err)
	made.Labels = map[string]string{"a": "b"}
	made, err = k8sretry.Update(ctx, client, made, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, k8sretry.Delete(ctx, client, made, metav1.DeleteOptions{}))
	c.expectRequests(t, "create", "update", "delete")
}

// Fake clientsets have no UIDs and no resource versions, and ignore preconditions.
func TestWritesOnAFakeClientset(t *testing.T) {
	ctx := context.Background()
	t.Run("success", func(t *testing.T) {
		clientset := fake.NewClientset()
		client := clientset.CoreV1().ConfigMaps("default")
		made, err := k8sretry.Create(ctx, client, configMap("x"), metav1.CreateOptions{})
		require.NoError(t, err)
		made.Data = map[string]string{"a": "b"}
		made, err = k8sretry.Update(ctx, client, made, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = k8sretry.Modify(ctx, client, "x", plusOne)
		require.NoError(t, err)
		require.NoError(t, k8sretry.Delete(ctx, client, made, metav1.DeleteOptions{}))
		assert.Equal(t, []string{"create", "update", "get", "update", "delete"}, verbs(clientset.Actions()))
	})
	t.Run("generateName", func(t *testing.T) {
		client := fake.NewClientset().CoreV1().ConfigMaps("default")
		obj := configMap("")
		obj.GenerateName = "job-"
		made, err := k8sretry.Create(ctx, client, obj, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Regexp(t, "^job-..........$", made.Name)
	})
	for verb, write := range map[string]func(*testing.T, *fake.Clientset) error{
		"create": func(t *testing.T, c *fake.Clientset) error {
			_, err := k8sretry.Create(ctx, c.CoreV1().ConfigMaps("default"), configMap("new"), metav1.CreateOptions{})
			return err
		},
		"update": func(t *testing.T, c *fake.Clientset) error {
			_, err := k8sretry.Update(ctx, c.CoreV1().ConfigMaps("default"), configMap("x", "n", "1"), metav1.UpdateOptions{})
			return err
		},
		"delete": func(t *testing.T, c *fake.Clientset) error {
			return k8sretry.Delete(ctx, c.CoreV1().ConfigMaps("default"), configMap("x"), metav1.DeleteOptions{})
		},
	} {
		t.Run("response lost: "+verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset := fake.NewClientset(configMap("x", "n", "0"))
				loseResponses(&clientset.Fake, clientset.Tracker(), verb, 2)
				require.NoError(t, write(t, clientset))
			})
		})
		t.Run("request lost: "+verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset := fake.NewClientset(configMap("x", "n", "0"))
				n := 2
				clientset.PrependReactor(verb, "*", func(k8stesting.Action) (bool, runtime.Object, error) {
					n--
					return n >= 0, nil, gatewayTimeout()
				})
				require.NoError(t, write(t, clientset))
			})
		})
	}
	t.Run("response lost: Modify applies once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			loseResponses(&clientset.Fake, clientset.Tracker(), "update", 1)
			got, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			require.NoError(t, err)
			assert.Equal(t, "1", got.Data["n"])
		})
	})
	t.Run("response lost, changed in between: unknown without resource versions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			clientset.PrependReactor("update", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				_ = clientset.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), configMap("x", "n", "5"), "default")
				return true, nil, lostReply()
			})
			_, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			requireUnknown(t, err)
			assert.ErrorContains(t, err, "EOF")
		})
	})
	t.Run("request lost, unchanged: sent again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			n := 1
			clientset.PrependReactor("update", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				n--
				return n >= 0, nil, gatewayTimeout()
			})
			got, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			require.NoError(t, err)
			assert.Equal(t, "1", got.Data["n"])
			assert.Equal(t, []string{"get", "update", "get", "update"}, verbs(clientset.Actions()))
		})
	})
	t.Run("conflict from a reactor: mutate again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset(configMap("x", "n", "0"))
			n := 2
			clientset.PrependReactor("update", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
				n--
				return n >= 0, nil, apierrors.NewConflict(configMaps, "x", assert.AnError)
			})
			got, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "x", plusOne)
			require.NoError(t, err)
			assert.Equal(t, "1", got.Data["n"])
		})
	})
}

// What Create sends of an unstructured object is what the caller gave, and the token.
func TestWritesSendUnstructuredObjectsUnchanged(t *testing.T) {
	var sent string
	client := k8sretry.Dynamic(dynamicOver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = string(body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	}))
	widget := func(metadata map[string]any, spec any) *unstructured.Unstructured {
		metadata["name"] = "w"
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": spec,
		}}
	}
	t.Run("an int, which DeepCopy does not accept", func(t *testing.T) {
		obj := widget(map[string]any{}, map[string]any{"size": 3})
		_, err := k8sretry.Create(t.Context(), client, obj, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Contains(t, sent, `"size":3`)
		assert.Contains(t, sent, k8sretry.TokenAnnotation)
		assert.Empty(t, obj.GetAnnotations(), "the caller's object was changed")
	})
	t.Run("annotations that are not strings, without a token", func(t *testing.T) {
		annotations := map[string]any{"keep": "me", "build": int64(42)}
		_, err := k8sretry.Create(t.Context(), client, widget(map[string]any{"annotations": annotations}, nil), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Contains(t, sent, `"annotations":{"build":42,"keep":"me"}`)
	})
}

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		clientset := fake.NewClientset()
		n, err := 0, lostReply()
		clientset.PrependReactor("patch", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			n++
			return n <= 2, nil, err
		})
		client := clientset.CoreV1().ConfigMaps("default")
		applied, got := k8sretry.Apply(ctx, client, corev1apply.ConfigMap("x", "default").WithData(map[string]string{"a": "b"}), metav1.ApplyOptions{FieldManager: "me"})
		require.NoError(t, got)
		assert.Equal(t, "b", applied.Data["a"])
		assert.Equal(t, 3, n)

		n, err = 0, apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "owned")
		_, got = k8sretry.Apply(ctx, client, corev1apply.ConfigMap("x", "default"), metav1.ApplyOptions{FieldManager: "me"})
		requireUnchanged(t, got)
		assert.Equal(t, 1, n)
	})
}

// An apply configuration need not have a name that can be asked for.
func TestApplyOfAnyConfiguration(t *testing.T) {
	type bare struct{ Data map[string]string }
	for situation, c := range map[string]any{
		"no method GetName": bare{}, "a nil pointer": (*corev1apply.ConfigMapApplyConfiguration)(nil), "no name": corev1apply.ConfigMap("x", "default").WithName(""), "nil": nil,
	} {
		_, err := k8sretry.Apply(t.Context(), failingApplier{}, c, metav1.ApplyOptions{}, k8sretry.WithMaxRetries(0))
		assert.True(t, apierrors.IsServiceUnavailable(err), "%s: %v", situation, err)
	}
}

type failingApplier struct{}

func (failingApplier) Apply(context.Context, any, metav1.ApplyOptions) (*corev1.ConfigMap, error) {
	return nil, unavailable()
}

// A conflict of an apply was taken for a stale version. But an apply names none: kube-apiserver
// has tried five times to apply it to an object that others changed meanwhile.
func TestApplyRepeatsAConflictThatTheServerLost(t *testing.T) {
	owned := caused(apierrors.NewConflict(pods, "web-0", errors.New("conflict with kubectl")), metav1.CauseTypeFieldManagerConflict, "x")
	for name, c := range map[string]struct {
		fail     error
		verb     k8sretry.Verb
		attempts int
	}{
		"apply":                           {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbApply, 2},
		"apply, field of another manager": {owned, k8sretry.VerbApply, 1},
		"apply, no Status":                {generic(409, "PATCH", "x", 0), k8sretry.VerbApply, 1},
		"update":                          {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbUpdate, 1},
		"patch, which may name a version": {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbPatch, 1},
		"delete, of another UID":          {apierrors.NewConflict(pods, "web-0", errRemodeled), k8sretry.VerbDelete, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(c.fail)
				_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithVerb(c.verb))
				assert.Equal(t, c.attempts, s.attempts())
				assert.Equal(t, c.attempts == 1, err != nil)
			})
		})
	}
}

// The table of rights and requests in docs/safe-writes.md: what each function sends if nothing
// fails, and after the first answer was lost, with and without the right to read.
func TestWritesSendWhatTheDocumentationSays(t *testing.T) {
	const success, unknown = "success", "unknown"
	ctx := t.Context()
	patch := func(c *cluster, pt types.PatchType, body string) error {
		_, err := k8sretry.Patch(ctx, c, "x", pt, []byte(body), metav1.PatchOptions{}, exact)
		return err
	}
	for situation, c := range map[string]struct {
		verb  string // of the write
		write func(c *cluster, x *corev1.ConfigMap) error
		plain string // the requests without a failure
		lost  string // if the first answer is lost after the commit
		blind string // the same without the rights to get and watch
		end   string // of the last one
	}{
		"Create, a name": {"create", func(c *cluster, _ *corev1.ConfigMap) error {
			_, err := k8sretry.Create(ctx, c, configMap("new"), metav1.CreateOptions{}, exact)
			return err
		}, "create", "create create get", "create create get", unknown},
		"Create, generateName": {"create", func(c *cluster, _ *corev1.ConfigMap) error {
			o := configMap("")
			o.GenerateName = "new-"
			_, err := k8sretry.Create(ctx, c, o, metav1.CreateOptions{}, exact)
			return err
		}, "create", "create create get", "create create get", unknown},
		"Update": {"update", func(c *cluster, x *corev1.ConfigMap) error {
			x.Data = map[string]string{"a": "b"}
			_, err := k8sretry.Update(ctx, c, x, metav1.UpdateOptions{}, exact)
			return err
		}, "update", "update update get", "update update get", unknown},
		"Update, no resourceVersion": {"update", func(c *cluster, x *corev1.ConfigMap) error {
			x.Data, x.ResourceVersion = map[string]string{"a": "b"}, ""
			_, err := k8sretry.Update(ctx, c, x, metav1.UpdateOptions{}, exact)
			return err
		}, "update", "update get", "update get update", success},
		"Modify": {"update", func(c *cluster, _ *corev1.ConfigMap) error {
			_, err := k8sretry.Modify(ctx, c, "x", plusOne, exact)
			return err
		}, "get update", "get update update get", "get update update get", unknown},
		"Modify, nothing changed": {"update", func(c *cluster, _ *corev1.ConfigMap) error {
			_, err := k8sretry.Modify(ctx, c, "x", func(*corev1.ConfigMap) error { return nil }, exact)
			return err
		}, "get", "get", "get", success},
		"Delete": {"delete", func(c *cluster, x *corev1.ConfigMap) error {
			return k8sretry.Delete(ctx, c, x, metav1.DeleteOptions{}, exact)
		}, "delete", "delete delete", "delete delete", success},
		"Delete, no UID": {"delete", func(c *cluster, _ *corev1.ConfigMap) error {
			return k8sretry.Delete(ctx, c, configMap("x"), metav1.DeleteOptions{}, exact)
		}, "delete", "delete get", "delete get", unknown},
		"Evict": {"evict", func(c *cluster, x *corev1.ConfigMap) error {
			return k8sretry.Evict(ctx, c, x, metav1.DeleteOptions{}, exact)
		}, "evict", "evict get", "evict get evict", success},
		"Evict, no UID": {"evict", func(c *cluster, _ *corev1.ConfigMap) error {
			return k8sretry.Evict(ctx, c, configMap("x"), metav1.DeleteOptions{}, exact)
		}, "evict", "evict get", "evict get", unknown},
		"Patch, a version": {"patch", func(c *cluster, x *corev1.ConfigMap) error {
			return patch(c, types.MergePatchType, `{"metadata":{"resourceVersion":"`+x.ResourceVersion+`"},"data":{"n":"2"}}`)
		}, "patch", "patch patch get watch", "patch patch get", unknown},
		"Patch, JSON, a test of the version": {"patch", func(c *cluster, x *corev1.ConfigMap) error {
			return patch(c, types.JSONPatchType, `[{"op":"test","path":"/metadata/resourceVersion","value":"`+x.ResourceVersion+`"},{"op":"add","path":"/data/n","value":"2"}]`)
		}, "patch", "patch patch get watch", "patch patch get", unknown},
		"Patch, no version": {"patch", func(c *cluster, _ *corev1.ConfigMap) error {
			return patch(c, types.MergePatchType, `{"data":{"n":"2"}}`)
		}, "patch", "patch patch", "patch patch", success},
		"Apply": {"patch", func(c *cluster, _ *corev1.ConfigMap) error {
			_, err := k8sretry.Apply(ctx, applier{c}, configMap("x", "n", "2"), metav1.ApplyOptions{}, exact)
			return err
		}, "patch", "patch patch", "patch patch", success},
		"Bind, wrapped": {"bind", func(c *cluster, _ *corev1.ConfigMap) error {
			return k8sretry.WrapRun2(binder{c}.Bind, exact)(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Target: corev1.ObjectReference{Name: "node"}}, metav1.CreateOptions{})
		}, "bind", "bind bind", "bind bind", unknown},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx = t.Context()
				start := func() (*cluster, *corev1.ConfigMap) { c := newCluster(); return c, c.put(configMap("x", "n", "1")) }
				server, x := start()
				require.NoError(t, c.write(server, x))
				server.expectRequests(t, strings.Fields(c.plain)...)

				server, x = start()
				server.on(c.verb, lost(lostReply()))
				err := c.write(server, x)
				if c.verb == "bind" {
					requireUnknown(t, err) // a wrapped function reads nothing
				} else {
					require.NoError(t, err)
				}
				server.expectRequests(t, strings.Fields(c.lost)...)

				server, x = start()
				reads := 0
				server.on(c.verb, lost(lostReply())).always = func(verb string) *fault {
					if verb != "get" && verb != "watch" {
						return nil
					}
					if reads++; reads == 1 && strings.HasPrefix(c.blind, "get") {
						return nil // Modify needs that right anyway
					}
					return failed(forbidden("x"))
				}
				err = c.write(server, x)
				if c.end == success {
					require.NoError(t, err)
				} else {
					requireUnknown(t, err)
				}
				server.expectRequests(t, strings.Fields(c.blind)...)
			})
		})
	}
}

// applier applies config maps.
type applier struct{ *cluster }

func (c applier) Apply(ctx context.Context, o *corev1.ConfigMap, _ metav1.ApplyOptions) (*corev1.ConfigMap, error) {
	return c.Patch(ctx, o.Name, types.MergePatchType, mustJSON(map[string]any{"data": o.Data}), metav1.PatchOptions{})
}

// binder binds a config map as a pod, whose node is in its data.
type binder struct{ *cluster }

func (c binder) Bind(ctx context.Context, b *corev1.Binding, _ metav1.CreateOptions) error {
	_, err := c.request(ctx, "bind", func() (*corev1.ConfigMap, error) {
		o := c.objects[b.Name].DeepCopy()
		if o.Data["node"] != "" {
			return nil, apierrors.NewConflict(corev1.Resource("pods/binding"), b.Name, fmt.Errorf("pod %v is already assigned to node %q", b.Name, o.Data["node"]))
		}
		o.Data["node"] = b.Target.Name
		return c.store(watch.Modified, o), nil
	})
	return err
}
