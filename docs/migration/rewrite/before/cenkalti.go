// SPDX-License-Identifier: Apache-2.0

package before

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Cenkalti reads a pod.
func Cenkalti(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return backoff.Retry(ctx, func() (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil && !transient(err) {
			return nil, backoff.Permanent(err)
		}
		return pod, err
	}, backoff.WithMaxTries(4), backoff.WithMaxElapsedTime(time.Minute))
}
