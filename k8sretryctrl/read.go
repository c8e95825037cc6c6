package k8sretryctrl

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

func (c *retrying) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := c.check(obj); err != nil {
		return err
	}
	return readInto(ctx, c, k8sretry.VerbGet, "get "+kindOf(obj), obj, func(ctx context.Context, obj client.Object) error {
		return c.inner.Get(ctx, key, obj, opts...)
	})
}

func (c *retrying) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := c.check(list); err != nil {
		return err
	}
	return readInto(ctx, c, k8sretry.VerbList, "list "+kindOf(list), list, func(ctx context.Context, list client.ObjectList) error {
		return c.inner.List(ctx, list, opts...)
	})
}

// Watch retries the start of a watch. One that was opened lives on with ctx.
func (c *retrying) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	if err := c.check(list); err != nil {
		return nil, err
	}
	inner := c.Unwrap()
	if inner == nil {
		return nil, errNoWatch
	}
	return k8sretry.Do(ctx, func(ctx context.Context) (watch.Interface, error) {
		return inner.Watch(ctx, list, opts...)
	}, k8sretry.WithName("watch "+kindOf(list)), c.reads, k8sretry.WithVerb(k8sretry.VerbWatch))
}

// readInto reads into obj. A repetition reads into an object of its own, because an
// answer that could not be read to its end may have left something in the first.
func readInto[T runtime.Object](ctx context.Context, c *retrying, verb k8sretry.Verb, name string, obj T, read func(context.Context, T) error) error {
	first := true
	return c.run(ctx, c.reads, verb, name, func(ctx context.Context) error {
		if first {
			first = false
			return read(ctx, obj)
		}
		into := fresh(obj)
		err := read(ctx, into)
		if err == nil {
			fill(obj, into)
		}
		return err
	})
}
