package k8sretry

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
	"github.com/k8sretry/k8sretry/internal/health"
	"github.com/k8sretry/k8sretry/internal/window"
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
// Do is safe for concurrent use if fn is; a slice of options must not change meanwhile.
// It allocates nothing when fn succeeds at once, unless an option needs it (a writing
// verb, a timeout).
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
// the compiler more than others. What is inlined is a nanosecond or two, and so are branches
// that are taken: the compiler makes one of each || and of each way that joins another, so
// there is a switch, and what needs nothing has an attempt of its own.
func call[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option) (v T, err error) {
	switch {
	case fn == nil, ctx == nil, ctx.Err() != nil, transportBuilt.Load():
		return loop(ctx, fn, opts)
	}
	n, i := preparedNeeds(opts)
	for ; i < len(opts); i++ {
		if _, ok := opts[i].(setting); !ok { // most options are one
			n = survey(i, opts)
			break
		}
	}
	if n&^isPrepared != 0 {
		if n&(needsLoop|needsGate|needsBreaker) != 0 {
			return loop(ctx, fn, opts)
		}
		if v, err = fn(ctx); err == nil {
			if n&needsBudget != 0 {
				n.succeeded(opts)
			}
			return v, nil
		}
	} else if v, err = fn(ctx); err == nil {
		return v, nil
	}
	if n&needsWord == 0 && settled(ctx, err) {
		return v, err
	}
	p := newProgress()
	p.attempts = 1
	var own *config
	if n&isPrepared == 0 {
		if own = newConfig(opts, n); own == nil {
			p.last = err // to resume it is one word less
			return resume(ctx, fn, opts, p, v)
		}
	}
	delay, err := p.afterFailure(own.or(opts), ctx, err)
	if err == nil {
		next := p.arm(delay)
		v, err = run(ctx, fn, own.or(opts), p, v, next)
	}
	p.free()
	own.free()
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
	return goOn(ctx, fn, &c, p.keep(), v, err)
}

// resume is loop after a first attempt that failed, with the error in p.
func resume[T any](ctx context.Context, fn func(context.Context) (T, error), opts []Option, p *progress, v T) (T, error) {
	c := resolve(opts)
	c.setDefaults()
	err := p.last
	p.last = nil
	return goOn(ctx, fn, &c, p, v, err)
}

// goOn is the call after its first failure, for options that were added up on the stack.
func goOn[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress, v T, err error) (T, error) {
	delay, err := p.afterFailure(c, ctx, err)
	if err == nil {
		v, err = run(ctx, fn, c, p, v, p.arm(delay))
	}
	p.free()
	return v, err
}

// run makes the retries of all calls. It begins with the wait for the first; v is what
// attempt 1 returned, and its error is in p.
//
// Ten thousand calls may wait here at once. A goroutine whose stack has grown beyond
// 2 KiB keeps twice that, so the frames of call and run, together with that of the
// runtime's select, are small: what the call has to remember is on the heap. For the same
// reason the timer is made before run is called.
func run[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress, v T, next sequel) (T, error) {
	for {
		if next == afterWait {
			select {
			case <-p.timer.C:
			case <-ctx.Done():
				p.disarm()
			}
		}
		var err error
		if v, next, err = retry(ctx, fn, c, p, v); next == noMore {
			return v, err
		}
	}
}

// retry makes one retry, and sets the timer for the next one if there is to be one.
//
//go:noinline // its frame must not be part of a call that waits
func retry[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress, v T) (_ T, next sequel, _ error) {
	err := p.last
	p.last = nil // it is err that the call has to tell
	if c.proof != nil && c.proof.queue != nil {
		c.proof.queue(ctx)
	}
	if ctx.Err() != nil { // both may have been ready
		return v, noMore, p.stop(c, ctx, endOf(ctx), &p.verdict, err)
	}
	if c.guarded() {
		if stopped := p.admit(c, ctx, err); stopped != nil {
			return v, noMore, stopped
		}
	}
	p.last = err
	if p.bare(c) {
		p.count(1)
		v, err = fn(ctx)
	} else {
		v, err = attempt(ctx, fn, c, p)
	}
	if err == nil {
		p.succeeded(c, ctx)
		return v, noMore, nil
	}
	delay, stopped := p.afterFailure(c, ctx, err)
	if stopped != nil {
		return v, noMore, stopped
	}
	return v, p.arm(delay), nil
}

