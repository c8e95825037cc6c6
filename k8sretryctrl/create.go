// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// Create calls k8sretry.Create. It adds no mark to the object, unless the caller has chosen an
// annotation for it.
func (c *retryClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	name := "create " + c.resourceOf(obj)
	o := (&client.CreateOptions{}).ApplyOptions(opts)
	if obj.GetName() == "" && obj.GetGenerateName() == "" {
		return c.createUnnamed(ctx, name, obj, len(o.DryRun) > 0, opts)
	}
	created, err := k8sretry.Create(ctx, k8sretry.Creator[client.Object](&creator{reader{c, obj}, opts}), obj,
		metav1.CreateOptions{DryRun: o.DryRun}, k8sretry.WithName(name), k8sretry.WithTokenAnnotation(""), c.policyOf(o.DryRun))
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

// creator implements k8sretry.Creator with the client.
type creator struct {
	reader
	opts []client.CreateOption
}

func (c *creator) Create(ctx context.Context, obj client.Object, _ metav1.CreateOptions) (client.Object, error) {
	created := copyOf(obj)
	if err := c.client.inner.Create(ctx, created, c.opts...); err != nil {
		return nil, err
	}
	return created, nil
}
