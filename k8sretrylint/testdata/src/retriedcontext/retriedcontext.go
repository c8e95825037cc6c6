package retriedcontext

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func wrong(ctx context.Context, c kubernetes.Interface) {
	_ = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(_ context.Context) (bool, error) {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{}) // want `ignores the context that wait.PollUntilContextTimeout passes to its function: a request that hangs is not ended by the timeout`
		return err == nil, nil
	})
	_ = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(inner context.Context) (bool, error) {
		_, err := c.CoreV1().Pods("a").Get(context.Background(), "b", metav1.GetOptions{}) // want `ignores the context`
		return err == nil, nil
	})
	_ = wait.PollUntilContextCancel(ctx, time.Second, true, func(context.Context) (bool, error) {
		_, err := c.CoreV1().Pods("a").Get(context.TODO(), "b", metav1.GetOptions{}) // want `does not end when the caller's context does`
		return err == nil, nil
	})
	_, _ = k8sretry.Do(ctx, func(context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{}) // want `WithAttemptTimeout does not end it`
	})
	_ = k8sretry.Run(ctx, func(attempt context.Context) error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{}) // want `ignores the context that k8sretry.Run passes`
	}, k8sretry.WithVerb(k8sretry.VerbDelete))
}

func right(ctx context.Context, c kubernetes.Interface) {
	_ = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err == nil, nil
	})
	_ = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.CoreV1().Pods("a").Get(short, "b", metav1.GetOptions{})
		return err == nil, nil
	})
	// The same context.
	_ = wait.PollUntilContextCancel(ctx, time.Second, true, func(context.Context) (bool, error) {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err == nil, nil
	})
}
