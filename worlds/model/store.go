// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// object is a stored object. It is never changed: a write stores a copy.
type object = unstructured.Unstructured

// Key names an object.
type Key struct{ Resource, Namespace, Name string }

// Change is one change of an object, as etcd keeps it.
type Change struct {
	Version int64
	Type    watch.EventType
	Key     Key
	UID     types.UID
	By      string // who asked for it
	Object  *unstructured.Unstructured
	Before  *unstructured.Unstructured // nil if it was added
}

// JSON returns the object of the change, or the last state of a deleted one.
func (c Change) JSON() string {
	data, err := json.Marshal(c.Object.Object)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(data)
}

// Server is a kube-apiserver with its storage.
type Server struct {
	config Config

	mu       sync.Mutex
	version  int64
	objects  map[Key]*object
	replicas []*replica
	serving  int           // the replica that carries a request out
	changed  chan struct{} // closed at the next change
	uids     int
}

// Config is what a world decides about its server.
type Config struct {
	// Now is the clock of the server. It may differ from those of the clients.
	Now func() time.Time
	// Clock returns how far the clock of a replica is from Now. It is nil if none is.
	Clock func(replica int) time.Duration
	// UID returns the UID of the n-th object.
	UID func(n int) types.UID
	// Suffix returns the end of the n-th name that the server generates.
	Suffix func(n int) string
	// Admit may change an object before it is stored, as a mutating webhook does. It is nil
	// if there is none.
	Admit func(key Key, obj *unstructured.Unstructured)
	// Quota is how many objects of a resource there may be; none for no limit.
	Quota map[string]int
	// Replicas is how many servers there are on the storage; 0 is one.
	Replicas int
	// Lag returns how long the cache of a replica takes to hear of a version. It is nil if they
	// hear at once.
	Lag func(replica int, version int64) time.Duration
	// OnChange is called with the lock held, after each change.
	OnChange func(Change)
}

// New returns an empty server.
func New(c Config) *Server {
	s := &Server{config: c, version: 1, objects: make(map[Key]*object), changed: make(chan struct{})}
	for range max(c.Replicas, 1) {
		s.replicas = append(s.replicas, newReplica(s.version))
	}
	return s
}

// Version returns the version of the last change.
func (s *Server) Version() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Compact forgets all changes but the last ones of a replica, and returns the last version that it
// does not have.
func (s *Server) Compact(n, keep int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.replicas[n]
	p.advance()
	p.compact(keep)
	return p.gone
}

// Look returns an object, nil if there is none.
func (s *Server) Look(key Key) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if obj := s.objects[key]; obj != nil {
		return obj.DeepCopy()
	}
	return nil
}

// Versions returns the names and versions of all objects of a resource, as name@version, sorted.
func (s *Server) Versions(resource string) (versions []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, obj := range s.objects {
		if key.Resource == resource {
			versions = append(versions, key.Name+"@"+obj.GetResourceVersion())
		}
	}
	slices.Sort(versions)
	return versions
}

// put stores a new state of an object, which it takes over.
func (s *Server) put(key Key, obj *object, by string) {
	before := s.objects[key]
	kind := watch.Modified
	if before == nil {
		kind = watch.Added
	}
	s.version++
	obj.SetResourceVersion(strconv.FormatInt(s.version, 10))
	s.objects[key] = obj
	s.remember(Change{Version: s.version, Type: kind, Key: key, UID: obj.GetUID(), By: by, Object: obj, Before: before})
}

// remove removes an object. last is its last state, which watches report.
func (s *Server) remove(key Key, last *object, by string) *object {
	before := s.objects[key]
	s.version++
	last = last.DeepCopy()
	last.SetResourceVersion(strconv.FormatInt(s.version, 10))
	delete(s.objects, key)
	s.remember(Change{Version: s.version, Type: watch.Deleted, Key: key, UID: last.GetUID(), By: by, Object: last, Before: before})
	return last
}

func (s *Server) remember(c Change) {
	for i, p := range s.replicas {
		var lag time.Duration
		if s.config.Lag != nil {
			lag = s.config.Lag(i, c.Version)
		}
		p.hears(c, lag)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	if s.config.OnChange != nil {
		s.config.OnChange(c)
	}
}

// count returns how many objects of a resource a namespace has.
func (s *Server) count(k *kind, namespace string) (n int) {
	for key := range s.objects {
		if key.Resource == k.resource && key.Namespace == namespace {
			n++
		}
	}
	return n
}

// list returns the objects of a resource that a request selects, in the order of their names.
func (s *Server) list(r *request) (found []*object) {
	for key, obj := range r.objects {
		if key.Resource == r.kind.resource && (r.namespace == "" || r.namespace == key.Namespace) && r.selects(obj) {
			found = append(found, obj)
		}
	}
	slices.SortFunc(found, func(a, b *object) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return found
}

// now is the time that objects get, in whole seconds, by the clock of the replica that is asked.
func (s *Server) now() metav1.Time {
	return metav1.NewTime(s.Now(s.serving).UTC().Truncate(time.Second))
}

// Now returns the time of a replica.
func (s *Server) Now(n int) time.Time {
	now := s.config.Now()
	if s.config.Clock != nil {
		now = now.Add(s.config.Clock(n))
	}
	return now
}
