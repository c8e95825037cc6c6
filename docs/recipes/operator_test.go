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

// inReconcile waits in the call for what passes within seconds. All else comes round
// again by the queue, which gives the worker to another object meanwhile.
var inReconcile = k8sretry.NewPolicy(
	k8sretry.WithMaxRetries(2), k8sretry.WithInitialDelay(500*time.Millisecond), k8sretry.WithMaxDelay(2*time.Second),
	k8sretry.WithMaxRetryAfter(2*time.Second), k8sretry.WithAttemptTimeout(10*time.Second),
)

type Controller struct {
	Clientset kubernetes.Interface
	Queue     workqueue.TypedRateLimitingInterface[string]
	Out       io.Writer
}

// next works on one key of the queue, and decides when the key comes round again.
func (c *Controller) next(ctx context.Context) bool {
	name, shutdown := c.Queue.Get()
	if shutdown {
		return false
	}
	defer c.Queue.Done(name)
	err := c.reconcile(ctx, name)
	stopped, gaveUp := errors.AsType[*k8sretry.Error](err)
	switch {
	case err == nil:
		c.Queue.Forget(name)
		fmt.Fprintln(c.Out, name, "is as it should be")
	case gaveUp && stopped.RetryAfter > 0:
		c.Queue.AddAfter(name, stopped.RetryAfter) // the server has said when
		fmt.Fprintln(c.Out, name, "again in", stopped.RetryAfter)
	default:
		c.Queue.AddRateLimited(name)
		fmt.Fprintln(c.Out, name, "again later:", err)
	}
	return true
}

// reconcile scales a Deployment to what its annotation says. It begins with a read, so
// it may begin again after any failure, also one whose outcome is unknown.
func (c *Controller) reconcile(ctx context.Context, name string) error {
	_, err := k8sretry.Modify(ctx, c.Clientset.AppsV1().Deployments("default"), name, func(d *appsv1.Deployment) error {
		n, err := strconv.ParseInt(d.Annotations["example.com/replicas"], 10, 32)
		if err != nil {
			return fmt.Errorf("replicas: %w", err)
		}
		replicas := int32(n)
		d.Spec.Replicas = &replicas
		return nil
	}, inReconcile, k8sretry.WithTokenAnnotation("")) // a reconcile proves itself: it reads
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
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

		faults.FailNext(1, "get", "deployments", k8sretrytest.TooManyRequests(time.Minute)) // too long for a worker
		faults.FailNext(2, "get", "deployments", k8sretrytest.Status(503))                  // passes within the call
		faults.FailNext(3, "update", "deployments", k8sretrytest.Status(403))               // does not pass: the queue's
		faults.FailNext(1, "update", "deployments", k8sretrytest.ConnectionClosed())

		c.Queue.Add("web")
		c.Queue.Add("gone")
		start := time.Now()
		for range 6 {
			require.True(t, c.next(t.Context()))
		}
		assert.Equal(t, `web again in 1m0s
gone is as it should be
web again later: Forbidden
web again later: Forbidden
web again later: Forbidden
web is as it should be
`, strings.ReplaceAll(out.String(), " (put pods web-0)", ""))
		assert.InDelta(t, 62, time.Since(start).Seconds(), 2)

		d, err := clientset.AppsV1().Deployments("default").Get(t.Context(), "web", metav1.GetOptions{})
		require.NoError(t, err)
		assert.EqualValues(t, 3, *d.Spec.Replicas)
	})
}
