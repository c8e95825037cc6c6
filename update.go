package k8sretry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Update replaces an object, once, with the resource version that obj carries.
//
//	cm, err := k8sretry.Update(ctx, clientset.CoreV1().ConfigMaps("default"), cm, metav1.UpdateOptions{})
//
// A Conflict as the first answer is returned as it came: read the object again, or use
// [Modify]. A Conflict, NotFound or other refusal after a request of unknown outcome is
// checked: with the token on it (see [WithTokenAnnotation]), the object was updated. If it
// has another one, somebody has written since, and the object is watched from the resource
// version of obj (if client is a [Watcher]): it was updated by this call if the first change
// is this call's. If it is not, the refusal is returned as it came. What can be proven
// neither way, because the server no longer has that change, say, has [ErrOutcomeUnknown].
//
// An obj without a resource version overwrites whatever is there. Repeated after a request
// of unknown outcome, it may overwrite what somebody wrote in between.
//
// For the status subresource, see [StatusSubresource]. On failure the zero value of T is returned.
// obj is never changed.
func Update[T Object](ctx context.Context, client Updater[T], obj T, opts metav1.UpdateOptions, options ...Option) (T, error) {
	var none T
	switch {
	case missing(client):
		return none, errNilClient
	case missing(obj):
		return none, errNilObject
	}
	u := &replacement[T]{
		proof:  proof{verb: VerbUpdate, dryRun: len(opts.DryRun) > 0},
		client: client, obj: sendable(obj), opts: opts, stamp: newStamp(tokenKey(options)),
	}
	if !u.dryRun {
		u.before = obj.GetAnnotations()[u.stamp.key]
		u.stamp.put(u.obj)
	}
	return proven(ctx, &u.proof, u.step, u.find, options)
}

// replacement is one update under way, of Update or of Modify.
type replacement[T Object] struct {
	proof
	client  Updater[T]
	obj     T // what is sent
	opts    metav1.UpdateOptions
	stamp   stamp
	before  string // the token of the write before
	pending error  // an answer that an earlier request of the call may have caused
}

// step sends the object, and looks what an answer means that may be about an earlier
// request.
func (u *replacement[T]) step(ctx context.Context) (T, error) {
	var none T
	if u.pending == nil {
		if u.inDoubt() && u.obj.GetResourceVersion() == "" {
			// Nothing keeps the repetition from overwriting somebody. At least it is not
			// sent if it need not be.
			if found, what, err := u.find(ctx); err != nil {
				return none, u.looking(err, u.lost)
			} else if what == applied {
				return found, nil
			}
		}
		stored, v, err := u.replace(ctx)
		switch {
		case err == nil:
			return stored, nil
		case err == errNoObject && !u.dryRun:
			return none, u.repeat(err, noObject) // the resource version guards the repetition
		case v.Outcome == OutcomeExecuted:
		case !lasting(ctx, v), !u.inDoubt():
			return none, err
		}
		u.pending = err
	}
	found, what, err := u.find(ctx)
	if err != nil {
		return none, u.looking(err, u.pending)
	}
	answer := u.pending
	u.pending = nil
	switch what {
	case applied:
		return found, nil
	case notApplied:
		u.outcome = OutcomeNotExecuted
		return none, answer
	}
	return none, u.stop(answer, notTellable)
}

func (u *replacement[T]) replace(ctx context.Context) (stored T, v Verdict, err error) {
	v, err = u.send(ctx, func(ctx context.Context) (err error) {
		stored, err = u.client.Update(ctx, u.obj, u.opts)
		if err == nil && u.obj.GetName() != "" && empty(stored) {
			err = errNoObject
		}
		return err
	})
	return stored, v, err
}

// find looks whether the object sent was stored.
func (u *replacement[T]) find(ctx context.Context) (T, finding, error) {
	var none T
	if u.stamp.key == "" {
		return none, undecided, nil
	}
	name, version := u.obj.GetName(), u.obj.GetResourceVersion()
	found, what, err := look(ctx, Getter[T](u.client), name)
	switch {
	case err != nil || what == undecided:
		return none, undecided, err
	case what == applied && u.stamp.on(found):
		return found, applied, nil
	case what == applied && (version == "" || found.GetResourceVersion() == version):
		return found, notSeen, nil
	case what == notSeen && endsIt(u.obj):
		return u.obj, applied, nil
	case version == "":
		return none, undecided, nil
	}

	// Somebody has changed it. Who was the first?
	first, err := firstChange[T](ctx, u.client, name, version)
	switch {
	case err != nil || !first.known:
		return none, undecided, err
	case first.deleted && endsIt(u.obj):
		return u.obj, applied, nil
	case !first.deleted && u.stamp.on(first.obj):
		if what == applied && found.GetUID() == first.obj.GetUID() {
			return found, applied, nil
		}
		return first.obj, applied, nil
	case keepsAnnotations(u.client), first.deleted, u.isForeign(first.obj):
		return none, notApplied, nil
	}
	return none, undecided, nil
}

// isForeign reports whether a change was made by somebody else, seen from a write that
// may have been stored without its annotations, as one of a status: it has brought
// another token, or it has changed more than a status.
func (u *replacement[T]) isForeign(obj T) bool {
	if u.obj.GetUID() == "" {
		return false // it was not read, and lacks what there would be to compare
	}
	return u.stamp.key != "" && obj.GetAnnotations()[u.stamp.key] != u.before ||
		obj.GetGeneration() != u.obj.GetGeneration()
}

// endsIt reports whether storing the object is what deletes it: the last finalizer of
// an object that is being deleted is gone. Then an object that is no longer there is
// what was asked for, whoever came first.
func endsIt(obj metav1.Object) bool {
	return obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 0
}
