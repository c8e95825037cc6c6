// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"

	"github.com/k8sretry/k8sretry/internal/objectdiff"
)

// isStoredAs reports whether an object shows by itself that the call has had its effect:
// it has the content that an Update has sent, or the token of a Modify. Equal content
// proves nothing for a Modify, because another call may increment the same counter.
func (u *updateCall[T]) isStoredAs(obj T) bool {
	if u.modify {
		return u.token.isOn(obj)
	}
	part := u.part(obj)
	return objectdiff.Equal(u.content(obj, part), u.content(u.obj, part))
}

// judge finds out whether the first change after the version that the update replaces was
// made by the update.
//
// The change need not have what was sent even if it was: defaults and admission plugins
// add fields and replace values. So a difference alone proves nothing. It does if none of
// the fields that the update changes has changed, or if the server recorded another field
// manager.
func (u *updateCall[T]) judge(first change[T]) checkResult {
	base := u.base
	if isNilValue(base) {
		base = first.base
	}
	switch {
	case first.deleted && completesDeletion(u.obj):
		return applied
	case first.deleted:
		return notApplied
	case u.isStoredAs(first.obj):
		return u.isMine(base, first.obj)
	case isNilValue(base):
		base = u.obj // which has the metadata of the version, if it was read
	default:
		part := u.part(base, first.obj)
		before, sent := u.content(base, part), u.content(u.obj, part)
		effect := objectdiff.EffectOf(before, sent, u.content(first.obj, part))
		switch {
		case effect == objectdiff.None:
			return notApplied
		case effect == objectdiff.Complete && !u.modify:
			return applied
		case objectdiff.Equal(before, sent) && !u.changesManagedFields(base):
			return notApplied // the server stores nothing then
		}
	}
	switch {
	case u.isOtherGeneration(base, first.obj), u.isOtherToken(base, first.obj), u.isOtherManager(base, first.obj):
		return notApplied
	}
	return undetermined
}

// isOtherGeneration reports whether a change is one of the spec, which an update of the
// status leaves alone.
func (u *updateCall[T]) isOtherGeneration(base, changed T) bool {
	return subresourceOf(u.client) == "status" && base.GetGeneration() != 0 && changed.GetGeneration() != base.GetGeneration()
}

// isOtherToken reports whether a change has the token of another Modify. The update would
// have replaced the token that was there before, unless the server stores a status
// without annotations. A change without a token proves nothing: an admission plugin may
// remove it.
func (u *updateCall[T]) isOtherToken(base, changed T) bool {
	token := u.token.on(changed)
	return token != "" && (token != u.token.on(base) || subresourceOf(u.client) == "")
}

// isOtherManager reports whether the server has recorded another field manager for a
// change.
func (u *updateCall[T]) isOtherManager(base, changed T) bool {
	w := objectdiff.Writer{Manager: u.manager.name(u.opts.FieldManager), Subresource: subresourceOf(u.client)}
	return !u.changesManagedFields(base) && objectdiff.ByAnother(base, changed, w)
}

// isMine finds out whether an object with the content of an Update was stored by it: another
// field manager may have stored the same, for example because both have counted one up from
// the same version. base is the object before the change, nil if it is not known.
func (u *updateCall[T]) isMine(base, changed T) checkResult {
	w := objectdiff.Writer{Manager: u.manager.name(u.opts.FieldManager), Subresource: subresourceOf(u.client)}
	switch known := !isNilValue(base); {
	case u.modify:
		return applied
	case known && u.isOtherManager(base, changed), !known && u.isOtherManager(u.obj, changed):
		return notApplied
	case !known && !objectdiff.MayBeBy(changed, w), !known && w.Manager != "" && isStripped(u.obj, changed):
		return undetermined
	}
	return applied
}

// isStripped reports whether the managed fields of an object were removed before it was sent,
// as informers do that save memory. They cannot be compared with those of the changed object.
func isStripped(sent, changed metav1.Object) bool {
	return len(sent.GetManagedFields()) == 0 && len(changed.GetManagedFields()) > 0
}

// changesManagedFields reports whether the caller has changed the managed fields. The
// server accepts that, so that they prove nothing.
func (u *updateCall[T]) changesManagedFields(base T) bool {
	sent := u.obj.GetManagedFields()
	return len(sent) > 0 && !apiequality.Semantic.DeepEqual(sent, base.GetManagedFields())
}

func (u *updateCall[T]) content(obj T, part objectdiff.Part) objectdiff.Content {
	return objectdiff.Of(obj, part, u.token.key)
}

// part returns the part of the object that the update stores. The server ignores the
// status in an update of an object whose status is a subresource, which one of the objs
// shows if it has been written.
func (u *updateCall[T]) part(objs ...T) objectdiff.Part {
	switch subresourceOf(u.client) {
	case "":
		for _, obj := range append(objs, u.obj) {
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

// wireManager notes the field manager of a request. It is what the URL says, or else the
// beginning of the User-Agent header; a client may set either without its caller.
type wireManager struct{ path, userAgent atomic.Pointer[string] }

// observe returns a context for a request to be noted.
func (m *wireManager) observe(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(key string, values []string) {
		switch {
		case len(values) == 0:
		case key == ":path":
			m.path.Store(&values[0])
		case strings.EqualFold(key, "User-Agent"):
			m.userAgent.Store(&values[0])
		}
	}})
}

// name returns the field manager, "" if it is not known: over HTTP/1.1, the hooks do not
// show the URL.
func (m *wireManager) name(option string) string {
	path, userAgent := m.path.Load(), m.userAgent.Load()
	if path == nil || userAgent == nil {
		return option
	}
	if u, err := url.ParseRequestURI(*path); err != nil {
		return ""
	} else if manager := u.Query().Get("fieldManager"); manager != "" {
		return manager
	}
	// k8s.io/apiserver/pkg/endpoints/handlers/create.go, prefixFromUserAgent
	manager, _, _ := strings.Cut(*userAgent, "/")
	if len(manager) > validation.FieldManagerMaxLength {
		return ""
	}
	return manager
}
