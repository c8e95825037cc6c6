package retriedcontext

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func shadowed(ctx context.Context, clientset kubernetes.Interface) {
	_, _ = k8sretry.Do(ctx, func(c context.Context) (*corev1.Pod, error) {
		{
			c := clientset.CoreV1().Pods("a")
			return c.Get(ctx, "b", metav1.GetOptions{}) // want `ignores the context`
		}
	})
	_, _ = k8sretry.Do(ctx, func(_ context.Context) (*corev1.Pod, error) {
		if _, err := clientset.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{}); err != nil { // want `ignores the context`
			return nil, err
		}
		return clientset.CoreV1().Pods("a").Get(ctx, "c", metav1.GetOptions{}) // want `ignores the context`
	})
}
