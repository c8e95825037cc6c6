// SPDX-License-Identifier: Apache-2.0

package after

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Cenkalti reads a pod.
func Cenkalti(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil && !transient(err) {
			return nil, k8sretry.Permanent(err)
		}
		return pod, err
	}, k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithInitialDelay(500*time.Millisecond), k8sretry.WithMultiplier(1.5), k8sretry.WithMaxElapsed(time.Minute))
}
