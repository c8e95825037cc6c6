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
)

// firstChangeTime bounds the wait for a change that has happened already. A fake may
// never tell it.
const firstChangeTime = 3 * time.Second

// errWatchEnded is a watch that was cut before it told anything: a clean end, a reset
// and a truncated frame look alike. It is a lost connection, so that it is asked again.
var errWatchEnded = fmt.Errorf("k8sretry: the watch ended before it told of a change: %w", io.ErrUnexpectedEOF)

// change is what firstChange has learned.
type change[T Object] struct {
	obj     T // as the change has stored it, or as the deletion has found it
	deleted bool
	known   bool // false if there is no way to learn it
}

// firstChange learns the first change of an object after a resource version. An error
// says that this try has failed, and another may not.
//
// Because an update must name the resource version that it replaces, it was carried
// out if, and only if, it was the first change after that.
func firstChange[T Object](ctx context.Context, client any, name, version string) (first change[T], err error) {
	watcher, ok := watcherOf(client)
	if !ok {
		return first, nil
	}
	bounded, cancel := context.WithTimeout(ctx, firstChangeTime)
	defer cancel()
	w, err := watcher.Watch(bounded, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", name).String(),
		ResourceVersion: version,
	})
	if err != nil {
		return first, passing(ctx, err)
	}
	if w == nil {
		return first, nil
	}
	defer w.Stop()
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open {
				if bounded.Err() != nil && ctx.Err() == nil {
					return first, nil
				}
				return first, errWatchEnded
			}
			if event.Type == watch.Error {
				return first, passing(ctx, apierrors.FromObject(event.Object))
			}
			if obj, ok := event.Object.(T); ok && event.Type != watch.Bookmark && obj.GetName() == name {
				return change[T]{obj, event.Type == watch.Deleted, true}, nil
			}
		case <-bounded.Done():
			return first, ctx.Err()
		}
	}
}

// passing is err if it may pass, nil if it lasts, as a resource version that is too old
// does.
func passing(ctx context.Context, err error) error {
	if lasting(ctx, Classify(err)) {
		return nil
	}
	return err
}

// watcherOf is how a client is watched, if it can be. An adapter answers for the client
// that it stands for.
func watcherOf(client any) (Watcher, bool) {
	if adapter, ok := client.(interface{ watcher() (Watcher, bool) }); ok {
		return adapter.watcher()
	}
	w, ok := client.(Watcher)
	return w, ok
}

// keepsAnnotations reports whether what is written through a client is stored with its
// annotations.
func keepsAnnotations(client any) bool {
	adapter, ok := client.(interface{ keepsAnnotations() bool })
	return !ok || adapter.keepsAnnotations()
}
