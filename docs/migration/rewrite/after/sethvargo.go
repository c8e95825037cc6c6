// SPDX-License-Identifier: Apache-2.0

package after

import (
	"context"
	"fmt"
	"time"

	"github.com/k8sretry/k8sretry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Sethvargo reads a pod.
func Sethvargo(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return nil, err
		}
		return pod, err
	}, k8sretry.WithVerb(k8sretry.VerbGet))
}

// SethvargoChain reads a pod with a schedule that is made in several statements.
func SethvargoChain(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return nil, fmt.Errorf("pod %s: %w", name, err)
		}
		return pod, err
	}, k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithBackoff(k8sretry.BackoffFunc(func(n int) time.Duration {
		d, next := 500*time.Millisecond, time.Second
		for ; n > 1; n-- {
			d, next = next, min(d+next, 2*time.Second)
		}
		return d
	})))
}
