// SPDX-License-Identifier: Apache-2.0

package before

import (
	"context"
	"fmt"
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

// SethvargoChain reads a pod with a schedule that is made in several statements.
func SethvargoChain(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	b := retry.NewFibonacci(500 * time.Millisecond)
	b = retry.WithCappedDuration(2*time.Second, b)
	b = retry.WithMaxRetries(3, b)
	return retry.DoValue(ctx, b, func(ctx context.Context) (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return nil, retry.RetryableError(fmt.Errorf("pod %s: %w", name, err))
		}
		return pod, err
	})
}
