// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/k8sretry/k8sretry/internal/apirequest"
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/record"
)

// transportBuilt is set by the first Transport of the process. Calls that read carry
// a record only from then on, because only a Transport would look for it.
var transportBuilt atomic.Bool

// callRecord is the record of a call and the context that carries it. It is itself the
// context that fn is given, so that it costs one allocation.
type callRecord struct {
	context.Context // the caller's, with the trace if there is one; nil before the first attempt
	record.Record

	trace      *httptrace.ClientTrace // nil if the record hooks into nothing
	collection bool                   // the call deletes a collection
	priority   bool                   // the call does not wait for a limiter
	guarded    bool                   // the call has asked a breaker or a limiter of its own
	bounded    bool                   // the call has an attempt timeout
	transport  bool                   // the call is one of a Transport
	retries    int                    // that the call may make
	hedges     atomic.Int32           // reads that were sent beside another one
	closed     atomic.Bool            // the call has returned: watches and informers keep its context

	mu     sync.Mutex
	budget *Budget // that a Transport has lent
}

// tracedRecord is a record and its hooks in net/http.
type tracedRecord struct {
	callRecord
	trace httptrace.ClientTrace
}

// newRecord makes the record of a call. For a call that writes it hooks into net/http.
func newRecord(verb Verb) *callRecord {
	if !verb.writes() {
		return new(callRecord)
	}
	t := new(tracedRecord)
	r := &t.callRecord
	r.collection = verb == VerbDeleteCollection
	r.trace = &t.trace
	r.Hook(r.trace)
	return r
}

// recordKey finds the record of the innermost call that is still running.
type recordKey struct{}

// recordIn returns the record of the call that ctx belongs to, nil if there is none.
func recordIn(ctx context.Context) *callRecord {
	r, _ := ctx.Value(recordKey{}).(*callRecord)
	return r
}

func (r *callRecord) Value(key any) any {
	if key == (recordKey{}) && !r.closed.Load() {
		return r
	}
	return r.Context.Value(key)
}

// attempt makes the record ready for an attempt of the call.
func (r *callRecord) attempt(n int) { r.Begin(r.retries - n + 1) }

// context returns ctx, which is the same for all attempts, with the record.
func (r *callRecord) context(ctx context.Context) context.Context {
	switch {
	case r.Context != nil:
	case r.trace != nil:
		r.Context = httptrace.WithClientTrace(ctx, r.trace)
	default:
		r.Context = ctx
	}
	return r
}

// close ends the record with its call.
func (r *callRecord) close() {
	if r != nil {
		r.closed.Store(true)
		r.Forget()
	}
}

// contextKept reports whether the context of the attempt must outlive it.
func (r *callRecord) contextKept() bool { return r != nil && r.ContextKept() }

// reveal makes the errors visible that were hidden from client-go.
func (r *callRecord) reveal(err error) error {
	if r == nil || err == nil {
		return err
	}
	return clientgo.RevealError(err)
}

// redirected returns the error of an attempt in which net/http has sent a GET in place of a
// write. That the GET has succeeded or failed says nothing about the write.
func (r *callRecord) redirected(err error) error {
	switch {
	case r == nil || r.trace == nil || !r.Redirected() || errors.Is(err, errRedirected):
		return err
	case err == nil:
		return errRedirected
	}
	return fmt.Errorf("%w: %v", errRedirected, err) //nolint:errorlint // apierrors.IsNotFound must be false for it
}

// repetitions is how often net/http has repeated a request of the attempt by itself.
func (r *callRecord) repetitions() int {
	if r == nil {
		return 0
	}
	return r.Repetitions()
}

// hedged is how many reads were sent beside another one.
func (r *callRecord) hedged() int {
	if r == nil {
		return 0
	}
	return int(r.hedges.Load())
}

// lend gives a call without a budget that of a Transport.
func (r *callRecord) lend(b *Budget) {
	if b == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = b
}

// lent is the budget that a Transport has lent, nil if none has.
func (r *callRecord) lent() *Budget {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.budget
}

// seenPatch is a patch or an apply whose body the call sees, with or without a Transport. The
// judgement on the body is that of a Transport. It consists of funcs because of the escape
// rule in config.go.
type seenPatch struct {
	verb          Verb
	dryRun        bool
	target        func() target // what is patched
	riskConfirmed func() bool
	namesVersion  func() bool
}

// see describes a patch of this type and body.
func see(contentType string, body []byte, dryRun bool, subresources ...string) *seenPatch {
	req := apirequest.NewPatch(contentType, body, subresources...)
	r := apirequest.Read(req)
	return &seenPatch{
		verb: Verb(r.Verb), dryRun: dryRun,
		riskConfirmed: func() bool { return r.Risk.Confirmed(req) },
		namesVersion:  func() bool { return apirequest.NamesVersion(req) },
	}
}

// correct adds what is known of the patch to the verdict on an attempt.
func (s *seenPatch) correct(v *Verdict) {
	if s == nil {
		return
	}
	if s.dryRun {
		v.Outcome = OutcomeNotExecuted
	}
	if v.Class == ClassConflict {
		named := s.namesVersion()
		v.correctConflict(!named && s.verb == VerbPatch, named && s.verb == VerbApply)
	}
}

// riskConfirmed reports whether the call must not be repeated while its outcome is unknown,
// whatever the verb allows.
func (c *config) riskConfirmed(r *callRecord) bool {
	if c.patch != nil {
		return c.patch.riskConfirmed()
	}
	return r.riskConfirmed()
}

// riskConfirmed reports whether the attempt must not be repeated while its outcome is
// unknown, whatever the verb allows.
func (r *callRecord) riskConfirmed() bool { return r != nil && r.RiskConfirmed() }