// bare reports whether an attempt is nothing but a call of fn.
func (p *progress) bare(c *config) bool {
	return p.wire == nil && c.attempt == 0 && !p.turn.taken()
}

// attempt calls fn once, with the context that the policy asks for. Breaker and gate
// were asked before; when fn panics, they are told here.
func attempt[T any](ctx context.Context, fn func(context.Context) (T, error), c *config, p *progress) (T, error) {
	p.count(1)
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
		p.wire.begin(int(p.attempts))
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
	defer func() { p.turn.timedOut = bounded.end(ok) }() // also when fn panics or exits
	v, err := fn(bounded)
	returned, ok = true, err == nil || p.wire.kept()
	return v, p.wire.unshield(err)
}

// progress is where one call stands.
//
// It never holds the config of the call: the compiler does not tell the fields of a
// value apart when it decides what escapes, and errors from here do.
type progress struct {
	failed   time.Duration // when the first attempt ended
	held     time.Duration // in line at the gate
	charged  time.Duration // to the budget
	last     error         // of the attempt before this one, or before this wait
	verdict  Verdict       // on the attempt that has just ended
	wire     *wire         // what the wire told; nil for a read if there is no Transport
	timer    *time.Timer
	turn     turn
	attempts int32
	inner    StopReason // of an inner call that gave up in the last attempt; StopNone if there is none
	failing  uint8      // 5xx so far, up to one more than may be by chance
	outcome  Outcome    // of all failed attempts together
	bubbled  bool       // the timer is one of a bubble of testing/synctest
}

// count counts attempts, up to two thousand millions, after which every call ends.
func (p *progress) count(n int) { p.attempts += int32(min(n, math.MaxInt32-int(p.attempts))) }

// harmless reports whether the call changes nothing on the server.
func (c *config) harmless() bool { return c.verb.reads() || c.verb == VerbUnspecified && c.query }

// now is the time by the clock that progress is measured with. It is never 0.
func now() time.Duration { return clock.Now() }

var clock = window.NewClock()

// setDefaults fills in what no option has set.
func (c *config) setDefaults() {
	if c.set&setMaxRetries == 0 {
		c.maxRetries = defaultMaxRetries
	}
	if c.set&setMaxRetryAfter == 0 {
		c.maxRetryAfter = defaultMaxRetryAfter
	}
	c.exponential = c.exponential.withDefaults()
	c.key = c.limiterKey()
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
	case c.proof == nil && c.verb != VerbUnspecified && !c.verb.reads():
		p.wire = newWire(c.verb)
	case transportBuilt.Load():
		p.wire = newWire(VerbUnspecified)
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
		p.firstFailed()
	}
	p.count(p.wire.repeats())
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
	case !repeat && (v.Class.transient() || c.verb != VerbUnspecified) && v.Outcome != OutcomeNotExecuted && p.inner == StopNone:
		return 0, p.stop(c, ctx, StopOutcomeUnknown, v, err)
	case !repeat:
		p.outcome = before // what the lasting error says is known; the doubt is about earlier attempts
		return 0, p.stop(c, ctx, StopNonRetryable, v, err)
	case int(p.attempts)-c.proof.uncounted(c.maxRetries) > c.maxRetries || p.attempts == math.MaxInt32:
		return 0, p.stop(c, ctx, StopMaxRetries, v, err)
	case v.RetryAfter > c.maxRetryAfter:
		return 0, p.stop(c, ctx, StopRetryAfterTooLong, v, err)
	}

	delay := c.delay(p, int(p.attempts)-c.proof.uncounted(c.maxRetries), v)
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
	p.last = err
	return delay, nil
}

// judge says what a failure means and whether the call may be repeated after it.
// The caller's classifier comes first, then the caller's condition, then Classify;
// none of them may repeat what an inner call has given up on.
func (p *progress) judge(c *config, ctx context.Context, err error) (repeat bool) {
	v := &p.verdict
	inner := classify(err, v)
	p.inner = StopNone
	if inner != nil {
		p.inner = max(inner.StopReason, StopNonRetryable) // also where somebody else has made it
		if p.turn.taken() {
			p.report(c, ctx, p.health(ctx, v), v.RetryAfter, err)
		}
		v.Outcome, v.Detail = inner.Outcome, "an inner call gave up"
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
			p.complete(&own, err)
			repeat = c.repeats(&own)
			if own.StatusCode == 0 { // from here on it is no sign of who speaks (beforeAnyObject)
				own.StatusCode = p.verdict.StatusCode
			}
			p.verdict = own
			return repeat, true
		}
	}
	if c.condition != nil && !c.proof.halted() && c.condition(err) {
		return true, true
	}
	return false, false
}

