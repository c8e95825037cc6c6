// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Patcher is the client that [Patch] needs. The typed clients of client-go, their fakes and
// [DynamicClient] implement it.
type Patcher[T any] interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// Patch patches the object of this name.
//
//	cm, err := k8sretry.Patch(ctx, clientset.CoreV1().ConfigMaps("default"), "web", types.MergePatchType,
//		[]byte(`{"data":{"mode":"fast"}}`), metav1.PatchOptions{})
//
// To patch a subresource, see [PatchSubresource]. Whether Patch retries after an attempt that
// may have been carried out depends on the type and the body of the patch:
//
//   - A merge patch or a strategic merge patch is retried: applying it twice has the same
//     result as applying it once. If it names no metadata.resourceVersion, the last write
//     wins: a retry may undo what another client has changed in between. If it names one,
//     the server rejects the retry after any change.
//   - A JSON patch is retried if it tests the resourceVersion or something that it changes
//     itself, so that the server rejects the retry if the patch was applied. Any other JSON
//     patch is not retried, because it may append to a list twice: the error matches
//     [ErrOutcomeUnknown].
//   - A strategic merge patch is not retried either if a list in it has two elements with
//     the same merge key, such as the ports 53 of UDP and TCP: the server would merge both
//     into one.
//   - A server-side apply (types.ApplyPatchType, or the same in CBOR) is retried, as
//     by [Apply].
//
// A Conflict, and a JSON patch whose test fails, is returned unchanged if it answers the
// first request. After an attempt that may have been carried out it may be the effect of that
// attempt. Patch cannot determine this: the error contains the answer, so that
// apierrors.IsConflict is true, and matches [ErrOutcomeUnknown]. A conflict of a patch that
// names neither the resourceVersion nor the UID of the object is retried: the server has lost
// a race against another write.
//
// A body that cannot be decoded is sent as it is; it is not retried if it is a JSON patch or
// a strategic merge patch. A dry run is retried in any case. Patch needs no right but that to
// patch, sends no token, and does not change data, which must not be changed during the call.
// WithVerb has no effect. If it fails, Patch returns what the client returned.
func Patch[T any](ctx context.Context, client Patcher[T], name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, options ...Option) (T, error) {
	if isNilValue(client) {
		var none T
		return none, errNilClient
	}
	var subresources []string
	if c, ok := any(client).(interface{ patched() []string }); ok {
		subresources = c.patched()
	}
	seen := see(string(pt), data, len(opts.DryRun) > 0, subresources...)
	seen.target = func() target {
		return target{name: name, subresource: strings.Join(subresources, "/")}.or(targetOfType(reflect.TypeFor[T]()))
	}
	return callPatch(ctx, func(ctx context.Context) (T, error) {
		return client.Patch(ctx, name, pt, data, opts)
	}, options, codeOfType[T](), seen)
}

// callPatch calls fn in the retry loop, for a patch that it sees.
func callPatch[T any](ctx context.Context, fn func(context.Context) (T, error), options []Option, code uintptr, seen *seenPatch) (T, error) {
	c := resolve(options)
	c.setNumber(numVerb, int64(seen.verb))
	c.patch = seen
	c.setDefaults()
	return run(ctx, fn, &c, nil, code)
}
