package transportretry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

func methodValue(ctx context.Context, config *rest.Config) error {
	config.Wrap(k8sretry.Transport())
	clientset := kubernetes.NewForConfigOrDie(config)
	list := clientset.CoreV1().Pods("a").List
	return retry.OnError(retry.DefaultBackoff, always, func() error {
		_, err := list(ctx, metav1.ListOptions{}) // want `retry.OnError around a client with a k8sretry.Transport`
		return err
	})
}
