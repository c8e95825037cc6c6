// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
)

// A look takes at most lookTimeout, like the final check of k8sretry. It may run after the
// context of the call has ended.
const lookTimeout = 5 * time.Second

var lookPolicy = k8sretry.NewPolicy(k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithMaxRetries(8),
	k8sretry.WithInitialDelay(50*time.Millisecond), k8sretry.WithMaxDelay(time.Second),
	k8sretry.WithAttemptTimeout(lookTimeout/3), k8sretry.WithPriority(), k8sretry.WithLogger(nil), k8sretry.WithName("k8sretryctrl: look"))

// fate is what a proof has found out about a write.
type fate uint8

const (
	unproven fate = iota
	done          // it has been carried out
	notDone       // it has not been carried out, and never will be
)

// proof finds out about a write by the last answer or by what it reads from the server.
type proof func(ctx context.Context, answer error) (fate, error)

func doneIf(isDone bool) fate {
	if isDone {
		return done
	}
	return unproven
}

// writeProven is write with a proof. It is asked if the server rejects an attempt after another
// one with an unknown outcome, and if the outcome is unknown when the call ends.
func (c *retryClient) writeProven(
	ctx context.Context, verb k8sretry.Verb, name string, fn func(context.Context, copier) error, find proof,
) error {
	return c.prove(ctx, verb, name, func(ctx context.Context) error { return attempt(ctx, fn) }, find)
}

// prove is writeProven for an fn that changes no object.
func (c *retryClient) prove(
	ctx context.Context, verb k8sretry.Verb, name string, fn func(context.Context) error, find proof,
) error {
	if verb == k8sretry.VerbUnspecified {
		return c.run(ctx, c.writes, verb, name, fn)
	}
	isAmbiguous := false
	err := c.run(ctx, c.checked, verb, name, func(ctx context.Context) error {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		v := k8sretry.Classify(err)
		if isAmbiguous && v.StatusCode != 0 && !v.Retryable(verb) {
			if f, lookErr := find(ctx, err); lookErr == nil && f == done {
				return nil
			}
		}
		isAmbiguous = isAmbiguous || v.Outcome != k8sretry.OutcomeNotExecuted
		return err
	})
	if !errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	f, lookErr := k8sretry.Do(ctx, func(ctx context.Context) (fate, error) { return find(ctx, err) }, lookPolicy)
	switch {
	case lookErr != nil || f == unproven:
		return err
	case f == done:
		return nil
	}
	return notExecuted(err)
}

// notExecuted returns the error of a call that was certainly not carried out: the answer of the
// server, or what k8sretry would return for a failure that is known to have had no effect.
func notExecuted(err error) error {
	var e *k8sretry.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.StopReason == k8sretry.StopNonRetryable:
		return e.Err
	}
	certain := *e
	certain.Outcome = k8sretry.OutcomeNotExecuted
	return &certain
}

// look reads the object that obj names from the server.
func (c *retryClient) look(ctx context.Context, obj client.Object) (client.Object, error) {
	return reader{c, obj}.Get(ctx, obj.GetName(), metav1.GetOptions{})
}
