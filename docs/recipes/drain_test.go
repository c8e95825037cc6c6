// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// drain evicts pods one by one and waits for disruption budgets. The context must have
// a deadline; nothing else limits the wait.
func drain(ctx context.Context, clientset kubernetes.Interface, pods []corev1.Pod, out io.Writer, opts ...k8sretry.Option) error {
	opts = append(opts, k8sretry.WithObserver(waitReason{out}))
	for _, pod := range pods {
		if err := k8sretry.Evict(ctx, clientset.CoreV1().Pods(pod.Namespace), &pod, metav1.DeleteOptions{}, opts...); err != nil {
			return fmt.Errorf("evicting %s: %w", pod.Name, err)
		}
		fmt.Fprintln(out, "evicted", pod.Name)
	}
	return nil
}

// waitReason prints why the drain is waiting.
type waitReason struct{ out io.Writer }

func (w waitReason) Observe(_ context.Context, e k8sretry.Event) {
	if e.Kind == k8sretry.EventRetry {
		fmt.Fprintf(w.out, "waiting %v: %s\n", e.Delay.Round(time.Second), reason(e))
	}
}

func TestDrain(t *testing.T) {
	pods := []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default", UID: "1"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "default", UID: "2"}},
	}
	refused := k8sretrytest.DisruptionBudget()
	for name, c := range map[string]struct {
		faults func(*k8sretrytest.Faults)
		out    string
		check  func(t *testing.T, err error)
	}{
		"budget allows one eviction at a time": {
			func(f *k8sretrytest.Faults) {
				f.FailNext(1, "create", "pods/eviction", nil)
				f.FailNext(2, "create", "pods/eviction", refused)
			},
			"evicted web-0\nwaiting 5s: blocked by a disruption budget\nwaiting 8s: blocked by a disruption budget\nevicted web-1\n",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"answer is lost, pod is gone": {
			func(f *k8sretrytest.Faults) {
				f.FailNext(1, "create", "pods/eviction", k8sretrytest.ConnectionClosed())
				f.FailNext(1, "create", "pods/eviction", apierrors.NewNotFound(corev1.Resource("pods"), "web-0"))
			},
			"waiting 1s: connection lost\nevicted web-0\nevicted web-1\n",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"another pod has the name": {
			func(f *k8sretrytest.Faults) {
				f.FailNext(1, "create", "pods/eviction", apierrors.NewConflict(corev1.Resource("Pod"), "web-0", errors.New("the UID in the precondition does not match")))
			},
			"evicted web-0\nevicted web-1\n",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"every update of the budget conflicts": {
			func(f *k8sretrytest.Faults) {
				f.FailNext(99, "create", "pods/eviction", apierrors.NewConflict(policyv1.Resource("poddisruptionbudgets"), "web", errors.New("the object has been modified")))
			},
			"waiting 1s: server error\nwaiting 2s: server error\nwaiting 4s: server error\nwaiting 8s: server error\nwaiting 16s: server error\n",
			func(t *testing.T, err error) { assert.ErrorIs(t, err, k8sretry.ErrDeadline, "the pod was not evicted") },
		},
		"budget allows no eviction": {
			func(f *k8sretrytest.Faults) { f.FailNext(99, "create", "pods/eviction", refused) },
			"waiting 5s: blocked by a disruption budget\nwaiting 8s: blocked by a disruption budget\n" +
				"waiting 11s: blocked by a disruption budget\nwaiting 17s: blocked by a disruption budget\n",
			func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.True(t, apierrors.IsTooManyRequests(err), "the last answer: %v", err)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientset, faults := cluster(&pods[0], &pods[1])
				c.faults(faults)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var out strings.Builder
				c.check(t, drain(ctx, clientset, pods, &out, exact))
				assert.Equal(t, c.out, out.String())
			})
		})
	}
}
