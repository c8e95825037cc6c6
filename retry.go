package k8sretry

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Do calls fn until it succeeds, fails for good, or the policy says stop, and
// returns what fn returned last.
//
// fn should make one API call: a function of several calls is replayed from its
// beginning. fn gets the context that it must hand to its API call. Between
// attempts Do waits in the caller's goroutine; it starts no other. Attempts never
// overlap, and a panic in fn passes through.
//
// A nil error means success. A lasting error (404, 403, 409, 422, ...) comes back
// exactly as fn returned it, unless an earlier attempt may have been carried out.
// Everything else is an [*Error]. A context that is over before the first attempt
// makes none, and its cause is returned; a nil fn and options that make no sense
// are reported without an attempt, too.
//
// Do is safe for concurrent use if fn is. It allocates nothing when fn succeeds at
// once, unless an option needs it (a writing verb, a timeout).
func Do[T any](ctx context.Context, fn func(context.Context) (T, error), opts ...Option) (T, error) {
	return call(ctx, fn, opts)
}

// Run is Do for a function without a value.
func Run(ctx context.Context, fn func(context.Context) error, opts ...Option) error {
	if fn == nil {
		_, err := call[struct{}](ctx, nil, opts)
		return err
	}
	_, err := call(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, opts)
	return err
}

const nilFunc = "the function to call is nil"

// errNilFunc and errNilContext answer what cannot be called.
var (
	errNilFunc    = errors.New("k8sretry: " + nilFunc)
	errNilContext = errors.New("k8sretry: the context is nil")
)

// call is the plain path: nothing is built before an attempt has failed. It is written for
// the compiler more than others: what it asks at once or one by one, and what is inlined,
// is a nanosecond or two.
func call[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option) (T, error) {
	if fn == nil || ctx == nil || ctx.Err() != nil || transportBuilt.Load() {
		return loop(ctx, fn, opts)
	}
	n := preparedNeeds(opts)
	if n == 0 {
		for i := range opts {
			if _, ok := opts[i].(setting); !ok { // most options are one
				n = survey(i, opts)
				break
			}
		}
	}
	if n&(needsLoop|needsGate|needsBreaker) != 0 && (n&(needsLoop|needsGate) != 0 || !n.breaker(opts).calm()) {
		return guardedCall(ctx, fn, opts, n)
	}
	v, err := fn(ctx)
	if err == nil {
		if n&(needsBudget|needsBreaker) != 0 {
			n.succeeded(opts)
		}
		return v, nil
	}
	if n&needsWord == 0 && settled(ctx, err) {
		if n&needsBreaker != 0 {
			n.settled(opts, err)
		}
		return v, err
	}
	if n&isPrepared == 0 {
		return resume(ctx, fn, opts, v, err, n&needsBreaker != 0)
	}
	c, p := &opts[0].(*Policy).config, newProgress()
	p.attempts, p.turn.admitted = 1, n&needsBreaker != 0
	if delay, stopped := p.afterFailure(c, ctx, err); stopped != nil {
		err = stopped
	} else {
		p.arm(delay)
		v, err = run(ctx, fn, c, p, v, err)
	}
	p.free()
	return v, err
}

// loop is run for options that have yet to be added up.
func loop[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option) (T, error) {
	return recordedLoop(ctx, fn, opts, nil)
}

// recordedLoop is loop with the record that a Transport keeps of its own calls.
func recordedLoop[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, record *wire) (v T, err error) {
	c := resolve(opts)
	c.setDefaults()
	p := progress{wire: record}
	if err = p.begin(&c, ctx, fn != nil); err != nil {
		return v, err
	}
	if c.guarded() {
		if stopped := p.admit(&c, ctx, nil); stopped != nil {
			return v, stopped
		}
	}
	v, err = attempt(ctx, fn, &c, &p)
	if err == nil {
		p.succeeded(&c, ctx)
		return v, nil
	}
	delay, stopped := p.afterFailure(&c, ctx, err)
	if stopped != nil {
		return v, stopped
	}
	p.arm(delay)
	return run(ctx, fn, &c, &p, v, err)
}

