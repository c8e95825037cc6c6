// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"

	"github.com/k8sretry/k8sretry/internal/objectdiff"
)

// sentObject is what a write stores as a whole: the object of an Update or of one round of a
// Modify, or what a Patch makes of the object before it.
type sentObject[T Object] struct {
	base T // what obj was made from, if the call has read it; nil if obj is the caller's
	obj  T

	subresource  string
	fieldManager string // of the options
	manager      requestManager
	modify       bool       // the call is a Modify, for which equal content proves nothing
	token        writeToken // of a Modify
}

// write is the step of a write that names the resource version of the object. It sends the
// request, and explains the answer if an earlier request may have caused it. If the last step has
// left an answer unverified, it sends nothing.
func (s *sentObject[T]) write(
	ctx context.Context, w *safeWrite, request func(context.Context) (T, error),
	check func(context.Context) (T, checkResult, error),
) (stored T, err error) {
	if w.unverified != nil {
		return explain(ctx, w, check)
	}
	v, err := w.send(ctx, func(ctx context.Context) (err error) {
		ctx = s.manager.observe(ctx)
		stored, err = request(ctx)
		if err == nil && isEmpty(stored) && !w.action {
			err = errNoObject
		}
		return err
	})
	s.manager.observeURL(w.url)
	if err == nil {
		return stored, nil
	}
	var none T
	switch {
	case errors.Is(err, errNoObject) && !w.dryRun:
		return none, w.repeat(err, detailNoObject) // the resource version makes that safe
	case !w.mustCheck(ctx, v):
		return none, err
	}
	w.unverified = err
	return explain(ctx, w, check)
}

// isStoredAs reports whether an object shows by itself that the call has had its effect:
// it has the content that an Update has sent, or the token of a Modify. Equal content
// proves nothing for a Modify, because another call may increment the same counter.
func (s *sentObject[T]) isStoredAs(obj T) bool {
	if s.modify {
		return s.token.isOn(obj)
	}
	part := s.part(obj)
	return objectdiff.Equal(s.content(obj, part), s.content(s.obj, part))
}

// judge finds out whether the first change after the version that the update replaces was
// made by the update.
//
// The change need not have what was sent even if it was: defaults and admission plugins
// add fields and replace values. So a difference alone proves nothing. It does if none of
// the fields that the update changes has changed, or if the server recorded another field
// manager.
func (s *sentObject[T]) judge(first change[T]) checkResult {
	base := s.base
	if isNilValue(base) {
		base = first.base
	}
	known := base
	switch {
	case first.deleted && s.completesDeletion() && (isNilValue(base) || len(base.GetFinalizers()) > 0):
		return applied
	case first.deleted:
		return notApplied
	case isNilValue(base) && s.isStoredAs(first.obj), s.modify && s.token.isOn(first.obj):
		return s.isMine(base, first.obj)
	case isNilValue(base):
		base = s.obj // which has the metadata of the version, if it was read
	default:
		part := s.part(base, first.obj)
		if part == objectdiff.Status && objectdiff.Equal(s.content(base, part), s.content(s.obj, part)) {
			part = objectdiff.StatusAndMetadata
		}
		before, sent, got := s.content(base, part), s.content(s.obj, part), s.content(first.obj, part)
		effect := objectdiff.EffectOf(before, sent, got)
		switch {
		case !s.modify && (effect == objectdiff.Complete || objectdiff.Equal(sent, got)):
			return s.isMine(base, first.obj)
		case effect == objectdiff.None:
			return notApplied
		case objectdiff.Equal(before, sent) && !s.changesManagedFields(base):
			return notApplied // the server stores nothing then
		}
	}
	switch {
	case s.isOtherGeneration(base, first.obj), s.isOtherToken(base, first.obj), s.isOtherManager(known, first.obj):
		return notApplied
	}
	return undetermined
}

// isOtherGeneration reports whether a change is one of the spec, which an update of the
// status leaves alone.
func (s *sentObject[T]) isOtherGeneration(base, changed T) bool {
	return s.subresource == "status" && base.GetGeneration() != 0 && changed.GetGeneration() != base.GetGeneration()
}

// isOtherToken reports whether a change has the token of another Modify. The update would
// have replaced the token that was there before, unless the server stores a status
// without annotations. A change without a token proves nothing: an admission plugin may
// remove it, or set something else in its place.
func (s *sentObject[T]) isOtherToken(base, changed T) bool {
	token := s.token.on(changed)
	return isToken(token) && (token != s.token.on(base) || s.subresource == "")
}

// isOtherManager reports whether the server has recorded another field manager for a
// change. base is nil if it is not known.
func (s *sentObject[T]) isOtherManager(base, changed T) bool {
	manager, certain := s.manager.name(s.fieldManager)
	return certain && s.author(base, changed, manager) == objectdiff.Another
}

// author finds out whether a field manager has made a change. base is nil if it is not known.
func (s *sentObject[T]) author(base, changed T, manager string) objectdiff.Author {
	part := objectdiff.All
	if isNilValue(base) {
		base, part = s.obj, s.part(changed) // which has the metadata of the version, if it was read
	}
	if s.changesManagedFields(base) {
		return objectdiff.Undecided
	}
	return objectdiff.AuthorOf(base, changed, objectdiff.Writer{Manager: manager, Subresource: s.subresource}, part)
}

// isMine finds out whether an object with the content of an Update was stored by it: another
// field manager may have stored the same, for example because both have counted one up from
// the same version. base is the object before the change, nil if it is not known.
func (s *sentObject[T]) isMine(base, changed T) checkResult {
	if s.modify {
		return applied
	}
	manager, certain := s.manager.name(s.fieldManager)
	switch author := s.author(base, changed, manager); {
	case author == objectdiff.Self:
		return applied
	case author == objectdiff.Another && certain:
		return notApplied
	case author != objectdiff.Undecided:
		return undetermined
	}
	w := objectdiff.Writer{Manager: manager, Subresource: s.subresource}
	// Informers that save memory remove the managed fields. Then those of the changed object
	// cannot be compared with those that were sent.
	isStripped := manager != "" && len(s.obj.GetManagedFields()) == 0
	if isNilValue(base) && (!objectdiff.MayBeBy(changed, w) || isStripped && objectdiff.MayBeByAnother(changed, w)) {
		return undetermined
	}
	return applied
}

// changesManagedFields reports whether the caller has changed the managed fields. The
// server accepts that, so that they prove nothing.
func (s *sentObject[T]) changesManagedFields(base T) bool {
	return len(s.obj.GetManagedFields()) > 0 && !objectdiff.SameManagedFields(s.obj, base)
}

func (s *sentObject[T]) content(obj T, part objectdiff.Part) objectdiff.Content {
	return objectdiff.Of(obj, part, s.token.key)
}

// part returns the part of the object that the update stores. The server ignores the
// status in an update of an object whose status is a subresource, which one of the objs
// shows if it has been written.
func (s *sentObject[T]) part(objs ...T) objectdiff.Part {
	switch s.subresource {
	case "":
		for _, obj := range append(objs, s.obj) {
			for _, e := range obj.GetManagedFields() {
				if e.Subresource == "status" {
					return objectdiff.NoStatus
				}
			}
		}
	case "status":
		return objectdiff.Status
	case "scale":
		return objectdiff.NoStatus
	}
	return objectdiff.All
}
