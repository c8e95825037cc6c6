package migrate

import "context"
import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
import "k8s.io/client-go/kubernetes"
import "k8s.io/client-go/util/retry"

func severalDeclarations(ctx context.Context, clientset kubernetes.Interface) {
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: the file has no import declaration in parentheses`
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Labels = nil
		_, err = clientset.CoreV1().Pods("default").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	_ = retry.OnError(retry.DefaultRetry, transient, func() error { // want `not rewritten: the file has no import declaration in parentheses`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
}
