package migrate

import (
	"context"
	"time"

	retry4 "github.com/avast/retry-go/v4"
	backoff4 "github.com/cenkalti/backoff/v4"
	"github.com/cenkalti/backoff/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

var (
	steps   = wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}
	flagged = wait.Backoff{Steps: 4, Duration: time.Second, Factor: 2}
	fixed   = wait.Backoff{Steps: 4, Factor: 2}
)

func init() {
	steps.Steps = 10
	set(&flagged.Duration)
}

func set(*time.Duration) {}

func settings(ctx context.Context, clientset kubernetes.Interface) {
	list := clientset.CoreV1().Pods("default").List
	_ = list
	_ = retry.OnError(steps, transient, func() error { // want `not rewritten: its schedule is not visible as constants`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = retry.OnError(flagged, transient, func() error { // want `not rewritten: its schedule is not visible as constants`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = retry.OnError(fixed, transient, func() error { // want `retry.OnError can be k8sretry.Run`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	})
	_ = backoff4.Retry(func() error { // want `not rewritten: it repeats the call without limit`
		_, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err
	}, backoff4.NewConstantBackOff(time.Second))
	_, _ = backoff.Retry(ctx, func() (*corev1.PodList, error) { // want `not rewritten: its function uses more of the library than Permanent`
		list, err := clientset.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil && !transient(err) {
			return nil, &backoff.PermanentError{Err: err}
		}
		return list, err
	})
}

// The names that would be written mean something else here.
func shadowed(clientset kubernetes.Interface) {
	time := "now"
	_ = retry4.Do(func() error { // want `not rewritten: the function has its own time`
		_, err := clientset.CoreV1().Pods(time).Get(context.TODO(), "a", metav1.GetOptions{})
		return err
	}, retry4.Attempts(6), retry4.Delay(2000))
}
