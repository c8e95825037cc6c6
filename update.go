// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry/internal/objectdiff"
)

// Update replaces an object exactly once, at the resource version of obj.
//
//	cm, err := k8sretry.Update(ctx, clientset.CoreV1().ConfigMaps("default"), cm, metav1.UpdateOptions{})
//
// If the first answer is a Conflict, Update returns it unchanged: read the object again, or
// use [Modify].
//
// Update adds nothing to the object, so that an update that changes nothing stays one. It
// retries even if an earlier request may have been carried out. If the server rejects a
// retry, with Conflict, NotFound or any other error, Update reads the object. If the object
// has the content that was sent, and not from another field manager, Update returns it with
// a nil error. Otherwise, if client is a [Watcher], Update
// watches the object from the resource version of obj and compares its first change. If
// that has the content, or everything that obj changes, Update returns a nil error. If
// nothing of it has changed, or another field manager has made the change, the update was
// not carried out, and Update returns the server's error unchanged. If the outcome cannot be
// determined, for example because an admission plugin has replaced what was sent or the
// server no longer has that change, the error matches [ErrOutcomeUnknown].
//
// The field manager of the call is what its requests show over HTTP/2 or to a Transport, or else
// that of opts. Without either, equal content of another field manager than the beginning of the
// User-Agent proves nothing, because a client may add the manager to the URL; see [Updater].
//
// If the outcome is still ambiguous when the retries or the context end, Update checks it
// once more. The check takes at most 5 s.
//
// An obj without a resource version, or with 0, replaces the object at any version. If Update has to
// retry such a request after an ambiguous failure, it may overwrite a change that another
// client has made in between.
//
// To update the status subresource, see [StatusSubresource]. An update of another subresource
// than status, scale, finalize, approval, ephemeralcontainers and resize may be an action, such as
// the restart of a virtual machine. Update does not repeat it while its outcome is unknown, and
// cannot determine it. If it fails, Update returns the zero value of T. It does not change obj.
func Update[T Object](ctx context.Context, client Updater[T], obj T, opts metav1.UpdateOptions, options ...Option) (T, error) {
	var none T
	switch {
	case isNilValue(client):
		return none, errNilClient
	case isNilValue(obj):
		return none, errNilObject
	}
	toSend, err := copyToSend(obj)
	if err != nil {
		return none, err
	}
	u := &updateCall[T]{
		safeWrite: safeWrite{verb: VerbUpdate, code: codeOfObject(obj), dryRun: len(opts.DryRun) > 0},
		sentObject: sentObject[T]{
			obj: toSend, subresource: subresourceOf(client), fieldManager: opts.FieldManager, manager: requestManager{client: client},
		},
		client: client, opts: opts,
	}
	u.action = isAction(client, VerbUpdate)
	u.target = func() target { return u.seen.or(targetOf(u.obj, u.subresource)) }
	return runWrite(ctx, &u.safeWrite, u.step, u.check, options)
}

// updateCall is the state of one Update, or of one round of a Modify.
type updateCall[T Object] struct {
	safeWrite
	sentObject[T]
	client Updater[T]
	opts   metav1.UpdateOptions
}

// step sends the object, see write.
func (u *updateCall[T]) step(ctx context.Context) (T, error) {
	var none T
	if u.unverified == nil && u.isAmbiguous() && u.version().number == "" {
		// Without a resource version, the server would accept the retry at any version of
		// the object. So the object is checked before it is sent again.
		found, result, err := u.check(ctx)
		switch {
		case err != nil:
			return none, u.checkFailed(err)
		case result == applied:
			return found, nil
		case result != notAppliedYet && !isNilValue(u.base):
			return none, u.stop(u.ambiguousErr, detailUndetermined)
		}
	}
	return u.write(ctx, &u.safeWrite, func(ctx context.Context) (T, error) { return u.client.Update(ctx, u.obj, u.opts) }, u.check)
}

// check finds out whether the object that was sent has been stored.
func (u *updateCall[T]) check(ctx context.Context) (T, checkResult, error) {
	var none T
	ctx = u.manager.observeRead(ctx)
	sent := u.version()
	found, result, err := readObject(ctx, Getter[T](u.client), sent.name)
	switch exists := result == applied; {
	case err != nil || result == undetermined:
		return none, undetermined, err
	case exists && (sent.uid == "" || found.GetUID() == sent.uid) && u.isStoredAs(found) &&
		(sent.number == "" || found.GetResourceVersion() == sent.number || u.isMine(u.base, found) == applied):
		return found, applied, nil
	case exists && sent.number == "" && !isNilValue(u.base) && !apiequality.Semantic.DeepEqual(found, u.base):
		return none, undetermined, nil // fake clients have no resource versions
	case exists && (sent.number == "" || found.GetResourceVersion() == sent.number):
		return found, notAppliedYet, nil
	case !exists && u.completesDeletion():
		return u.obj, applied, nil
	case sent.number == "":
		return none, undetermined, nil
	case exists && (sent.uid == "" || found.GetUID() == sent.uid) && isNext(found.GetResourceVersion(), sent.number):
		judged := u.judge(change[T]{obj: found, known: true})
		if judged != undetermined || !isNilValue(u.base) {
			return found, judged, nil
		}
	}

	// The object has changed. The outcome depends on who has changed it first.
	first, err := firstChange[T](ctx, u.client, sent)
	if err != nil || !first.known {
		return none, undetermined, err
	}
	if result != applied || found.GetUID() != first.obj.GetUID() {
		found = first.obj
	}
	return found, u.judge(first), nil
}

// version returns the version that the update replaces.
func (u *updateCall[T]) version() version {
	uid := u.obj.GetUID()
	if !isNilValue(u.base) {
		uid = u.base.GetUID()
	}
	return version{u.obj.GetName(), required(u.obj.GetResourceVersion()), uid}
}

// completesDeletion reports whether storing obj removes it: the object is being deleted
// and obj has no finalizers. If the object is gone, the update has had its effect, even
// if another client was first. An object with a grace period, such as a terminating pod, is
// removed by another client, and so is a namespace with finalizers in its spec, which an update
// of the namespace leaves alone. An update of a status leaves all finalizers alone.
func (s *sentObject[T]) completesDeletion() bool {
	grace := s.obj.GetDeletionGracePeriodSeconds()
	if s.subresource != "" || s.obj.GetDeletionTimestamp() == nil || len(s.obj.GetFinalizers()) > 0 || grace != nil && *grace > 0 {
		return false
	}
	if t := targetOf(s.obj, ""); t.group != "" || t.resource != "namespaces" {
		return true
	}
	spec, _ := objectdiff.JSONOf(s.obj)["spec"].(map[string]any)
	left, _ := spec["finalizers"].([]any)
	return len(left) == 0
}
