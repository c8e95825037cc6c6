package retriedcontext

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

func methodValue(ctx context.Context, c kubernetes.Interface) {
	get := c.CoreV1().Pods("a").Get
	_ = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(_ context.Context) (bool, error) {
		_, err := get(ctx, "b", metav1.GetOptions{}) // want `ignores the context that wait.PollUntilContextTimeout passes`
		return err == nil, nil
	})
}
