// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/ctxerr"
)

// Delete deletes the given object, and never another object that has taken its name: it
// sends the UID of obj as a precondition, unless opts has one. It uses only the name and
// the UID of obj.
//
//	err := k8sretry.Delete(ctx, clientset.CoreV1().Pods("default"), pod, metav1.DeleteOptions{})
//
// If the first answer is NotFound or Conflict, Delete returns it unchanged. After a request
// that may have been carried out, Delete returns nil if the server answers NotFound or a
// conflict about the UID, or if the object is being deleted (it has finalizers). A deletion
// that obj already shows, that leaves the object more time than opts does, or that deals with
// its dependents in another way than the propagation policy of opts, proves nothing: Delete
// then returns nil only after a success of the server or if the object is gone.
//
// If neither obj nor opts has a UID, Delete cannot distinguish the object from one that was
// created since with the same name. If an object with that name exists after an ambiguous
// failure, Delete does not delete it, and the error matches [ErrOutcomeUnknown]. The
// objects of fake clients, which have no UIDs, are deleted again. Pass the object as read
// from the server.
//
// A delete of a subresource (see [Dynamic]) may be an action. It is not repeated while its
// outcome is unknown.
//
// If the outcome is still ambiguous when the retries or the context end, Delete checks it
// once more. The check takes at most 5 s.
func Delete[T Object](ctx context.Context, client Deleter[T], obj T, opts metav1.DeleteOptions, options ...Option) error {
	switch {
	case isNilValue(client):
		return errNilClient
	case isNilValue(obj):
		return errNilObject
	}
	d := newDeleteCall(VerbDelete, Getter[T](client), obj, opts)
	d.request = func(ctx context.Context) error { return client.Delete(ctx, d.name, d.opts) }
	d.action = isAction(client, VerbDelete)
	d.target = func() target { return d.seen.or(targetOf(obj, subresourceOf(client))) }
	_, err := runWrite(ctx, &d.safeWrite, d.step, d.check, options)
	return err
}

// deleteCall is the state of one Delete or Evict.
type deleteCall[T Object] struct {
	safeWrite
	client     Getter[T]
	request    func(context.Context) error
	lostRace   func(error, Verdict) bool // reports an error after which the server would accept the request; may be nil
	goesAnyway func(error) bool          // reports a refusal that says that the object will be deleted all the same; may be nil
	goneIsOK   bool                      // the call succeeds if the object is gone, even at its first request
	wasGoing   bool                      // the object was being deleted when the call began

	// slowConflict is set if the server takes long to refuse the request because of the UID:
	// kube-apiserver takes 10 s for an eviction, more than many an attempt timeout. So the
	// object is read before the request is sent again, but not twice in vain (unreadable).
	slowConflict, unreadable bool

	name    string
	uid     types.UID // of the object to delete; "" for any object of the name
	version *string   // the resource version that the caller requires; nil for any
	opts    metav1.DeleteOptions
}

// newDeleteCall prepares the deletion of an object, with its UID as a precondition.
func newDeleteCall[T Object](verb Verb, client Getter[T], obj T, opts metav1.DeleteOptions) *deleteCall[T] {
	d := &deleteCall[T]{
		safeWrite: safeWrite{verb: verb, code: codeOfObject(obj), dryRun: len(opts.DryRun) > 0},
		client:    client, name: obj.GetName(), uid: obj.GetUID(), opts: opts,
		wasGoing: obj.GetDeletionTimestamp() != nil,
	}
	var preconditions metav1.Preconditions
	if opts.Preconditions != nil {
		preconditions = *opts.Preconditions
	}
	if preconditions.UID != nil {
		d.uid = *preconditions.UID
	} else if d.uid != "" {
		preconditions.UID = &d.uid
		d.opts.Preconditions = &preconditions
	}
	d.version = preconditions.ResourceVersion
	return d
}

type nothing = struct{}

