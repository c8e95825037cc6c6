// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// The first create is executed, but its response is lost. The retry finds an object with
// the same controller and content, and returns it. Otherwise it would return AlreadyExists.
func ExampleNewClient() {
	creates := 0
	inner := interceptor.NewClient(fake.NewFakeClient(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			err := c.Create(ctx, obj, opts...)
			if creates++; creates == 1 {
				return k8sretrytest.Status(http.StatusGatewayTimeout)
			}
			return err
		},
	})
	c := k8sretryctrl.NewClient(inner, k8sretry.WithInitialDelay(0))

	cm := owned(configMap("settings"))
	err := c.Create(context.Background(), cm)

	fmt.Println(err, creates, cm.ResourceVersion)
	// Output: <nil> 2 1
}

func ExampleModify() {
	totals := configMap("totals", "runs", "7")
	c := fake.NewClientBuilder().WithObjects(totals).Build()

	err := k8sretryctrl.Modify(context.Background(), c, totals, func(cm *corev1.ConfigMap) error {
		runs, err := strconv.Atoi(cm.Data["runs"])
		cm.Data["runs"] = strconv.Itoa(runs + 1)
		return err
	})

	fmt.Println(err, totals.Data["runs"])
	// Output: <nil> 8
}

func ExampleModifyStatus() {
	pod := pod()
	c := fake.NewClientBuilder().WithStatusSubresource(pod).WithObjects(pod).Build()

	err := k8sretryctrl.ModifyStatus(context.Background(), c, pod, func(pod *corev1.Pod) error {
		pod.Status.Phase = corev1.PodRunning
		return nil
	})

	fmt.Println(err, pod.Status.Phase)
	// Output: <nil> Running
}

func ExampleResult() {
	r := reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		c := k8sretryctrl.NewClient(outage(), k8sretry.WithMaxRetries(0))
		return k8sretryctrl.Result(c.Get(ctx, req.NamespacedName, &corev1.ConfigMap{}))
	})
	result, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "settings"}})
	fmt.Println(result.RequeueAfter >= 40e9, err)

	_, err = k8sretryctrl.Result(apierrors.NewBadRequest("no such field"))
	fmt.Println(err)
	// Output:
	// true <nil>
	// terminal error: no such field
}

// outage returns a client of an overloaded server.
func outage() client.Client {
	return interceptor.NewClient(fake.NewFakeClient(), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return k8sretrytest.TooManyRequests(40e9)
		},
	})
}
