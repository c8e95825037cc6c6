package tinykube

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// keep is how many changes a watch can look back on; older ones are answered
// 410 Expired, as a server does after a compaction.
const keep = 10_000

// key addresses one object.
type key struct {
	resource        string // Resource.id
	namespace, name string
}

// change is one entry of the history that watches follow.
type change struct {
	revision int64
	kind     watch.EventType
	key      key
	now, was *unstructured.Unstructured // was is nil for ADDED
}

// store holds objects and their history. A stored object is never changed
// again: writers store a new one, so readers may share them without a copy.
type store struct {
	mu       sync.Mutex
	revision int64
	objects  map[key]*unstructured.Unstructured
	history  []change
	moved    chan struct{} // closed at the next change
}

func newStore() *store {
	return &store{objects: map[key]*unstructured.Unstructured{}, moved: make(chan struct{})}
}

// put stores or, with a nil object, removes. The lock must be held.
func (st *store) put(k key, now *unstructured.Unstructured) {
	st.revision++
	c := change{revision: st.revision, kind: watch.Modified, key: k, now: now, was: st.objects[k]}
	switch {
	case now == nil:
		c.kind, c.now = watch.Deleted, c.was.DeepCopy()
		delete(st.objects, k)
	case c.was == nil:
		c.kind = watch.Added
		st.objects[k] = now
	default:
		st.objects[k] = now
	}
	c.now.SetResourceVersion(strconv.FormatInt(st.revision, 10))
	st.history = append(st.history, c)
	if over := len(st.history) - keep; over > 0 {
		st.history = append([]change(nil), st.history[over:]...)
	}
	close(st.moved)
	st.moved = make(chan struct{})
}

// since returns the changes after a revision, and a channel that closes at the
// next one; ok is false when the history no longer reaches back that far.
func (st *store) since(revision int64) (changes []change, moved <-chan struct{}, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	oldest := st.revision - int64(len(st.history))
	if revision < oldest {
		return nil, nil, false
	}
	skip := min(revision-oldest, int64(len(st.history)))
	return st.history[skip:], st.moved, true
}

// forget drops the history, as a compaction does.
func (st *store) forget() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.history = nil
}

// selection is what a list, a watch or a deletecollection looks at.
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
