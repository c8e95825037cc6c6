// SPDX-License-Identifier: Apache-2.0

package before

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// OnError reads a pod.
func OnError(ctx context.Context, clientset kubernetes.Interface, name string) (pod *corev1.Pod, err error) {
	backoff := wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2, Jitter: 0.2}
	err = retry.OnError(backoff, transient, func() error {
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return pod, err
}

// Condition reads a pod.
func Condition(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	var pod *corev1.Pod
	err := wait.ExponentialBackoff(wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}, func() (bool, error) {
		var err error
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, nil
	})
	return pod, err
}

// ConditionWithContext reads a pod.
func ConditionWithContext(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	var pod *corev1.Pod
	err := wait.ExponentialBackoffWithContext(ctx, wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}, func(ctx context.Context) (bool, error) {
		var err error
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			if transient(err) {
				return false, nil
			}
			return false, err
		}
		return true, nil
	})
	return pod, err
}

// CountRun increments the number of runs.
func CountRun(ctx context.Context, clientset kubernetes.Interface) error {
	configMaps := clientset.CoreV1().ConfigMaps("default")
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		totals, err := configMaps.Get(ctx, "totals", metav1.GetOptions{})
		if err != nil {
			return err
		}
		totals.Data["runs"] += "I"
		_, err = configMaps.Update(ctx, totals, metav1.UpdateOptions{})
		return err
	})
}

// Fail sets the phase of a pod.
func Fail(ctx context.Context, clientset kubernetes.Interface, name string) error {
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase == corev1.PodFailed {
			return nil
		}
		pod.Status.Phase = corev1.PodFailed
		if _, err := clientset.CoreV1().Pods("default").UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return nil
	}); err != nil {
		return err
	}
	return nil
}

// Create creates a ConfigMap.
func Create(ctx context.Context, clientset kubernetes.Interface, cm *corev1.ConfigMap) error {
	return retry.OnError(wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}, transient, func() error {
		_, err := clientset.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
		return err
	})
}

// CreateAnyhow is not rewritten: it repeats every error of a create.
func CreateAnyhow(ctx context.Context, clientset kubernetes.Interface, cm *corev1.ConfigMap) error {
	return retry.OnError(wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}, func(error) bool { return true }, func() error {
		_, err := clientset.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
		return err
	})
}
