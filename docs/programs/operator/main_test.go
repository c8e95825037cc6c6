// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestReconcileOutlastsALostAnswer(t *testing.T) {
	creates := 0
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "1", Labels: map[string]string{"settings": "web-settings"}}}
	inner := interceptor.NewClient(fake.NewFakeClient(web), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			err := c.Create(ctx, obj, opts...)
			if creates++; creates == 1 {
				return k8sretrytest.Status(http.StatusGatewayTimeout)
			}
			return err
		},
	})
	r := &reconciler{client: k8sretryctrl.NewClient(inner, k8sretry.WithInitialDelay(0))}

	_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(web)})

	require.NoError(t, err)
	assert.NoError(t, inner.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "web-settings"}, &corev1.ConfigMap{}))
}
