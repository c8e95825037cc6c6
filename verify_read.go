// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// isPermanent reports whether the server has answered and another request would get the
// same answer. The error of a request that its context has ended is no answer.
func isPermanent(ctx context.Context, v Verdict) bool {
	return !v.Class.transient() && (v.StatusCode != 0 || ctxerr.Of(ctx) == nil)
}

// readObject reads an object for a check: applied means that it exists, notAppliedYet
// that it does not. An error means that the read may be repeated. After a permanent error
// the result is undetermined.
func readObject[T Object](ctx context.Context, client Getter[T], name string) (found T, result checkResult, err error) {
	found, err = client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && isEmpty(found):
		return found, undetermined, nil
	case err == nil:
		return found, applied, nil
	case isAbsent(err, name):
		return found, notAppliedYet, nil
	case isPermanent(ctx, Classify(err)):
		return found, undetermined, nil
	}
	return found, undetermined, err
}

// watcherOf returns the Watcher of a client, if it has one. The adapters of this package
// return that of the client they adapt.
func watcherOf(client any) (Watcher, bool) {
	if adapter, ok := client.(interface{ watcher() (Watcher, bool) }); ok {
		return adapter.watcher()
	}
	w, ok := client.(Watcher)
	return w, ok
}

// subresourceOf returns the subresource that a client writes, "" for the object itself.
func subresourceOf(client any) string {
	if adapter, ok := client.(interface{ subresource() string }); ok {
		return adapter.subresource()
	}
	return ""
}
