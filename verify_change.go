// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// firstChangeTimeout limits the wait for a change that has already happened. The watch of
// a fake client may never report it.
const firstChangeTimeout = 3 * time.Second

// errWatchEnded is a watch that ended before its first event. A clean end, a reset and a
// truncated frame look alike, so it is treated as a lost connection, and retried.
var errWatchEnded = fmt.Errorf("k8sretry: the watch ended before it reported a change: %w", io.ErrUnexpectedEOF)

// version is one version of an object.
type version struct {
	name, number string
	uid          types.UID // empty if it is not known
}

// required returns the resource version that a write requires if it names this one, "" for none:
// the server does not compare with version 0.
func required(number string) string {
	if number == "0" {
		return ""
	}
	return number
}

// change is the first change of an object after a version of it.
type change[T Object] struct {
	base    T // the object before the change; nil if it is not known
	obj     T // the object that was stored, or the last state of a deleted one
	deleted bool
	known   bool // false if the change cannot be determined
}

// firstChange returns the first change of an object after a version. An error means that
// another try may succeed.
//
// An update names the resource version that it replaces. So it was carried out if and
// only if it was the first change after that version.
//
// The watch begins one number earlier, so that its first event is the version itself. If
// the server no longer has that event, the watch begins at the version.
func firstChange[T Object](ctx context.Context, client any, after version) (first change[T], err error) {
	watcher, ok := watcherOf(client)
	if !ok {
		return first, nil
	}
	if n, err := strconv.ParseUint(after.number, 10, 64); err == nil && n > 1 {
		first, err := watchChange[T](ctx, watcher, after, strconv.FormatUint(n-1, 10))
		if !isExpired(err) {
			return first, ignorePermanent(ctx, err)
		}
	}
	first, err = watchChange[T](ctx, watcher, after, after.number)
	return first, ignorePermanent(ctx, err)
}

// watchChange watches an object from a resource version until its first change after
// another one.
func watchChange[T Object](ctx context.Context, watcher Watcher, after version, from string) (first change[T], err error) {
	bounded, cancel := context.WithTimeout(ctxerr.Parent(ctx), firstChangeTimeout)
	defer cancel()
	w, err := watcher.Watch(bounded, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", after.name).String(),
		ResourceVersion: from,
	})
	if err != nil || w == nil {
		return first, err
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
				return first, apierrors.FromObject(event.Object)
			}
			obj, ok := event.Object.(T)
			if !ok || event.Type == watch.Bookmark || obj.GetName() != after.name {
				continue
			}
			if first.add(event.Type, obj, after) {
				return first, nil
			}
		case <-bounded.Done():
			return first, ctxerr.Of(ctx)
		}
	}
}

// add adds an event to what is known of the change. It reports whether no further event
// can add to it.
//
// A server without the history begins a watch with the current state of the object, as
// an ADDED event. It may have changed several times. An event of an older version is
// repeated history.
func (c *change[T]) add(kind watch.EventType, obj T, after version) (done bool) {
	order := compareVersions(obj.GetResourceVersion(), after.number)
	uid := after.uid
	if uid == "" && !isNilValue(c.base) {
		uid = c.base.GetUID()
	}
	other := uid != "" && obj.GetUID() != "" && obj.GetUID() != uid
	switch {
	case order < 0, order == 0 && other:
		return false
	case order == 0 && kind != watch.Deleted:
		c.base = obj
		return false
	case other, kind == watch.Added:
		return true // an earlier change is missing
	}
	c.obj, c.deleted, c.known = obj, kind == watch.Deleted, true
	return true
}

// compareVersions returns -1 if the resource version a is older than b, 0 if they are the
// same, and 1 if a is newer or the two have no order, because they are not numbers.
func compareVersions(a, b string) int {
	n, errN := strconv.ParseUint(a, 10, 64)
	m, errM := strconv.ParseUint(b, 10, 64)
	switch {
	case a == b:
		return 0
	case errN == nil && errM == nil && n < m:
		return -1
	}
	return 1
}

// isNext reports whether no version lies between two resource versions.
func isNext(found, version string) bool {
	n, err := strconv.ParseUint(version, 10, 64)
	return err == nil && found == strconv.FormatUint(n+1, 10)
}

// isExpired reports whether the server no longer has the history, or does not accept the
// resource version.
func isExpired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
}

// ignorePermanent returns nil if err is permanent, as for a resource version that is too
// old, and err otherwise.
func ignorePermanent(ctx context.Context, err error) error {
	if isPermanent(ctx, Classify(err)) {
		return nil
	}
	return err
}
