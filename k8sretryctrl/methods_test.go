package k8sretryctrl_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// method is one method of the client, in a call that a cluster carries out.
type method struct {
	name string // as faults name it
	call func(ctx context.Context, c client.WithWatch) error
	// blind: the call is repeated when it may have been carried out.
	blind bool
	// event is what the observer is told.
	event string
	verb  k8sretry.Verb
}

func jsonPatch() client.Patch {
	return client.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/data/a","value":"b"}]`))
}

func merged() client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))
}

func pod() *corev1.Pod { return &corev1.Pod{ObjectMeta: meta("web-0")} }

func evictionOf(uid types.UID) *policyv1.Eviction {
	e := &policyv1.Eviction{ObjectMeta: meta("web-0")}
	if uid != "" {
		e.DeleteOptions = &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	}
	return e
}

func methods() []method {
	return []method{
		{"Get", func(ctx context.Context, c client.WithWatch) error { return c.Get(ctx, key("x"), &corev1.ConfigMap{}) },
			true, "get ConfigMap", k8sretry.VerbGet},
		{"List", func(ctx context.Context, c client.WithWatch) error { return c.List(ctx, &corev1.ConfigMapList{}) },
			true, "list ConfigMap", k8sretry.VerbList},
		{"Watch", func(ctx context.Context, c client.WithWatch) error {
			w, err := c.Watch(ctx, &corev1.ConfigMapList{})
			if err == nil {
				w.Stop()
			}
			return err
		}, true, "watch ConfigMap", k8sretry.VerbWatch},
		{"Create", func(ctx context.Context, c client.WithWatch) error { return c.Create(ctx, configMap("new")) },
			true, "create ConfigMap", k8sretry.VerbCreate},
		{"Update", func(ctx context.Context, c client.WithWatch) error { return c.Update(ctx, configMap("x", "n", "1")) },
			true, "update ConfigMap", k8sretry.VerbUpdate},
		{"Patch", func(ctx context.Context, c client.WithWatch) error { return c.Patch(ctx, configMap("x"), merged()) },
			true, "patch ConfigMap", k8sretry.VerbPatch},
		{"Patch", func(ctx context.Context, c client.WithWatch) error { return c.Patch(ctx, configMap("x"), jsonPatch()) },
			false, "patch ConfigMap", k8sretry.VerbPatch},
		{"Patch", func(ctx context.Context, c client.WithWatch) error {
			return c.Patch(ctx, configMap("x"), jsonPatch(), &client.PatchOptions{Raw: &metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}})
		}, true, "patch ConfigMap", k8sretry.VerbUnspecified},
		{"Patch", func(ctx context.Context, c client.WithWatch) error {
			cm := configMap("x", "a", "b")
			cm.APIVersion, cm.Kind = "v1", "ConfigMap"
			//lint:ignore SA1019 it is still in use
			return c.Patch(ctx, cm, client.Apply, client.FieldOwner("test"))
		}, true, "patch ConfigMap", k8sretry.VerbApply},
		{"Apply", func(ctx context.Context, c client.WithWatch) error {
			return c.Apply(ctx, corev1apply.ConfigMap("x", "default").WithData(map[string]string{"a": "b"}), client.FieldOwner("test"))
		}, true, "apply ConfigMap", k8sretry.VerbApply},
		{"Delete", func(ctx context.Context, c client.WithWatch) error { return c.Delete(ctx, configMap("x")) },
			true, "delete ConfigMap", k8sretry.VerbDelete},
		{"DeleteAllOf", func(ctx context.Context, c client.WithWatch) error {
			return c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("default"))
		}, false, "deletecollection ConfigMap", k8sretry.VerbDeleteCollection},
		{"DeleteAllOf", func(ctx context.Context, c client.WithWatch) error {
			return c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("default"), client.DryRunAll)
		}, true, "deletecollection ConfigMap", k8sretry.VerbUnspecified},
		{"status.Update", func(ctx context.Context, c client.WithWatch) error {
			p := pod()
			p.Status.Phase = corev1.PodRunning
			return c.Status().Update(ctx, p)
		}, true, "update Pod/status", k8sretry.VerbUpdate},
		{"status.Patch", func(ctx context.Context, c client.WithWatch) error { return c.Status().Patch(ctx, pod(), merged()) },
			true, "patch Pod/status", k8sretry.VerbPatch},
		{"status.Apply", func(ctx context.Context, c client.WithWatch) error {
			return c.Status().Apply(ctx, corev1apply.Pod("web-0", "default").WithStatus(corev1apply.PodStatus().WithPhase(corev1.PodRunning)),
				client.FieldOwner("test"))
		}, true, "apply Pod/status", k8sretry.VerbApply},
		{"scale.Get", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("scale").Get(ctx, &appsv1.Deployment{ObjectMeta: meta("web")}, &autoscalingv1.Scale{})
		}, true, "get Deployment/scale", k8sretry.VerbGet},
		{"scale.Update", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("scale").Update(ctx, &appsv1.Deployment{ObjectMeta: meta("web")},
				client.WithSubResourceBody(&autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 3}}))
		}, true, "update Deployment/scale", k8sretry.VerbUpdate},
		{"token.Create", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta("robot")}, &authenticationv1.TokenRequest{})
		}, true, "create ServiceAccount/token", k8sretry.VerbUnspecified},
		{"eviction.Create", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("eviction").Create(ctx, pod(), evictionOf(""))
		}, false, "create Pod/eviction", k8sretry.VerbCreate},
		{"eviction.Create", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("eviction").Create(ctx, pod(), evictionOf("1"))
		}, true, "create Pod/eviction", k8sretry.VerbDelete},
	}
}

