package multicall

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"

	"github.com/k8sretry/k8sretry"
)

func wrong(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		if _, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := c.CoreV1().ConfigMaps("a").List(ctx, metav1.ListOptions{}) // want `makes more than one API call`
		return err
	}, k8sretry.WithVerb(k8sretry.VerbCreate))
	_, _ = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		read, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return c.CoreV1().Pods("a").Update(ctx, read, metav1.UpdateOptions{}) // want `or use k8sretry.Modify`
	})
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		if err := remove(ctx, c); err != nil {
			return err
		}
		return remove(ctx, c) // want `makes more than one API call`
	}, k8sretry.WithVerb(k8sretry.VerbDelete))
}

func remove(ctx context.Context, c kubernetes.Interface) error {
	return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{})
}

func right(ctx context.Context, c kubernetes.Interface, all bool, lister listers.PodLister) {
	_ = k8sretry.Run(ctx, func(ctx context.Context) error {
		if _, err := lister.Pods("a").Get("b"); err == nil {
			return nil
		}
		if all {
			_, err := c.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
			return err
		}
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err
	})
}
