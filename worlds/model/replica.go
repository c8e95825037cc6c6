// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// replica is one kube-apiserver of several on one storage. Writes go to the storage, and so do reads
// of one object without a resource version. All other reads are served by its watch cache, which
// learns of changes later (k8s.io/apiserver/pkg/storage/cacher).
type replica struct {
	objects map[Key]*object
	history []Change
	gone    int64     // changes up to this version are not in the history
	version int64     // that the cache has reached
	ready   time.Time // when the cache is filled
	coming  []coming  // what the cache does not have yet, in the order of the versions
}

type coming struct {
	Change
	at time.Time
}

// cacheTimeout is how long a read waits for the cache to reach a version.
const cacheTimeout = 3 * time.Second

func newReplica(version int64) *replica {
	return &replica{objects: make(map[Key]*object), version: version}
}

// hears tells the cache of a change.
func (p *replica) hears(c Change, lag time.Duration) {
	at := time.Now().Add(lag)
	if n := len(p.coming); n > 0 && p.coming[n-1].at.After(at) {
		at = p.coming[n-1].at
	}
	p.coming = append(p.coming, coming{c, at})
	p.advance()
}

// advance brings the cache to where it is now.
func (p *replica) advance() {
	now := time.Now()
	for len(p.coming) > 0 && !p.coming[0].at.After(now) {
		c := p.coming[0].Change
		p.coming = p.coming[1:]
		p.version = c.Version
		p.history = append(p.history, c)
		if c.Type == watch.Deleted {
			delete(p.objects, c.Key)
		} else {
			p.objects[c.Key] = c.Object
		}
	}
}

// next is how long it takes until the cache hears of a change, 0 if it knows all.
func (p *replica) next() time.Duration {
	if len(p.coming) == 0 {
		return 0
	}
	return max(time.Until(p.coming[0].at), 1)
}

// compact forgets all changes but the last ones.
func (p *replica) compact(keep int) {
	if n := len(p.history) - keep; n > 0 {
		p.gone = p.history[n-1].Version
		p.history = p.history[n:]
	}
}

// Restart begins a replica again: its cache is filled after a time, and has no history.
func (s *Server) Restart(n int, filled time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.replicas[n]
	p.objects, p.history, p.coming = maps.Clone(s.objects), nil, nil
	p.version, p.gone, p.ready = s.version, s.version, time.Now().Add(filled)
}

// LookInCache returns an object as the cache of a replica has it, nil if there is none, and how
// many changes of others the cache has not heard of.
func (s *Server) LookInCache(n int, key Key) (obj *object, behind int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.replicas[n]
	p.advance()
	if obj = p.objects[key]; obj != nil {
		obj = obj.DeepCopy()
	}
	return obj, s.version - p.version
}

// Lag returns how long it takes until the cache of a replica has all changes of now.
func (s *Server) Lag(n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.replicas[n]
	p.advance()
	if len(p.coming) == 0 {
		return 0
	}
	return max(time.Until(p.coming[len(p.coming)-1].at), 1)
}

// initializing is the refusal of a read while the cache is not filled.
func initializing() error { return apierrors.NewTooManyRequests("storage is (re)initializing", 1) }

func tooLarge(want, have int64) error {
	e := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", want, have), 1)
	e.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return e
}

// choose decides what serves a read: the storage or the cache, which it waits for if the
// read asks for a version. The lock is held, but not while it waits.
func (s *Server) choose(r *request, p *replica) error {
	p.advance()
	r.objects, r.version = s.objects, s.version
	if r.Method != http.MethodGet {
		return nil
	}
	from := r.Query.Get("resourceVersion")
	version, err := strconv.ParseInt(from, 10, 64)
	if from != "" && err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q: %v", from, err))
	}
	ready := !time.Now().Before(p.ready)
	initial := r.isWatch() && r.Query.Get("sendInitialEvents") == "true"
	switch {
	case r.name != "" && (from == "" || !ready):
		return nil
	case r.Query.Get("resourceVersionMatch") == string(metav1.ResourceVersionMatchExact):
		return nil
	case !ready:
		return initializing()
	case r.isWatch() && !initial:
		version = 0 // it begins with what there is, or waits for later changes
	case from == "":
		version = s.version // a consistent list
	}
	reached := s.await(p, version)
	switch {
	case !reached && from == "" && !initial:
		return nil // the storage serves a consistent list in the end
	case !reached:
		return tooLarge(version, p.version)
	}
	r.objects, r.version = p.objects, p.version
	return nil
}

// await waits until the cache has reached a version.
func (s *Server) await(p *replica, version int64) (reached bool) {
	for deadline := time.Now().Add(cacheTimeout); ; {
		p.advance()
		left := time.Until(deadline)
		if p.version >= version || left <= 0 {
			return p.version >= version
		}
		if next := p.next(); next > 0 {
			left = min(left, next)
		}
		changed := s.changed
		s.mu.Unlock()
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
		s.mu.Lock()
	}
}
