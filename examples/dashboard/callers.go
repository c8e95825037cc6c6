// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

// The same for all callers, so that the comparison is fair.
const (
	patience       = time.Minute // of a caller, for one operation
	attemptTimeout = 2 * time.Second
	firstDelay     = 250 * time.Millisecond
)

// caller is one way to make calls. It is safe for concurrent use.
type caller interface {
	create(ctx context.Context, object *corev1.ConfigMap) error
	increment(ctx context.Context, name string) error
	remove(ctx context.Context, object *corev1.ConfigMap) error
	list(ctx context.Context) error
}

// ours uses k8sretry: a Transport with a Limiter below the clientset, and the safe writes.
type ours struct {
	clients kubernetes.Interface
	policy  *k8sretry.Policy
}

func newOurs(config *rest.Config, limiter *k8sretry.Limiter, observer k8sretry.Observer) (caller, error) {
	policy := k8sretry.NewPolicy(
		k8sretry.WithMaxRetries(8), k8sretry.WithInitialDelay(firstDelay), k8sretry.WithMaxDelay(8*time.Second),
		k8sretry.WithAttemptTimeout(attemptTimeout), k8sretry.WithObserver(observer),
	)
	config.Wrap(k8sretry.Transport(policy, k8sretry.WithLimiter(limiter)))
	config.Wrap(marked)
	clients, err := kubernetes.NewForConfig(config)
	return ours{clients, policy}, err
}

func (o ours) create(ctx context.Context, object *corev1.ConfigMap) error {
	_, err := k8sretry.Create(ctx, o.clients.CoreV1().ConfigMaps(namespace), object, metav1.CreateOptions{},
		o.policy, k8sretry.WithName(kindNames[create]))
	return err
}

func (o ours) increment(ctx context.Context, name string) error {
	_, err := k8sretry.Modify(ctx, o.clients.CoreV1().ConfigMaps(namespace), name, plusOne,
		o.policy, k8sretry.WithName(kindNames[increment]))
	return err
}

func (o ours) remove(ctx context.Context, object *corev1.ConfigMap) error {
	return k8sretry.Delete(ctx, o.clients.CoreV1().ConfigMaps(namespace), object, metav1.DeleteOptions{},
		o.policy, k8sretry.WithName(kindNames[remove]))
}

// list is an ordinary call of the clientset. The Transport retries it.
func (o ours) list(ctx context.Context) error {
	_, err := o.clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	return err
}

// plain uses client-go as it is, with retry.RetryOnConflict for read-modify-writes.
type plain struct{ clients kubernetes.Interface }

func newPlain(config *rest.Config) (plain, error) {
	config.Timeout = attemptTimeout
	config.Wrap(marked)
	clients, err := kubernetes.NewForConfig(config)
	return plain{clients}, err
}

func (p plain) create(ctx context.Context, object *corev1.ConfigMap) error {
	_, err := p.clients.CoreV1().ConfigMaps(namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

func (p plain) increment(ctx context.Context, name string) error {
	configMaps := p.clients.CoreV1().ConfigMaps(namespace)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object, err := configMaps.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := plusOne(object); err != nil {
			return err
		}
		_, err = configMaps.Update(ctx, object, metav1.UpdateOptions{})
		return err
	})
}

func (p plain) remove(ctx context.Context, object *corev1.ConfigMap) error {
	return p.clients.CoreV1().ConfigMaps(namespace).Delete(ctx, object.Name, metav1.DeleteOptions{})
}

func (p plain) list(ctx context.Context) error {
	_, err := p.clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	return err
}

// loop repeats each call of plain while its error is transient.
type loop struct{ plain }

func (l loop) create(ctx context.Context, object *corev1.ConfigMap) error {
	return repeat(ctx, func() error { return l.plain.create(ctx, object) })
}

func (l loop) increment(ctx context.Context, name string) error {
	return repeat(ctx, func() error { return l.plain.increment(ctx, name) })
}

func (l loop) remove(ctx context.Context, object *corev1.ConfigMap) error {
	return repeat(ctx, func() error { return l.plain.remove(ctx, object) })
}

func (l loop) list(ctx context.Context) error {
	return repeat(ctx, func() error { return l.plain.list(ctx) })
}

// repeat is retry.OnError, but for the context.
func repeat(ctx context.Context, call func() error) error {
	var last error
	backoff := wait.Backoff{Duration: firstDelay, Factor: 2, Jitter: 0.2, Steps: 9}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		last = call()
		if last == nil || !transient(last) {
			return true, last
		}
		return false, nil
	})
	if wait.Interrupted(err) {
		return last
	}
	return err
}

// transient is what is usually repeated: 429, 5xx, and what has no answer.
func transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	return status.Status().Code == http.StatusTooManyRequests || status.Status().Code >= 500
}

// plusOne adds one to the number in an object.
func plusOne(object *corev1.ConfigMap) error {
	n, err := strconv.Atoi(object.Data["n"])
	object.Data["n"] = strconv.Itoa(n + 1)
	return err
}

// operationKey is the key of the number of an operation in its context.
type operationKey struct{}

// marked adds the number of the operation to each request.
func marked(next http.RoundTripper) http.RoundTripper {
	return marker{next}
}

type marker struct{ next http.RoundTripper }

func (m marker) RoundTrip(r *http.Request) (*http.Response, error) {
	if id, ok := r.Context().Value(operationKey{}).(int); ok {
		r = r.Clone(r.Context())
		r.Header.Set(operationHeader, strconv.Itoa(id))
	}
	return m.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find what is wrapped.
func (m marker) WrappedRoundTripper() http.RoundTripper { return m.next }
