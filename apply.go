package k8sretry

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Applier is what [Apply] needs of a client; C is the apply configuration, such as
// *applyconfigurationscorev1.ConfigMapApplyConfiguration, T the object.
type Applier[C, T any] interface {
	Apply(ctx context.Context, configuration C, opts metav1.ApplyOptions) (T, error)
}

// Apply is server-side apply. Applying twice is applying once, so it is repeated
// whatever became of the request before, and needs no token. A conflict about the
// ownership of fields is never repeated: it ends when somebody yields, or by opts.Force.
func Apply[C, T any](ctx context.Context, client Applier[C, T], configuration C, opts metav1.ApplyOptions, options ...Option) (T, error) {
	if missing(client) {
		var none T
		return none, errNilClient
	}
	return call(ctx, func(ctx context.Context) (T, error) {
		return client.Apply(ctx, configuration, opts)
	}, append(slices.Clip(options), WithVerb(VerbApply)))
}