// resume is loop after a first attempt that failed.
//
//go:noinline // so that the arguments of resumeHeld are not part of the frame of call
func resume[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, v T, err error, admitted bool) (T, error) {
	return resumeHeld(ctx, fn, opts, v, err, turn{admitted: admitted})
}

// resumeHeld is resume with what the attempt holds of breaker and gate.
func resumeHeld[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, v T, err error, t turn) (T, error) {
	c := resolve(opts)
	c.setDefaults()
	p := progress{attempts: 1, turn: t}
	delay, stopped := p.afterFailure(&c, ctx, err)
	if stopped != nil {
		return v, stopped
	}
	p.arm(delay)
	return run(ctx, fn, &c, &p, v, err)
}

// run makes the retries of all calls. It begins with the wait for the first; v and err are
// what attempt 1 returned.
//
// Ten thousand calls may wait here at once. A goroutine whose stack has grown beyond
// 2 KiB keeps twice that, so the frames of call and run, together with that of the
// runtime's select, are small: for a prepared policy, what the call has to remember is
// on the heap. For the same reason the timer is made before run is called.
func run[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress, v T, err error) (T, error) {
	for {
		if p.armed {
			select {
			case <-p.timer.C:
			case <-ctx.Done():
				p.timer.Stop()
			}
		}
		if c.proof != nil && c.proof.queue != nil {
			c.proof.queue(ctx)
		}
		if ctx.Err() != nil { // both may have been ready
			return v, p.stop(c, ctx, endOf(ctx), &p.verdict, err)
		}
		if c.guarded() {
			if stopped := p.admit(c, ctx, err); stopped != nil {
				return v, stopped
			}
		}
		p.last = err
		if p.bare(c) {
			p.attempts++
			v, err = fn(ctx)
		} else {
			v, err = attempt(ctx, fn, c, p)
		}
		if err == nil {
			p.succeeded(c, ctx)
			return v, nil
		}
		delay, stopped := p.afterFailure(c, ctx, err)
		if stopped != nil {
			return v, stopped
		}
		p.arm(delay)
	}
}

// bare reports whether an attempt is nothing but a call of fn.
func (p *progress) bare(c *config) bool {
	return p.wire == nil && c.attempt == 0 && !p.turn.taken()
}

// attempt calls fn once, with the context that the policy asks for. Breaker and gate
// were asked before; when fn panics, they are told here.
func attempt[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress) (T, error) {
	p.attempts++
	if p.bare(c) {
		return fn(ctx)
	}
	returned := false
	if p.turn.taken() {
		defer func() {
			if !returned {
				p.abandon(c)
			}
		}()
	}
	if p.wire != nil {
		p.wire.begin(p.attempts)
		ctx = p.wire.context(ctx)
		defer func() {
			if !returned {
				p.wire.close() // fn has panicked, or its goroutine exits
			}
		}()
	}
	if c.attempt == 0 {
		v, err := fn(ctx)
		returned = true
		return v, p.wire.unshield(err)
	}
	bounded := newAttemptContext(ctx, c.attempt)
	ok := false
	defer func() { p.timedOut = bounded.end(ok) }() // also when fn panics or exits
	v, err := fn(bounded)
	returned, ok = true, err == nil || p.wire.kept()
	return v, p.wire.unshield(err)
}

// progress is where one call stands.
//
// It never holds the config of the call: the compiler does not tell the fields of a
// value apart when it decides what escapes, and errors from here do.
type progress struct {
	attempts int
	failed   time.Duration // when the first attempt ended
	held     time.Duration // in line at the gate
	charged  time.Duration // to the budget
	last     error         // of the attempt before the one that has just ended
	verdict  Verdict       // on the attempt that has just ended
	inner    *Error        // of an inner call that gave up in that attempt
	wire     *wire         // what the wire told; nil for a read if there is no Transport
	timer    *time.Timer
	turn     turn
	failing  int32   // 5xx so far
	outcome  Outcome // of all failed attempts together
	timedOut bool    // the last attempt was ended by the attempt timeout
	heldBack bool    // by the gate
	armed    bool    // there is a wait before the next attempt
}

