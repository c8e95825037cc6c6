package migrate

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

func onError(ctx context.Context, clientset kubernetes.Interface, name string) (pod *corev1.Pod, err error) {
	backoff := wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2, Jitter: 0.2}
	err = retry.OnError(backoff, transient, func() error { // want `retry.OnError can be k8sretry.Run`
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return pod, err
}

func everyError(clientset kubernetes.Interface) error {
	return retry.OnError(retry.DefaultBackoff, func(error) bool { return true }, func() error { // want `retry.OnError can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").List(context.TODO(), metav1.ListOptions{})
		return err
	})
}

func write(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod) error {
	if err := retry.OnError(wait.Backoff{Steps: 10, Duration: time.Second, Factor: 3}, transient, func() error { // want `retry.OnError can be k8sretry.Run`
		// The comment stays.
		_, err := clientset.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	return retry.OnError(retry.DefaultRetry, apierrors.IsServiceUnavailable, func() error { // want `retry.OnError can be k8sretry.Run`
		return clientset.CoreV1().Pods("default").Delete(ctx, pod.Name, metav1.DeleteOptions{})
	})
}

func condition(ctx context.Context, clientset kubernetes.Interface, name string) error {
	var pod *corev1.Pod
	err := wait.ExponentialBackoff(wait.Backoff{Steps: 4, Duration: time.Second}, func() (bool, error) { // want `wait.ExponentialBackoff can be k8sretry.Run`
		var err error
		pod, err = clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, nil
	})
	println(pod)
	return err
}

func conditionWithContext(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod) error {
	return wait.ExponentialBackoffWithContext(ctx, wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}, func(ctx context.Context) (bool, error) { // want `wait.ExponentialBackoffWithContext can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").Update(ctx, pod, metav1.UpdateOptions{})
		if err != nil {
			if transient(err) {
				return false, nil
			}
			return false, err
		}
		return true, nil
	})
}

func not(ctx context.Context, clientset kubernetes.Interface, pod *corev1.Pod, backoff wait.Backoff, read func() error) {
	_ = retry.OnError(backoff, transient, func() error { // want `retry.OnError is not rewritten: its schedule is not visible as constants`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = retry.OnError(retry.DefaultRetry, func(error) bool { return true }, func() error { // want `not rewritten: it repeats errors that k8sretry does not know to be transient, and a create must not be repeated after each of them; use k8sretry.Create`
		_, err := clientset.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	_ = retry.OnError(retry.DefaultRetry, transient, func() error { // want `not rewritten: its function makes more than one API call`
		if _, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); err != nil {
			return err
		}
		_, err := clientset.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	_ = retry.OnError(retry.DefaultRetry, transient, func() error { // want `not rewritten: the context of the API call is made in the function`
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := clientset.CoreV1().Pods("default").List(short, metav1.ListOptions{})
		return err
	})
	_ = retry.OnError(wait.Backoff{Steps: 10, Duration: time.Second, Factor: 2, Cap: 5 * time.Second}, transient, func() error { // want `not rewritten: its Cap ends the retries early`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = wait.ExponentialBackoff(wait.Backoff{Steps: 4, Duration: time.Second}, func() (bool, error) { // want `not rewritten: it waits for more than the success of the call`
		read, err := clientset.CoreV1().Pods("default").Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return read.Status.Phase == "Running", nil
	})
	_ = retry.OnError(retry.DefaultRetry, transient, read) // no API call can be seen
}

func interrupted(ctx context.Context, clientset kubernetes.Interface) bool {
	err := wait.ExponentialBackoff(wait.Backoff{Steps: 4, Duration: time.Second}, func() (bool, error) { // want `not rewritten: the function looks for the error of package wait`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil
		}
		return true, nil
	})
	return wait.Interrupted(err)
}

func notEither(ctx context.Context, clientset kubernetes.Interface, names []string) {
	// Without either call, the variables would be unused.
	backoff := wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}
	refused := func(err error) bool { return apierrors.IsTooManyRequests(err) }
	_ = retry.OnError(backoff, transient, func() error { // want `not rewritten: its schedule is not visible as constants that only this call uses`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = retry.OnError(backoff, transient, func() error { // want `not rewritten: its schedule is not visible as constants that only this call uses`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = retry.OnError(retry.DefaultRetry, refused, func() error { // want `not rewritten: it repeats errors that k8sretry does not know to be transient, and a delete`
		return clientset.CoreV1().Pods("default").Delete(ctx, "a", metav1.DeleteOptions{})
	})
	_ = retry.OnError(retry.DefaultRetry, transient, func() error { // want `not rewritten: its function makes the API call in a loop`
		for _, name := range names {
			if _, err := clientset.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}
