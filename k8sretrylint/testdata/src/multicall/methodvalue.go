package multicall

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func methodValues(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, config *corev1.ConfigMap) {
	createPod, createConfig := c.CoreV1().Pods("a").Create, c.CoreV1().ConfigMaps("a").Create
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		if _, err := createPod(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := createConfig(ctx, config, metav1.CreateOptions{}) // want `.*`
		return err
	}, k8sretry.WithVerb(k8sretry.VerbCreate))
}