// notDone is a failure after which nothing was done. A webhook may fail, and refuse, in the
// middle of a collection.
func (m method) notDone() func() error {
	if m.verb == k8sretry.VerbDeleteCollection {
		return func() error { return k8sretrytest.TooManyRequests(time.Second) }
	}
	return notDone
}

// refused is a refusal of which that is true.
func (m method) refused() error {
	if m.verb == k8sretry.VerbDeleteCollection {
		return k8sretrytest.ServerStatus(403, metav1.StatusReasonForbidden, `configmaps is forbidden: User "web" cannot deletecollection resource "configmaps" in API group "" in the namespace "default"`)
	}
	return refused()
}

// A failure after which nothing was done is repeated, whatever the method.
func TestEveryMethodIsRepeated(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			f := &faults{only: m.name, err: m.notDone(), fail: 2}
			events := &recorder{}
			c := k8sretryctrl.NewClient(f.in(cluster()), k8sretry.WithObserver(events))
			begin := time.Now()
			require.NoError(t, m.call(t.Context(), c))
			assert.Equal(t, 3, f.count(m.name))
			assert.GreaterOrEqual(t, time.Since(begin), 3*time.Second, "the delays of the preset")
			for _, e := range events.all() {
				assert.Equal(t, m.event, e.Function)
				assert.Equal(t, m.verb, e.Verb)
			}
			assert.Len(t, events.all(), 3)
		})
	}
}

// One that may have been carried out is repeated where that does no harm.
func TestEveryMethodInDoubt(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			f := &faults{only: m.name, err: inDoubt, fail: 2}
			err := m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster())))
			if m.blind {
				require.NoError(t, err)
				assert.Equal(t, 3, f.count(m.name))
				return
			}
			assert.Equal(t, 1, f.count(m.name))
			assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.True(t, apierrors.IsTimeout(err))
			var e *k8sretry.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, k8sretry.StopOutcomeUnknown, e.StopReason)
			assert.Equal(t, m.verb, e.Verb)
			assert.Equal(t, m.event, e.Function)
			assert.Equal(t, 1, e.Attempts)
		})
	}
}

// A refusal is the caller's at once, and as it came.
func TestEveryMethodRefused(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			refusal := m.refused()
			f := &faults{only: m.name, err: func() error { return refusal }, fail: 1}
			begin := time.Now()
			assert.Same(t, refusal, m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster()))))
			assert.Equal(t, []string{m.name}, f.all())
			assert.Zero(t, time.Since(begin))
		})
	}
}

// Retries end, and the last error of the API is the first in the chain.
func TestEveryMethodGivesUp(t *testing.T) {
	for _, m := range methods() {
		inVirtualTime(t, m.name+" "+m.verb.String(), func(t *testing.T) {
			f := &faults{only: m.name, err: m.notDone(), fail: 1000}
			err := m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster()), k8sretry.WithMaxRetries(2)))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.Equal(t, apierrors.ReasonForError(m.notDone()()), apierrors.ReasonForError(err))
			assert.Equal(t, 3, f.count(m.name))
		})
	}
}

