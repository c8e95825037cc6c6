// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"reflect"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/internal/turns"
)

// Modify reads an object, calls mutate to change it, and updates it. If another client has
// changed the object in between, it starts over. A change that mutate makes is stored
// exactly once, even if it increments a counter.
//
//	cm, err := k8sretry.Modify(ctx, clientset.CoreV1().ConfigMaps("default"), "totals",
//		func(cm *corev1.ConfigMap) error { cm.Data["runs"] = plusOne(cm.Data["runs"]); return nil })
//
// Modify calls mutate once for each time it reads the object, never concurrently, and with
// a new copy of the object. So mutate should depend on nothing but the object. If mutate
// changes nothing, Modify sends no update and returns the object as read. If mutate returns
// an error, Modify returns that error unchanged and without a retry.
//
// After a Conflict, Modify waits a short time, reads the object and calls mutate again.
// Calls in the same process that had a Conflict for the same object take turns, so that N
// calls send at most 2N-1 updates; a call waits at most 2 s for a turn that does not end.
// Up to 100 conflicts of a call do not count as retries, unless WithMaxRetries(0) allows
// none. If the object has been replaced by another one of the same name, Modify returns
// the Conflict.
//
// Modify stores a random token of the call in an annotation of the object, together with the
// change (see [WithTokenAnnotation]). After an ambiguous failure and a rejected retry it
// reads the object and, like [Update], the first change since. If the object or the change
// has the token, Modify returns a nil error. If the change has the token of another Modify,
// nothing of what mutate has changed, or another field manager, the update was not carried
// out, and Modify starts over. Otherwise the error matches [ErrOutcomeUnknown]: equal content
// does not prove a Modify, because another client may have incremented the same counter. The
// final check, after the retries or the context have ended, takes at most 5 s.
//
// To modify the status subresource, see [StatusSubresource]. If it fails, Modify returns
// the zero value of T.
func Modify[T Object](ctx context.Context, client Updater[T], name string, mutate func(T) error, options ...Option) (T, error) {
	var none T
	switch {
	case isNilValue(client):
		return none, errNilClient
	case mutate == nil:
		return none, errNilFunc
	}
	m := &modifyCall[T]{
		updateCall: updateCall[T]{
			safeWrite:  safeWrite{verb: VerbUpdate, code: codeOfType[T]()},
			sentObject: sentObject[T]{subresource: subresourceOf(client), manager: requestManager{client: client}, modify: true, token: writeToken{key: tokenKey(options)}},
			client:     client,
		},
		name: name, mutate: mutate,
	}
	if m.action = isAction(client, VerbUpdate); m.action {
		m.token.key = "" // nothing is read to find it
	}
	m.target = func() target {
		t := target{name: name, subresource: m.subresource}
		return m.seen.or(t).or(targetOf(m.base, "")).or(targetOfType(reflect.TypeFor[T]()))
	}
	m.waitTurn = m.waitForTurn
	defer func() { m.turn.Leave() }()
	return runWrite(ctx, &m.safeWrite, m.step, m.check, options)
}

// modifyCall is the state of one Modify. It is one updateCall for each round of read,
// mutate and update. A new round begins only if it is certain that the update of the last
// one was not carried out.
type modifyCall[T Object] struct {
	updateCall[T]
	name         string
	mutate       func(T) error
	prepared     bool        // obj is the mutated object of this round
	uid          types.UID   // of the object
	lastConflict error       // nil before the first one
	turn         *turns.Turn // since the first conflict
}

func (m *modifyCall[T]) step(ctx context.Context) (T, error) {
	if !m.prepared {
		if unchanged, err := m.prepare(ctx); unchanged || err != nil {
			return m.base, err
		}
	}
	updated, err := m.updateCall.step(ctx)
	if err != nil && !m.isAmbiguous() && Classify(err).Class == ClassConflict {
		m.prepared, m.lastConflict = false, err
		m.next = nextStartOver
		m.conflicts++
	}
	return updated, err
}

// prepare reads the object and mutates a copy.
func (m *modifyCall[T]) prepare(ctx context.Context) (unchanged bool, err error) {
	base, err := m.client.Get(ctx, m.name, metav1.GetOptions{})
	switch {
	case err != nil:
		return false, err
	case isNilValue(base):
		return false, m.repeat(errNoObject, detailNoObject)
	case m.lastConflict != nil && base.GetUID() != m.uid:
		return false, m.stop(m.lastConflict, detailReplaced)
	}
	m.base, m.uid = base, base.GetUID()
	obj, err := deepCopy(base)
	if err != nil {
		return false, m.stop(err, detailCallerError)
	}
	if err := m.mutate(obj); err != nil {
		return false, m.stop(err, detailCallerError)
	}
	if apiequality.Semantic.DeepEqual(base, obj) {
		return true, nil
	}
	obj.SetResourceVersion(base.GetResourceVersion()) // mutate may have changed it
	m.token = newToken(m.token.key)
	m.token.addTo(obj)
	m.obj, m.prepared = obj, true
	return false, nil
}

// waitForTurn lets the calls of this process that had a conflict for the same object go
// one after the other. The loop calls it between two steps, when the call holds no place
// in a Limiter.
func (m *modifyCall[T]) waitForTurn(ctx context.Context) {
	if m.lastConflict != nil && m.turn == nil && m.uid != "" {
		m.turn = turns.Take(ctx, m.uid)
	}
}
