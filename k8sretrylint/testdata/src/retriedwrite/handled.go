package retriedwrite

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func handledByCaller(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	always := func(error) bool { return true }
	err := retry.OnError(retry.DefaultBackoff, always, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := retry.OnError(retry.DefaultBackoff, always, func() error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{})
	}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	err = retry.OnError(retry.DefaultBackoff, always, func() error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{}) // want `repeats a write after any error`
	})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(retry.OnError(retry.DefaultBackoff, always, func() error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{})
	}))
}

func dryRun(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, opts metav1.CreateOptions) {
	_ = retry.OnError(retry.DefaultBackoff, func(error) bool { return true }, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}
