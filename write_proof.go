package k8sretry

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// finalCheck is how long the last check of a safe write may take whose outcome is
// still in doubt when the call ends, whether or not its context is over.
const finalCheck = 5 * time.Second

// proof is what a safe write and the loop tell each other: each attempt of the loop
// is one step of the write, which sends it or looks for what became of it.
//
// The loop only reads its values and calls its funcs; see progress for the reason.
type proof struct {
	verb    Verb
	dryRun  bool
	outcome Outcome // what the server did with the call so far, as far as is known
	next    next    // what the loop shall do after the failed step
	rebuilt int     // steps that ended with rebuild
	detail  detail  // what the verdict shall name, if not what Classify names
	lost    error   // the last failure of a request that may have been carried out
	answer  error   // the answer to the write, where the step failed with another error
	settle  func(context.Context) bool
	queue   func(context.Context) // waits before the next step for whoever collides with this call; nil: for nobody

	// What the record of the last request knows better than its error.
	class      Class // ClassNone: nothing
	retryAfter time.Duration
}

// next is what follows a failed step.
type next uint8

const (
	asJudged next = iota // what the verdict says; an unknown outcome is no hindrance
	again                // another step
	rebuild              // another step of Modify, after a conflict
	halt                 // nothing: what can be known is known
)

// detail is a text for Verdict.Detail. It is a number because a string that the loop
// read from here would make the options of all calls escape.
type detail uint8

const (
	asClassified detail = iota
	notTellable
	nameTaken
	notVisible
	mayAppear
	noObject
	noUID
	nameTakenOver
	ownError
	lostRace
)

var details = [...]string{
	asClassified:  "",
	notTellable:   "whether it was carried out cannot be told",
	nameTaken:     "not created, the name is taken",
	notVisible:    "not to be seen, though its name is taken",
	mayAppear:     "not to be seen, it may yet appear",
	noObject:      "no object in the answer",
	noUID:         "the object has a UID, which was not given",
	nameTakenOver: "another object has taken the name",
	ownError:      "the caller's own error",
	lostRace:      "the server lost a race of its own",
}

// finding is what a look at the server has shown about a write.
type finding uint8

const (
	undecided  finding = iota // there is no way to tell
	applied                   // it was carried out
	notApplied                // it was not, and no longer can be
	notSeen                   // it was not when looked at, and may still be
)

// errProven tells the safe write that its last check has found the write applied.
var errProven = errors.New("proven")

// lastCheck is the policy of the last check. Its attempts are short, so that one that
// hangs is not the end.
var lastCheck = NewPolicy(WithVerb(VerbGet), WithMaxRetries(8), WithInitialDelay(50*time.Millisecond),
	WithMaxDelay(time.Second), WithAttemptTimeout(finalCheck/3), WithLogger(nil), WithName("k8sretry: last check"))

// proven runs the steps of a safe write in the loop of all calls. check looks what
// became of the write; an error of it means that it could not look.
func proven[T any](
	ctx context.Context, p *proof, step func(context.Context) (T, error),
	check func(context.Context) (T, finding, error), opts []Option,
) (T, error) {
	var none, found T
	p.settle = func(ctx context.Context) bool {
		if p.outcome == OutcomeNotExecuted || p.next == halt {
			return false
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalCheck)
		defer cancel()
		what, err := Do(ctx, func(ctx context.Context) (what finding, err error) {
			found, what, err = check(ctx)
			return what, err
		}, lastCheck)
		if err == nil && what == notApplied {
			p.outcome = OutcomeNotExecuted
		}
		return err == nil && what == applied
	}
	v, err := resolved(ctx, func(ctx context.Context) (T, error) {
		p.next, p.detail, p.answer = asJudged, asClassified, nil
		p.class, p.retryAfter = ClassNone, 0
		return step(ctx)
	}, append(slices.Clip(opts), proofOption{p}))
	switch {
	case err == nil:
		return v, nil
	case err == errProven:
		return found, nil
	}
	if e, ok := err.(*Error); ok && p.answer != nil {
		// The last error is one of looking. What the API said about the write itself is
		// worth more.
		e.Err, e.ended = p.answer, append(e.ended, e.Err)
	}
	return none, err
}

