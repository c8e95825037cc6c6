// SPDX-License-Identifier: Apache-2.0

package before

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Sethvargo reads a pod.
func Sethvargo(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	backoff := retry.WithMaxRetries(3, retry.WithCappedDuration(10*time.Second, retry.NewExponential(time.Second)))
	return retry.DoValue(ctx, backoff, func(ctx context.Context) (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return nil, retry.RetryableError(err)
		}
		return pod, err
	})
}