// Without a failure a call is one call.
func TestEveryMethodWithoutAFailure(t *testing.T) {
	for _, m := range methods() {
		f := &faults{}
		require.NoError(t, m.call(t.Context(), k8sretryctrl.NewClient(f.in(cluster()))), m.name)
		assert.Equal(t, []string{m.name}, f.all())
	}
}

func TestPresets(t *testing.T) {
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		method    string
		attempts  int
	}{
		{"a read: ForRead", nil, "Get", 4},
		{"a write: ForWrite", nil, "Patch", 6},
		{"options over both, reads", []k8sretry.Option{k8sretry.ForMaintenance()}, "Get", 11},
		{"options over both, writes", []k8sretry.Option{k8sretry.ForMaintenance()}, "Patch", 11},
		{"a verb means nothing here", []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbCreate)}, "Patch", 6},
	} {
		inVirtualTime(t, c.situation, func(t *testing.T) {
			f := &faults{err: inDoubt, fail: 1000}
			client := k8sretryctrl.NewClient(f.in(cluster()), c.opts...)
			for _, m := range methods() {
				if m.name == c.method && m.blind && (m.verb == k8sretry.VerbPatch || m.verb == k8sretry.VerbGet) {
					require.ErrorIs(t, m.call(t.Context(), client), k8sretry.ErrMaxRetries)
				}
			}
			assert.Equal(t, c.attempts, f.count(c.method))
		})
	}
	t.Run("a name of the caller's", func(t *testing.T) {
		events := &recorder{}
		c := k8sretryctrl.NewClient(cluster(), k8sretry.WithName("mine"), k8sretry.WithObserver(events))
		require.NoError(t, c.Get(t.Context(), key("x"), &corev1.ConfigMap{}))
		assert.Equal(t, "mine", events.all()[0].Function)
	})
}

// A dry run and a review store nothing. Their failures leave no doubt.
func TestWhatStoresNothing(t *testing.T) {
	for situation, call := range map[string]func(context.Context, client.WithWatch) error{
		"dry create": func(ctx context.Context, c client.WithWatch) error {
			return c.Create(ctx, configMap("new"), client.DryRunAll)
		},
		"dry update": func(ctx context.Context, c client.WithWatch) error {
			return c.Update(ctx, configMap("x"), client.DryRunAll)
		},
		"dry delete": func(ctx context.Context, c client.WithWatch) error {
			return c.Delete(ctx, configMap("x"), client.DryRunAll)
		},
		"dry status update": func(ctx context.Context, c client.WithWatch) error {
			return c.Status().Update(ctx, pod(), client.DryRunAll)
		},
		"dry eviction": func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("eviction").Create(ctx, pod(), evictionOf(""), client.DryRunAll)
		},
		"a client of dry runs": func(ctx context.Context, c client.WithWatch) error {
			return client.NewDryRunClient(c).Patch(ctx, configMap("x"), jsonPatch())
		},
		"a review": func(ctx context.Context, c client.WithWatch) error {
			return c.Create(ctx, &authorizationv1.SelfSubjectAccessReview{})
		},
	} {
		inVirtualTime(t, situation, func(t *testing.T) {
			f := &faults{err: inDoubt, fail: 1000}
			err := call(t.Context(), k8sretryctrl.NewClient(f.in(cluster())))
			assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			assert.Len(t, f.all(), 6)
		})
	}
	t.Run("a review has no annotation", func(t *testing.T) {
		var sent client.Object
		c := interceptor.NewClient(cluster(), interceptor.Funcs{
			Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
				sent = obj
				return nil
			},
		})
		require.NoError(t, k8sretryctrl.NewClient(c).Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{}))
		assert.Equal(t, &authorizationv1.SelfSubjectAccessReview{}, sent, "the server refuses metadata in it")
	})
	inVirtualTime(t, "other objects without a name are not repeated in doubt", func(t *testing.T) {
		f := &faults{err: inDoubt, fail: 1000}
		err := k8sretryctrl.NewClient(f.in(cluster())).Create(t.Context(), &corev1.Event{})
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Len(t, f.all(), 1)
	})
}
