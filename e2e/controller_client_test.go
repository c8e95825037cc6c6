// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/http"
	"testing"

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
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/e2e/internal/faultproxy"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// Every method of the client of k8sretryctrl works if the first answer to each write is
// lost.
func TestControllerClientWithLostAnswers(t *testing.T) {
	c := start(t)
	both(t, c, func(t *testing.T, p *faultproxy.Proxy) {
		ns := namespace(t, c)
		plain, err := ctrl.New(c.Config(app), ctrl.Options{})
		require.NoError(t, err)
		proxied, err := ctrl.NewWithWatch(p.Config(c.Config(app)), ctrl.Options{FieldOwner: "e2e"})
		require.NoError(t, err)
		events := &recorder{}
		policy, _ := restartPolicies(events)
		client := k8sretryctrl.NewClient(proxied, policy)
		ctx := t.Context()
		meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
		lose := func() {
			p.SetRule(faultproxy.When(func(r *http.Request) bool { return r.Method != "GET" }, faultproxy.Next(1, faultproxy.Close().AfterCommit())))
		}
		retries := 0
		newRetries := func() int {
			before := retries
			retries = events.Retries()
			return retries - before
		}
		requireRetried := func(what string, err error) {
			t.Helper()
			require.NoError(t, err, what)
			require.NotZero(t, newRetries(), what)
		}
		cm := &corev1.ConfigMap{ObjectMeta: meta("x"), Data: map[string]string{"n": "0"}}
		cm.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "owner", Controller: func() *bool { t := true; return &t }()}}
		lose()
		requireRetried("create", client.Create(ctx, cm))
		require.NotEmpty(t, cm.UID)

		version := cm.ResourceVersion
		require.NoError(t, client.Update(ctx, cm))
		assert.Equal(t, version, cm.ResourceVersion, "an update without a change keeps the resource version")
		cm.Data["n"] = "1"
		lose()
		requireRetried("update", client.Update(ctx, cm))
		assert.NotEqual(t, version, cm.ResourceVersion)

		lose()
		requireRetried("merge patch", client.Patch(ctx, cm, ctrl.RawPatch(types.MergePatchType, []byte(`{"data":{"n":"2"}}`))))
		assert.Equal(t, "2", cm.Data["n"])
		lose()
		err = client.Patch(ctx, cm, ctrl.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/data/m","value":"3"}]`)))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "a JSON patch is not repeated")
		assert.Zero(t, newRetries())
		lose()
		requireRetried("apply", client.Apply(ctx, corev1apply.ConfigMap("y", ns).WithData(map[string]string{"a": "b"})))
		lose()
		requireRetried("delete", client.Delete(ctx, cm))
		lose()
		err = client.DeleteAllOf(ctx, &corev1.ConfigMap{}, ctrl.InNamespace(ns))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "a delete of a collection is not repeated")

		lose()
		requireRetried("review", client.Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"},
		}}))

		labels := map[string]string{"app": "web"}
		spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}
		web := &appsv1.Deployment{ObjectMeta: meta("web"), Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		}}
		require.NoError(t, plain.Create(ctx, web))
		web.Status.Replicas = 1
		lose()
		requireRetried("status update", client.Status().Update(ctx, web))
		assert.EqualValues(t, 1, web.Status.Replicas)
		lose()
		requireRetried("status patch", client.Status().Patch(ctx, web, ctrl.RawPatch(types.MergePatchType, []byte(`{"status":{"replicas":2}}`))))
		assert.EqualValues(t, 2, web.Status.Replicas)
		scale := &autoscalingv1.Scale{}
		require.NoError(t, client.SubResource("scale").Get(ctx, web, scale))
		scale.Spec.Replicas = 5
		scale.ResourceVersion = ""
		lose()
		requireRetried("scale", client.SubResource("scale").Update(ctx, web, ctrl.WithSubResourceBody(scale)))
		assert.EqualValues(t, 5, scale.Spec.Replicas)

		account := &corev1.ServiceAccount{ObjectMeta: meta("default")}
		require.NoError(t, plain.Create(ctx, account))
		token := &authenticationv1.TokenRequest{}
		lose()
		requireRetried("token", client.SubResource("token").Create(ctx, account, token))
		assert.NotEmpty(t, token.Status.Token)

		pod := &corev1.Pod{ObjectMeta: meta("web-0"), Spec: spec}
		require.NoError(t, plain.Create(ctx, pod))
		lose()
		requireRetried("eviction", client.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
			DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))},
		}))
		assert.True(t, apierrors.IsNotFound(plain.Get(ctx, ctrl.ObjectKeyFromObject(pod), pod)))

		w, err := client.Watch(ctx, &corev1.ConfigMapList{}, ctrl.InNamespace(ns))
		require.NoError(t, err)
		w.Stop()
		list := &corev1.ConfigMapList{}
		require.NoError(t, client.List(ctx, list, ctrl.InNamespace(ns)))
		assert.Empty(t, list.Items)
	})
}