// harmless reports whether the call changes nothing on the server.
func (c *config) harmless() bool { return c.verb.reads() || c.verb == VerbNone && c.query }

// progresses are of calls that have ended: a call that is retried is not worth an
// allocation either. Their timers are not kept, they belong to bubbles of testing/synctest.
var progresses = sync.Pool{New: func() any { return new(progress) }}

//go:noinline // so that it is not part of the frame in which a call waits
func newProgress() *progress { return progresses.Get().(*progress) }

func (p *progress) free() {
	*p = progress{}
	progresses.Put(p)
}

// now is the time by the clock that progress is measured with. It is never 0.
func now() time.Duration { return sinceBase(origin) }

// setDefaults fills in what no option has set.
func (c *config) setDefaults() {
	if c.set&setMaxRetries == 0 {
		c.maxRetries = defaultMaxRetries
	}
	if c.set&setMaxRetryAfter == 0 {
		c.maxRetryAfter = defaultMaxRetryAfter
	}
	c.exponential = c.exponential.withDefaults()
	c.key = c.gateKey()
}

// begin prepares a call that the plain path does not serve, or ends it before its
// first attempt.
func (p *progress) begin(c *config, ctx context.Context, callable bool) error {
	switch {
	case c.problem != "":
		return c.complaint()
	case !callable:
		return errNilFunc
	case ctx == nil:
		return errNilContext
	case ctx.Err() != nil:
		return p.stop(c, ctx, endOf(ctx), &Verdict{Class: ClassCanceled}, context.Cause(ctx))
	}
	if c.maxElapsed > 0 {
		c.began = now()
	}
	switch {
	case p.wire != nil: // a Transport's own
	case c.proof == nil && c.verb != VerbNone && !c.verb.reads():
		p.wire = newWire(c.verb)
	case transportBuilt.Load():
		p.wire = newWire(VerbNone)
	}
	if p.wire != nil {
		p.wire.retries = c.maxRetries
		p.wire.guarded = c.guarded()
	}
	return nil
}

// afterFailure decides what follows a failed attempt: a delay and the next one, or the
// error that the call returns.
//
//	verdict > context over? > may this verb repeat it? > retries left? > delay >
//	fits the deadline? > budget pays > event > (sleep > context over?)
func (p *progress) afterFailure(c *config, ctx context.Context, err error) (time.Duration, error) {
	if p.attempts == 1 {
		p.failed = now()
	}
	p.attempts += p.wire.repeats()
	var repeat bool
	if p.turn.taken() {
		repeat = p.judgeAndReport(c, ctx, err)
	} else {
		repeat = p.judge(c, ctx, err)
	}
	v := &p.verdict
	before := p.outcome
	if c.proof != nil {
		p.outcome, before = c.proof.outcome, c.proof.outcome
	} else if c.harmless() {
		v.Outcome = OutcomeNotExecuted
	} else {
		p.outcome = max(p.outcome, v.Outcome)
	}

	switch {
	case ctx.Err() != nil && (repeat || v.StatusCode == 0 || holds(err, context.Cause(ctx))):
		return 0, p.stop(c, ctx, endOf(ctx), v, err)
	case !repeat && (v.Class.transient() || c.verb != VerbNone) && v.Outcome != OutcomeNotExecuted && p.inner == nil:
		return 0, p.stop(c, ctx, StopOutcomeUnknown, v, err)
	case !repeat:
		p.outcome = before // what the lasting error says is known; the doubt is about earlier attempts
		return 0, p.stop(c, ctx, StopNonRetryable, v, err)
	case p.attempts-c.proof.uncounted(c.maxRetries) > c.maxRetries:
		return 0, p.stop(c, ctx, StopMaxRetries, v, err)
	case v.RetryAfter > c.maxRetryAfter:
		return 0, p.stop(c, ctx, StopRetryAfterTooLong, v, err)
	}

	delay := c.delay(p, p.attempts-c.proof.uncounted(c.maxRetries), v)
	if c.maxElapsed > 0 && delay > c.maxElapsed-(now()-c.began) {
		return 0, p.stop(c, ctx, StopMaxElapsed, v, err)
	}
	if deadline, ok := ctx.Deadline(); ok && delay >= time.Until(deadline) {
		return 0, p.stop(c, ctx, StopDeadline, v, err)
	}
	if b := p.budget(c); b != nil {
		p.spend(b)
		if !b.pay(v.Class, delay) {
			return 0, p.stop(c, ctx, StopBudgetExhausted, v, err)
		}
		p.charged += delay
	}

	if c.heard(ctx, EventRetry, StopNone) {
		p.tell(c, ctx, EventRetry, StopNone, delay, v, err)
	}
	p.last = nil // from here on, err is what the call has to tell
	return delay, nil
}

