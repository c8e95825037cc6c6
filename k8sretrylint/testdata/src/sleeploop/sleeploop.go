package sleeploop

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func wrong(ctx context.Context, c kubernetes.Interface) error {
	for i := 0; i < 5; i++ {
		if _, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{}); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want `time.Sleep between repetitions of Get`
	}
	for {
		if ready(ctx, c) {
			break
		}
		time.Sleep(time.Second) // want `time.Sleep between repetitions of ready`
	}
	for range 3 {
		_, err := c.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
		if err == nil {
			break
		}
		time.Sleep(time.Second) // want `time.Sleep between repetitions of List`
	}
	return nil
}

func ready(ctx context.Context, c kubernetes.Interface) bool {
	pod, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	return err == nil && pod.Status.Phase == "Running"
}

func right(ctx context.Context, c kubernetes.Interface, pods []*corev1.Pod, names []string) {
	// One call for each of several objects, with pauses.
	for _, pod := range pods {
		_ = c.CoreV1().Pods("a").Delete(ctx, pod.Name, metav1.DeleteOptions{})
		time.Sleep(time.Second)
	}
	for i := 0; i < len(names); i++ {
		name := names[i]
		_ = c.CoreV1().Pods("a").Delete(ctx, name, metav1.DeleteOptions{})
		time.Sleep(time.Second)
	}
	// Work that is done again and again.
	go func() {
		for {
			_, _ = c.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
			time.Sleep(time.Minute)
		}
	}()
	go func() {
		for {
			time.Sleep(time.Minute)
			if !ready(ctx, c) {
				return
			}
		}
	}()
	// It looks at the context.
	for ctx.Err() == nil {
		time.Sleep(time.Millisecond)
		if ctx.Err() != nil {
			return
		}
		ready(ctx, c)
	}
	for i := 0; i < 3; i++ {
		time.Sleep(time.Second)
	}
}
