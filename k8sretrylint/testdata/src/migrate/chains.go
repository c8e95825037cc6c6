package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	backoff4 "github.com/cenkalti/backoff/v4"
	"github.com/sethvargo/go-retry"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Schedules that are made in several statements.

func chain(ctx context.Context, clientset kubernetes.Interface) error {
	b := retry.NewExponential(500 * time.Millisecond)
	b = retry.WithJitterPercent(5, b)
	// Four retries, and five attempts.
	b = retry.WithMaxRetries(4, b)
	b = retry.WithCappedDuration(2*time.Second, b)
	return retry.Do(ctx, b, func(ctx context.Context) error { // want `retry.Do can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return retry.RetryableError(err)
	})
}

func chainOfDeclaration(ctx context.Context, clientset kubernetes.Interface) {
	var b retry.Backoff = retry.NewConstant(time.Second)
	b = retry.WithFullJitter(b)
	limited := retry.WithMaxRetries(9, retry.WithMaxRetries(2, b))
	if err := retry.Do(ctx, limited, func(ctx context.Context) error { // want `retry.Do can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if apierrors.IsServiceUnavailable(err) {
			return retry.RetryableError(fmt.Errorf("list: %w", err))
		}
		return err
	}); err != nil {
		panic(err)
	}
}

func marked(ctx context.Context, clientset kubernetes.Interface) (*corev1.Pod, error) {
	return retry.DoValue(ctx, retry.WithMaxRetries(3, retry.NewExponential(time.Second)), func(ctx context.Context) (*corev1.Pod, error) { // want `retry.DoValue can be k8sretry.Do`
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return nil, retry.RetryableError(err)
		}
		return pod, err
	})
}

func fibonacci(ctx context.Context, clientset kubernetes.Interface) error {
	b := retry.NewFibonacci(time.Second)
	b = retry.WithMaxRetries(4, b)
	return retry.Do(ctx, b, func(ctx context.Context) error { // want `retry.Do can be k8sretry.Run`
		if _, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); err != nil {
			return retry.RetryableError(err)
		}
		return nil
	})
}

func fibonacciCapped(ctx context.Context, clientset kubernetes.Interface) error {
	b := retry.WithMaxDuration(time.Minute, retry.WithCappedDuration(1500*time.Millisecond, retry.NewFibonacci(time.Second)))
	return retry.Do(ctx, b, func(ctx context.Context) error { // want `retry.Do can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return retry.RetryableError(err)
	})
}

func chainOfCenkalti(ctx context.Context, clientset kubernetes.Interface) error {
	exponential := backoff4.NewExponentialBackOff()
	exponential.MaxInterval = 5 * time.Second
	b := backoff4.WithMaxRetries(exponential, 3)
	b = backoff4.WithContext(b, ctx)
	return backoff4.Retry(func() error { // want `backoff.Retry can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	}, b)
}

var shared = retry.WithMaxRetries(3, retry.NewConstant(time.Second))

func notChains(ctx context.Context, clientset kubernetes.Interface, names []string, slow bool) {
	_ = retry.Do(ctx, shared, func(ctx context.Context) error { // want `not rewritten: its schedule is shared by several calls, which use it up together`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return retry.RetryableError(err)
	})

	b := retry.NewConstant(time.Second)
	b = retry.WithMaxRetries(3, b)
	for _, name := range names {
		_ = retry.Do(ctx, b, func(ctx context.Context) error { // want `not rewritten: its schedule is not visible as constants that only this call uses`
			_, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
			return retry.RetryableError(err)
		})
	}

	c := retry.NewConstant(time.Second)
	if slow {
		c = retry.NewConstant(time.Minute)
	}
	c = retry.WithMaxRetries(3, c)
	_ = retry.Do(ctx, c, func(ctx context.Context) error { // want `not rewritten: its schedule is not visible as constants that only this call uses`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return retry.RetryableError(err)
	})

	limited := retry.NewConstant(time.Second)
	if slow {
		limited = retry.WithMaxRetries(3, limited)
	}
	_ = retry.Do(ctx, limited, func(ctx context.Context) error { // want `not rewritten: its schedule is not visible as constants that only this call uses`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return retry.RetryableError(err)
	})

	d := retry.NewConstant(time.Second)
	d = retry.WithMaxRetries(3, d)
	for range 2 {
		_ = retry.Do(ctx, d, func(ctx context.Context) error { // want `not rewritten: its schedule is not visible as constants that only this call uses`
			_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			return retry.RetryableError(err)
		})
	}

	e := retry.NewFibonacci(time.Second)
	e = retry.WithJitter(time.Second, e)
	e = retry.WithMaxRetries(3, e)
	_ = retry.Do(ctx, e, func(ctx context.Context) error { // want `not rewritten: its Fibonacci schedule has jitter`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return retry.RetryableError(err)
	})

	_ = retry.Do(ctx, retry.WithMaxRetries(3, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `not rewritten: which errors it repeats is not visible`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if apierrors.IsServiceUnavailable(err) {
			return retry.RetryableError(errors.New("not ready"))
		}
		return err
	})
	_ = retry.Do(ctx, retry.WithMaxRetries(3, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `not rewritten: which errors it repeats is not visible`
		pods, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) == 0 {
			return retry.RetryableError(errors.New("no pods yet"))
		}
		return err
	})
	_ = retry.Do(ctx, retry.WithMaxRetries(3, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `not rewritten: it repeats some errors of the call and not others`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return err
		}
		return retry.RetryableError(err)
	})
	_ = retry.Do(ctx, retry.WithMaxRetries(3, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `not rewritten: which errors it repeats is not visible`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return err
		} else {
			return retry.RetryableError(err)
		}
	})
	_ = retry.Do(ctx, retry.WithMaxRetries(3, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `not rewritten: it repeats some errors of the call and not others`
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if slow {
			if err != nil {
				return retry.RetryableError(err)
			}
		}
		return err
	})
	_ = retry.Do(ctx, retry.WithMaxRetries(3, retry.NewConstant(time.Second)), func(ctx context.Context) error { // want `not rewritten: it repeats some errors of the call and not others`
		if name := "a"; slow {
			return errors.New(name)
		}
		_, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return retry.RetryableError(err)
		}
		return nil
	})
}
