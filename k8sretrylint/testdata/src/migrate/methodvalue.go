package migrate

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

func methodValue(ctx context.Context, clientset kubernetes.Interface) {
	list := clientset.CoreV1().Pods("default").List
	_ = retry.OnError(retry.DefaultBackoff, transient, func() error { // want `retry.OnError can be k8sretry.Run`
		_, err := list(ctx, metav1.ListOptions{})
		return err
	})
	get, update := clientset.CoreV1().Pods("default").Get, clientset.CoreV1().Pods("default").Update
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: it calls a function value`
		pod, err := get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Labels = nil
		_, err = update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}
