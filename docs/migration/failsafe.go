// SPDX-License-Identifier: Apache-2.0

package migration

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

var failsafePolicy = retrypolicy.NewBuilder[*corev1.Pod]().
	HandleIf(func(_ *corev1.Pod, err error) bool { return transient(err) }).
	WithMaxRetries(3).
	WithBackoff(time.Second, 10*time.Second).
	WithJitterFactor(0.1).
	ReturnLastFailure().
	Build()

func failsafeBefore(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return failsafe.With(failsafePolicy).WithContext(ctx).GetWithExecution(func(exec failsafe.Execution[*corev1.Pod]) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("default").Get(exec.Context(), name, metav1.GetOptions{})
	})
}

func failsafeAfter(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	}, k8sretry.ForRead())
}
