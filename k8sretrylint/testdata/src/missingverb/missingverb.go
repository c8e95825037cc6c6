package missingverb

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

var policy = k8sretry.NewPolicy(k8sretry.ForWrite())

var creates = k8sretry.NewPolicy(k8sretry.ForWrite(), k8sretry.WithVerb(k8sretry.VerbCreate))

func wrong(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) { // want `k8sretry.Do around a create without a verb`
		return c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error { // want `k8sretry.Run around a delete without a verb`
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{})
	}, policy)
}

func right(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, opts ...k8sretry.Option) {
	create := func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
	}
	_, _ = k8sretry.Do(ctx, create, k8sretry.WithVerb(k8sretry.VerbCreate))
	_, _ = k8sretry.Do(ctx, create, creates)
	_, _ = k8sretry.Do(ctx, create, opts...)
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{}})
	})
}

// A dry run changes nothing.
func dryRun(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	}, k8sretry.ForWrite())
}
