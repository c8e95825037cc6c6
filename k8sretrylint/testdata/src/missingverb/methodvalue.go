package missingverb

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func methodValue(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	create := c.CoreV1().Pods("a").Create
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) { // want `k8sretry.Do around a create without a verb`
		return create(ctx, pod, metav1.CreateOptions{})
	})
}
