package migrate

import (
	"context"
	"time"

	backoff4 "github.com/cenkalti/backoff/v4"
	"github.com/cenkalti/backoff/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func cenkalti(ctx context.Context, clientset kubernetes.Interface, name string) (*corev1.Pod, error) {
	return backoff.Retry(ctx, func() (*corev1.Pod, error) { // want `backoff.Retry can be k8sretry.Do`
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil && !transient(err) {
			return nil, backoff.Permanent(err)
		}
		return pod, err
	}, backoff.WithMaxTries(4), backoff.WithMaxElapsedTime(time.Minute))
}

func cenkalti4(ctx context.Context, clientset kubernetes.Interface, name string) (err error) {
	b := backoff4.NewExponentialBackOff()
	b.InitialInterval = time.Second
	b.MaxElapsedTime = 2 * time.Minute
	err = backoff4.Retry(func() error { // want `backoff.Retry can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	}, b)
	if err != nil {
		return err
	}
	return backoff4.Retry(func() error { // want `backoff.Retry can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	}, backoff4.WithContext(backoff4.WithMaxRetries(backoff4.NewConstantBackOff(2*time.Second), 5), ctx))
}

func notCenkalti(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod, notify func(error, time.Duration)) {
	_ = backoff4.Retry(func() error { // want `not rewritten: it repeats errors that k8sretry does not know to be transient, and a create`
		_, err := clientset.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	}, backoff4.NewExponentialBackOff())
	_ = backoff4.RetryNotify(func() error { // want `not rewritten: it notifies another function`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	}, backoff4.NewExponentialBackOff(), notify)
	_, _ = backoff.Retry(context.Background(), func() (*corev1.Pod, error) { // want `not rewritten: the API call does not use the context of the retry`
		return clientset.CoreV1().Pods("default").Get(ctx, pod.Name, metav1.GetOptions{})
	})
}
