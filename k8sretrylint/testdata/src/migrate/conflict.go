package migrate

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

func returned(ctx context.Context, clientset kubernetes.Interface) error {
	configMaps := clientset.CoreV1().ConfigMaps("default")
	return retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `retry.RetryOnConflict can be k8sretry.Modify`
		totals, err := configMaps.Get(ctx, "totals", metav1.GetOptions{})
		if err != nil {
			return err
		}
		// One more.
		totals.Data["runs"] += "1" // counts once
		_, err = configMaps.Update(ctx, totals, metav1.UpdateOptions{})
		return err
	})
}

func assigned(clientset kubernetes.Interface, name string) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { // want `retry.RetryOnConflict can be k8sretry.Modify`
		pod, err := clientset.CoreV1().Pods("default").Get(context.TODO(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase == "Failed" {
			return nil
		}
		if pod.Name == "" {
			return errors.New("no name")
		}
		pod.Status.Phase = "Failed"
		if _, err := clientset.CoreV1().Pods("default").UpdateStatus(context.TODO(), pod, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return nil
	})
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `retry.RetryOnConflict can be k8sretry.Modify`
		pod, err := clientset.CoreV1().Pods("default").Get(context.TODO(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		relabel(pod)
		_, err = clientset.CoreV1().Pods("default").Update(context.TODO(), pod, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		return nil
	}); err != nil {
		return err
	}
	return err
}

func relabel(pod *corev1.Pod) { pod.Labels = nil }

func notModify(ctx context.Context, clientset kubernetes.Interface, names map[string]string) (last *corev1.Pod) {
	pods := clientset.CoreV1().Pods("default")
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: the object is kept in another variable`
		pod, err := pods.Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Labels = nil
		last = pod
		_, err = pods.Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: the change of the object may end without an update after it has changed the object`
		pod, err := pods.Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Labels = nil
		if pod.Name == "" {
			return nil
		}
		_, err = pods.Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: the read and the update do not use the same client`
		pod, err := pods.Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Labels = nil
		_, err = clientset.CoreV1().Pods("default").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() (err error) { // want `not rewritten: its function is not a read, a change of the object and an update`
		last.Labels = nil
		last, err = pods.Update(ctx, last, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: its function is not a read, a change of the object and an update`
		pod, err := pods.Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return errors.Join(err, errors.New("reading"))
		}
		pod.Labels = nil
		_, err = pods.Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: the object is replaced by another one`
		pod, err := pods.Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod = pod.DeepCopy()
		_, err = pods.Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	changes := 0
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error { // want `not rewritten: the change of the object also sets a variable outside of it`
		pod, err := pods.Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Labels = nil
		changes++
		_, err = pods.Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	return last
}
