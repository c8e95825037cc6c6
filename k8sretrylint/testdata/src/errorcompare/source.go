package errorcompare

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func inPlace(ctx context.Context, c kubernetes.Interface) bool {
	return k8sretry.Run(ctx, func(ctx context.Context) error { // want `is never == k8sretry.ErrMaxRetries`
		// The comment stays.
		_, err := c.CoreV1().Pods("a").Create(ctx, &corev1.Pod{}, metav1.CreateOptions{DryRun: []string{"All"}})
		return err
	}) == k8sretry.ErrMaxRetries
}

func swapped(ctx context.Context, get func(*corev1.Pod) error) bool {
	return k8sretry.ErrMaxRetries != get(&corev1.Pod{ /* any */ Status: corev1.PodStatus{Phase: "a"}}) // want `is never == k8sretry.ErrMaxRetries`
}

func shadowed(err error) (errors []error) {
	if err == k8sretry.ErrMaxRetries { // want `use errors.Is`
		errors = append(errors, err)
	}
	return errors
}

var _ = errors.New
