// SPDX-License-Identifier: Apache-2.0

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
// Each call ends after 10 s at most, the last attempt included, so that it does not block a
// worker of the controller for longer: the last attempt begins within 5 s, and an attempt
// takes at most 5 s. For a write whose outcome may have to be checked in the end, which takes
// up to 5 s, the last attempt begins within 2 s and takes at most 3 s. The delays are 0.2 s to
// 1 s. Apart from that, reads use [k8sretry.ForRead] and writes use [k8sretry.ForWrite]. These limits
// do not end the discovery of a RESTMapper, see the package documentation.
//
// opts apply to all calls and override these defaults. To retry for longer, use
// k8sretry.WithMaxElapsed and k8sretry.WithAttemptTimeout besides a preset. WithVerb has no
// effect: each method sets its verb. If an option is invalid or inner is nil, each call
// returns an error.
//
// The events of a call are logged to the logger of its context (log.FromContext), which is
// that of the reconcile. If no logger was set, by log.SetLogger either, they are logged to
// zap.L(), and if that is silent, a call that gives up is logged to slog.Default().
// k8sretry.WithLogger overrides this.
//
// The client adds no annotation to objects, unless k8sretry.WithTokenAnnotation names one
// for the token of creates.
//
// Watch returns an error if inner is not a client.WithWatch. Scheme, RESTMapper,
// GroupVersionKindFor and IsObjectNamespaced call inner without retries, because they have
// no context that could end a wait.
//
// The client is safe for concurrent use if inner is. If a write fails, it does not change
// the object.
func NewClient(inner client.Client, opts ...k8sretry.Option) client.WithWatch {
	return &retryClient{inner: inner, policies: newPolicies(opts)}
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
