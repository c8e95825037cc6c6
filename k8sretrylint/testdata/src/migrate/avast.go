package migrate

import (
	"context"
	"time"

	retry4 "github.com/avast/retry-go/v4"
	"github.com/avast/retry-go/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func avast(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return retry.NewWithData[*corev1.Pod]( // want `retry.Do can be k8sretry.Do`
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

func avast4(ctx context.Context, clientset kubernetes.Interface, name string) error {
	return retry4.Do(func() error { // want `retry.Do can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	}, retry4.Attempts(6), retry4.Delay(2*time.Second))
}

func notAvast(ctx context.Context, clientset kubernetes.Interface, name string) {
	_ = retry4.Do(func() error { // want `not rewritten: it uses OnRetry`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	}, retry4.OnRetry(func(uint, error) {}))
	_ = retry4.Do(func() error { // want `not rewritten: it repeats the call without limit`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	}, retry4.Attempts(0))
	_ = retry4.Do(func() error { // want `not rewritten: it repeats errors that k8sretry does not know to be transient, and a delete`
		return clientset.CoreV1().Pods("default").Delete(ctx, name, metav1.DeleteOptions{})
	})
}
