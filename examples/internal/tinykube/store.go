// SPDX-License-Identifier: Apache-2.0

package tinykube

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// maxHistory is the number of changes that are kept for watches. A watch from an
// older revision is answered 410 Expired, as after a compaction of etcd.
const maxHistory = 10_000

// key identifies an object.
type key struct {
	resource        string // Resource.id
	namespace, name string
}

// change is one entry of the history that watches follow.
type change struct {
	revision int64
	kind     watch.EventType
	key      key
	old, new *unstructured.Unstructured // old is nil for ADDED
}

// store holds objects and their history. Stored objects are immutable: writers
// store a new object, so that readers need no copy.
type store struct {
	mu       sync.Mutex
	revision int64
	objects  map[key]*unstructured.Unstructured
	history  []change
	changed  chan struct{} // closed at the next change
}

func newStore() *store {
	return &store{objects: map[key]*unstructured.Unstructured{}, changed: make(chan struct{})}
}

// put stores an object or, if it is nil, removes it. The caller must hold st.mu.
func (st *store) put(k key, object *unstructured.Unstructured) {
	st.revision++
	c := change{revision: st.revision, kind: watch.Modified, key: k, old: st.objects[k], new: object}
	switch {
	case object == nil:
		c.kind, c.new = watch.Deleted, c.old.DeepCopy()
		delete(st.objects, k)
	case c.old == nil:
		c.kind = watch.Added
		st.objects[k] = object
	default:
		st.objects[k] = object
	}
	c.new.SetResourceVersion(strconv.FormatInt(st.revision, 10))
	st.history = append(st.history, c)
	if over := len(st.history) - maxHistory; over > 0 {
		st.history = append([]change(nil), st.history[over:]...)
	}
	close(st.changed)
	st.changed = make(chan struct{})
}

// since returns the changes after a revision, and a channel that is closed at the
// next change. ok is false if the history does not go back that far.
func (st *store) since(revision int64) (changes []change, changed <-chan struct{}, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	oldest := st.revision - int64(len(st.history))
	if revision < oldest {
		return nil, nil, false
	}
	skip := min(revision-oldest, int64(len(st.history)))
	return st.history[skip:], st.changed, true
}

// compact drops the history.
func (st *store) compact() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.history = nil
}

// selection selects the objects of a list, watch or deletecollection.
type selection struct {
	resource  *Resource
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

func (sel selection) covers(k key) bool {
	return k.resource == sel.resource.id() && (sel.namespace == "" || k.namespace == sel.namespace)
}

func (sel selection) selects(u *unstructured.Unstructured) bool {
	return u != nil && sel.labels.Matches(labels.Set(u.GetLabels())) &&
		sel.fields.Matches(fields.Set{"metadata.name": u.GetName(), "metadata.namespace": u.GetNamespace()})
}
