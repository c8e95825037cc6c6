package alreadyexists

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func wrong(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) (created *corev1.Pod, err error) {
	_ = wait.PollImmediate(time.Second, time.Minute, func() (bool, error) {
		created, err = c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // want `AlreadyExists is taken for success, but then created is empty`
			return true, nil
		}
		return err == nil, nil
	})
	created, err = k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
	}, k8sretry.WithVerb(k8sretry.VerbCreate))
	if err != nil && !apierrors.IsAlreadyExists(err) { // want `AlreadyExists after k8sretry.Do is taken for success`
		return nil, err
	}
	err = k8sretry.Run(ctx, func(ctx context.Context) error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{})
	}, k8sretry.WithVerb(k8sretry.VerbDelete))
	if apierrors.IsNotFound(err) { // want `NotFound after k8sretry.Run is taken for success`
		return created, nil
	}
	return created, err
}

func right(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) (created *corev1.Pod, err error) {
	_ = wait.PollImmediate(time.Second, time.Minute, func() (bool, error) {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return true, nil // nothing of the object is used
		}
		return err == nil, nil
	})
	_ = wait.PollImmediate(time.Second, time.Minute, func() (bool, error) {
		created, err = c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			created, err = c.CoreV1().Pods("a").Get(ctx, pod.Name, metav1.GetOptions{})
			return err == nil, nil
		}
		return err == nil, nil
	})
	err = k8sretry.Run(ctx, func(ctx context.Context) error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{}})
	}, k8sretry.WithVerb(k8sretry.VerbDelete))
	if apierrors.IsNotFound(err) {
		return created, nil
	}
	return created, err
}
