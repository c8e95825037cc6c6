// SPDX-License-Identifier: Apache-2.0

package k8sretry

import "context"

// answer is what the caller's own classifier or condition has said about a failure.
type answer uint8

const (
	notAsked     answer = iota
	noAnswer            // there is none of them, or it leaves the decision to Classify
	answerStop          // do not repeat
	answerRepeat        // repeat
)

// endsAtOnce reports whether a call that does not write ends with its first failure as it is: it
// is permanent.
func endsAtOnce(ctx context.Context, v *Verdict, a answer) bool {
	return a != answerRepeat && !v.Class.transient() && ctx.Err() == nil
}

// judge is what decides whether a call is repeated after a failure: its verb, and the caller's
// own functions.
type judge struct {
	verb        Verb
	namedCreate bool
	safeWrite   *safeWrite
	classify    func(error) (Verdict, bool)
	condition   func(error) bool
}

func (c *config) judge() judge {
	return judge{c.verb(), c.namedCreate, c.safeWrite, c.classify, c.condition}
}

// repeats reports whether the call may be repeated after a failure.
func (c *config) repeats(v *Verdict) bool {
	j := c.judge()
	return j.repeats(v)
}

// first asks about the first failure of a call, unless that decides by itself.
func (j *judge) first(err error, v *Verdict, inner *Error) answer {
	if inner != nil || v.flags&markedPermanent != 0 {
		return notAsked
	}
	return j.ask(err, v, false)
}

// ask asks the classifier and the condition. A verdict of the classifier is stored in v.
// corrected says that v need not be what Classify says.
func (j *judge) ask(err error, v *Verdict, corrected bool) answer {
	if j.classify != nil {
		if own, ok := j.classify(err); ok {
			plain := v
			if corrected {
				again := Classify(err)
				plain = &again
			}
			own.complete(v, plain)
			repeat := j.repeats(&own)
			if own.StatusCode == 0 { // from here on it no longer tells whether the server answered
				own.StatusCode = v.StatusCode
			}
			*v = own
			if repeat {
				return answerRepeat
			}
			return answerStop
		}
	}
	if j.condition != nil && !j.safeWrite.stopped() && j.condition(err) {
		return answerRepeat
	}
	return noAnswer
}

// repeats reports whether the call may be repeated after a failure.
func (j *judge) repeats(v *Verdict) bool {
	if j.safeWrite != nil {
		return j.safeWrite.repeats(v)
	}
	if j.namedCreate && v.Class.transient() && v.Outcome == OutcomeUnknown {
		return true // a second object of the same name cannot be made
	}
	return v.retryable(j.verb)
}

// complete adds to the verdict of the caller's classifier what it has left out, and,
// where it repeats what Classify makes of the error, what is known beyond that: how the
// attempt ended, and what the record holds.
func (v *Verdict) complete(known, plain *Verdict) {
	if v.Class == ClassCanceled && plain.Class == ClassCanceled {
		v.Class = known.Class
	}
	if v.Outcome == plain.Outcome {
		v.Outcome = known.Outcome
	}
	if v.RetryAfter == 0 {
		v.RetryAfter = known.RetryAfter
	}
	v.RetryAfter = max(0, v.RetryAfter)
}
