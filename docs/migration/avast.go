// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"context"
	"time"

	"github.com/avast/retry-go/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func avastBefore(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return retry.NewWithData[*corev1.Pod](
		retry.Context(ctx),
		retry.Attempts(4),
		retry.Delay(time.Second),
		retry.MaxDelay(10*time.Second),
		retry.RetryIf(transient),
		retry.LastErrorOnly(true),
	).Do(func() (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	})
}

func avastAfter(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	}, k8sretry.ForRead())
}