// step sends the request, and explains the answer if an earlier request may have caused
// it. If the last step has left an answer unverified, it sends nothing.
func (d *deleteCall[T]) step(ctx context.Context) (nothing, error) {
	if d.unverified != nil {
		return explain(ctx, &d.safeWrite, d.check)
	}
	byName := d.uid == "" && d.version == nil
	if d.isAmbiguous() && (byName || d.slowConflict && !d.unreadable) {
		// Without a precondition, the server would also delete an object created since.
		_, result, err := d.check(ctx)
		d.unreadable = err != nil
		switch {
		case result == applied:
			return nothing{}, nil
		case err != nil && (byName || ctxerr.Of(ctx) != nil || Classify(err).RetryAfter > 0):
			return nothing{}, d.checkFailed(err)
		case result == undetermined && byName:
			return nothing{}, d.stop(d.ambiguousErr, detailNoUID)
		}
	} else {
		d.unreadable = false
	}
	v, err := d.send(ctx, d.request)
	switch {
	case err == nil, v.Outcome == OutcomeExecuted:
		return nothing{}, nil
	case d.lostRace != nil && d.lostRace(err, v):
		return nothing{}, d.repeat(err, detailServerRace)
	case d.goesAnyway != nil && d.goesAnyway(err):
		// The namespace takes no evictions any more, and deletes its pods by itself.
		_, result, checkErr := d.check(ctx)
		switch {
		case checkErr == nil && result == applied:
			return nothing{}, nil
		case Classify(checkErr).RetryAfter > 0:
			d.report = err
			return nothing{}, d.repeat(checkErr, detailNamespace)
		}
		return nothing{}, d.repeat(err, detailNamespace)
	case !isPermanent(ctx, v):
		return nothing{}, err
	case (d.goneIsOK || d.isAmbiguous()) && (isAbsent(err, d.name) || d.uid != "" && isUIDConflict(err, v, d.name)):
		return nothing{}, nil
	case !d.isAmbiguous():
		return nothing{}, err
	}
	d.unverified = err
	return explain(ctx, &d.safeWrite, d.check)
}

// check finds out whether the object is gone or being deleted.
func (d *deleteCall[T]) check(ctx context.Context) (nothing, checkResult, error) {
	found, result, err := readObject(ctx, d.client, d.name)
	switch result {
	case applied:
		return nothing{}, d.compare(found), nil
	case notAppliedYet:
		return nothing{}, applied, nil // it does not exist
	default:
		return nothing{}, result, err
	}
}

// compare says what an existing object of the name means for the deletion.
func (d *deleteCall[T]) compare(found T) checkResult {
	isOther := d.uid != "" && found.GetUID() != "" && found.GetUID() != d.uid
	isSame := d.uid == found.GetUID()
	isChanged := d.version != nil && found.GetResourceVersion() != *d.version
	switch {
	case isOther, found.GetDeletionTimestamp() != nil && d.maySetOff(found):
		return applied
	case isSame && isChanged:
		return notApplied // the precondition can no longer be met
	case !isSame && (isChanged || d.version == nil):
		return undetermined // it may have been created since
	}
	return notAppliedYet
}

// maySetOff reports whether a request of this call can have set off the deletion of found.
// Another deletion serves an eviction as well.
func (d *deleteCall[T]) maySetOff(found T) bool {
	if d.verb != VerbDelete {
		return true
	}
	return !d.wasGoing && apirequest.Satisfied(&d.opts, &metav1.ObjectMeta{
		DeletionGracePeriodSeconds: found.GetDeletionGracePeriodSeconds(), Finalizers: found.GetFinalizers(),
	})
}

// isUIDConflict reports whether a conflict says that another object has this name now
// (k8s.io/apiserver/pkg/registry/rest/delete.go and pkg/storage/interfaces.go).
func isUIDConflict(err error, v Verdict, name string) bool {
	status := statusIn(err)
	if v.Class != ClassConflict || status.Details == nil || status.Details.Name != name {
		return false // a server may quote a conflict about something else
	}
	text := status.Message
	return strings.Contains(text, "UID in precondition") || strings.Contains(text, "UID in the precondition")
}
