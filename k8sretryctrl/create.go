package k8sretryctrl

import (
	"context"
	"errors"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// maxClockSkew is by how much the clocks of this machine and of the server may differ. An
// object is older than a call only if it was created by more than that before the call. A
// client.Client does not tell the time of the server.
const maxClockSkew = 5 * time.Minute

// errNotProven is the error of a read that has found an object which may or may not be the
// result of a create.
var errNotProven = errors.New("k8sretryctrl: the object does not show which call has created it")

// Create is verified by the drawn name, or by the owner and the content, see creator.
func (c *retryClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	name := "create " + kindOf(obj)
	o := (&client.CreateOptions{}).ApplyOptions(opts)
	if obj.GetName() == "" && obj.GetGenerateName() == "" {
		return c.createUnnamed(ctx, name, obj, len(o.DryRun) > 0, opts)
	}
	call := &creator{reader: reader{c, obj}, opts: opts, began: time.Now()}
	created, err := k8sretry.Create(ctx, k8sretry.Creator[client.Object](call), obj,
		metav1.CreateOptions{DryRun: o.DryRun}, k8sretry.WithName(name), k8sretry.WithTokenAnnotation(localAnnotation), c.policyOf(o.DryRun))
	if err == nil {
		takeToken(created)
		if call.proven {
			created.SetAnnotations(call.annotations)
		}
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
//
// k8sretry.Create identifies an object by a token, which creator does not send unless the
// caller has chosen an annotation for it. Instead, Get adds the token to an object if
// something else proves that this call has created it: its name, which this call has drawn,
// or that it has the same controller and all that was sent. Get returns an error for an
// object that may be the result of the call without such a proof.
type creator struct {
	reader
	opts       []client.CreateOption
	began      time.Time
	key, token string // as added by k8sretry.Create; "" if it has added none

	proven      bool              // Get has added the token to the object
	annotations map[string]string // of the object then
}

func (c *creator) Create(ctx context.Context, obj client.Object, _ metav1.CreateOptions) (client.Object, error) {
	created := copyOf(obj)
	for key, value := range obj.GetAnnotations() {
		if given, ok := c.obj.GetAnnotations()[key]; !ok || given != value {
			c.key, c.token = key, value
		}
	}
	takeToken(created)
	if err := c.client.inner.Create(ctx, created, c.opts...); err != nil {
		return nil, err
	}
	c.mark(created)
	return created, nil
}

// mark adds a token that was not sent to an object that this call has created.
func (c *creator) mark(created client.Object) {
	if c.key == localAnnotation {
		setAnnotation(created, localAnnotation, c.token)
	}
}

func (c *creator) Get(ctx context.Context, name string, opts metav1.GetOptions) (client.Object, error) {
	found, err := c.reader.Get(ctx, name, opts)
	switch {
	case err != nil:
		return nil, err
	case c.key == "":
		return found, nil // k8sretry.Create needs no token
	case found.GetAnnotations()[c.key] == c.token:
		return found, nil
	case c.isProven(found):
		c.proven, c.annotations = true, maps.Clone(found.GetAnnotations())
		setAnnotation(found, c.key, c.token)
		return found, nil
	case c.isOlder(found):
		return found, nil
	}
	return nil, errNotProven
}

// isProven reports whether the call has created an object.
func (c *creator) isProven(found client.Object) bool {
	switch {
	case c.isOlder(found):
		return false
	case c.obj.GetName() == "":
		return true // the name is random
	}
	owner := metav1.GetControllerOfNoCopy(c.obj)
	return owner != nil && owner.UID != "" && includesObject(c.obj, found) // its owners, too
}

// isOlder reports whether an object was created before the call.
func (c *creator) isOlder(found client.Object) bool {
	t := found.GetCreationTimestamp()
	return !t.IsZero() && t.Time.Before(c.began.Add(-maxClockSkew))
}
