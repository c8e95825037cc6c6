package nestedretry

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// What a helper repeats is what its caller hands to it: it cannot be seen in the helper.
func repeat(fn func() error) error {
	return retry.OnError(retry.DefaultBackoff, apierrors.IsServiceUnavailable, fn)
}

func throughHelper(ctx context.Context, c kubernetes.Interface) {
	_ = retry.OnError(retry.DefaultBackoff, apierrors.IsServiceUnavailable, func() error {
		return repeat(func() error { return touch(ctx, c) })
	})
}
