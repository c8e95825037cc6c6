// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// Update calls k8sretry.Update.
func (c *retryClient) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.UpdateOptions{}).ApplyOptions(opts)
	u := &updater{reader: reader{c, obj}, owner: asOption(o.FieldManager)}
	opts = with(opts, client.UpdateOption(&u.owner))
	u.send = func(ctx context.Context, obj client.Object) error { return c.inner.Update(ctx, obj, opts...) }
	return c.replace(ctx, "update "+c.resourceOf(obj), obj, o.DryRun, u)
}

func (c *retryClient) replace(ctx context.Context, name string, obj client.Object, dryRun []string, u *updater) error {
	var to k8sretry.Updater[client.Object] = u
	if u.subresource == "status" {
		to = k8sretry.StatusSubresource[client.Object](statusUpdater{u})
	}
	stored, err := k8sretry.Update(ctx, to, obj, metav1.UpdateOptions{DryRun: dryRun},
		k8sretry.WithName(name), c.policyOf(dryRun))
	if err == nil {
		if stored != u.answer {
			keepKind(stored, obj)
		}
		assign(obj, stored)
	}
	return err
}

// statusUpdater implements k8sretry.StatusUpdater.
type statusUpdater struct{ *updater }

func (u statusUpdater) UpdateStatus(ctx context.Context, obj client.Object, opts metav1.UpdateOptions) (client.Object, error) {
	return u.Update(ctx, obj, opts)
}

// Delete calls k8sretry.Delete, which sends the UID of obj as a precondition.
func (c *retryClient) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.DeleteOptions{}).ApplyOptions(opts)
	return k8sretry.Delete(ctx, k8sretry.Deleter[client.Object](&deleter{reader{c, obj}, opts}), obj,
		*o.AsDeleteOptions(), k8sretry.WithName("delete "+c.resourceOf(obj)), c.policyOf(o.DryRun))
}

// DeleteAllOf is not retried after an unknown outcome: it would delete objects created in
// the meantime.
func (c *retryClient) DeleteAllOf(ctx context.Context, obj client.Object, opts ...client.DeleteAllOfOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.DeleteAllOfOptions{}).ApplyOptions(opts)
	verb := verbOf(k8sretry.VerbDeleteCollection, len(o.DryRun) > 0)
	return c.run(ctx, c.writes, verb, "deletecollection "+c.resourceOf(obj), func(ctx context.Context) error {
		return c.inner.DeleteAllOf(ctx, obj, opts...)
	})
}

// copier returns a copy of an object for one attempt. If the attempt succeeds, the copy is
// assigned to the object.
type copier func(client.Object) client.Object

// write runs fn with retries. Clients decode responses into the objects that they get, so
// fn must pass copies: a retry must not send what a failed attempt has decoded.
func (c *retryClient) write(ctx context.Context, verb k8sretry.Verb, name string, fn func(context.Context, copier) error) error {
	return c.run(ctx, c.writes, verb, name, func(ctx context.Context) error { return attempt(ctx, fn) })
}

func attempt(ctx context.Context, fn func(context.Context, copier) error) error {
	var objects, copies []client.Object
	err := fn(ctx, func(obj client.Object) client.Object {
		objects, copies = append(objects, obj), append(copies, copyOf(obj))
		return copies[len(copies)-1]
	})
	if err == nil {
		for i, obj := range objects {
			assign(obj, copies[i])
		}
	}
	return err
}

// deleter implements k8sretry.Deleter with the client.
type deleter struct {
	reader
	opts []client.DeleteOption
}

func (d *deleter) Delete(ctx context.Context, _ string, o metav1.DeleteOptions) error {
	opts := d.opts
	if o.Preconditions != nil {
		opts = append(slices.Clip(opts), client.Preconditions(*o.Preconditions))
	}
	return d.client.inner.Delete(ctx, copyOf(d.obj), opts...)
}