// complete adds to the verdict of the caller's classifier what it has left out, and where it
// repeats what Classify makes of the error, what is known beyond that: how the attempt
// ended, and what the wire saw.
func (p *progress) complete(own *Verdict, err error) {
	plain := Classify(err)
	if own.Class == ClassCanceled && plain.Class == ClassCanceled {
		own.Class = p.verdict.Class
	}
	if own.Outcome == plain.Outcome {
		own.Outcome = p.verdict.Outcome
	}
	if own.RetryAfter == 0 {
		own.RetryAfter = p.verdict.RetryAfter
	}
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
	case p.turn.timedOut:
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
	case class == ClassDisruptionBudget:
		slow := disruptionDelay
		slow.Jitter = c.exponential.Jitter
		slow.Max = min(slow.Max, c.exponential.withDefaults().Max)
		d = slow.Delay(retry)
	case c.limiter != nil && c.set&setJitter == 0:
		d = c.delayByCause(p, retry, v)
	case class == ClassThrottled && retryAfter > 0:
		d = c.exponential.Delay(retry)
	default:
		d = c.exponential.scaled(retry, classFactor(class))
	}
	return delay.AtLeast(d, retryAfter, c.exponential.Jitter == JitterNone)
}

// ownBackoff is the caller's Backoff for a class, nil if the schedule is ours.
func (c *config) ownBackoff(class Class) func(int) time.Duration {
	if int(class) < len(c.backoffFor) && c.backoffFor[class] != nil {
		return c.backoffFor[class]
	}
	return c.backoff
}

// succeeded ends a call that went well.
func (p *progress) succeeded(c *config, ctx context.Context) {
	p.wire.close()
	if p.turn.taken() {
		p.report(c, ctx, health.Healthy, 0, nil)
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
func (p *progress) stop(c *config, ctx context.Context, why StopReason, v *Verdict, err error) error {
	p.wire.close()
	if c.proof != nil && p.attempts > 0 {
		if c.proof.settle(ctx) {
			p.succeeded(c, ctx)
			return errProven
		}
		p.outcome = c.proof.outcome
	}
	shown, said, cut := *v, err, false
	if ended := ctx.Err(); ended != nil && why != StopNonRetryable && p.last != nil && (holds(err, ended) || holds(err, context.Cause(ctx))) {
		// The attempt only says that the context is over. What the API said before is
		// worth more.
		shown, said, cut = Classify(p.last), p.last, true
	}
	shown.Outcome = max(p.outcome, v.Outcome)
	if c.heard(ctx, EventFailure, why) {
		logged := said
		if logged == nil && p.turn.heldBack {
			logged = ErrQueueTimeout
		}
		p.tell(c, ctx, EventFailure, why, 0, &shown, logged)
	}
	refused := p.turn.heldBack || why == StopBreakerOpen
	if p.attempts == 0 && !refused || why == StopNonRetryable && p.outcome <= p.told() {
		return err
	}
	e := &Error{
		Function:   c.function(),
		Verb:       c.verb,
		Attempts:   int(p.attempts),
		Elapsed:    p.elapsed(),
		StopReason: why,
		RetryAfter: shown.RetryAfter,
		Outcome:    p.outcome,
		Err:        said,
	}
	if ended := ctx.Err(); ended != nil && why != StopNonRetryable {
		e.ended = append(e.ended, ended, context.Cause(ctx))
		if cut {
			e.ended = append(e.ended, err)
		}
	}
	if p.turn.heldBack && why != StopQueueTimeout {
		e.ended = append(e.ended, ErrQueueTimeout) // both are true
	}
	return e
}

// told is the outcome that the error of the last attempt tells its receiver by itself.
func (p *progress) told() Outcome {
	if p.inner == StopNone {
		return OutcomeNotExecuted
	}
	return p.verdict.Outcome
}

// endOf says how the caller's context ended.
func endOf(ctx context.Context) StopReason {
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
