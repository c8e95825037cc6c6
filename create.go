// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/k8sretry/k8sretry/internal/objectdiff"
)

// Create creates an object exactly once. client is a typed client of client-go or has the
// same methods; see [Dynamic] for the dynamic client.
//
//	cm, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), cm, metav1.CreateOptions{})
//
// Create retries even if an earlier request may have been carried out. If the server
// rejects a retry, because the name exists, a quota is exceeded, or for any other reason,
// Create reads the object and returns it with a nil error if the call has created it:
//
//   - An object with a GenerateName gets its name from Create, which draws 10 random letters
//     (the server draws 5), so that a retry cannot create a second object. An object of that
//     name is that of the call. While no request is ambiguous, Create draws another name if
//     the name is taken.
//   - An object with a controller in its ownerReferences is that of the call if it has the
//     same controller and everything that was sent, unless one of the proofs below says
//     otherwise. Another replica of that controller may have created the same.
//   - Any other object gets a random mark in an annotation (see [WithTokenAnnotation]). It is
//     that of the call if it has the mark. Update and Modify leave marks alone.
//
// An object without that proof may be that of the call nevertheless: an admission plugin or
// another client may have changed it. If it was created more than 15 minutes before the
// call, by the clocks of server and client, which are assumed to differ by no more, or if it
// has the mark of another Create of the same object, it is that of another client, and Create
// returns the server's error unchanged. Otherwise the error matches [ErrOutcomeUnknown]. It
// also does if there is no object: one that does not exist shortly after a timeout may still
// be created.
//
// Create cannot prove that an object was created which others have removed before the retry,
// such as a Job with ttlSecondsAfterFinished 0. The retry creates it again.
//
// If the outcome is still ambiguous when the retries or the context end, Create checks it
// once more. The check takes at most 5 s.
//
// An object without Name and GenerateName, whose name the server chooses, cannot be read, and a
// create of a subresource (see [Dynamic]) may be an action, such as an eviction or the start of a
// build. Create adds no mark to them, does not repeat a request that may have been carried out, and
// cannot determine its outcome. Reviews and tokens (groups authentication.k8s.io and
// authorization.k8s.io) are repeated: the server does not store them.
//
// If it fails, Create returns the zero value of T. It does not change obj.
func Create[T Object](ctx context.Context, client Creator[T], obj T, opts metav1.CreateOptions, options ...Option) (T, error) {
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
	review := isReview(obj)
	c := &createCall[T]{
		safeWrite: safeWrite{verb: VerbCreate, code: codeOfObject(obj), dryRun: len(opts.DryRun) > 0 || review},
		client:    client, obj: toSend, opts: opts, began: time.Now(),
	}
	c.action = review || isAction(client, VerbCreate) || obj.GetName() == "" && obj.GetGenerateName() == ""
	c.target = func() target { return c.seen.or(targetOf(c.obj, subresourceOf(client))) }
	switch owner := metav1.GetControllerOf(obj); {
	case c.dryRun, c.action:
	case obj.GetName() == "":
		c.generated = true
		c.generateName()
	case owner != nil && owner.UID != "":
		c.owner = owner.UID
		c.mark.key = createKey(options)
	default:
		c.mark = newToken(createKey(options))
		c.mark.value += markOf(obj, namespaceOf(client, obj))
		c.mark.addTo(c.obj)
	}
	return runWrite(ctx, &c.safeWrite, c.step, c.check, options)
}

// createCall is the state of one Create. An object that is found proves that the call has
// created it by its generated name, by its owner and content, or by its mark.
type createCall[T Object] struct {
	safeWrite
	client    Creator[T]
	obj       T // to send
	opts      metav1.CreateOptions
	generated bool       // obj has a generated name
	owner     types.UID  // of the controller of obj, if that is what proves
	mark      writeToken // the value is empty if it is not what proves
	began     time.Time  // of the call
}

// maxGeneratedNames limits how many names a step tries, as the server does
// (k8s.io/apiserver/pkg/registry/generic/registry/store.go).
const maxGeneratedNames = 8

// generateName names the object.
func (c *createCall[T]) generateName() { c.obj.SetName(generatedName(c.obj.GetGenerateName())) }

// generatedName draws a name as k8s.io/apiserver/pkg/storage/names does, but with 10
// random letters instead of 5: with 1e14 names, an object that has the name after an
// ambiguous failure is that of the call.
func generatedName(base string) string {
	const maxLength, randomLength = 63, 10
	return base[:min(len(base), maxLength-randomLength)] + utilrand.SafeEncodeString(rand.Text()[:randomLength])
}

// step tries to create the object, under further names if another client has the
// generated one. After an ambiguous failure it keeps the name.
func (c *createCall[T]) step(ctx context.Context) (T, error) {
	for names := 1; ; names++ {
		created, err := c.create(ctx)
		if err == nil || !c.generated || c.isAmbiguous() || !isNameTaken(err) || names == maxGeneratedNames {
			return created, err
		}
		c.generateName()
	}
}

