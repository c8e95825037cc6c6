// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"slices"
	"time"
)

// past is what a call remembers beyond its current attempt: the errors that WithErrorHistory
// asks for, and the earlier reads of Until. Most calls have none.
type past struct {
	errors   []error       // of the last failed attempts, oldest first
	attempts int           // of the earlier reads
	since    time.Duration // when the first read ended; 0 if it was not followed by another
}

// remember adds the error of a failed attempt and keeps the last n.
//
//go:noinline // its frame must not be part of a call that waits
func (p *past) remember(err error, n int) *past {
	if p == nil {
		p = new(past)
	}
	if len(p.errors) >= n {
		p.errors = slices.Delete(p.errors, 0, len(p.errors)-n+1)
	}
	p.errors = append(p.errors, err)
	return p
}

// history returns the errors that were remembered.
func (p *past) history() []error {
	if p == nil {
		return nil
	}
	return p.errors
}

// attempted is how many attempts the earlier reads have made.
func (p *past) attempted() int {
	if p == nil {
		return 0
	}
	return p.attempts
}

// began is when the first read ended, if another one followed, else other.
func (p *past) began(other time.Duration) time.Duration {
	if p == nil || p.since == 0 {
		return other
	}
	return p.since
}

// History returns the errors of the last failed attempts, oldest first, as many as
// [WithErrorHistory] asks for, and nil without it. They are those that the function returned,
// and in a safe write also those of its checks. The caller may change the slice.
//
// They are not in the chain of e, for which the last error of the API speaks alone: a call that
// ends with a 503 is not a conflict because an earlier attempt was one. errors.Join makes a
// chain of them.
func (e *Error) History() []error {
	if e == nil {
		return nil
	}
	return slices.Clone(e.history)
}
