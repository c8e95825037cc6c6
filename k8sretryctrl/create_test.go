// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// createOf returns a retrying client whose first create calls first and fails with an unknown
// outcome.
func createOf(server client.WithWatch, first func(create func() error), opts ...k8sretry.Option) client.Client {
	attempts := 0
	return k8sretryctrl.NewClient(interceptor.NewClient(server, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if attempts++; attempts > 1 {
				return c.Create(ctx, obj, opts...)
			}
			first(func() error { return c.Create(ctx, obj, opts...) })
			return unknownOutcome()
		},
	}), opts...)
}

func TestACreateIsVerifiedByControllerAndContent(t *testing.T) {
	for situation, c := range map[string]struct {
		obj  client.Object
		lose int
	}{
		"once":         {owned(configMap("new", "a", "b")), 1},
		"twice":        {owned(configMap("new", "a", "b")), 2},
		"every time":   {owned(configMap("new", "a", "b")), 1000},
		"unstructured": {owned(asUnstructured("new", map[string]any{"a": "b"})), 1},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{only: "Create", err: unknownOutcome, lose: c.lose}
			retrying, server := newClient(f)
			require.NoError(t, retrying.Create(t.Context(), c.obj))
			stored := read(t, server, "new")
			assert.Equal(t, stored.ResourceVersion, c.obj.GetResourceVersion(), "the object is updated")
			assert.NotEmpty(t, c.obj.GetResourceVersion())
			assert.Equal(t, map[string]string{"a": "b"}, stored.Data)
			assert.Empty(t, stored.Annotations, "no token is sent")
			assert.Empty(t, c.obj.GetAnnotations())
		})
	}

	container := func(name string) corev1.Container {
		return corev1.Container{Name: name, Image: name, Args: []string{"a"}}
	}
	newPod := func() client.Object {
		p := &corev1.Pod{ObjectMeta: meta("new"), Spec: corev1.PodSpec{Containers: []corev1.Container{container("app")}}}
		p.Annotations = map[string]string{"a": "b"}
		return owned(p)
	}
	change := func(mutate func(*corev1.Pod)) func(*testing.T, client.Client) {
		return func(t *testing.T, server client.Client) {
			p := &corev1.Pod{}
			require.NoError(t, server.Get(t.Context(), key("new"), p))
			mutate(p)
			require.NoError(t, server.Update(t.Context(), p))
		}
	}
	newSecret := func() client.Object {
		return owned(&corev1.Secret{ObjectMeta: meta("new"), StringData: map[string]string{"a": "b"}})
	}
	storeSecret := func(text string) func(*testing.T, client.Client) {
		return func(t *testing.T, server client.Client) {
			s := &corev1.Secret{}
			require.NoError(t, server.Get(t.Context(), key("new"), s))
			s.Data, s.StringData = map[string][]byte{"a": []byte(text)}, nil // as the server does
			require.NoError(t, server.Update(t.Context(), s))
		}
	}
	for situation, c := range map[string]struct {
		obj     client.Object
		then    func(*testing.T, client.Client) // after the create, before the check
		unknown bool
	}{
		"a controller adds labels, annotations and a finalizer": {newPod(), change(func(p *corev1.Pod) {
			p.Labels, p.Annotations["c"], p.Finalizers = map[string]string{"a": "b"}, "d", []string{"example.com/x"}
		}), false},
		"a webhook adds a container before the others, and the server adds defaults": {newPod(), change(func(p *corev1.Pod) {
			p.Spec.Containers = append([]corev1.Container{container("sidecar")}, p.Spec.Containers...)
			p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		}), false},
		"the pod gets a node and a status": {newPod(), change(func(p *corev1.Pod) {
			p.Spec.NodeName, p.Status.Phase = "node", corev1.PodRunning
		}), false},
		"a secret with text":         {newSecret(), storeSecret("b"), false},
		"a secret with other text":   {newSecret(), storeSecret("c"), true},
		"a webhook adds an argument": {newPod(), change(func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"a", "b"} }), false},
		"another image":              {newPod(), change(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "other" }), true},
		"another controller":         {newPod(), change(func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" }), true},
		"no controller":              {newPod(), change(func(p *corev1.Pod) { p.OwnerReferences = nil }), true},
		"a replaced annotation": {newPod(), change(func(p *corev1.Pod) {
			p.Annotations = nil
		}), true},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			server := cluster()
			retrying := createOf(server, func(create func() error) {
				require.NoError(t, create())
				c.then(t, server)
			})
			before := c.obj.DeepCopyObject()
			err := retrying.Create(t.Context(), c.obj)
			if c.unknown {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.True(t, apierrors.IsAlreadyExists(err))
				assert.Equal(t, before, c.obj, "the object is unchanged")
				return
			}
			require.NoError(t, err)
			assert.NotEmpty(t, c.obj.GetResourceVersion())
		})
	}
}

