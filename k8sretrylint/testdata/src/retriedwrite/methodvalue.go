package retriedwrite

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	clientretry "k8s.io/client-go/util/retry"
)

func methodValues(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, pods typed.PodInterface, fallback bool) {
	create := c.CoreV1().Pods("a").Create
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := create(ctx, pod, metav1.CreateOptions{}) // want `retry.OnError repeats a write after any error: if the answer to a create is lost`
		return err
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, throttled, func() error {
		_, err := create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	var remove func(context.Context, string, metav1.DeleteOptions) error
	remove = (c.CoreV1().Pods("a").Delete)
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		return remove(ctx, "b", metav1.DeleteOptions{}) // want `if the answer to a delete is lost`
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		return remove(ctx, "b", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{}})
	})
	// A method expression takes the client as its first argument.
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		return typed.PodInterface.Delete(pods, ctx, "b", metav1.DeleteOptions{}) // want `if the answer to a delete is lost`
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		return typed.PodInterface.Delete(pods, ctx, "b", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{}})
	})
	// Not the same method in each case.
	other := c.CoreV1().Pods("a").Create
	if fallback {
		other = c.CoreV1().Pods("a").(interface {
			Create(context.Context, *corev1.Pod, metav1.CreateOptions) (*corev1.Pod, error)
		}).Create
	}
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := other(ctx, pod, metav1.CreateOptions{})
		return err
	})
}
