package readpreset

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func wrong(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
	}, k8sretry.ForRead()) // want `ForRead on a update says that the call changes nothing`
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{})
	}, k8sretry.WithMaxRetries(2), k8sretry.ReadOnly()) // want `ReadOnly on a delete`
}

func right(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	}, k8sretry.ForRead())
	update := func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
	}
	_, _ = k8sretry.Do(ctx, update, k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbUpdate))
	_, _ = k8sretry.Do(ctx, update, k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.ForRead())
	_, _ = k8sretry.Do(ctx, update, k8sretry.ForRead(), k8sretry.ForWrite())
}

// A dry run changes nothing.
func dryRun(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	}, k8sretry.ForRead())
}
