package storm

import (
	"context"
	"errors"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

// Maps is the client of all writes here.
type Maps = typedcorev1.ConfigMapInterface

// Caller is a way to make calls. It is safe for concurrent use.
type Caller interface {
	Name() string
	preparer
	Create(context.Context, Maps, *corev1.ConfigMap) error
	Update(context.Context, Maps, *corev1.ConfigMap) error
	Modify(ctx context.Context, maps Maps, name string, mutate func(*corev1.ConfigMap) error) error
	Delete(context.Context, Maps, *corev1.ConfigMap) error
	// Do makes any other call, which may be repeated as its verb allows.
	Do(ctx context.Context, verb k8sretry.Verb, call func(context.Context) error) error
}

// attemptLimit ends an attempt that is never answered, whoever makes it.
const attemptLimit = time.Second

// Ours calls through the safe writes and Do. With through, clients have a Transport
// below as well.
func Ours(through bool) Caller {
	return ours{through, k8sretry.NewPolicy(k8sretry.WithMaxRetries(60), k8sretry.WithInitialDelay(5*time.Millisecond),
		k8sretry.WithMaxDelay(250*time.Millisecond), k8sretry.WithAttemptTimeout(attemptLimit))}
}

type ours struct {
	through bool
	policy  *k8sretry.Policy
}

func (o ours) Name() string { return "k8sretry" }

func (o ours) prepare(c *rest.Config) {
	if o.through {
		c.Wrap(k8sretry.Transport(o.policy))
	}
}

func (o ours) Create(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	_, err := k8sretry.Create(ctx, maps, m, metav1.CreateOptions{}, o.policy)
	return err
}

func (o ours) Update(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	_, err := k8sretry.Update(ctx, maps, m, metav1.UpdateOptions{}, o.policy)
	return err
}

func (o ours) Modify(ctx context.Context, maps Maps, name string, mutate func(*corev1.ConfigMap) error) error {
	_, err := k8sretry.Modify(ctx, maps, name, mutate, o.policy)
	return err
}

func (o ours) Delete(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	return k8sretry.Delete(ctx, maps, m, metav1.DeleteOptions{}, o.policy)
}

func (o ours) Do(ctx context.Context, verb k8sretry.Verb, call func(context.Context) error) error {
	return k8sretry.Run(ctx, call, o.policy, k8sretry.WithVerb(verb))
}

// Plain calls client-go as it is, conflicts of a read-modify-write under
// retry.RetryOnConflict.
func Plain() Caller { return clientgo{name: "plain client-go"} }

// OnError calls client-go under retry.OnError with what is usually taken for
// transient, and with as much patience as [Ours].
func OnError() Caller {
	return clientgo{name: "retry.OnError", again: transient}
}

type clientgo struct {
	name  string
	again func(error) bool
}

var (
	// A Backoff with a Cap gives up when it gets there: the delay stays the same.
	patience  = wait.Backoff{Steps: 61, Duration: 150 * time.Millisecond, Factor: 1, Jitter: 0.2}
	conflicts = wait.Backoff{Steps: 61, Duration: 10 * time.Millisecond, Factor: 1, Jitter: 1}
)

func (c clientgo) Name() string         { return c.name }
func (c clientgo) prepare(*rest.Config) {}

func (c clientgo) Do(ctx context.Context, _ k8sretry.Verb, call func(context.Context) error) error {
	return c.repeat(func() error { return limited(ctx, call) })
}

func (c clientgo) repeat(call func() error) error {
	if c.again == nil {
		return call()
	}
	return retry.OnError(patience, c.again, call)
}

func limited(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	return call(ctx)
}

func (c clientgo) Create(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	return c.Do(ctx, k8sretry.VerbCreate, func(ctx context.Context) error {
		_, err := maps.Create(ctx, m, metav1.CreateOptions{})
		return err
	})
}

func (c clientgo) Update(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	return c.Do(ctx, k8sretry.VerbUpdate, func(ctx context.Context) error {
		_, err := maps.Update(ctx, m, metav1.UpdateOptions{})
		return err
	})
}

func (c clientgo) Modify(ctx context.Context, maps Maps, name string, mutate func(*corev1.ConfigMap) error) error {
	return c.repeat(func() error {
		return retry.RetryOnConflict(conflicts, func() error {
			return limited(ctx, func(ctx context.Context) error {
				m, err := maps.Get(ctx, name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				if err := mutate(m); err != nil {
					return err
				}
				_, err = maps.Update(ctx, m, metav1.UpdateOptions{})
				return err
			})
		})
	})
}

// Delete deletes by name: client-go sends no UID unless it is told to.
func (c clientgo) Delete(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	return c.Do(ctx, k8sretry.VerbDelete, func(ctx context.Context) error {
		return maps.Delete(ctx, m.Name, metav1.DeleteOptions{})
	})
}

// transient is what is usually repeated: 408, 429, all 5xx, and all that is no answer.
func transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
}
