package k8sretry

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// Create creates an object exactly once. client is a typed client of client-go or has the
// same methods; see [Dynamic] for the dynamic client.
//
//	cm, err := k8sretry.Create(ctx, clientset.CoreV1().ConfigMaps("default"), cm, metav1.CreateOptions{})
//
// Create stores a random token in an annotation of the object (see [WithTokenAnnotation])
// and retries even if an earlier request may have been carried out. If the server rejects
// a retry, because the name exists, a quota is exceeded, or for any other reason, Create
// reads the object. If the object carries the token, Create returns it with a nil error.
// If another client owns the name, Create returns the server's error unchanged. Otherwise
// the error matches [ErrOutcomeUnknown]: an object that does not exist shortly after a
// timeout may still be created.
//
// Create cannot prove that an object was created which another client has removed before
// the retry, such as a Job with ttlSecondsAfterFinished 0. The retry creates it again.
//
// If the outcome is still ambiguous when the retries or the context end, Create checks it
// once more. The check takes at most 5 s.
//
// For an object with a GenerateName, Create generates the name as the server does, so that
// a retry cannot create a second object. It generates another name if an object of another
// client has the name. An object without Name and GenerateName, such as a
// SubjectAccessReview, cannot be read; use [Do] for it.
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
	c := &createCall[T]{
		safeWrite: safeWrite{verb: VerbCreate, dryRun: len(opts.DryRun) > 0},
		client:    client, obj: toSend, opts: opts, token: newToken(tokenKey(options)),
	}
	if !c.dryRun {
		c.token.addTo(c.obj)
		if obj.GetName() == "" && obj.GetGenerateName() != "" {
			c.generated = true
			c.generateName()
		}
	}
	return runWrite(ctx, &c.safeWrite, c.step, c.check, options)
}

// createCall is the state of one Create.
type createCall[T Object] struct {
	safeWrite
	client    Creator[T]
	obj       T // to send
	opts      metav1.CreateOptions
	token     writeToken
	generated bool // obj has a generated name
}

// maxGeneratedNames limits how many names a step tries, as the server does
// (k8s.io/apiserver/pkg/registry/generic/registry/store.go).
const maxGeneratedNames = 8

// generateName names the object.
func (c *createCall[T]) generateName() { c.obj.SetName(generatedName(c.obj.GetGenerateName())) }

// generatedName draws a name as k8s.io/apiserver/pkg/storage/names does.
func generatedName(base string) string {
	const maxLength, randomLength = 63, 5
	return base[:min(len(base), maxLength-randomLength)] + utilrand.String(randomLength)
}

// step tries to create the object, under further names if another client has the
// generated one.
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
		if err == nil && c.obj.GetName() != "" && isEmpty(created) {
			err = errNoObject
		}
		return err
	})
	return created, v, err
}

// check reads the object and compares the token. A GET without a resource version is a
// consistent read.
func (c *createCall[T]) check(ctx context.Context) (T, checkResult, error) {
	if c.token.key == "" || c.obj.GetName() == "" {
		var none T
		return none, undetermined, nil
	}
	found, result, err := readObject(ctx, Getter[T](c.client), c.obj.GetName())
	if result == applied && !c.token.isOn(found) {
		result = notApplied
	}
	return found, result, err
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
	return apierrors.IsInvalid(err) && strings.Contains(text, "already allocated")
}
