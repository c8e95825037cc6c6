package migrate

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func sethvargo(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	backoff := retry.WithMaxRetries(3, retry.WithCappedDuration(10*time.Second, retry.NewExponential(time.Second)))
	return retry.DoValue(ctx, backoff, func(ctx context.Context) (*corev1.Pod, error) { // want `retry.DoValue can be k8sretry.Do`
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if transient(err) {
			return nil, retry.RetryableError(err)
		}
		return pod, err
	})
}

func sethvargoDelete(ctx context.Context, clientset kubernetes.Interface, name string) error {
	return retry.Do(ctx, retry.WithMaxDuration(time.Minute, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `retry.Do can be k8sretry.Run`
		if err := clientset.CoreV1().Pods("default").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			if apierrors.IsServiceUnavailable(err) {
				return retry.RetryableError(err)
			}
			return err
		}
		return nil
	})
}

func notSethvargo(ctx context.Context, clientset kubernetes.Interface, name string) {
	_ = retry.Do(ctx, retry.NewExponential(time.Second), func(ctx context.Context) error { // want `not rewritten: it repeats the call without limit`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return retry.RetryableError(err)
	})
	_ = retry.Do(ctx, retry.WithMaxRetries(2, retry.NewExponential(time.Second)), func(context.Context) error { // want `not rewritten: the API call does not use the context of the function`
		_, err := clientset.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return retry.RetryableError(err)
		}
		return nil
	})
}
