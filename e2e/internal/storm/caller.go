// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

// Maps is the client of all writes except evictions.
type Maps = typedcorev1.ConfigMapInterface

// Pods is the client of evictions.
type Pods = typedcorev1.PodInterface

// Caller is one way to make calls. It is safe for concurrent use.
type Caller interface {
	Name() string
	preparer
	Create(context.Context, Maps, *corev1.ConfigMap) error
	Update(context.Context, Maps, *corev1.ConfigMap) error
	Patch(ctx context.Context, maps Maps, name string, kind types.PatchType, patch string) error
	Modify(ctx context.Context, maps Maps, name string, mutate func(*corev1.ConfigMap) error) error
	Delete(context.Context, Maps, *corev1.ConfigMap) error
	Evict(context.Context, Pods, *corev1.Pod) error
	// Do makes any other call. Its verb determines whether it may be repeated.
	Do(ctx context.Context, verb k8sretry.Verb, call func(context.Context) error) error
}

// attemptLimit is the attempt timeout of all callers.
const attemptLimit = 2 * time.Second

// Mode is a way to use k8sretry.
type Mode struct {
	Transport bool // below the clients
	Limiter   bool // in the policy of calls and Transport
}

// Modes returns all modes, the zero Mode first.
func Modes() []Mode { return []Mode{{}, {Transport: true}, {Limiter: true}, {true, true}} }

func (m Mode) String() string {
	switch m {
	case Mode{Transport: true}:
		return "with a Transport"
	case Mode{Limiter: true}:
		return "with a Limiter"
	case Mode{true, true}:
		return "with both"
	}
	return "safe writes alone"
}

// Ours returns a Caller that uses the safe writes and Do. A Caller with a Limiter is for one
// run, because the Limiter remembers the answers of the server.
func Ours(mode Mode) Caller {
	opts := []k8sretry.Option{
		k8sretry.WithMaxRetries(60), k8sretry.WithInitialDelay(5 * time.Millisecond),
		k8sretry.WithMaxDelay(250 * time.Millisecond), k8sretry.WithAttemptTimeout(attemptLimit),
	}
	if mode.Limiter {
		opts = append(opts, k8sretry.WithLimiter(k8sretry.NewLimiter()))
	}
	return ours{mode, k8sretry.NewPolicy(opts...)}
}

type ours struct {
	mode   Mode
	policy *k8sretry.Policy
}

func (o ours) Name() string { return "k8sretry" }

func (o ours) prepare(c *rest.Config) {
	if o.mode.Transport {
		c.Wrap(k8sretry.Transport(o.policy))
	}
}

func (o ours) Create(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	_, err := k8sretry.Create(ctx, maps, m, metav1.CreateOptions{}, o.policy)
	return err
}

func (o ours) Update(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	_, err := k8sretry.Update(ctx, maps, m, metav1.UpdateOptions{FieldManager: "caller"}, o.policy)
	return err
}

func (o ours) Patch(ctx context.Context, maps Maps, name string, kind types.PatchType, patch string) error {
	_, err := k8sretry.Patch(ctx, maps, name, kind, []byte(patch), metav1.PatchOptions{}, o.policy)
	return err
}

func (o ours) Modify(ctx context.Context, maps Maps, name string, mutate func(*corev1.ConfigMap) error) error {
	_, err := k8sretry.Modify(ctx, maps, name, mutate, o.policy)
	return err
}

func (o ours) Delete(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	return k8sretry.Delete(ctx, maps, m, metav1.DeleteOptions{}, o.policy)
}

func (o ours) Evict(ctx context.Context, pods Pods, p *corev1.Pod) error {
	return k8sretry.Evict(ctx, pods, p, metav1.DeleteOptions{}, o.policy)
}

func (o ours) Do(ctx context.Context, verb k8sretry.Verb, call func(context.Context) error) error {
	return k8sretry.Run(ctx, call, o.policy, k8sretry.WithVerb(verb))
}

// Plain returns a Caller that uses client-go without further retries, except
// retry.RetryOnConflict for a read-modify-write.
func Plain() Caller { return clientgo{name: "plain client-go"} }

// OnError returns a Caller that retries what is usually considered transient with
// retry.OnError, for as long as [Ours].
func OnError() Caller {
	return clientgo{name: "retry.OnError", retriable: transient}
}

type clientgo struct {
	name      string
	retriable func(error) bool
}

var (
	// The delays are constant, because a Backoff ends when its delay reaches its Cap.
	retries   = wait.Backoff{Steps: 61, Duration: 150 * time.Millisecond, Factor: 1, Jitter: 0.2}
	conflicts = wait.Backoff{Steps: 61, Duration: 10 * time.Millisecond, Factor: 1, Jitter: 1}
)

func (c clientgo) Name() string         { return c.name }
func (c clientgo) prepare(*rest.Config) {}

func (c clientgo) Do(ctx context.Context, _ k8sretry.Verb, call func(context.Context) error) error {
	return c.repeat(func() error { return limited(ctx, call) })
}

func (c clientgo) repeat(call func() error) error {
	if c.retriable == nil {
		return call()
	}
	return retry.OnError(retries, c.retriable, call)
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

func (c clientgo) Patch(ctx context.Context, maps Maps, name string, kind types.PatchType, patch string) error {
	return c.Do(ctx, k8sretry.VerbPatch, func(ctx context.Context) error {
		_, err := maps.Patch(ctx, name, kind, []byte(patch), metav1.PatchOptions{})
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

// Delete deletes by name, without a UID.
func (c clientgo) Delete(ctx context.Context, maps Maps, m *corev1.ConfigMap) error {
	return c.Do(ctx, k8sretry.VerbDelete, func(ctx context.Context) error {
		return maps.Delete(ctx, m.Name, metav1.DeleteOptions{})
	})
}

// Evict evicts by name, without a UID.
func (c clientgo) Evict(ctx context.Context, pods Pods, p *corev1.Pod) error {
	return c.Do(ctx, k8sretry.VerbCreate, func(ctx context.Context) error {
		return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
	})
}

// transient reports whether an error is 408, 429 or 5xx, or not an answer of the server.
func transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
}
