package transportretry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

func always(error) bool { return true }

func wrong(ctx context.Context, config *rest.Config) error {
	config.Wrap(k8sretry.Transport())
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return retry.OnError(retry.DefaultBackoff, always, func() error {
		_, err := clientset.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{}) // want `retry.OnError around a client with a k8sretry.Transport`
		return err
	})
}

type service struct{ client kubernetes.Interface }

func newService(config *rest.Config) *service {
	config.WrapTransport = k8sretry.Transport(k8sretry.ForRead())
	s := &service{}
	s.client = kubernetes.NewForConfigOrDie(config)
	return s
}

func (s *service) get(ctx context.Context) error {
	return retry.OnError(retry.DefaultBackoff, always, func() error {
		_, err := s.client.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{}) // want `the attempts multiply`
		return err
	})
}

func right(ctx context.Context, config *rest.Config) error {
	plain := kubernetes.NewForConfigOrDie(config)
	config.Wrap(k8sretry.Transport())
	clientset := kubernetes.NewForConfigOrDie(config)
	if err := retry.OnError(retry.DefaultBackoff, always, func() error {
		_, err := plain.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err
	}); err != nil {
		return err
	}
	if _, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	}); err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod, err := clientset.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		if err != nil {
			return err
		}
		_, err = clientset.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}
