package k8sretry

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Delete deletes the object given, and never another one that has taken its name: the
// UID of obj is sent as a precondition, unless opts has one. Of obj only name and UID
// are used.
//
//	err := k8sretry.Delete(ctx, clientset.CoreV1().Pods("default"), pod, metav1.DeleteOptions{})
//
// After a request whose outcome is unknown, NotFound means done, and so does a conflict
// about the UID or an object that is being deleted (finalizers). As the first answer,
// NotFound and Conflict are returned as they came.
//
// An object without a UID, and no UID in opts, stands for whatever has the name. Then
// nothing can tell the object meant from one created since, and Delete does not delete
// what it finds after a request of unknown outcome: it returns [ErrOutcomeUnknown]. Fakes,
// which give no UIDs, are asked again. Give the object as it was read.
func Delete[T Object](ctx context.Context, client Deleter[T], obj T, opts metav1.DeleteOptions, options ...Option) error {
	switch {
	case missing(client):
		return errNilClient
	case missing(obj):
		return errNilObject
	}
	d := deletionOf(VerbDelete, Getter[T](client), obj, opts)
	d.request = func(ctx context.Context) error { return client.Delete(ctx, d.name, d.opts) }
	_, err := proven(ctx, &d.proof, d.step, d.find, options)
	return err
}

// deletion is one Delete or Evict under way.
type deletion[T Object] struct {
	proof
	client  Getter[T]
	request func(context.Context) error
	raced   func(error, Verdict) bool // whether the server has lost a race of its own; nil: never
	anyEnd  bool                      // that it is gone is enough, whoever has done it
	name    string
	uid     types.UID // of the object meant, "" if any will do
	version *string   // the resource version that the caller insists on
	opts    metav1.DeleteOptions
	pending error // an answer that an earlier request of the call may have caused
}

// deletionOf prepares the deletion of an object, with its UID as a precondition.
func deletionOf[T Object](verb Verb, client Getter[T], obj T, opts metav1.DeleteOptions) *deletion[T] {
	d := &deletion[T]{
		proof:  proof{verb: verb, dryRun: len(opts.DryRun) > 0},
		client: client, name: obj.GetName(), uid: obj.GetUID(), opts: opts,
	}
	var given metav1.Preconditions
	if opts.Preconditions != nil {
		given = *opts.Preconditions
	}
	if given.UID != nil {
		d.uid = *given.UID
	} else if d.uid != "" {
		given.UID = &d.uid
		d.opts.Preconditions = &given
	}
	d.version = given.ResourceVersion
	return d
}

type nothing = struct{}

// step sends the deletion, and looks what an answer means that may be about an earlier
// request. Without a UID it looks before it sends again.
func (d *deletion[T]) step(ctx context.Context) (nothing, error) {
	if d.pending == nil && d.uid == "" && d.version == nil && d.inDoubt() {
		switch _, what, err := d.find(ctx); {
		case err != nil:
			return nothing{}, d.looking(err, d.lost)
		case what == applied:
			return nothing{}, nil
		case what == undecided:
			return nothing{}, d.stop(d.lost, noUID)
		}
	}
	if d.pending == nil {
		v, err := d.send(ctx, d.request)
		switch {
		case err == nil, v.Outcome == OutcomeExecuted:
			return nothing{}, nil
		case d.raced != nil && d.raced(err, v):
			return nothing{}, d.repeat(err, lostRace)
		case !lasting(ctx, v):
			return nothing{}, err
		case (d.anyEnd || d.inDoubt()) && (isAbsent(err, d.name) || d.uid != "" && isOfAnother(err, v)):
			return nothing{}, nil
		case !d.inDoubt():
			return nothing{}, err
		}
		d.pending = err
	}
	_, what, err := d.find(ctx)
	if err != nil {
		return nothing{}, d.looking(err, d.pending)
	}
	answer := d.pending
	d.pending = nil
	switch {
	case what == applied:
		return nothing{}, nil
	case what == notApplied:
		d.outcome = OutcomeNotExecuted
		return nothing{}, answer
	}
	return nothing{}, d.stop(answer, notTellable)
}

// find looks whether the object meant is gone, or going.
func (d *deletion[T]) find(ctx context.Context) (nothing, finding, error) {
	found, what, err := look(ctx, d.client, d.name)
	switch what {
	case applied:
		return nothing{}, d.stateOf(found), nil
	case notSeen:
		return nothing{}, applied, nil // it is gone
	}
	return nothing{}, what, err
}

// stateOf says what an object that has the name tells about the one meant.
func (d *deletion[T]) stateOf(found T) finding {
	other := d.uid != "" && found.GetUID() != "" && found.GetUID() != d.uid
	same := d.uid == found.GetUID()
	changed := d.version != nil && found.GetResourceVersion() != *d.version
	switch {
	case other, found.GetDeletionTimestamp() != nil:
		return applied
	case changed && same:
		return notApplied // and never will be: the caller insists on the version
	case !same && (changed || d.version == nil):
		return undecided // it may have been created since
	}
	return notSeen // it is still there; a request may be under way
}

// isOfAnother reports whether a conflict says that the name belongs to another object
// by now (k8s.io/apiserver/pkg/registry/rest/delete.go and pkg/storage/interfaces.go).
func isOfAnother(err error, v Verdict) bool {
	if v.Class != ClassConflict {
		return false
	}
	text := statusIn(err).Message
	return strings.Contains(text, "UID in precondition") || strings.Contains(text, "UID in the precondition")
}