// judge says what a failure means and whether the call may be repeated after it.
// The caller's classifier comes first, then the caller's condition, then Classify;
// none of them may repeat what an inner call has given up on.
func (p *progress) judge(c *config, ctx context.Context, err error) (repeat bool) {
	v := &p.verdict
	if p.inner = classify(err, v); p.inner != nil {
		if p.turn.taken() {
			p.report(c, ctx, p.health(ctx, v), v.RetryAfter, err)
		}
		v.Outcome, v.Detail = p.inner.Outcome, "an inner call gave up"
		return false
	}
	if v.Class == ClassCanceled || v.Class == ClassPermanent {
		p.blameTimeout(c, ctx, v)
	}
	if p.wire != nil {
		p.wire.correct(v)
	}
	c.proof.correct(v)
	if p.turn.taken() { // before anything of the caller's runs
		p.report(c, ctx, p.health(ctx, v), v.RetryAfter, err)
	}
	if c.set&(setClassifier|setCondition) != 0 {
		if repeat, judged := p.judgeAsAsked(c, err); judged {
			return repeat
		}
	}
	return c.repeats(v) && (p.wire == nil || v.Outcome == OutcomeNotExecuted || !p.wire.unsafe())
}

// judgeAndReport is judge for an attempt that holds something of breaker or gate.
func (p *progress) judgeAndReport(c *config, ctx context.Context, err error) (repeat bool) {
	defer p.abandon(c) // nothing is left by then, unless a method of the error panics
	return p.judge(c, ctx, err)
}

// judgeAsAsked asks the caller's own classifier and condition.
//
//go:noinline // what is rare must not be part of the frame of judge
func (p *progress) judgeAsAsked(c *config, err error) (repeat, judged bool) {
	if c.classify != nil {
		if own, ok := c.classify(err); ok {
			p.verdict = own
			return c.repeats(&own), true
		}
	}
	if c.condition != nil && !c.proof.halted() && c.condition(err) {
		return true, true
	}
	return false, false
}

// repeats reports whether the call may be repeated after a failure.
func (c *config) repeats(v *Verdict) bool {
	if c.proof != nil {
		return c.proof.repeats(v)
	}
	return v.retryable(c.verb)
}

// blameTimeout corrects the verdict on an attempt that the attempt timeout has ended:
// its error may say no more than "canceled", though the caller is still there.
func (p *progress) blameTimeout(c *config, ctx context.Context, v *Verdict) {
	switch {
	case c.attempt == 0 || v.StatusCode != 0 || ctx.Err() != nil:
	case p.timedOut:
		v.Class, v.Outcome, v.Detail = ClassTimeout, max(v.Outcome, OutcomeUnknown), "attempt timeout"
	case v.Class == ClassCanceled && v.Outcome == OutcomeNotExecuted:
		// client-go's rate limiter saw no room before the attempt's deadline.
		v.Class = ClassTimeout
	}
}

// delay is how long to wait before the next attempt.
func (c *config) delay(p *progress, retry int, v *Verdict) time.Duration {
	var d time.Duration
	class, retryAfter := v.Class, v.RetryAfter
	switch own := c.ownBackoff(class); {
	case own != nil:
		d = max(0, own(retry))
	case c.proof != nil && c.proof.next == rebuild:
		d = rebuildDelay.Delay(c.proof.rebuilt)
	case class == ClassDisruption:
		slow := disruptionDelay
		slow.Jitter = c.exponential.Jitter
		slow.Max = min(slow.Max, c.exponential.withDefaults().Max)
		d = slow.Delay(retry)
	case c.gate != nil && c.set&setJitter == 0:
		d = c.delayByCause(p, retry, v)
	case class == ClassThrottled && retryAfter > 0:
		d = c.exponential.Delay(retry)
	default:
		d = c.exponential.scaled(retry, classFactor(class))
	}
	return afterServer(d, retryAfter, c.exponential.Jitter == JitterNone)
}

