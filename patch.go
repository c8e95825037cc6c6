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
// [DynamicClient] implement it. If it also implements [Getter] and [Watcher], as they do, Patch
// can determine the outcome of a patch that names the resourceVersion.
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
//     [ErrOutcomeUnknown]. Neither is one that tests an element of a list and removes it, or moves
//     it to another index, because the next element may pass the test; a test of its name or UID,
//     or of a finalizer, is enough. The name is not in a list of references, such as the subjects
//     of a RoleBinding.
//   - A strategic merge patch is not retried either if a list in it has two elements with
//     the same merge key, such as the ports 53 of UDP and TCP: the server would merge both
//     into one.
//   - A server-side apply (types.ApplyPatchType, or the same in CBOR) is retried, as
//     by [Apply].
//
// A Conflict, and a JSON patch whose test fails, is returned unchanged if it answers the
// first request. After an attempt that may have been carried out it may be the effect of that
// attempt. If the patch names metadata.resourceVersion, or is a JSON patch that tests it before
// it changes anything, and the client can also read and watch, Patch then looks for the first
// change after that version, as [Update] does. If that has what the patch sets, and was not made
// by another field manager, Patch returns the object as that change has left it and a nil error.
// If it has nothing of it, or was made by another field manager, the patch was not carried out,
// and Patch returns the server's error unchanged. In all other cases the error contains the
// answer, so that apierrors.IsConflict is true, and matches [ErrOutcomeUnknown]: for a JSON
// patch that tests something else, or has operations other than add, remove, replace and test;
// for a strategic merge patch with a list or a directive, whose effect depends on the type of the
// object; for a subresource other than status; and without the right to get or to watch.
//
// A conflict of a patch that names neither the resourceVersion nor the UID of the object is
// retried: the server has lost a race against another write.
//
// A body that cannot be decoded is sent as it is; it is not retried if it is a JSON patch or
// a strategic merge patch. A dry run is retried in any case. Patch sends no token, and does not
// change data, which must not be changed during the call. If the outcome of a patch that names
// the resourceVersion is still ambiguous when the retries or the context end, Patch checks it
// once more. The check takes at most 5 s. WithVerb has no effect. If it fails, Patch returns
// what the client returned.
func Patch[T Object](ctx context.Context, client Patcher[T], name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, options ...Option) (T, error) {
	if isNilValue(client) {
		var none T
		return none, errNilClient
	}
	var subresources []string
	if c, ok := any(client).(interface{ patched() []string }); ok {
		subresources = c.patched()
	}
	subresource := strings.Join(subresources, "/")
	send := func(ctx context.Context) (T, error) { return client.Patch(ctx, name, pt, data, opts) }
	seen := see(string(pt), data, len(opts.DryRun) > 0, subresources...)
	seen.target = func() target {
		return target{name: name, subresource: subresource}.or(targetOfType(reflect.TypeFor[T]()))
	}
	if p := guard(client, name, pt, data, opts, subresource); p != nil {
		p.sends, p.target = send, func() target { return p.seen.or(seen.target()) }
		return runWrite(ctx, &p.safeWrite, p.step, p.check, options)
	}
	return callPatch(ctx, send, options, codeOfType[T](), seen)
}

// callPatch calls fn in the retry loop, for a patch that it sees.
func callPatch[T any](ctx context.Context, fn func(context.Context) (T, error), options []Option, code uintptr, seen *seenPatch) (T, error) {
	c := resolve(options)
	c.setNumber(numVerb, int64(seen.verb))
	c.patch = seen
	c.setDefaults()
	return run(ctx, fn, &c, nil, code)
}
