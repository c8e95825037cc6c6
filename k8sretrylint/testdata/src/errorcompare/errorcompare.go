package errorcompare

import (
	"context"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/k8sretry/k8sretry"
)

func wrong(ctx context.Context, c kubernetes.Interface) bool {
	_, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	})
	if err == k8sretry.ErrMaxRetries { // want `err is never == k8sretry.ErrMaxRetries`
		return true
	}
	if k8sretry.ErrDeadline != err { // want `err is never == k8sretry.ErrDeadline`
		return true
	}
	switch err {
	case k8sretry.ErrOutcomeUnknown: // want `use errors.Is`
		return true
	}
	if err != nil && strings.Contains(err.Error(), "not found") { // want `by its text "not found", .* use apierrors.IsNotFound`
		return true
	}
	_, err = c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	if err == context.DeadlineExceeded { // want `err need not be == context.DeadlineExceeded`
		return true
	}
	if err != nil && strings.Contains(strings.ToLower(err.Error()), "already exists") { // want `use apierrors.IsAlreadyExists`
		return true
	}
	if err.Error() == "context canceled" { // want `use errors.Is with context.Canceled`
		return true
	}
	err = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err == nil, nil
	})
	return err == wait.ErrWaitTimeout // want `returns the error of the context`
}

func other() error { return errors.New("not found") }

func right(ctx context.Context, c kubernetes.Interface) bool {
	err := other()
	if err == context.Canceled || strings.Contains(err.Error(), "not found") {
		return true
	}
	_, err = c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "my webhook says") || err == nil {
		return true
	}
	err = wait.PollImmediate(time.Second, time.Minute, func() (bool, error) { return false, nil })
	return err == wait.ErrWaitTimeout
}