// ownBackoff is the caller's Backoff for a class, nil if the schedule is ours.
func (c *config) ownBackoff(class Class) func(int) time.Duration {
	if int(class) < len(c.backoffFor) && c.backoffFor[class] != nil {
		return c.backoffFor[class]
	}
	return c.backoff
}

// arm sets the timer for the next wait. One serves all waits of a call.
func (p *progress) arm(d time.Duration) {
	p.armed = d > 0
	switch {
	case !p.armed:
	case p.timer == nil:
		p.timer = time.NewTimer(d)
	default:
		p.timer.Reset(d)
	}
}

// succeeded ends a call that went well.
func (p *progress) succeeded(c *config, ctx context.Context) {
	p.wire.close()
	if p.turn.taken() {
		p.report(c, ctx, well, 0, nil)
	}
	if b := p.budget(c); b != nil {
		p.spend(b)
		b.earn()
	}
	if (p.attempts > 1 || c.observe != nil) && c.heard(ctx, EventSuccess, StopNone) {
		p.tell(c, ctx, EventSuccess, StopNone, 0, new(Verdict), nil)
	}
}

// stop ends a call without success. Every failing exit after the options are known
// comes through here: it emits the one last event and decides whether err goes out
// as it is or in an *Error.
func (p *progress) stop(c *config, ctx context.Context, why Stop, v *Verdict, err error) error {
	p.wire.close()
	if c.proof != nil && p.attempts > 0 {
		if c.proof.settle(ctx) {
			p.succeeded(c, ctx)
			return errProven
		}
		p.outcome = c.proof.outcome
	}
	shown := *v
	shown.Outcome = max(p.outcome, v.Outcome)
	if c.heard(ctx, EventFailure, why) {
		p.tell(c, ctx, EventFailure, why, 0, &shown, err)
	}
	refused := p.heldBack || why == StopBreakerOpen
	if p.attempts == 0 && !refused || why == StopNonRetryable && p.outcome <= p.told() {
		return err
	}
	e := &Error{
		Function:   c.function(),
		Verb:       c.verb,
		Attempts:   p.attempts,
		Elapsed:    p.elapsed(),
		Stop:       why,
		RetryAfter: v.RetryAfter,
		Outcome:    p.outcome,
		Err:        err,
	}
	if ended := ctx.Err(); ended != nil && why != StopNonRetryable {
		cause := context.Cause(ctx)
		e.ended = append(e.ended, ended, cause)
		if p.last != nil && (holds(err, ended) || holds(err, cause)) {
			// The attempt only says that the context is over. What the API said
			// before is worth more.
			e.Err, e.RetryAfter = p.last, Classify(p.last).RetryAfter
			e.ended = append(e.ended, err)
		}
	}
	if p.heldBack && why != StopHeldBack {
		e.ended = append(e.ended, ErrHeldBack) // both are true
	}
	return e
}

// told is the outcome that the error of the last attempt tells its receiver by itself.
func (p *progress) told() Outcome {
	if p.inner == nil {
		return OutcomeNotExecuted
	}
	return p.inner.Outcome
}

// endOf says how the caller's context ended.
func endOf(ctx context.Context) Stop {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return StopDeadline
	}
	return StopCanceled
}

// elapsed is the time since the first attempt ended.
func (p *progress) elapsed() time.Duration {
	if p.failed == 0 {
		return 0
	}
	return now() - p.failed
}

// function is the name of the call, looked up when it is needed.
func (c *config) function() string {
	switch {
	case c.name != "":
		return c.told()
	case c.pc != 0:
		return functionName(c.pc)
	}
	return callerName()
}
