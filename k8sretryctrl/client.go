package k8sretryctrl

import (
	"context"
	"errors"
	"reflect"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// NewClient returns inner with retries: the client of a manager, one of client.New, a
// fake, or any of them in a wrapper such as client.WithFieldOwner or an interceptor.
//
//	c := k8sretryctrl.NewClient(mgr.GetClient())
//
// Reads have the policy of [k8sretry.ForRead], writes that of [k8sretry.ForWrite];
// opts are laid over both. WithVerb means nothing here: each method has its own. Options
// that make no sense, and a nil inner, are reported by each call.
//
// Watch needs an inner that is a client.WithWatch; without one it returns an error.
// Scheme, RESTMapper, GroupVersionKindFor and IsObjectNamespaced are those of inner: they
// have no context that could end a wait.
//
// The client is as safe for concurrent use as inner, and keeps nothing from one call
// to the next. On failure an object that was to be written is left as it was.
func NewClient(inner client.Client, opts ...k8sretry.Option) client.WithWatch {
	over := func(presets ...k8sretry.Option) *k8sretry.Policy {
		return k8sretry.NewPolicy(append(presets, opts...)...)
	}
	return &retrying{
		inner:    inner,
		reads:    over(k8sretry.ForRead()),
		writes:   over(k8sretry.ForWrite()),
		harmless: over(k8sretry.ForRead(), k8sretry.ForWrite()),
	}
}

// retrying is the client of NewClient.
type retrying struct {
	inner    client.Client
	reads    *k8sretry.Policy
	writes   *k8sretry.Policy
	harmless *k8sretry.Policy // for writes that store nothing: dry runs and reviews
}

var (
	errNilClient = errors.New("k8sretryctrl: the client is nil")
	errNilObject = errors.New("k8sretryctrl: the object is nil")
	errNilPatch  = errors.New("k8sretryctrl: the patch is nil")
	errNoWatch   = errors.New("k8sretryctrl: the client cannot watch: it is no client.WithWatch (see client.NewWithWatch)")
)

// check says what a call lacks. Of a type that is not in the scheme k8sretry would think
// that the server's answer was of it, and the request carried out.
func (c *retrying) check(objects ...any) error {
	if missing(c.inner) {
		return errNilClient
	}
	for _, obj := range objects {
		if missing(obj) {
			return errNilObject
		}
		if o, ok := obj.(runtime.Object); ok {
			if _, err := c.inner.GroupVersionKindFor(o); runtime.IsNotRegisteredError(err) {
				return err
			}
		}
	}
	return nil
}

// missing reports whether v is nil or holds a nil pointer.
func missing(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// run is one call with retries. The name is what the caller's options do not name.
func (c *retrying) run(ctx context.Context, policy *k8sretry.Policy, verb k8sretry.Verb, name string, fn func(context.Context) error) error {
	return k8sretry.Run(ctx, fn, k8sretry.WithName(name), policy, k8sretry.WithVerb(verb))
}

// policy is the policy and the verb of a write. A dry run stores nothing: it may be
// repeated whatever became of it.
func (c *retrying) policy(verb k8sretry.Verb, dryRun bool) (*k8sretry.Policy, k8sretry.Verb) {
	if dryRun {
		return c.harmless, k8sretry.VerbUnspecified
	}
	return c.writes, verb
}

// Unwrap returns the client inside, nil if it cannot watch. The fake of
// controller-runtime asks for it to add an index.
func (c *retrying) Unwrap() client.WithWatch {
	inner, _ := c.inner.(client.WithWatch)
	return inner
}

func (c *retrying) Scheme() *runtime.Scheme {
	if c.check() != nil {
		return nil
	}
	return c.inner.Scheme()
}

func (c *retrying) RESTMapper() meta.RESTMapper {
	if c.check() != nil {
		return nil
	}
	return c.inner.RESTMapper()
}

func (c *retrying) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	if err := c.check(obj); err != nil {
		return schema.GroupVersionKind{}, err
	}
	return c.inner.GroupVersionKindFor(obj)
}

func (c *retrying) IsObjectNamespaced(obj runtime.Object) (bool, error) {
	if err := c.check(obj); err != nil {
		return false, err
	}
	return c.inner.IsObjectNamespaced(obj)
}
