// SPDX-License-Identifier: Apache-2.0

package after

import (
	"context"

	"github.com/k8sretry/k8sretry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Avast reads a pod.
func Avast(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	}, k8sretry.WithVerb(k8sretry.VerbGet))
}
