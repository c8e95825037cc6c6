// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// event is one line of a watch.
type event struct {
	Type   watch.EventType `json:"type"`
	Object any             `json:"object"`
}

// watch streams changes until the client disconnects, the requested timeout ends,
// or the server stops.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, c call) {
	sel, err := c.selection()
	if err != nil {
		writeStatus(w, statusOf(err))
		return
	}
	var timeout <-chan time.Time
	if seconds, err := strconv.Atoi(c.query.Get("timeoutSeconds")); err == nil && seconds > 0 {
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		timeout = timer.C
	}

	// Without a revision, or with "0", a watch starts with the existing objects.
	// With sendInitialEvents a bookmark marks their end.
	initial := c.query.Get("sendInitialEvents") == "true"
	version := c.query.Get("resourceVersion")
	revision, err := strconv.ParseInt(or(version, "0"), 10, 64)
	if err != nil {
		writeStatus(w, apierrors.NewBadRequest("invalid resource version: "+version).ErrStatus)
		return
	}
	var initialEvents []event
	if revision == 0 || initial {
		s.store.mu.Lock()
		list, _ := s.store.list(c)
		revision = s.store.revision
		s.store.mu.Unlock()
		for i := range list.Items {
			initialEvents = append(initialEvents, event{watch.Added, &list.Items[i]})
		}
	}
	if initial {
		initialEvents = append(initialEvents, event{watch.Bookmark, map[string]any{
			"apiVersion": c.resource.groupVersion(), "kind": c.resource.Kind,
			"metadata": map[string]any{
				"resourceVersion":   strconv.FormatInt(revision, 10),
				"creationTimestamp": nil,
				"annotations":       map[string]any{metav1.InitialEventsAnnotationKey: "true"},
			},
		}})
	}
	if _, _, ok := s.store.since(revision); !ok {
		writeStatus(w, expired(revision))
		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flusher, lines := http.NewResponseController(w), json.NewEncoder(w)
	for _, e := range initialEvents {
		_ = lines.Encode(e)
	}
	for {
		changes, changed, ok := s.store.since(revision)
		if !ok {
			_ = lines.Encode(event{watch.Error, expired(revision)})
			return
		}
		for _, ch := range changes {
			revision = ch.revision
			if e, ok := sel.event(ch); ok && lines.Encode(e) != nil {
				return
			}
		}
		if flusher.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// Compact drops the history, like a compaction of etcd: watches from an older
// revision are answered 410 Expired.
func (s *Server) Compact() { s.store.compact() }

// event returns the event of a change for a watch with a selector. An object that
// no longer matches is reported as deleted, one that newly matches as added.
func (sel selection) event(ch change) (event, bool) {
	if !sel.covers(ch.key) {
		return event{}, false
	}
	before, after := sel.selects(ch.old), ch.kind != watch.Deleted && sel.selects(ch.new)
	switch {
	case before && after:
		return event{watch.Modified, ch.new}, true
	case after:
		return event{watch.Added, ch.new}, true
	case before:
		return event{watch.Deleted, ch.new}, true
	}
	return event{}, false
}

func expired(revision int64) metav1.Status {
	status := apierrors.NewResourceExpired("too old resource version: " + strconv.FormatInt(revision, 10)).ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return status
}
