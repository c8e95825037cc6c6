package sleeploop

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func work(ctx context.Context, c kubernetes.Interface, queue []string, pod *corev1.Pod) error {
	// One object after the other.
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if err := c.CoreV1().Pods("a").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	// One page after the other.
	opts := metav1.ListOptions{LabelSelector: "a"}
	for {
		list, err := c.CoreV1().Pods("a").List(ctx, opts)
		if err != nil {
			return err
		}
		if list.Continue == "" {
			break
		}
		opts.Continue = list.Continue
		time.Sleep(time.Second)
	}
	// A number of objects: no round depends on how the one before ended.
	for range 10 {
		_, _ = c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		time.Sleep(time.Second)
	}
	var err error
	for attempt := 0; attempt < 5; attempt++ {
		pod, err = c.CoreV1().Pods("a").Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Status.Phase = pod.Status.Phase + "!"
		if _, err = c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{}); err == nil {
			break
		}
		time.Sleep(time.Second) // want `time.Sleep between repetitions of Get`
	}
	for attempt := 0; attempt < 5; attempt++ {
		pod.Labels["attempt"] = "again"
		if _, err = c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{}); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want `time.Sleep between repetitions of Update`
	}
	for attempt := 0; err != nil && attempt < 5; attempt++ {
		_, err = c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		time.Sleep(time.Second) // want `time.Sleep between repetitions of Get`
	}
	return err
}