func TestACreateWithAGeneratedNameIsVerifiedByTheName(t *testing.T) {
	for situation, then := range map[string]func(*testing.T, client.Client, *corev1.ConfigMap){
		"no other writer": func(*testing.T, client.Client, *corev1.ConfigMap) {},
		"another writer replaces everything": func(t *testing.T, server client.Client, cm *corev1.ConfigMap) {
			cm.Data, cm.Annotations, cm.OwnerReferences = map[string]string{"other": "x"}, map[string]string{k8sretry.TokenAnnotation: "other"}, nil
			require.NoError(t, server.Update(t.Context(), cm))
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			server := cluster()
			c := createOf(server, func(create func() error) {
				require.NoError(t, create())
				var list corev1.ConfigMapList
				require.NoError(t, server.List(t.Context(), &list))
				for i := range list.Items {
					if cm := &list.Items[i]; cm.Name != "x" {
						assert.Empty(t, cm.Annotations, "no token is sent")
						then(t, server, cm)
					}
				}
			})
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "job-", Namespace: "default"}}
			require.NoError(t, c.Create(t.Context(), cm))
			assert.Regexp(t, "^job-.{10}$", cm.Name)
			assert.Equal(t, "job-", cm.GenerateName)
			var list corev1.ConfigMapList
			require.NoError(t, server.List(t.Context(), &list))
			assert.Len(t, list.Items, 2, "x and one more")
		})
	}
}

// Without a controller, two processes may create the same object, and each would take that of
// the other for its own.
func TestACreateWithoutProofIsUnknown(t *testing.T) {
	inVirtualTime(t, "a lost response", func(t *testing.T) {
		retrying, _ := newClient(&faults{only: "Create", err: unknownOutcome, lose: 1})
		cm := configMap("new")
		err := retrying.Create(t.Context(), cm)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.True(t, apierrors.IsAlreadyExists(err))
		assert.Equal(t, configMap("new"), cm, "the object is unchanged")
	})
	for situation, c := range map[string]struct {
		age     time.Duration
		unknown bool
	}{
		"not executed, and the name has been taken for an hour": {time.Hour, false},
		"not executed, and the name was taken a minute ago":     {time.Minute, true},
	} {
		for name, obj := range map[string]*corev1.ConfigMap{"without a controller": configMap("new"), "with a controller": owned(configMap("new"))} {
			inVirtualTime(t, situation+", "+name, func(t *testing.T) {
				foreign := configMap("new", "of", "another")
				foreign.CreationTimestamp = metav1.NewTime(time.Now().Add(-c.age))
				server := builder().WithObjects(foreign).Build()
				err := createOf(server, func(func() error) {}).Create(t.Context(), obj)
				assert.True(t, apierrors.IsAlreadyExists(err))
				assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown))
			})
		}
	}
	inVirtualTime(t, "the first response is AlreadyExists: returned unchanged", func(t *testing.T) {
		f := &faults{}
		retrying, _ := newClient(f)
		_, isStatus := retrying.Create(t.Context(), configMap("x")).(*apierrors.StatusError)
		assert.True(t, isStatus)
		assert.Equal(t, []string{"Create"}, f.all())
	})
}

func TestTheTokenOfACreateIsAnOption(t *testing.T) {
	for situation, c := range map[string]struct {
		opts  []k8sretry.Option
		token bool
	}{
		"a key":                  {[]k8sretry.Option{k8sretry.WithTokenAnnotation("example.com/call")}, true},
		"an empty key":           {[]k8sretry.Option{k8sretry.WithTokenAnnotation("")}, false},
		"the last option counts": {[]k8sretry.Option{k8sretry.WithTokenAnnotation("example.com/call"), k8sretry.WithTokenAnnotation("")}, false},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{only: "Create", err: unknownOutcome, lose: 1}
			server := cluster()
			cm := configMap("new")
			err := k8sretryctrl.NewClient(f.in(server), c.opts...).Create(t.Context(), cm)
			if c.token {
				require.NoError(t, err)
				assert.NotEmpty(t, cm.Annotations["example.com/call-create"])
			} else {
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			}
			assert.Equal(t, c.token, len(read(t, server, "new").Annotations) == 1)
			f.lose = 1
			require.NoError(t, k8sretryctrl.NewClient(f.in(server), c.opts...).Create(t.Context(), owned(configMap("owned"))), "proven without a token as well")
			assert.Empty(t, read(t, server, "owned").Annotations, "which needs none")
		})
		inVirtualTime(t, situation+", and another writer replaces the annotations", func(t *testing.T) {
			for _, obj := range []*corev1.ConfigMap{configMap("new"), owned(configMap("new"))} {
				server := cluster()
				retrying := createOf(server, func(create func() error) {
					require.NoError(t, create())
					other := read(t, server, "new")
					other.Annotations = map[string]string{"example.com/call-create": "other"}
					require.NoError(t, server.Update(t.Context(), other))
				}, c.opts...)
				err := retrying.Create(t.Context(), obj)
				if metav1.GetControllerOf(obj) == nil {
					assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, "other", obj.Annotations["example.com/call-create"], "as on the server")
			}
		})
	}
}
