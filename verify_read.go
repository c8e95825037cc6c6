package k8sretry

import (
	"context"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

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

// firstChangeTimeout limits the wait for a change that has already happened. The watch of
// a fake client may never report it.
const firstChangeTimeout = 3 * time.Second

// errWatchEnded is a watch that ended before its first event. A clean end, a reset and a
// truncated frame look alike, so it is treated as a lost connection, and retried.
var errWatchEnded = fmt.Errorf("k8sretry: the watch ended before it reported a change: %w", io.ErrUnexpectedEOF)

// change is one change of an object.
type change[T Object] struct {
	obj     T // the object that was stored, or the last state of a deleted one
	deleted bool
	known   bool // false if the change cannot be determined
}

// firstChange returns the first change of an object after a resource version. An error
// means that another try may succeed.
//
// An update names the resource version that it replaces. So it was carried out if and
// only if it was the first change after that version.
func firstChange[T Object](ctx context.Context, client any, name, version string) (first change[T], err error) {
	watcher, ok := watcherOf(client)
	if !ok {
		return first, nil
	}
	bounded, cancel := context.WithTimeout(ctxerr.Parent(ctx), firstChangeTimeout)
	defer cancel()
	w, err := watcher.Watch(bounded, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", name).String(),
		ResourceVersion: version,
	})
	if err != nil {
		return first, ignorePermanent(ctx, err)
	}
	if w == nil {
		return first, nil
	}
	defer w.Stop()
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open {
				if bounded.Err() != nil && ctxerr.Of(ctx) == nil {
					return first, nil
				}
				return first, errWatchEnded
			}
			if event.Type == watch.Error {
				return first, ignorePermanent(ctx, apierrors.FromObject(event.Object))
			}
			if obj, ok := event.Object.(T); ok && event.Type != watch.Bookmark && obj.GetName() == name {
				return change[T]{obj, event.Type == watch.Deleted, true}, nil
			}
		case <-bounded.Done():
			return first, ctxerr.Of(ctx)
		}
	}
}

// ignorePermanent returns nil if err is permanent, as for a resource version that is too
// old, and err otherwise.
func ignorePermanent(ctx context.Context, err error) error {
	if isPermanent(ctx, Classify(err)) {
		return nil
	}
	return err
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

// keepsAnnotations reports whether the server stores the annotations of what is written
// through a client.
func keepsAnnotations(client any) bool {
	adapter, ok := client.(interface{ keepsAnnotations() bool })
	return !ok || adapter.keepsAnnotations()
}
