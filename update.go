package k8sretry

import (
	"context"
	"errors"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Update replaces an object exactly once, at the resource version of obj.
//
//	cm, err := k8sretry.Update(ctx, clientset.CoreV1().ConfigMaps("default"), cm, metav1.UpdateOptions{})
//
// If the first answer is a Conflict, Update returns it unchanged: read the object again, or
// use [Modify].
//
// Update stores a random token in an annotation of the object (see [WithTokenAnnotation])
// and retries even if an earlier request may have been carried out. If the server rejects
// a retry, with Conflict, NotFound or any other error, Update reads the object. If the
// object carries the token, Update returns it with a nil error. If another client has
// changed the object since, and client is a [Watcher], Update watches the object from the
// resource version of obj: if the first change carries the token, Update returns a nil
// error, otherwise the server's error unchanged. If the outcome cannot be determined, for
// example because the server no longer has that change, the error matches
// [ErrOutcomeUnknown].
//
// If the outcome is still ambiguous when the retries or the context end, Update checks it
// once more. The check takes at most 5 s.
//
// An obj without a resource version replaces the object at any version. If Update has to
// retry such a request after an ambiguous failure, it may overwrite a change that another
// client has made in between.
//
// To update the status subresource, see [StatusSubresource]. If it fails, Update returns
// the zero value of T. It does not change obj.
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
		safeWrite: safeWrite{verb: VerbUpdate, dryRun: len(opts.DryRun) > 0},
		client:    client, obj: toSend, opts: opts, token: newToken(tokenKey(options)),
	}
	if !u.dryRun {
		u.previousToken = obj.GetAnnotations()[u.token.key]
		u.token.addTo(u.obj)
	}
	return runWrite(ctx, &u.safeWrite, u.step, u.check, options)
}

// updateCall is the state of one Update, or of one round of a Modify.
type updateCall[T Object] struct {
	safeWrite
	client        Updater[T]
	base          T // what obj was made from, if the call has read it; nil if obj is the caller's
	obj           T // to send
	opts          metav1.UpdateOptions
	token         writeToken
	previousToken string // of the last write before
}

// step sends the object, and explains the answer if an earlier request may have caused
// it. If the last step has left an answer unverified, it sends nothing.
func (u *updateCall[T]) step(ctx context.Context) (T, error) {
	var none T
	if u.unverified != nil {
		return explain(ctx, &u.safeWrite, u.check)
	}
	if u.isAmbiguous() && u.obj.GetResourceVersion() == "" {
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
	updated, v, err := u.request(ctx)
	switch {
	case err == nil:
		return updated, nil
	case errors.Is(err, errNoObject) && !u.dryRun:
		return none, u.repeat(err, detailNoObject) // the resource version makes that safe
	case !u.mustCheck(ctx, v):
		return none, err
	}
	u.unverified = err
	return explain(ctx, &u.safeWrite, u.check)
}

// request sends the object.
func (u *updateCall[T]) request(ctx context.Context) (updated T, v Verdict, err error) {
	v, err = u.send(ctx, func(ctx context.Context) (err error) {
		updated, err = u.client.Update(ctx, u.obj, u.opts)
		if err == nil && u.obj.GetName() != "" && isEmpty(updated) {
			err = errNoObject
		}
		return err
	})
	return updated, v, err
}

// check finds out whether the object that was sent has been stored.
func (u *updateCall[T]) check(ctx context.Context) (T, checkResult, error) {
	var none T
	if u.token.key == "" {
		return none, undetermined, nil
	}
	name, version := u.obj.GetName(), u.obj.GetResourceVersion()
	found, result, err := readObject(ctx, Getter[T](u.client), name)
	switch exists := result == applied; {
	case err != nil || result == undetermined:
		return none, undetermined, err
	case exists && u.token.isOn(found):
		return found, applied, nil
	case exists && version == "" && !isNilValue(u.base) && !apiequality.Semantic.DeepEqual(found, u.base):
		return none, undetermined, nil // fake clients have no resource versions
	case exists && (version == "" || found.GetResourceVersion() == version):
		return found, notAppliedYet, nil
	case !exists && completesDeletion(u.obj):
		return u.obj, applied, nil
	case version == "":
		return none, undetermined, nil
	}

	// The object has changed. The outcome depends on who has changed it first.
	first, err := firstChange[T](ctx, u.client, name, version)
	switch {
	case err != nil || !first.known:
		return none, undetermined, err
	case first.deleted && completesDeletion(u.obj):
		return u.obj, applied, nil
	case !first.deleted && u.token.isOn(first.obj):
		if result == applied && found.GetUID() == first.obj.GetUID() {
			return found, applied, nil
		}
		return first.obj, applied, nil
	case keepsAnnotations(u.client), first.deleted, u.isForeign(first.obj):
		return none, notApplied, nil
	}
	return none, undetermined, nil
}

// isForeign reports whether another client has made a change, if the server may have
// stored the update without its annotations, as that of a status: the change has another
// token than the object had before, or is one of the spec, which a status update leaves
// alone.
func (u *updateCall[T]) isForeign(changed T) bool {
	if u.obj.GetUID() == "" {
		return false // obj was not read from the server and has nothing to compare with
	}
	return u.token.key != "" && changed.GetAnnotations()[u.token.key] != u.previousToken ||
		changed.GetGeneration() != u.obj.GetGeneration()
}

// completesDeletion reports whether storing obj removes it: the object is being deleted
// and obj has no finalizers. If the object is gone, the update has had its effect, even
// if another client was first.
func completesDeletion(obj metav1.Object) bool {
	return obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 0
}
