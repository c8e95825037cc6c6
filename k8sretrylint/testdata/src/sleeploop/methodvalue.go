package sleeploop

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func methodValue(ctx context.Context, c kubernetes.Interface, namespaces []string) {
	get := c.CoreV1().Pods("a").Get
	for i := 0; i < 5; i++ {
		if _, err := get(ctx, "b", metav1.GetOptions{}); err == nil {
			break
		}
		time.Sleep(time.Second) // want `.*`
	}
	for _, namespace := range namespaces {
		get := c.CoreV1().Pods(namespace).Get
		if _, err := get(ctx, "b", metav1.GetOptions{}); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
}
