// SPDX-License-Identifier: Apache-2.0

package after

import (
	"context"
	"time"

	"github.com/k8sretry/k8sretry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// OnError reads a pod.
func OnError(ctx context.Context, clientset kubernetes.Interface, name string) (pod *corev1.Pod, err error) {
	err = k8sretry.Run(ctx, func(ctx context.Context) error {
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	}, k8sretry.WithVerb(k8sretry.VerbGet))
	return pod, err
}

// Condition reads a pod.
func Condition(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	var pod *corev1.Pod
	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		var err error
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return err
		}
		if err != nil {
			return err
		}
		return nil
	}, k8sretry.WithVerb(k8sretry.VerbGet))
	return pod, err
}

// ConditionWithContext reads a pod.
func ConditionWithContext(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	var pod *corev1.Pod
	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		var err error
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			if transient(err) {
				return err
			}
			return err
		}
		return nil
	}, k8sretry.WithVerb(k8sretry.VerbGet))
	return pod, err
}

// CountRun increments the number of runs.
func CountRun(ctx context.Context, clientset kubernetes.Interface) error {
	configMaps := clientset.CoreV1().ConfigMaps("default")
	_, err := k8sretry.Modify(ctx, configMaps, "totals", func(totals *corev1.ConfigMap) error {
		totals.Data["runs"] += "I"
		return nil
	}, k8sretry.ForWrite())
	return err
}

// Fail sets the phase of a pod.
func Fail(ctx context.Context, clientset kubernetes.Interface, name string) error {
	if _, err := k8sretry.Modify(ctx, k8sretry.StatusSubresource(clientset.CoreV1().Pods("default")), name, func(pod *corev1.Pod) error {
		if pod.Status.Phase == corev1.PodFailed {
			return nil
		}
		pod.Status.Phase = corev1.PodFailed
		return nil
	}, k8sretry.ForWrite()); err != nil {
		return err
	}
	return nil
}

// Create creates a ConfigMap.
func Create(ctx context.Context, clientset kubernetes.Interface, cm *corev1.ConfigMap) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := clientset.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
		return err
	}, k8sretry.WithVerb(k8sretry.VerbCreate))
}

// CreateAnyhow is not rewritten: it repeats every error of a create.
func CreateAnyhow(ctx context.Context, clientset kubernetes.Interface, cm *corev1.ConfigMap) error {
	return retry.OnError(wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}, func(error) bool { return true }, func() error {
		_, err := clientset.CoreV1().ConfigMaps("default").Create(ctx, cm, metav1.CreateOptions{})
		return err
	})
}
