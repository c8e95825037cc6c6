// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// Watch is a watch that a request has begun.
type Watch struct {
	server *Server
	r      *request
	next   int64    // the first version that was not sent
	first  [][]byte // what comes before the changes
}

// watch begins a watch on the cache of a replica. Without a resource version, or with version 0, it begins with each
// object that there is.
func (s *Server) watch(r *request) (Response, error) {
	w := &Watch{server: s, r: r, next: r.version + 1}
	from := r.Query.Get("resourceVersion")
	initial := r.Query.Get("sendInitialEvents") == "true"
	if initial && r.Query.Get("allowWatchBookmarks") != "true" {
		return Response{}, apierrors.NewBadRequest("sendInitialEvents needs allowWatchBookmarks")
	}
	version, err := strconv.ParseInt(from, 10, 64)
	if from != "" && err != nil {
		return Response{}, apierrors.NewInvalid(r.kind.GroupKind(), "", nil)
	}
	switch {
	case initial || from == "" || version == 0:
		for _, obj := range s.list(r) {
			w.first = append(w.first, r.event(watch.Added, obj))
		}
		if initial {
			w.first = append(w.first, r.bookmark(r.version, true))
		}
	case version < r.replica.gone:
		w.first, w.next = [][]byte{expired(version, r.replica.gone)}, -1
	default:
		w.next = version + 1
	}
	return Response{Code: http.StatusOK, Watch: w}, nil
}

// expired is the last event of a watch whose changes are gone.
func expired(version, compacted int64) []byte {
	return failed(apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", version, compacted)))
}

// failed is the last event of a watch that fails.
func failed(err error) []byte {
	return marshal(map[string]any{"type": watch.Error, "object": statusOf(err)})
}

func (r *request) event(kind watch.EventType, obj *object) []byte {
	return marshal(map[string]any{"type": kind, "object": r.reduced(obj).Object})
}

func (r *request) bookmark(version int64, endsInitial bool) []byte {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(r.kind.GroupVersionKind)
	obj.SetResourceVersion(formatVersion(version))
	if endsInitial {
		obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return r.event(watch.Bookmark, obj)
}

// Bookmarks reports whether the client wants to hear how far the watch has come.
func (w *Watch) Bookmarks() bool { return w.r.Query.Get("allowWatchBookmarks") == "true" }

// Bookmark returns an event that says how far the watch has come.
func (w *Watch) Bookmark() []byte { return w.r.bookmark(max(w.next-1, 1), false) }

// Next returns the next events, each one line of JSON. It waits until there are any. No events
// and no error mean that the server ends the watch.
func (w *Watch) Next(ctx context.Context) ([][]byte, error) {
	if len(w.first) > 0 {
		events := w.first
		w.first = nil
		return events, nil
	}
	if w.next < 0 {
		return nil, nil
	}
	for {
		events, changed, wait := w.pending()
		if len(events) > 0 {
			return events, nil
		}
		var later <-chan time.Time
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			later = timer.C
		}
		select {
		case <-changed:
		case <-later:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pending returns the events that were not sent yet, a channel that says that there may be more,
// and when the cache hears of more.
func (w *Watch) pending() (events [][]byte, changed <-chan struct{}, wait time.Duration) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	p := w.r.replica
	p.advance()
	if w.next <= p.gone {
		w.next = -1
		return [][]byte{expired(w.next, p.gone)}, nil, 0
	}
	for _, c := range p.history {
		if c.Version < w.next {
			continue
		}
		w.next = c.Version + 1
		if c.Key.Resource != w.r.kind.resource || w.r.namespace != "" && w.r.namespace != c.Key.Namespace {
			continue
		}
		had := c.Before != nil && w.r.selects(c.Before)
		has := c.Type != watch.Deleted && w.r.selects(c.Object)
		switch {
		case has && had:
			events = append(events, w.r.event(watch.Modified, c.Object))
		case has:
			events = append(events, w.r.event(watch.Added, c.Object))
		case had && c.Type == watch.Deleted:
			events = append(events, w.r.event(watch.Deleted, c.Object))
		case had:
			last := c.Before.DeepCopy()
			last.SetResourceVersion(formatVersion(c.Version))
			events = append(events, w.r.event(watch.Deleted, last))
		}
	}
	return events, w.server.changed, p.next()
}
