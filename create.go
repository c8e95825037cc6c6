package k8sretry

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// Create stores a new object, once. client is one of client-go's, or of the same
// shape; see [Dynamic] for the dynamic client.
//
//	cm, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), cm, metav1.CreateOptions{})
//
// The object is sent with a token (see [WithTokenAnnotation]), and sent again when its
// fate is unknown. If a repetition is refused, because the name exists, the quota is
// full or for any other reason, the object is read: with the token on it Create has
// succeeded. If somebody else holds the name, the refusal is returned as it came.
// Otherwise the error has [ErrOutcomeUnknown] in its chain: an object that is not there
// right after a timeout may yet appear.
//
// A name to be generated (GenerateName) is drawn here, as the server would draw it, so
// that a repetition cannot make a second object; it is drawn anew when a foreign object
// has the name. An object without any name (a SubjectAccessReview, say) cannot be looked
// up; Do is for these.
//
// On failure the zero value of T is returned. obj is never changed.
func Create[T Object](ctx context.Context, client Creator[T], obj T, opts metav1.CreateOptions, options ...Option) (T, error) {
	var none T
	switch {
	case missing(client):
		return none, errNilClient
	case missing(obj):
		return none, errNilObject
	}
	c := &creation[T]{
		proof:  proof{verb: VerbCreate, dryRun: len(opts.DryRun) > 0},
		client: client, obj: sendable(obj), opts: opts, stamp: newStamp(tokenKey(options)),
	}
	if !c.dryRun {
		c.stamp.put(c.obj)
		if obj.GetName() == "" && obj.GetGenerateName() != "" {
			c.drawn = true
			c.draw()
		}
	}
	return proven(ctx, &c.proof, c.step, c.find, options)
}

// creation is one Create under way.
type creation[T Object] struct {
	proof
	client  Creator[T]
	obj     T // what is sent
	opts    metav1.CreateOptions
	stamp   stamp
	drawn   bool  // the name is drawn here
	pending error // an answer that an earlier request of the call may have caused
	done    bool  // the server has said that it did it, but not what
}

// mostDraws is how many names are tried without a wait; the server does the same
// (k8s.io/apiserver/pkg/registry/generic/registry/store.go).
const mostDraws = 8

// draw gives the object a name as k8s.io/apiserver/pkg/storage/names does.
func (c *creation[T]) draw() {
	const length, random = 63, 5
	base := c.obj.GetGenerateName()
	c.obj.SetName(base[:min(len(base), length-random)] + utilrand.String(random))
}

// step sends the object, and looks what an answer means that may be about an earlier
// request. It begins with the look if that is all that is left to do.
func (c *creation[T]) step(ctx context.Context) (T, error) {
	var none T
	for draws := 1; ; draws++ {
		if c.pending == nil {
			made, v, err := c.create(ctx)
			switch {
			case err == nil:
				return made, nil
			case v.Outcome == OutcomeExecuted:
				c.done = true
			case err == errNoObject && !c.dryRun:
			case !lasting(ctx, v):
				return none, err
			case c.inDoubt():
			case exists(err) && c.drawn && draws < mostDraws:
				c.draw()
				continue
			default:
				return none, err
			}
			c.pending = err
		}
		found, what, err := c.find(ctx)
		if err != nil {
			return none, c.looking(err, c.pending)
		}
		answer := c.pending
		switch {
		case what == applied:
			return found, nil
		case c.done || what == undecided:
			c.pending = nil
			return none, c.stop(answer, notTellable)
		case what == notApplied:
			c.pending, c.outcome = nil, OutcomeNotExecuted
			switch {
			case answer == errNoObject:
				return none, c.repeat(answer, nameTaken)
			case exists(answer) && c.drawn && draws < mostDraws:
				c.draw()
				continue
			}
			return none, answer
		case exists(answer):
			// Something had the name a moment ago. To create it again could be twice.
			return none, c.repeat(answer, notVisible)
		}
		c.pending = nil
		if answer == errNoObject || takenByItself(answer) {
			return none, c.repeat(answer, mayAppear)
		}
		return none, c.stop(answer, mayAppear)
	}
}

func (c *creation[T]) create(ctx context.Context) (made T, v Verdict, err error) {
	v, err = c.send(ctx, func(ctx context.Context) (err error) {
		made, err = c.client.Create(ctx, c.obj, c.opts)
		if err == nil && c.obj.GetName() != "" && empty(made) {
			err = errNoObject
		}
		return err
	})
	return made, v, err
}

// find looks for the object. A GET without a resource version is a consistent read.
func (c *creation[T]) find(ctx context.Context) (T, finding, error) {
	if c.stamp.key == "" || c.obj.GetName() == "" {
		var none T
		return none, undecided, nil
	}
	found, what, err := look(ctx, Getter[T](c.client), c.obj.GetName())
	if what == applied && !c.stamp.on(found) {
		what = notApplied
	}
	return found, what, err
}

// exists reports whether the server says that the name is taken. A webhook may say so
// of something else.
func exists(err error) bool {
	return apierrors.IsAlreadyExists(err) && !deniedByWebhook(statusIn(err).Message)
}

// takenByItself reports whether the object may stand in its own way: the quota is
// charged, and the ports and addresses of a Service are allocated, before the server
// finds that the name exists.
func takenByItself(err error) bool {
	text := statusIn(err).Message
	switch {
	case deniedByWebhook(text):
		return false
	case apierrors.IsForbidden(err):
		return strings.Contains(text, "exceeded quota")
	}
	return apierrors.IsInvalid(err) && strings.Contains(text, "already allocated")
}
