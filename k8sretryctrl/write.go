package k8sretryctrl

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// Create calls k8sretry.Create. After a success the object has the token annotation.
func (c *retryClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	name := "create " + kindOf(obj)
	o := (&client.CreateOptions{}).ApplyOptions(opts)
	if obj.GetName() == "" && obj.GetGenerateName() == "" {
		return c.createUnnamed(ctx, name, obj, len(o.DryRun) > 0, opts)
	}
	created, err := k8sretry.Create(ctx, k8sretry.Creator[client.Object](&creator{reader{c, obj}, opts}), obj,
		metav1.CreateOptions{DryRun: o.DryRun}, k8sretry.WithName(name), c.writes)
	if err == nil {
		assign(obj, created)
	}
	return err
}

// createUnnamed creates an object without a name, which no read can find afterwards. It
// sets no token, because the server rejects reviews with metadata
// (k8s.io/kubernetes/pkg/apis/authorization/validation).
func (c *retryClient) createUnnamed(ctx context.Context, name string, obj client.Object, dryRun bool, opts []client.CreateOption) error {
	gvk, _ := c.inner.GroupVersionKindFor(obj) // inner.Create returns the error
	review := gvk.Group == "authorization.k8s.io" || gvk.Group == "authentication.k8s.io"
	verb := verbOf(k8sretry.VerbCreate, dryRun || review)
	return c.write(ctx, verb, name, func(ctx context.Context, copied copier) error {
		return c.inner.Create(ctx, copied(obj), opts...)
	})
}

// Update calls k8sretry.Update with a different verification, see updater.
func (c *retryClient) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.UpdateOptions{}).ApplyOptions(opts)
	return c.replace(ctx, "update "+kindOf(obj), obj, o.DryRun, &updater{
		reader: reader{c, obj}, same: sameObject,
		send: func(ctx context.Context, obj client.Object) error { return c.inner.Update(ctx, obj, opts...) },
	})
}

func (c *retryClient) replace(ctx context.Context, name string, obj client.Object, dryRun []string, u *updater) error {
	stored, err := k8sretry.Update(ctx, k8sretry.Updater[client.Object](u), obj,
		metav1.UpdateOptions{DryRun: dryRun}, k8sretry.WithName(name), c.writes, k8sretry.WithTokenAnnotation(localAnnotation))
	if err == nil {
		takeToken(stored)
		assign(obj, stored)
	}
	return err
}

// Delete calls k8sretry.Delete, which sends the UID of obj as a precondition.
func (c *retryClient) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.DeleteOptions{}).ApplyOptions(opts)
	return k8sretry.Delete(ctx, k8sretry.Deleter[client.Object](&deleter{reader{c, obj}, opts}), obj,
		metav1.DeleteOptions{DryRun: o.DryRun, Preconditions: o.Preconditions}, k8sretry.WithName("delete "+kindOf(obj)), c.writes)
}

// DeleteAllOf is not retried after an unknown outcome: it would delete objects created in
// the meantime.
func (c *retryClient) DeleteAllOf(ctx context.Context, obj client.Object, opts ...client.DeleteAllOfOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.DeleteAllOfOptions{}).ApplyOptions(opts)
	verb := verbOf(k8sretry.VerbDeleteCollection, len(o.DryRun) > 0)
	return c.run(ctx, c.writes, verb, "deletecollection "+kindOf(obj), func(ctx context.Context) error {
		return c.inner.DeleteAllOf(ctx, obj, opts...)
	})
}

// copier returns a copy of an object for one attempt. If the attempt succeeds, the copy is
// assigned to the object.
type copier func(client.Object) client.Object

// write runs fn with retries. Clients decode responses into the objects that they get, so
// fn must pass copies: a retry must not send what a failed attempt has decoded.
func (c *retryClient) write(ctx context.Context, verb k8sretry.Verb, name string, fn func(context.Context, copier) error) error {
	return c.run(ctx, c.writes, verb, name, func(ctx context.Context) error {
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
	})
}

// creator implements k8sretry.Creator with the client.
type creator struct {
	reader
	opts []client.CreateOption
}

func (c *creator) Create(ctx context.Context, obj client.Object, _ metav1.CreateOptions) (client.Object, error) {
	created := copyOf(obj)
	return created, c.client.inner.Create(ctx, created, c.opts...)
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
