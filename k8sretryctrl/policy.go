// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"errors"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// retryClient is the client of NewClient.
type retryClient struct {
	inner client.Client
	policies
}

var (
	errNilClient = errors.New("k8sretryctrl: the client is nil")
	errNilObject = errors.New("k8sretryctrl: the object is nil")
	errNilPatch  = errors.New("k8sretryctrl: the patch is nil")
	errNoWatch   = errors.New("k8sretryctrl: the client is not a client.WithWatch (see client.NewWithWatch)")
)

// check returns an error if the client or an object is nil, or if the type of an object is
// not in the scheme or unknown. Without the latter check, k8sretry would take the error of inner
// for a failure to decode the response of an executed request.
func (c *retryClient) check(objects ...any) error {
	if isNil(c.inner) {
		return errNilClient
	}
	for _, obj := range objects {
		if isNil(obj) {
			return errNilObject
		}
		if o, ok := obj.(runtime.Object); ok {
			_, err := c.inner.GroupVersionKindFor(o)
			if runtime.IsNotRegisteredError(err) || runtime.IsMissingKind(err) || runtime.IsMissingVersion(err) {
				return err
			}
		}
	}
	return nil
}

// isNil reports whether v is nil or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// run runs fn with retries. VerbUnspecified means that the call stores nothing. A name in
// the caller's options takes precedence over name.
func (c *retryClient) run(ctx context.Context, policy *k8sretry.Policy, verb k8sretry.Verb, name string, fn func(context.Context) error) error {
	opts := []k8sretry.Option{k8sretry.WithName(name), policy, k8sretry.WithVerb(verb)}
	if verb == k8sretry.VerbUnspecified {
		opts = append(opts, k8sretry.ReadOnly())
	}
	return k8sretry.Run(ctx, fn, opts...)
}

// verbOf returns the verb of a write for run. A write that stores nothing, such as a dry
// run, is retried whatever its outcome.
func verbOf(verb k8sretry.Verb, storesNothing bool) k8sretry.Verb {
	if storesNothing {
		return k8sretry.VerbUnspecified
	}
	return verb
}
