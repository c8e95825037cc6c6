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

// bind assigns this pod to a node. A pod is assigned once, and the UID keeps the binding
// from another pod of its name: it is safe to ask again, though a binding is a create.
// Hence no WithVerb. Whether a conflict is about a binding of our own, the pod tells.
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
	now, lookErr := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return pods.Get(ctx, pod.Name, metav1.GetOptions{})
	}, k8sretry.ForRead())
	if lookErr == nil && now.UID == pod.UID && now.Spec.NodeName == node {
		return nil
	}
	return err
}

func TestBind(t *testing.T) {
	assigned := apierrors.NewConflict(corev1.Resource("pods/binding"), "web-0", errors.New(`pod web-0 is already assigned to node "a"`))
	fault := apierrors.NewConflict(corev1.Resource("pods/binding"), "web-0", errors.New("etcdserver: request timed out"))
	for name, day := range map[string]struct {
		answers []error
		node    string // of the pod, when it is looked at
		check   func(t *testing.T, err error)
	}{
		"at once": {
			[]error{nil}, "",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"the answer is lost, and the pod is where it should be": {
			[]error{k8sretrytest.ConnectionClosed(), assigned}, "a",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"etcd times out, which the server calls a conflict": {
			[]error{fault, assigned}, "a",
			func(t *testing.T, err error) { assert.NoError(t, err) },
		},
		"the answer is lost, and somebody else was quicker": {
			[]error{k8sretrytest.ConnectionClosed(), assigned}, "b",
			func(t *testing.T, err error) { assert.True(t, apierrors.IsConflict(err), "%v", err) },
		},
		"somebody else was here before": {
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
				stored.Spec.NodeName = day.node
				clientset, faults := cluster(stored)
				for _, answer := range day.answers {
					faults.FailNext(1, "create", "pods/binding", answer)
				}
				day.check(t, bind(t.Context(), clientset, pod, "a"))
			})
		})
	}
}
