package k8sretryctrl

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// NewClient returns a client that retries the calls of inner. inner may be the client of
// a manager, a client of client.New, a fake, or any of them with a wrapper such as
// client.WithFieldOwner or an interceptor.
//
//	c := k8sretryctrl.NewClient(mgr.GetClient())
//
// Reads use [k8sretry.ForRead], writes use [k8sretry.ForWrite]; opts apply to both and
// override these presets. WithVerb has no effect: each method sets its verb. If an option
// is invalid or inner is nil, each call returns an error.
//
// Watch returns an error if inner is not a client.WithWatch. Scheme, RESTMapper,
// GroupVersionKindFor and IsObjectNamespaced call inner without retries, because they have
// no context that could end a wait.
//
// The client is safe for concurrent use if inner is. If a write fails, it does not change
// the object.
func NewClient(inner client.Client, opts ...k8sretry.Option) client.WithWatch {
	given := k8sretry.NewPolicy(opts...)
	return &retryClient{
		inner:  inner,
		reads:  k8sretry.NewPolicy(k8sretry.ForRead(), given),
		writes: k8sretry.NewPolicy(k8sretry.ForWrite(), given),
	}
}

// Unwrap returns the inner client, or nil if it is not a client.WithWatch. The fake of
// controller-runtime uses it to add an index.
func (c *retryClient) Unwrap() client.WithWatch {
	inner, _ := c.inner.(client.WithWatch)
	return inner
}

func (c *retryClient) Scheme() *runtime.Scheme {
	if c.check() != nil {
		return nil
	}
	return c.inner.Scheme()
}

func (c *retryClient) RESTMapper() meta.RESTMapper {
	if c.check() != nil {
		return nil
	}
	return c.inner.RESTMapper()
}

func (c *retryClient) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	if err := c.check(obj); err != nil {
		return schema.GroupVersionKind{}, err
	}
	return c.inner.GroupVersionKindFor(obj)
}

func (c *retryClient) IsObjectNamespaced(obj runtime.Object) (bool, error) {
	if err := c.check(obj); err != nil {
		return false, err
	}
	return c.inner.IsObjectNamespaced(obj)
}
