package conflictread

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func notRead(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod.SetLabels(nil)
		_, err := c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{}) // want `retry.RetryOnConflict does not read pod again`
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() (err error) {
		changed := pod.DeepCopy()
		changed.Labels = nil
		_, err = c.CoreV1().Pods("a").UpdateStatus(ctx, changed, metav1.UpdateOptions{}) // want `does not read changed again`
		return err
	})
	read, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		label(read)
		read, err = c.CoreV1().Pods("a").Update(ctx, read, metav1.UpdateOptions{}) // want `does not read read again`
		return err
	})
}

func label(pod *corev1.Pod) { pod.Labels = nil }

func fromLister(ctx context.Context, c kubernetes.Interface, lister listers.PodLister) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		cached, err := lister.Pods("a").Get("b") // want `retry.RetryOnConflict reads from a lister`
		if err != nil {
			return err
		}
		pod := cached.DeepCopy()
		pod.Labels = nil
		_, err = c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}

type Reconciler struct {
	client.Client
	Live client.Client
}

func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	pod := &corev1.Pod{}
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := r.Get(ctx, req.NamespacedName, pod); err != nil { // want `reads with the client of the manager`
			return err
		}
		pod.Labels = nil
		return r.Update(ctx, pod)
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		return r.Status().Update(ctx, pod) // want `does not read pod again`
	})
	return reconcile.Result{}, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := r.Live.Get(ctx, req.NamespacedName, pod); err != nil {
			return err
		}
		pod.Labels = nil
		return r.Update(ctx, pod)
	})
}

// Clients of others may be anything.
func runtimeClient(ctx context.Context, c client.Client, pod *corev1.Pod) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, types.NamespacedName{Name: pod.Name}, pod); err != nil {
			return err
		}
		return c.Update(ctx, pod)
	})
}

func right(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		read, err := c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
		if err != nil {
			return err
		}
		read.Labels = nil
		_, err = c.CoreV1().Pods("a").Update(ctx, read, metav1.UpdateOptions{})
		return err
	})
	_ = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var err error
		if pod, err = get(ctx, c); err != nil {
			return err
		}
		_, err = c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	made := &corev1.Pod{}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		_, err := c.CoreV1().Pods("a").Update(ctx, made, metav1.UpdateOptions{})
		return err
	})
}

func mayRead(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, refresh func(*corev1.Pod) error) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := refresh(pod); err != nil {
			return err
		}
		_, err := c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}

func withoutVersion(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod.ResourceVersion = ""
		_, err := c.CoreV1().Pods("a").Update(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}

func get(ctx context.Context, c kubernetes.Interface) (*corev1.Pod, error) {
	return c.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
}
