package k8sretry

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/internal/turns"
)

// Modify reads an object, lets mutate change it and stores it, again and again until
// nobody else comes in between. Its effect takes place once, also for a mutate that adds
// to a counter.
//
//	cm, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "totals",
//		func(cm *corev1.ConfigMap) error { cm.Data["runs"] = plusOne(cm.Data["runs"]); return nil })
//
// mutate gets a copy of its own each time. It may be called several times, one after the
// other, so it must depend on nothing but the object. When it changes nothing, nothing is
// written and the object is returned as read. Its error ends the call and is returned as
// it is.
//
// After a Conflict the object is read and mutated again, after a short delay; calls of this
// process that have collided over one object take turns, so that N of them make at most
// 2N-1 writes. Nobody waits longer than 2 s for a turn that does not end. Conflicts
// do not count as retries (but for WithMaxRetries(0), which allows none) up to 100 of
// them. Before mutate runs again, a write of unknown outcome is looked for, as [Update]
// does; what cannot be proven ends the call with [ErrOutcomeUnknown]. If an object of the
// same name has taken the place of the one that mutate saw first, the Conflict is returned.
//
// For the status subresource, see [StatusSubresource]. On failure the zero value of T is returned.
func Modify[T Object](ctx context.Context, client Updater[T], name string, mutate func(T) error, options ...Option) (T, error) {
	var none T
	switch {
	case missing(client):
		return none, errNilClient
	case mutate == nil:
		return none, errNilFunc
	}
	m := &modification[T]{
		replacement: replacement[T]{proof: proof{verb: VerbUpdate}, client: client, stamp: stamp{key: tokenKey(options)}},
		name:        name, mutate: mutate,
	}
	m.queue = m.takeTurn
	defer func() { m.turn.Leave() }()
	return proven(ctx, &m.proof, m.step, m.find, options)
}

// takeTurn lets calls of this process that have collided over an object go one after the
// other. It is called between steps, where the call holds no place at a gate.
func (m *modification[T]) takeTurn(ctx context.Context) {
	if m.conflict != nil && m.turn == nil && m.uid != "" {
		m.turn = turns.Take(ctx, m.uid)
	}
}

// modification is one Modify under way. Between two rounds of read, mutate and write
// there is always a proof that the first has come to nothing.
type modification[T Object] struct {
	replacement[T]
	name     string
	mutate   func(T) error
	base     T // what was read
	ready    bool
	uid      types.UID   // of the object read first
	conflict error       // the last one
	turn     *turns.Turn // since the first one
}

func (m *modification[T]) step(ctx context.Context) (T, error) {
	var none T
	if m.pending == nil {
		if m.inDoubt() && m.obj.GetResourceVersion() == "" {
			switch found, what, err := m.find(ctx); {
			case err != nil:
				return none, m.looking(err, m.lost)
			case what == applied:
				return found, nil
			case what != notSeen:
				return none, m.stop(m.lost, notTellable)
			}
		}
		if !m.ready {
			if unchanged, err := m.prepare(ctx); err != nil || unchanged {
				return m.base, err
			}
		}
		stored, v, err := m.replace(ctx)
		switch {
		case err == nil:
			return stored, nil
		case err == errNoObject:
			return none, m.repeat(err, noObject)
		case v.Outcome == OutcomeExecuted:
		case !lasting(ctx, v):
			return none, err
		case !m.inDoubt():
			return none, m.refused(err)
		}
		m.pending = err
	}
	found, what, err := m.find(ctx)
	if err != nil {
		return none, m.looking(err, m.pending)
	}
	answer := m.pending
	m.pending = nil
	switch what {
	case applied:
		return found, nil
	case notApplied:
		m.outcome = OutcomeNotExecuted
		return none, m.refused(answer)
	}
	return none, m.stop(answer, notTellable)
}

// prepare reads the object and has it changed.
func (m *modification[T]) prepare(ctx context.Context) (unchanged bool, err error) {
	base, err := m.client.Get(ctx, m.name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	if missing(base) {
		return false, m.repeat(errNoObject, noObject)
	}
	if m.conflict != nil && base.GetUID() != m.uid {
		return false, m.stop(m.conflict, nameTakenOver)
	}
	m.base, m.uid = base, base.GetUID()
	obj := copyOf(base)
	if err := m.mutate(obj); err != nil {
		return false, m.stop(err, ownError)
	}
	if apiequality.Semantic.DeepEqual(base, obj) {
		return true, nil
	}
	obj.SetResourceVersion(base.GetResourceVersion()) // every proof rests on it
	m.stamp = newStamp(m.stamp.key)
	m.before = base.GetAnnotations()[m.stamp.key]
	m.stamp.put(obj)
	m.obj, m.ready = obj, true
	return false, nil
}

// refused ends a round that has come to nothing.
func (m *modification[T]) refused(err error) error {
	if Classify(err).Class == ClassConflict {
		m.ready, m.conflict = false, err
		m.next = rebuild
		m.rebuilt++
	}
	return err
}

// find is that of Update. Fakes have no resource versions; there, an object that is
// still what was read has not been written.
func (m *modification[T]) find(ctx context.Context) (T, finding, error) {
	if !m.ready {
		var none T
		return none, undecided, nil
	}
	found, what, err := m.replacement.find(ctx)
	if what == notSeen && m.obj.GetResourceVersion() == "" && !apiequality.Semantic.DeepEqual(found, m.base) {
		what = undecided
	}
	return found, what, err
}
