package k8sretryctrl

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// Create is k8sretry.Create. The object carries the token of the call from then on.
func (c *retrying) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	name := "create " + kindOf(obj)
	o := (&client.CreateOptions{}).ApplyOptions(opts)
	if obj.GetName() == "" && obj.GetGenerateName() == "" {
		return c.ask(ctx, name, obj, len(o.DryRun) > 0, opts)
	}
	made, err := k8sretry.Create(ctx, k8sretry.Creator[client.Object](&creator{reader{c, obj}, opts}), obj,
		metav1.CreateOptions{DryRun: o.DryRun}, k8sretry.WithName(name), c.writes)
	if err == nil {
		fill(obj, made)
	}
	return err
}

// ask creates an object without a name. There is nothing to find it by afterwards, and a
// token in it would be refused: reviews are questions put as a POST, and the server
// insists that their metadata is empty (k8s.io/kubernetes/pkg/apis/authorization/validation).
func (c *retrying) ask(ctx context.Context, name string, obj client.Object, dryRun bool, opts []client.CreateOption) error {
	gvk, _ := c.inner.GroupVersionKindFor(obj) // inner will say by itself what it does not know
	review := gvk.Group == "authorization.k8s.io" || gvk.Group == "authentication.k8s.io"
	policy, verb := c.policy(k8sretry.VerbCreate, dryRun || review)
	return c.write(ctx, policy, verb, name, func(ctx context.Context, own owner) error {
		return c.inner.Create(ctx, own(obj), opts...)
	})
}

// Update is k8sretry.Update, with another proof: see updater.
func (c *retrying) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.UpdateOptions{}).ApplyOptions(opts)
	return c.replace(ctx, "update "+kindOf(obj), obj, o.DryRun, &updater{
		reader: reader{c, obj}, same: sameObject,
		send: func(ctx context.Context, obj client.Object) error { return c.inner.Update(ctx, obj, opts...) },
	})
}

func (c *retrying) replace(ctx context.Context, name string, obj client.Object, dryRun []string, u *updater) error {
	stored, err := k8sretry.Update(ctx, k8sretry.Updater[client.Object](u), obj,
		metav1.UpdateOptions{DryRun: dryRun}, k8sretry.WithName(name), c.writes, k8sretry.WithTokenAnnotation(unsent))
	if err == nil {
		takeToken(stored)
		fill(obj, stored)
	}
	return err
}

// Delete is k8sretry.Delete: the UID of obj is sent along.
func (c *retrying) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.DeleteOptions{}).ApplyOptions(opts)
	return k8sretry.Delete(ctx, k8sretry.Deleter[client.Object](&deleter{reader{c, obj}, opts}), obj,
		metav1.DeleteOptions{DryRun: o.DryRun, Preconditions: o.Preconditions}, k8sretry.WithName("delete "+kindOf(obj)), c.writes)
}

// DeleteAllOf is not repeated once it may have begun: objects created since would go, too.
func (c *retrying) DeleteAllOf(ctx context.Context, obj client.Object, opts ...client.DeleteAllOfOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	o := (&client.DeleteAllOfOptions{}).ApplyOptions(opts)
	policy, verb := c.policy(k8sretry.VerbDeleteCollection, len(o.DryRun) > 0)
	return c.run(ctx, policy, verb, "deletecollection "+kindOf(obj), func(ctx context.Context) error {
		return c.inner.DeleteAllOf(ctx, obj, opts...)
	})
}

// owner makes a copy of an object for one attempt. What a successful attempt has made of
// the copy, the object becomes.
type owner func(client.Object) client.Object

// write is a call with retries that changes objects in place. Clients decode answers into
// the object that they were given; what a failed attempt has left there must not be sent
// by the next one.
func (c *retrying) write(ctx context.Context, policy *k8sretry.Policy, verb k8sretry.Verb, name string, fn func(context.Context, owner) error) error {
	return c.run(ctx, policy, verb, name, func(ctx context.Context) error {
		var objects, copies []client.Object
		err := fn(ctx, func(obj client.Object) client.Object {
			objects, copies = append(objects, obj), append(copies, copyOf(obj))
			return copies[len(copies)-1]
		})
		if err == nil {
			for i, obj := range objects {
				fill(obj, copies[i])
			}
		}
		return err
	})
}

// creator gives the client the shape that k8sretry.Create asks for.
type creator struct {
	reader
	opts []client.CreateOption
}

func (s *creator) Create(ctx context.Context, obj client.Object, _ metav1.CreateOptions) (client.Object, error) {
	own := copyOf(obj)
	return own, s.client.inner.Create(ctx, own, s.opts...)
}

// deleter gives the client the shape that k8sretry.Delete asks for.
type deleter struct {
	reader
	opts []client.DeleteOption
}

func (s *deleter) Delete(ctx context.Context, _ string, o metav1.DeleteOptions) error {
	opts := s.opts
	if o.Preconditions != nil {
		opts = append(slices.Clip(opts), client.Preconditions(*o.Preconditions))
	}
	return s.client.inner.Delete(ctx, copyOf(s.obj), opts...)
}
