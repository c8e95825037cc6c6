// Package client has what the tests need of the package of this path.
package client

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

type Object interface{ GetName() string }

type ObjectKey = types.NamespacedName

type Reader interface {
	Get(ctx context.Context, key ObjectKey, obj Object, opts ...any) error
}

type Writer interface {
	Create(ctx context.Context, obj Object, opts ...any) error
	Update(ctx context.Context, obj Object, opts ...any) error
	Delete(ctx context.Context, obj Object, opts ...any) error
}

type SubResourceWriter interface {
	Update(ctx context.Context, obj Object, opts ...any) error
}

type Client interface {
	Reader
	Writer
	Status() SubResourceWriter
}

func IgnoreNotFound(err error) error { return err }