// send makes one request that writes, and notes what may have become of it. The request
// has a record of its own: what the same step reads must not blur it.
func (p *proof) send(ctx context.Context, request func(context.Context) error) (Verdict, error) {
	w := newWire(p.verb)
	defer w.close()
	err := w.unshield(request(w.context(ctx)))
	if err == nil && w.wasDiverted() {
		err = errDiverted
		return Classify(err), err
	}
	if err == nil {
		return Verdict{}, nil
	}
	var v Verdict
	inner := classify(err, &v)
	class := v.Class
	switch {
	case inner != nil:
		v.Outcome = max(v.Outcome, inner.Outcome)
	case err == errNoObject, ctx.Err() != nil && v.StatusCode == 0:
		v.Outcome = max(v.Outcome, OutcomeUnknown)
	}
	w.correct(&v)
	if w.repeatedUnseen() {
		v.Outcome = max(v.Outcome, OutcomeUnknown)
	}
	if p.dryRun {
		v.Outcome = OutcomeNotExecuted
	}
	if v.Outcome != OutcomeNotExecuted {
		p.outcome, p.lost = max(p.outcome, v.Outcome), err
	}
	p.retryAfter = v.RetryAfter
	if v.Class != class {
		p.class = v.Class
	}
	return v, err
}

func (w *wire) wasDiverted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.diverted && !w.seen.done
}

// repeatedUnseen reports whether client-go has repeated the request by itself, after
// answers that nobody saw.
func (w *wire) repeatedUnseen() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Connections obtained, not looked for: HTTP/2 looks twice for one request when
	// several wait for a new connection.
	return w.seen.requests == 0 && w.connected.Load() > 1
}

// inDoubt reports whether an earlier request of the call, or this one, may have been
// carried out.
func (p *proof) inDoubt() bool { return p.outcome != OutcomeNotExecuted }

// stop ends the call with err, whose meaning nothing more can be learned about.
func (p *proof) stop(err error, why detail) error {
	p.next, p.detail = halt, why
	return err
}

// repeat makes the loop take another step after err, whatever err means by itself.
func (p *proof) repeat(err error, why detail) error {
	p.next, p.detail = again, why
	return err
}

// looking returns the error of a look at the server, which the loop judges, and
// remembers the answer that was to be explained.
func (p *proof) looking(err, answer error) error {
	p.answer = answer
	p.class, p.retryAfter = ClassNone, 0
	return err
}

// correct tells the verdict on a failed step what the step knows.
func (p *proof) correct(v *Verdict) {
	if p == nil {
		return
	}
	v.Outcome = p.outcome
	v.RetryAfter = max(v.RetryAfter, p.retryAfter)
	if p.class != ClassNone {
		v.Class = p.class
	}
	if p.detail != asClassified {
		v.Detail = details[p.detail]
	}
	if p.next == rebuild {
		v.Class = ClassConflict
	}
}

// halted reports whether the step was the last one, whatever its error means: what can
// be known is known, or it is the caller's own error.
func (p *proof) halted() bool { return p != nil && p.next == halt }

// repeats reports whether another step may follow.
func (p *proof) repeats(v *Verdict) bool {
	return p.next == again || p.next == rebuild || p.next == asJudged && v.Class.transient()
}

// mostRebuilt bounds how often Modify begins again for nothing but a conflict. Each
// conflict means that somebody else got on, so that they do not count as retries.
const mostRebuilt = 100

// rebuildDelay spreads those who collided. Whoever waits is not waiting for the
// server to recover.
var rebuildDelay = Exponential{Initial: 10 * time.Millisecond, Max: 2 * time.Second, Jitter: JitterFull}

// uncounted is how many attempts are no retries. With none allowed, all of them are.
func (p *proof) uncounted(maxRetries int) int {
	if p == nil || maxRetries == 0 {
		return 0
	}
	return min(p.rebuilt, mostRebuilt)
}

// lasting reports whether the server has answered for good. The error of a request that
// its context has ended is no answer.
func lasting(ctx context.Context, v Verdict) bool {
	return !v.Class.transient() && (v.StatusCode != 0 || ctx.Err() == nil)
}

// look reads an object. An error means that this look has failed; a lasting error is
// no error but leaves the matter undecided.
func look[T Object](ctx context.Context, client Getter[T], name string) (found T, what finding, err error) {
	found, err = client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && empty(found):
		return found, undecided, nil
	case err == nil:
		return found, applied, nil
	case isAbsent(err, name):
		return found, notSeen, nil
	case lasting(ctx, Classify(err)):
		return found, undecided, nil
	}
	return found, undecided, err
}
