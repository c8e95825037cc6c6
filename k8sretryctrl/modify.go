// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

var errNoMutate = errors.New("k8sretryctrl: the function that changes the object is nil")

// Modify reads an object, calls mutate to change it, and updates it. If another client has
// changed the object in between, it starts over. A change that mutate makes is stored exactly
// once, even if it increments a counter.
//
//	totals := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "totals"}}
//	err := k8sretryctrl.Modify(ctx, mgr.GetClient(), totals,
//		func(cm *corev1.ConfigMap) error { cm.Data["runs"] = plusOne(cm.Data["runs"]); return nil })
//
// Modify uses the name, the namespace and the type of obj only. After a success obj is the
// object that was stored, or that was read if mutate changed nothing. If Modify fails, it does
// not change obj.
//
// Modify never reads from a cache, also with the client of a manager: it reads the object with
// c.SubResource("").Get, which controller-runtime sends to the server. (A fake client has no
// such subresource and is read with Get.)
//
// Modify calls mutate once for each time it reads the object, never concurrently, and with a
// new copy of the object, so mutate should depend on nothing but that. It gives the promises of
// [k8sretry.Modify], which it calls: if mutate changes nothing, it sends no update; if mutate
// returns an error, it returns that error unchanged; if the outcome of an update cannot be
// determined, the error matches [k8sretry.ErrOutcomeUnknown].
//
// To know its own update among those of others, Modify stores a random token in an annotation,
// beside a change that mutate makes; k8sretry.WithTokenAnnotation("") turns that off.
//
// The policy of a client of [NewClient] applies, and opts override it. With another client, the
// defaults of NewClient apply. Those leave 10 s for a call, so an object that many clients change
// may need a k8sretry.WithMaxElapsed of its own.
func Modify[T client.Object](ctx context.Context, c client.Client, obj T, mutate func(T) error, opts ...k8sretry.Option) error {
	return modify(ctx, c, obj, mutate, "", opts)
}

// ModifyStatus is [Modify] for the status subresource. Of most kinds, the server stores the
// status without the annotations of the request, so that only an update that no other client
// has followed, and one that another client has certainly preceded, are known for certain; see
// [k8sretry.StatusSubresource].
func ModifyStatus[T client.Object](ctx context.Context, c client.Client, obj T, mutate func(T) error, opts ...k8sretry.Option) error {
	return modify(ctx, c, obj, mutate, "status", opts)
}

func modify[T client.Object](ctx context.Context, c client.Client, obj T, mutate func(T) error, subresource string, opts []k8sretry.Option) error {
	retrying, ok := c.(*retryClient)
	if !ok || retrying == nil {
		retrying = &retryClient{inner: c, policies: newPolicies(nil)}
	}
	if err := retrying.check(obj); err != nil {
		return err
	}
	if mutate == nil {
		return errNoMutate
	}
	m := &modifier[T]{client: retrying, obj: obj}
	name := "modify " + retrying.resourceOf(obj)
	var to k8sretry.Updater[T] = m
	if subresource != "" {
		name += "/" + subresource
		to = k8sretry.StatusSubresource[T](statusModifier[T]{m})
	}
	stored, err := k8sretry.Modify(ctx, to, obj.GetName(), mutate,
		append([]k8sretry.Option{k8sretry.WithName(name), retrying.checked}, opts...)...)
	if err != nil {
		return err
	}
	keepKind(stored, obj)
	assign(obj, stored)
	return nil
}

// modifier implements k8sretry.Updater and k8sretry.Watcher with a client.
type modifier[T client.Object] struct {
	client *retryClient
	obj    T
	owner
}

func (m *modifier[T]) Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error) {
	var none T
	found, err := reader{m.client, m.obj}.Get(ctx, name, opts)
	if err != nil {
		return none, err
	}
	return found.(T), nil
}

func (m *modifier[T]) Update(ctx context.Context, obj T, _ metav1.UpdateOptions) (T, error) {
	stored := copyOf(obj).(T)
	return stored, m.client.inner.Update(ctx, stored, &m.owner)
}

func (m *modifier[T]) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return m.client.watch(ctx, m.obj, opts)
}

// statusModifier implements k8sretry.StatusUpdater.
type statusModifier[T client.Object] struct{ *modifier[T] }

func (m statusModifier[T]) UpdateStatus(ctx context.Context, obj T, _ metav1.UpdateOptions) (T, error) {
	stored := copyOf(obj).(T)
	return stored, m.client.inner.Status().Update(ctx, stored, &m.owner)
}
