// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// method is a call of one method of the client that succeeds on a cluster.
type method struct {
	name string // the name in faults
	call func(ctx context.Context, c client.WithWatch) error
	// retryUnknown reports whether the call is retried after an unknown outcome.
	retryUnknown bool
	// function and verb are those of the events.
	function string
	verb     k8sretry.Verb
}

func jsonPatch() client.Patch {
	return client.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/data/a","value":"b"}]`))
}

func labelPatch() client.Patch {
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
			true, "get configmaps", k8sretry.VerbGet},
		{"List", func(ctx context.Context, c client.WithWatch) error { return c.List(ctx, &corev1.ConfigMapList{}) },
			true, "list configmaps", k8sretry.VerbList},
		{"Watch", func(ctx context.Context, c client.WithWatch) error {
			w, err := c.Watch(ctx, &corev1.ConfigMapList{})
			if err == nil {
				w.Stop()
			}
			return err
		}, true, "watch configmaps", k8sretry.VerbWatch},
		{"Create", func(ctx context.Context, c client.WithWatch) error { return c.Create(ctx, configMap("new")) },
			true, "create configmaps", k8sretry.VerbCreate},
		{"Update", func(ctx context.Context, c client.WithWatch) error { return c.Update(ctx, configMap("x", "n", "1")) },
			true, "update configmaps", k8sretry.VerbUpdate},
		{"Patch", func(ctx context.Context, c client.WithWatch) error { return c.Patch(ctx, configMap("x"), labelPatch()) },
			true, "patch configmaps", k8sretry.VerbPatch},
		{"Patch", func(ctx context.Context, c client.WithWatch) error { return c.Patch(ctx, configMap("x"), jsonPatch()) },
			false, "patch configmaps", k8sretry.VerbPatch},
		{"Patch", func(ctx context.Context, c client.WithWatch) error {
			return c.Patch(ctx, configMap("x"), jsonPatch(), &client.PatchOptions{Raw: &metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}})
		}, true, "patch configmaps", k8sretry.VerbPatch},
		{"Patch", func(ctx context.Context, c client.WithWatch) error {
			cm := configMap("x", "a", "b")
			cm.APIVersion, cm.Kind = "v1", "ConfigMap"
			//lint:ignore SA1019 it is still in use
			return c.Patch(ctx, cm, client.Apply, client.FieldOwner("test"))
		}, true, "patch configmaps", k8sretry.VerbApply},
		{"Apply", func(ctx context.Context, c client.WithWatch) error {
			return c.Apply(ctx, corev1apply.ConfigMap("x", "default").WithData(map[string]string{"a": "b"}), client.FieldOwner("test"))
		}, true, "apply configmaps", k8sretry.VerbApply},
		{"Delete", func(ctx context.Context, c client.WithWatch) error { return c.Delete(ctx, configMap("x")) },
			true, "delete configmaps", k8sretry.VerbDelete},
		{"DeleteAllOf", func(ctx context.Context, c client.WithWatch) error {
			return c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("default"))
		}, false, "deletecollection configmaps", k8sretry.VerbDeleteCollection},
		{"DeleteAllOf", func(ctx context.Context, c client.WithWatch) error {
			return c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("default"), client.DryRunAll)
		}, true, "deletecollection configmaps", k8sretry.VerbUnspecified},
		{"status.Update", func(ctx context.Context, c client.WithWatch) error {
			p := pod()
			p.Status.Phase = corev1.PodRunning
			return c.Status().Update(ctx, p)
		}, true, "update pods/status", k8sretry.VerbUpdate},
		{"status.Patch", func(ctx context.Context, c client.WithWatch) error { return c.Status().Patch(ctx, pod(), labelPatch()) },
			true, "patch pods/status", k8sretry.VerbPatch},
		{"status.Apply", func(ctx context.Context, c client.WithWatch) error {
			return c.Status().Apply(ctx, corev1apply.Pod("web-0", "default").WithStatus(corev1apply.PodStatus().WithPhase(corev1.PodRunning)),
				client.FieldOwner("test"))
		}, true, "apply pods/status", k8sretry.VerbApply},
		{"scale.Get", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("scale").Get(ctx, &appsv1.Deployment{ObjectMeta: meta("web")}, &autoscalingv1.Scale{})
		}, true, "get deployments.apps/scale", k8sretry.VerbGet},
		{"scale.Update", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("scale").Update(ctx, &appsv1.Deployment{ObjectMeta: meta("web")},
				client.WithSubResourceBody(&autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 3}}))
		}, true, "update deployments.apps/scale", k8sretry.VerbUpdate},
		{"token.Create", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta("robot")}, &authenticationv1.TokenRequest{})
		}, true, "create serviceaccounts/token", k8sretry.VerbUnspecified},
		{"eviction.Create", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("eviction").Create(ctx, pod(), evictionOf(""))
		}, false, "create pods/eviction", k8sretry.VerbCreate},
		{"eviction.Create", func(ctx context.Context, c client.WithWatch) error {
			return c.SubResource("eviction").Create(ctx, pod(), evictionOf("1"))
		}, true, "create pods/eviction", k8sretry.VerbDelete},
	}
}

// notExecuted returns a transient error of a call that was not executed. For DeleteAllOf, an
// error of a webhook may follow the deletion of other objects.
func (m method) notExecuted() func() error {
	if m.verb == k8sretry.VerbDeleteCollection {
		return func() error { return k8sretrytest.TooManyRequests(time.Second) }
	}
	return notExecuted
}

// denied returns a permanent error of a call that was not executed.
func (m method) denied() error {
	if m.verb == k8sretry.VerbDeleteCollection {
		return k8sretrytest.ServerStatus(403, metav1.StatusReasonForbidden, `configmaps is forbidden: User "web" cannot deletecollection resource "configmaps" in API group "" in the namespace "default"`)
	}
	return denied()
}
