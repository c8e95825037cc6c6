package conflictread

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/util/retry"
)

func methodValues(ctx context.Context, c kubernetes.Interface, lister listers.PodLister, pod *corev1.Pod) {
	get, update, cached := c.CoreV1().Pods("a").Get, c.CoreV1().Pods("a").Update, lister.Pods("a").Get
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod.Labels = nil
		_, err := update(ctx, pod, metav1.UpdateOptions{}) // want `retry.RetryOnConflict does not read pod again`
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		old, err := cached("b") // want `retry.RetryOnConflict reads from a lister`
		if err != nil {
			return err
		}
		changed := old.DeepCopy()
		changed.Labels = nil
		_, err = update(ctx, changed, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		read, err := get(ctx, "b", metav1.GetOptions{})
		if err != nil {
			return err
		}
		read.Labels = nil
		_, err = update(ctx, read, metav1.UpdateOptions{})
		return err
	})
}
