package k8sretry

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Applier is the client that [Apply] needs. C is the apply configuration, such as
// *applyconfigurationscorev1.ConfigMapApplyConfiguration, and T the object.
type Applier[C, T any] interface {
	Apply(ctx context.Context, configuration C, opts metav1.ApplyOptions) (T, error)
}

// Apply is a server-side apply. Applying a configuration twice has the same result as
// applying it once, so Apply retries after ambiguous failures without a token. It does not
// retry a conflict with another field manager; opts.Force resolves it. It retries any other
// conflict: the server has lost a race against another write. So a configuration should not
// name a resource version.
func Apply[C, T any](ctx context.Context, client Applier[C, T], configuration C, opts metav1.ApplyOptions, options ...Option) (T, error) {
	if isNilValue(client) {
		var none T
		return none, errNilClient
	}
	return call(ctx, func(ctx context.Context) (T, error) {
		return client.Apply(ctx, configuration, opts)
	}, append(slices.Clip(options), WithVerb(VerbApply)))
}
