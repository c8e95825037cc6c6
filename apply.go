// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"encoding/json"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Applier is the client that [Apply] needs. C is the apply configuration, such as
// *applyconfigurationscorev1.ConfigMapApplyConfiguration, and T the object.
type Applier[C, T any] interface {
	Apply(ctx context.Context, configuration C, opts metav1.ApplyOptions) (T, error)
}

// Apply is a server-side apply. Applying a configuration twice has the same result as
// applying it once, so Apply retries after ambiguous failures without a token. A retry creates
// an object again that others have deleted in between, unless the configuration has its UID. It does not
// retry a conflict with another field manager; opts.Force resolves it. It retries any other
// conflict, because the server has lost a race against another write, unless the
// configuration names a resource version or a UID. Such a conflict is returned unchanged, or
// with [ErrOutcomeUnknown] after a request that may have been carried out, whose effect it
// may be. So a configuration should not name a resource version. An apply to a subresource that
// may be an action is not repeated while its outcome is unknown, see [Update].
func Apply[C, T any](ctx context.Context, client Applier[C, T], configuration C, opts metav1.ApplyOptions, options ...Option) (T, error) {
	if isNilValue(client) {
		var none T
		return none, errNilClient
	}
	return callPatch(ctx, func(ctx context.Context) (T, error) {
		return client.Apply(ctx, configuration, opts)
	}, options, codeOfObject(configuration), &seenPatch{
		verb: VerbApply, dryRun: len(opts.DryRun) > 0,
		target: func() target {
			t := target{subresource: subresourceOf(client)}
			if _, ok := any(configuration).(runtime.Object); ok { // of the dynamic client
				t = t.or(targetOf(configuration, ""))
			} else if named, ok := any(configuration).(interface{ GetName() *string }); ok && !isNilValue(configuration) && named.GetName() != nil {
				t.name = *named.GetName()
			}
			return t.or(targetOfType(reflect.TypeFor[T]()))
		},
		riskConfirmed: func() bool { return isAction(client, VerbApply) },
		namesVersion: func() bool {
			body, err := json.Marshal(configuration)
			return err == nil && see(string(types.ApplyPatchType), body, false).namesVersion()
		},
	})
}