// create sends the object, and explains the answer if an earlier request may have caused
// it. If the last step has left an answer unverified, it sends nothing.
func (c *createCall[T]) create(ctx context.Context) (T, error) {
	var none T
	if c.unverified == nil {
		created, v, err := c.request(ctx)
		switch {
		case err == nil:
			return created, nil
		case c.mustCheck(ctx, v), errors.Is(err, errNoObject) && !c.dryRun:
			c.unverified = err
		default:
			return none, err
		}
	}
	found, result, err := c.check(ctx)
	if err != nil {
		return none, c.checkFailed(err)
	}
	answer := c.unverified
	switch {
	case result == applied:
		return found, nil
	case c.outcome == OutcomeExecuted, result == undetermined:
		return none, c.stop(answer, detailUndetermined)
	case result == notAppliedYet && isNameTaken(answer):
		// The name was taken a moment ago. Another request could create a second object,
		// so the next step checks again.
		return none, c.repeat(answer, detailNotVisible)
	}
	c.unverified = nil
	switch {
	case result == notApplied && errors.Is(answer, errNoObject):
		c.outcome = OutcomeNotExecuted
		return none, c.repeat(answer, detailNameTaken)
	case result == notApplied:
		c.outcome = OutcomeNotExecuted
		return none, answer
	case errors.Is(answer, errNoObject), isBlockedByItself(answer):
		return none, c.repeat(answer, detailNotVisibleYet)
	}
	return none, c.stop(answer, detailNotVisibleYet)
}

// request sends the object.
func (c *createCall[T]) request(ctx context.Context) (created T, v Verdict, err error) {
	v, err = c.send(ctx, func(ctx context.Context) (err error) {
		created, err = c.client.Create(ctx, c.obj, c.opts)
		if err == nil && c.obj.GetName() != "" && isEmpty(created) && !c.action {
			err = errNoObject
		}
		return err
	})
	return created, v, err
}

// check reads the object and finds out who has created it. A GET without a resource
// version is a consistent read.
func (c *createCall[T]) check(ctx context.Context) (T, checkResult, error) {
	found, result, err := readObject(ctx, Getter[T](c.client), c.obj.GetName())
	if result == applied {
		result = c.judge(found)
	}
	return found, result, err
}

// judge finds out whether the call has created an object. Others may have changed the
// object since and replaced its annotations. So a missing mark proves nothing.
func (c *createCall[T]) judge(found T) checkResult {
	switch {
	case c.generated, c.mark.isOn(found):
		return applied
	case c.isOtherMark(found), c.isOlder(found.GetCreationTimestamp()):
		return notApplied
	case c.owner != "" && c.isOwnedCopy(found):
		return applied
	}
	return undetermined
}

// isOwnedCopy reports whether an object has the controller and the content of the one that
// was sent. It may have more.
func (c *createCall[T]) isOwnedCopy(found T) bool {
	owner := metav1.GetControllerOf(found)
	return owner != nil && owner.UID == c.owner && objectdiff.Contains(
		objectdiff.Of(found, objectdiff.NoStatus, ""), objectdiff.Of(c.obj, objectdiff.NoStatus, ""))
}

// isOtherMark reports whether an object has the mark of another Create of the same object.
// Modify and Update do not replace marks. The namespace is the one that the server reports.
func (c *createCall[T]) isOtherMark(found T) bool {
	mark := c.mark.on(found)
	return mark != "" && mark != c.mark.on(c.obj) && strings.HasSuffix(mark, markOf(c.obj, found.GetNamespace()))
}

// maxClockSkew is how much the clocks of client and server are assumed to differ at most.
const maxClockSkew = 15 * time.Minute

// isOlder reports whether an object was created before the call. Fake clients set no time.
func (c *createCall[T]) isOlder(created metav1.Time) bool {
	latest := created.Add(time.Second) // whole seconds are stored
	return !created.IsZero() && latest.Add(maxClockSkew).Before(c.began)
}

// isReview reports whether an object is one of those that the server only answers: a review or
// the request for a token.
func isReview(obj Object) bool {
	group := targetOf(obj, "").group
	return group == "authentication.k8s.io" || group == "authorization.k8s.io"
}

// isNameTaken reports whether the server says that the name exists. A webhook may use the
// same reason for something else.
func isNameTaken(err error) bool {
	return apierrors.IsAlreadyExists(err) && !deniedByWebhook(statusIn(err).Message)
}

// isBlockedByItself reports whether an earlier request of the same call may have caused
// the error: the server charges the quota, and allocates the ports and addresses of a
// Service, before it finds that the name exists.
func isBlockedByItself(err error) bool {
	text := statusIn(err).Message
	switch {
	case deniedByWebhook(text):
		return false
	case apierrors.IsForbidden(err):
		return strings.Contains(text, "exceeded quota")
	}
	return apierrors.IsInvalid(err) && isAllocated(text)
}
