// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

func (c *retryClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	return readInto(ctx, c, k8sretry.VerbGet, "get "+c.resourceOf(obj), obj, func(ctx context.Context, obj client.Object) error {
		return c.inner.Get(ctx, key, obj, opts...)
	})
}

func (c *retryClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := c.check(list); err != nil {
		return err
	}
	return readInto(ctx, c, k8sretry.VerbList, "list "+c.resourceOf(list), list, func(ctx context.Context, list client.ObjectList) error {
		return c.inner.List(ctx, list, opts...)
	})
}

// Watch retries the start of a watch. A watch that has started ends with ctx.
func (c *retryClient) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	if err := c.check(list); err != nil {
		return nil, err
	}
	inner := c.Unwrap()
	if inner == nil {
		return nil, errNoWatch
	}
	return k8sretry.Do(ctx, func(ctx context.Context) (watch.Interface, error) {
		return inner.Watch(ctx, list, opts...)
	}, k8sretry.WithName("watch "+c.resourceOf(list)), c.reads, k8sretry.WithVerb(k8sretry.VerbWatch))
}

// readInto reads into obj. A retry reads into a new object, because a response that was
// not complete may have set fields of obj.
func readInto[T runtime.Object](ctx context.Context, c *retryClient, verb k8sretry.Verb, name string, obj T, read func(context.Context, T) error) error {
	first := true
	return c.run(ctx, c.reads, verb, name, func(ctx context.Context) error {
		if first {
			first = false
			return read(ctx, obj)
		}
		into := newOf(obj)
		err := read(ctx, into)
		if err == nil {
			assign(obj, into)
		}
		return err
	})
}
