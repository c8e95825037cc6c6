// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"context"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

func onErrorBefore(ctx context.Context, clientset kubernetes.Interface, name string) (pod *corev1.Pod, err error) {
	backoff := wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2, Jitter: 0.2}
	err = retry.OnError(backoff, transient, func() error {
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return pod, err
}

func onErrorAfter(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	get := k8sretry.Wrap2(clientset.CoreV1().Pods("default").Get, k8sretry.ForRead())
	return get(ctx, name, metav1.GetOptions{})
}

func onConflictBefore(ctx context.Context, clientset kubernetes.Interface) error {
	configMaps := clientset.CoreV1().ConfigMaps("default")
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		totals, err := configMaps.Get(ctx, "totals", metav1.GetOptions{})
		if err != nil {
			return err
		}
		countRun(totals)
		_, err = configMaps.Update(ctx, totals, metav1.UpdateOptions{})
		return err
	})
}

func onConflictAfter(ctx context.Context, clientset kubernetes.Interface) error {
	_, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "totals", func(totals *corev1.ConfigMap) error {
		countRun(totals)
		return nil
	}, k8sretry.ForWrite())
	return err
}

// countRun increments the number of runs.
func countRun(totals *corev1.ConfigMap) {
	runs, _ := strconv.Atoi(totals.Data["runs"])
	totals.Data["runs"] = strconv.Itoa(runs + 1)
}
