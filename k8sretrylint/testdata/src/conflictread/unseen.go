package conflictread

import (
	"context"
	_ "unsafe" // for go:linkname

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

//go:linkname elsewhere example.org/elsewhere.change
func elsewhere(pod *corev1.Pod)

func withoutBody(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		elsewhere(pod)
		_, err := c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}

// A context of a type of its own is no object that is updated.
type request struct{ context.Context }

func ownContext(req request, c kubernetes.Interface, pod *corev1.Pod) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod.Labels = nil
		_, err := c.CoreV1().Pods("a").Update(req, pod, metav1.UpdateOptions{}) // want `does not read pod again`
		return err
	})
}
