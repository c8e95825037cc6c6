package retriedwrite

import (
	"context"
	"time"

	"github.com/avast/retry-go/v4"
	backoff5 "github.com/cenkalti/backoff/v5"
	sethvargo "github.com/sethvargo/go-retry"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientretry "k8s.io/client-go/util/retry"
)

func always(error) bool { return true }

func transient(err error) bool {
	return apierrors.IsServiceUnavailable(err) || utilnet.IsConnectionReset(err)
}

func throttled(err error) bool { return apierrors.IsTooManyRequests(err) }

func onError(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}) // want `retry.OnError repeats a write after any error: if the answer to a create is lost`
		return err
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, transient, func() error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{}) // want `fails with NotFound although the object has been deleted`
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, func(err error) bool { return err != nil && !apierrors.IsNotFound(err) }, func() error {
		_, err := c.CoreV1().Pods("a").Patch(ctx, "b", types.JSONPatchType, nil, metav1.PatchOptions{}) // want `JSON patch`
		return err
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, apierrors.IsInternalError, func() error {
		return c.CoreV1().Pods("a").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}) // want `deletes what has been created since`
	})
}

func condition(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_ = wait.ExponentialBackoff(wait.Backoff{Steps: 3}, func() (bool, error) {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}) // want `wait.ExponentialBackoff repeats a write`
		if err != nil {
			return false, nil
		}
		return true, nil
	})
	_ = wait.PollImmediate(time.Second, time.Minute, func() (bool, error) {
		if _, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}); err != nil { // want `wait.PollImmediate repeats a write`
			if apierrors.IsForbidden(err) {
				return false, err
			}
			return false, nil
		}
		return true, nil
	})
}

func others(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) {
	_ = retry.Do(func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}) // want `retry.Do repeats a write`
		return err
	}, retry.Attempts(3))
	_, _ = backoff5.Retry(ctx, func() (*corev1.Pod, error) {
		return c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}) // want `backoff.Retry repeats a write`
	})
	_ = sethvargo.Do(ctx, sethvargo.NewExponential(time.Second), func(ctx context.Context) error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{}) // want `retry.Do repeats a write`
		if err != nil {
			return sethvargo.RetryableError(err)
		}
		return nil
	})
}

func right(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, unknown func(error) bool) {
	// The server has refused the write.
	_ = clientretry.OnError(clientretry.DefaultBackoff, throttled, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	// It is not known which errors are repeated.
	_ = clientretry.OnError(clientretry.DefaultBackoff, unknown, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	// The errors end the wait.
	_ = wait.ExponentialBackoff(wait.Backoff{Steps: 3}, func() (bool, error) {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		return true, nil
	})
	_ = wait.ExponentialBackoff(wait.Backoff{Steps: 3}, func() (bool, error) {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsTooManyRequests(err) {
			return false, nil
		}
		return err == nil, err
	})
	// The function looks first, or knows what an object that exists means.
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		}
		return err
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	_ = wait.PollImmediate(time.Second, time.Minute, func() (bool, error) {
		list, err := c.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil
		}
		for _, pod := range list.Items {
			if err := c.CoreV1().Pods("a").Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
				return false, nil
			}
		}
		return true, nil
	})
	// A delete of one object, a merge patch, a read.
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		return c.CoreV1().Pods("a").Delete(ctx, "b", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{}})
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := c.CoreV1().Pods("a").Patch(ctx, "b", types.MergePatchType, nil, metav1.PatchOptions{})
		return err
	})
	_ = clientretry.OnError(clientretry.DefaultBackoff, always, func() error {
		_, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		return err
	})
	_ = clientretry.RetryOnConflict(clientretry.DefaultRetry, func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	_ = retry.Do(func() error {
		_, err := c.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !throttled(err) {
			return retry.Unrecoverable(err)
		}
		return err
	})
}
