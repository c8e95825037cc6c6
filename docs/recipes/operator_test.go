// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// inReconcile retries only for a few seconds. After longer failures the queue repeats the
// reconcile, and the worker can handle other objects in the meantime.
var inReconcile = k8sretry.NewPolicy(
	k8sretry.WithMaxRetries(2), k8sretry.WithInitialDelay(500*time.Millisecond), k8sretry.WithMaxDelay(2*time.Second),
	k8sretry.WithMaxRetryAfter(2*time.Second), k8sretry.WithAttemptTimeout(10*time.Second),
)

type Controller struct {
	Clientset kubernetes.Interface
	Queue     workqueue.TypedRateLimitingInterface[string]
	Out       io.Writer
}

// processNext reconciles one key of the queue, and decides when to repeat it.
func (c *Controller) processNext(ctx context.Context) bool {
	name, shutdown := c.Queue.Get()
	if shutdown {
		return false
	}
	defer c.Queue.Done(name)
	err := c.reconcile(ctx, name)
	var stopped *k8sretry.Error
	gaveUp := errors.As(err, &stopped)
	switch {
	case err == nil:
		c.Queue.Forget(name)
		fmt.Fprintln(c.Out, name, "reconciled")
	case gaveUp && stopped.RetryAfter > 0:
		c.Queue.AddAfter(name, stopped.RetryAfter) // the time that the server asked for
		fmt.Fprintln(c.Out, name, "retry in", stopped.RetryAfter)
	default:
		c.Queue.AddRateLimited(name)
		fmt.Fprintln(c.Out, name, "retry later:", err)
	}
	return true
}

// reconcile scales a Deployment to the number in its annotation. It starts with a read,
// so it can be repeated after any failure, even one of unknown outcome.
func (c *Controller) reconcile(ctx context.Context, name string) error {
	_, err := k8sretry.Modify(ctx, c.Clientset.AppsV1().Deployments("default"), name, func(d *appsv1.Deployment) error {
		n, err := strconv.ParseInt(d.Annotations["example.com/replicas"], 10, 32)
		if err != nil {
			return fmt.Errorf("replicas: %w", err)
		}
		replicas := int32(n)
		d.Spec.Replicas = &replicas
		return nil
	}, inReconcile, k8sretry.WithTokenAnnotation("")) // not needed: the next reconcile reads the result
	if apierrors.IsNotFound(err) {
		return nil // deleted in the meantime
	}
	return err
}

func TestOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := int32(1)
		clientset, faults := cluster(&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Annotations: map[string]string{"example.com/replicas": "3"}},
			Spec:       appsv1.DeploymentSpec{Replicas: &one},
		})
		var out strings.Builder
		c := &Controller{clientset, workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()), &out}
		defer c.Queue.ShutDown()

		faults.FailNext(1, "get", "deployments", k8sretrytest.TooManyRequests(time.Minute)) // too long for the call
		faults.FailNext(2, "get", "deployments", k8sretrytest.Status(503))                  // retried within the call
		faults.FailNext(3, "update", "deployments", k8sretrytest.Status(403))               // not retryable: repeated by the queue
		faults.FailNext(1, "update", "deployments", k8sretrytest.ConnectionClosed())

		c.Queue.Add("web")
		c.Queue.Add("gone")
		start := time.Now()
		for range 6 {
			require.True(t, c.processNext(t.Context()))
		}
		assert.Equal(t, `web retry in 1m0s
gone reconciled
web retry later: Forbidden
web retry later: Forbidden
web retry later: Forbidden
web reconciled
`, strings.ReplaceAll(out.String(), " (put deployments.apps web)", ""))
		assert.InDelta(t, 62, time.Since(start).Seconds(), 2)

		d, err := clientset.AppsV1().Deployments("default").Get(t.Context(), "web", metav1.GetOptions{})
		require.NoError(t, err)
		assert.EqualValues(t, 3, *d.Spec.Replicas)
	})
}
