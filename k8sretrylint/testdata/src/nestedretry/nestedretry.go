package nestedretry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

func wrong(ctx context.Context, c kubernetes.Interface) {
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		return retry.RetryOnConflict(retry.DefaultRetry, func() error { return touch(ctx, c) }) // want `retry.RetryOnConflict inside retry.RetryOnConflict: the attempts multiply`
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		return touchWithRetry(ctx, c) // want `touchWithRetry, which calls retry.RetryOnConflict, inside retry.RetryOnConflict`
	})
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) { // want `k8sretry.Do inside k8sretry.Do: the outer call does not repeat`
			return c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		})
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		return touchWithRetry(ctx, c) // want `a read, a change and a write as a whole`
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		return retry.OnError(retry.DefaultBackoff, apierrors.IsServiceUnavailable, func() error { // want `retry.OnError inside k8sretry.Run: the attempts multiply`
			return touch(ctx, c)
		})
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		_, err := k8sretry.Modify(ctx, c.CoreV1().Pods("a"), "b", func(*corev1.Pod) error { return nil }) // want `k8sretry.Modify inside retry.RetryOnConflict`
		return err
	})
}

func touch(ctx context.Context, c kubernetes.Interface) error {
	pod, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, err = c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
	return err
}

func touchWithRetry(ctx context.Context, c kubernetes.Interface) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error { return touch(ctx, c) })
}

// The outer retry repeats other errors than the inner one.
func right(ctx context.Context, c kubernetes.Interface) {
	_ = retry.OnError(retry.DefaultBackoff, apierrors.IsServiceUnavailable, func() error {
		return retry.RetryOnConflict(retry.DefaultRetry, func() error { return touch(ctx, c) })
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		return retry.OnError(retry.DefaultBackoff, apierrors.IsServiceUnavailable, func() error { return touch(ctx, c) })
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { return touch(ctx, c) })
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err
	})
}
