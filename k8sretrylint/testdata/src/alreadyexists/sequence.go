package alreadyexists

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func sequence(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	create := func(ctx context.Context) error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		return err
	}
	err := k8sretry.Run(ctx, create, k8sretry.WithVerb(k8sretry.VerbCreate))
	if err != nil {
		return err
	}
	_, err = c.CoreV1().ConfigMaps("a").Create(ctx, &corev1.ConfigMap{}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // of a call that is not repeated
		return nil
	}
	return err
}

func compared(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	err := k8sretry.Run(ctx, func(ctx context.Context) error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		return err
	}, k8sretry.WithVerb(k8sretry.VerbCreate))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	// Whatever exists is read and looked at.
	existing, err := c.CoreV1().Pods("a").Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if existing.Labels["owner"] != pod.Labels["owner"] {
		return errors.New("not ours")
	}
	return nil
}
