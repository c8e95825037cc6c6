// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// bind assigns a pod to a node. A pod can be bound only once, and the UID protects other
// pods with its name. So, although a binding is a create, it is safe to repeat and has no
// WithVerb. After a conflict of unknown outcome, the pod shows whether it was bound to the
// node.
func bind(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod, node string, opts ...k8sretry.Option) error {
	pods := clientset.CoreV1().Pods(pod.Namespace)
	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		return pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node},
		}, metav1.CreateOptions{})
	}, opts...)
	if !errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return err
	}
	current, getErr := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return pods.Get(ctx, pod.Name, metav1.GetOptions{})
	}, k8sretry.ForRead())
	if getErr == nil && current.UID == pod.UID && current.Spec.NodeName == node {
		return nil
	}
	return err
}

func TestBind(t *testing.T) {
	assigned := apierrors.NewConflict(corev1.Resource("pods/binding"), "web-0", errors.New(`pod web-0 is already assigned to node "a"`))
	fault := apierrors.NewConflict(corev1.Resource("pods/binding"), "web-0", errors.New("etcdserver: request timed out"))
	for name, c := range map[string]struct {
		answers []error
		node    string // node of the pod when it is read
		check   func(t *testing.T, err error)
	}{
		"first attempt succeeds": {
			[]error{nil}, "",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"answer is lost, pod is bound to the node": {
			[]error{k8sretrytest.ConnectionClosed(), assigned}, "a",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"etcd times out, reported as a conflict": {
			[]error{fault, assigned}, "a",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"answer is lost, pod is bound to another node": {
			[]error{k8sretrytest.ConnectionClosed(), assigned}, "b",
			func(t *testing.T, err error) { assert.True(t, apierrors.IsConflict(err), "%v", err) },
		},
		"pod was bound before": {
			[]error{assigned}, "a",
			func(t *testing.T, err error) {
				assert.True(t, apierrors.IsConflict(err), "%v", err)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "default", UID: "1"}}
				stored := pod.DeepCopy()
				stored.Spec.NodeName = c.node
				clientset, faults := cluster(stored)
				for _, answer := range c.answers {
					faults.FailNext(1, "create", "pods/binding", answer)
				}
				c.check(t, bind(t.Context(), clientset, pod, "a"))
			})
		})
	}
}
