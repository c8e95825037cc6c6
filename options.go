package k8sretry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Option sets one thing of how a call is retried. Options are given to Do, Run,
// the Wrap family and New; the order matters only between two settings of the same
// thing, of which the later wins. A nil Option is ignored.
//
// An option with a value that makes no sense (a negative count, a NaN) makes the
// call return an error without an attempt. Options are immutable values, safe to
// share between goroutines.
type Option interface {
	// option marks the option types of this package. It does nothing: reading
	// options by a type switch, never through a method, is what keeps them off
	// the heap.
	option()
}

// Policy is a set of options, checked and made ready once. It is an Option itself
// and stands for the options it was made of: given after others it overlays them,
// given before others it is overlaid, setting by setting.
//
// A Policy is immutable and holds no state of a call: any number of goroutines may
// share it. Make it with New; the zero Policy and a nil *Policy set nothing.
type Policy struct {
	config
	needs needs // with isPrepared if New has made it: then the defaults are filled in
}

func (*Policy) option() {}

// NewPolicy returns a Policy of the given options. What New is not told stays open: the
// default applies unless another option of the call sets it. Options with values
// that make no sense are reported by the calls that use the Policy.
func NewPolicy(opts ...Option) *Policy {
	p := &Policy{config: resolve(opts)}
	p.setDefaults()
	p.sort()
	return p
}

// sort decides which path the calls of the Policy take.
func (p *Policy) sort() {
	p.needs = p.config.needs() | isPrepared
	p.key = p.limiterKey()
}

// The defaults of a call. Those of the schedule stand at Exponential.
const (
	defaultMaxRetries    = 3
	defaultMaxRetryAfter = 60 * time.Second
)

// WithName sets the name of the call in errors, events and logs. "" looks the name
// up, which is also the default: for the Wrap family the wrapped function
// ("PodInterface.Get"), for Do and Run the function that calls them.
func WithName(name string) Option { return nameOption{name, func() string { return name }} }

// WithVerb says what the call does. It decides whether a failure with an unknown
// outcome may be answered by a repetition; see Verdict.Retryable. Default: VerbUnspecified,
// the caller vouches that the call may be repeated.
//
// For a verb that writes, the context given to fn carries an httptrace, so that a
// request that never got a connection is known to have done nothing.
func WithVerb(verb Verb) Option {
	return number(setVerb, int64(verb), int(verb) < len(verbNames), verb <= VerbWatch)
}

// WithMaxRetries sets how often a failed attempt may be repeated: 3 means at most
// 4 attempts, 0 no retry. Default: 3. Negative: an error.
func WithMaxRetries(n int) Option { return number(setMaxRetries, int64(n), n >= 0, true) }

// WithInitialDelay sets the delay before the first retry. Default: 1 s. 0: no
// delay. Negative: an error. See Exponential.
func WithInitialDelay(d time.Duration) Option { return number(setInitial, int64(d), d >= 0, true) }

// WithMaxDelay sets the longest delay of the schedule, jitter included. A
// Retry-After of the server may be longer; see WithMaxRetryAfter. Default: 30 s. 0:
// no delays. Negative: an error.
func WithMaxDelay(d time.Duration) Option { return number(setMax, int64(d), d >= 0, true) }

// WithMultiplier sets the growth of the delays from one retry to the next.
// Default: 2. 1: constant delays. Less than 1, NaN, Inf: an error.
func WithMultiplier(m float64) Option {
	return number(setMultiplier, int64(math.Float64bits(m)), m >= 1 && m <= math.MaxFloat64, true)
}

// WithJitter sets how delays are spread. Default: JitterProportional. With
// JitterNone delays are exact, and so is a Retry-After.
func WithJitter(j Jitter) Option { return number(setJitter, int64(j), j < jitters, true) }

// WithMaxElapsed bounds the time in which attempts begin, counted from the start of
// the call: a retry that would begin later is not waited for. An attempt under way
// is not cut short; see WithAttemptTimeout. Default, and 0: no bound but the
// context's. Negative: an error.
func WithMaxElapsed(d time.Duration) Option { return number(setMaxElapsed, int64(d), d >= 0, d == 0) }

// WithAttemptTimeout bounds each attempt: its context ends after d. A failure by
// that timeout, which is any without an answer of the API, may be retried as other
// timeouts are. It is what notices a server
// that accepts requests and never answers. Default, and 0: no bound but the
// caller's context. Negative: an error.
//
// The timeout ends when fn returns successfully: the context of a watch or a stream
// that fn has opened lives on until the caller's context ends. Whoever listens for
// that end in a goroutine must keep the context, not its Done channel alone. If the
// caller's context is not one of package context's own (wait.ContextForChannel of
// apimachinery makes such), that package has a goroutine wait for its end, until the next
// garbage collections after the call: give calls a context.WithCancel of it, made once.
func WithAttemptTimeout(d time.Duration) Option {
	return number(setAttemptTimeout, int64(d), d >= 0, d == 0)
}

// WithMaxRetryAfter sets the longest wait that a server may ask for. A server that
// asks for more ends the call at once, with ErrRetryAfterTooLong and the wait in
// the Error: to come earlier would be wrong, to sleep for hours as well. Default:
// 60 s. 0: a server that asks for any wait ends the call. Negative: an error.
func WithMaxRetryAfter(d time.Duration) Option {
	return number(setMaxRetryAfter, int64(d), d >= 0, true)
}

// WithBackoff replaces the schedule: a Backoff of another kind takes the place of
// WithInitialDelay, WithMaxDelay, WithMultiplier and WithJitter altogether and is
// asked for every class of failure; an Exponential, or a pointer to one, sets these four. Of this and
// those four the later wins. The wait a server asks for still applies. nil: an
// error; a nil of a type that is a func panics where it is asked.
//
// A type parameter rather than an interface keeps a Backoff that is written in
// the call off the heap.
func WithBackoff[B Backoff](b B) Option {
	switch e := any(b).(type) {
	case Exponential:
		return exponentialOption{e}
	case *Exponential:
		if e != nil {
			return exponentialOption{*e}
		}
	}
	return backoffOption{
		delay: func(retry int) time.Duration { return b.Delay(retry) }, missing: any(b) == nil || any(b) == any((*Exponential)(nil)),
	}
}

// WithBackoffFor sets the schedule after failures of one class. Default: 504,
// refused connections and timeouts (ClassTimeout, ClassRefused) wait half of the
// schedule; 429 without a delay from the server (ClassThrottled) twice, up to
// WithMaxDelay; a PodDisruptionBudget (ClassDisruptionBudget) is asked again after 5 s, then
// longer, up to 20 s or WithMaxDelay if that is less; all others, the schedule as it is.
// A class that is none of the constants, or a nil Backoff: an error.
func WithBackoffFor[B Backoff](class Class, b B) Option {
	return backoffOption{
		delay: func(retry int) time.Duration { return b.Delay(retry) }, class: class, one: true,
		missing: any(b) == nil || any(b) == any((*Exponential)(nil)),
	}
}

// WithRetryOn retries every error for which errors.Is finds one of errs, whatever
// verb and classifier of this package say. A context that has ended still ends the
// call, so context.DeadlineExceeded here means timeouts of attempts and of the
// network. The slice is kept, not copied. Of WithRetryOn and WithRetryIf the later
// wins. Default: none.
func WithRetryOn(errs ...error) Option {
	return conditionOption{func(err error) bool {
		for _, target := range errs {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}}
}

// WithRetryIf retries every error for which the condition is true, whatever verb
// and classifier of this package say; others are judged as usual. It is called
// once for each failed attempt, in the goroutine of the call. Of WithRetryOn and
// WithRetryIf the later wins. Default: none. nil: an error.
func WithRetryIf(condition func(error) bool) Option {
	return conditionOption{condition}
}

// WithClassifier asks the given function first what an error means. It may have no
// opinion (false): then WithRetryIf, WithRetryOn and Classify decide. Its opinion
// is final, but for a context that has ended and an inner call of this package
// that has given up. A RetryAfter or StatusCode of 0 stands for that of the server's
// answer, a negative RetryAfter for none. To change one field, begin with the Verdict of
// Classify: where Outcome is the same, what only the attempt knows (no connection was
// obtained, an earlier request was sent) is added to it, and to ClassCanceled that the
// attempt's own timeout was the cause. It is
// called once for each failed attempt, in the goroutine of the call. Default:
// none. nil: an error.
func WithClassifier(classify func(error) (Verdict, bool)) Option {
	return classifierOption{classify}
}

// WithObserver sets the Observer that sees the events of a call. nil, and the
// default: none. A nil pointer or func in an Observer is called as it is.
func WithObserver(o Observer) Option {
	if o == nil {
		return observerOption{}
	}
	return observerOption{observe: o.Observe}
}

// WithBudget limits the retries of all calls that share the Budget. Default, and for nil: no
// limit.
func WithBudget(b *Budget) Option { return budgetOption{b} }

// WithBreaker makes calls fail at once while the Breaker is open. All calls to the same server
// should share one. Default, and for nil: none.
func WithBreaker(b *Breaker) Option { return breakerOption{b} }

// WithLimiter queues calls while the server is overloaded. All calls of a process to the same
// server should share one Limiter. A Transport keeps the servers apart by itself.
//
// A call with a Limiter chooses its delays by the cause of the failure, unless WithJitter or
// WithBackoff is given: after timeouts, lost connections, 429 and the fourth 5xx between one
// and two times the delay of the schedule, up to WithMaxDelay; after another 5xx between 0 and
// the delay of the schedule, or a tenth of that for a few retries as long as most calls
// succeed. Default, and for nil: none.
func WithLimiter(l *Limiter) Option { return limiterOption{l} }

// WithMaxQueueTime limits how long a call may be queued at the Limiter, all its attempts
// together. With 0 the call returns ErrQueueTimeout at once if it would have to be queued.
// Default: as long as the call could take without a Limiter, which is all delays of its
// schedule (that of WithInitialDelay and the like, also if WithBackoff replaces it), and for each
// attempt the time of WithAttemptTimeout, or 10 s without it; two minutes for ForWrite.
// Negative: an error.
func WithMaxQueueTime(d time.Duration) Option { return number(setMaxQueueTime, int64(d), d >= 0, true) }

// The option types. Those that hold behaviour hold it as a func: calling a func
// does not make it escape, calling a method of an interface would.
type (
	setting struct {
		kind  kind
		value int64
	}
	specialSetting struct{ setting }
	nameOption     struct {
		name string
		told func() string // the name for whoever keeps it: what a func returns lets no option escape
	}
	exponentialOption struct{ Exponential }
	backoffOption     struct {
		delay        func(int) time.Duration
		class        Class
		one, missing bool
	}
	conditionOption struct {
		condition func(error) bool
	}
	classifierOption struct {
		classify func(error) (Verdict, bool)
	}
	observerOption struct {
		observe func(context.Context, Event)
	}
	budgetOption  struct{ *Budget }
	breakerOption struct{ *Breaker }
	limiterOption struct{ *Limiter }
)

func (setting) option()           {}
func (nameOption) option()        {}
func (exponentialOption) option() {}
func (backoffOption) option()     {}
func (conditionOption) option()   {}
func (classifierOption) option()  {}
func (observerOption) option()    {}
func (budgetOption) option()      {}
func (breakerOption) option()     {}
func (limiterOption) option()     {}

// kind is a bit for each setting.
type kind uint32

const (
	setName kind = 1 << iota
	setVerb
	setMaxRetries
	setInitial
	setMax
	setMultiplier
	setJitter
	setBackoff
	setMaxElapsed
	setAttemptTimeout
	setMaxRetryAfter
	setCondition
	setClassifier
	setLogger
	setObserver
	setToken
	setQuery // given by ForRead alone
	setBudget
	setBreaker
	setLimiter
	setMaxQueueTime

	invalid kind = 1 << 31 // beside the kind of a setting: its value makes no sense

	setExponential = setInitial | setMax | setMultiplier | setJitter
)

// number is a setting that is a number. A value that makes no sense, and one that
// needs more than the plain path of a call, makes it a special one.
func number(k kind, value int64, valid, plain bool) Option {
	if !valid {
		return specialSetting{setting{k | invalid, value}}
	}
	if !plain {
		return specialSetting{setting{k, value}}
	}
	return setting{k, value}
}

// config is what options add up to.
type config struct {
	set           kind
	verb          Verb
	query         bool    // without a verb, the call reads
	pc            uintptr // of the wrapped function
	name          string
	told          func() string // the name; see nameOption
	maxRetries    int
	exponential   Exponential // negative Initial and Max stand for a given 0
	backoff       func(int) time.Duration
	backoffFor    [len(classNames)]func(int) time.Duration
	maxElapsed    time.Duration
	began         time.Duration // when the call did, if that counts: then the config is of this call alone
	attempt       time.Duration
	maxRetryAfter time.Duration
	condition     func(error) bool
	classify      func(error) (Verdict, bool)
	logger        logger
	observe       func(context.Context, Event)
	budget        *Budget
	breaker       *Breaker
	limiter       *Limiter
	key           uint32 // see limiterKey
	maxWait       time.Duration
	token         string // the annotation of the safe writes
	proof         *proof // nil if the call is not a safe write
	problem       string // the first setting that makes no sense
}

// resolve adds up options, the later on top of the earlier.
//
// It builds and returns a value, and overlays a Policy right here: a store through a
// pointer would make everything that an option holds escape, and with it the options that
// are written in a call; and a copy of a config more would double the stack of the call.
func resolve(opts []Option) config {
	var c config
	for _, o := range opts {
		switch o := o.(type) {
		case setting:
			c.setNumber(o)
		case specialSetting:
			c.setNumber(o.setting)
		case nameOption:
			c.set |= setName
			c.name, c.told = o.name, o.told
		case exponentialOption:
			c.setExponential(o.Exponential, setExponential)
		case backoffOption:
			switch {
			case o.missing && o.one:
				c.reject("WithBackoffFor: the Backoff is nil")
			case o.missing:
				c.reject("WithBackoff: the Backoff is nil")
			case !o.one:
				c.set |= setBackoff
				c.backoff = o.delay
			case int(o.class) < len(c.backoffFor):
				c.backoffFor[o.class] = o.delay
			default:
				c.reject("WithBackoffFor: no such class")
			}
		case conditionOption:
			c.set |= setCondition
			c.condition = o.condition
			if o.condition == nil {
				c.reject("WithRetryIf: the condition is nil")
			}
		case classifierOption:
			c.set |= setClassifier
			c.classify = o.classify
			if o.classify == nil {
				c.reject("WithClassifier: the classifier is nil")
			}
		case loggerOption:
			c.set |= setLogger
			c.logger = o.logger
		case observerOption:
			c.set |= setObserver
			c.observe = o.observe
		case budgetOption:
			c.set |= setBudget
			if c.budget = o.Budget; c.budget != nil && c.budget.problem != "" {
				c.reject(strings.Clone(c.budget.problem)) // a copy: so that the option does not escape
			}
		case breakerOption:
			c.set |= setBreaker
			if c.breaker = o.Breaker; c.breaker != nil && c.breaker.problem != "" {
				c.reject(strings.Clone(c.breaker.problem))
			}
		case limiterOption:
			c.set |= setLimiter
			if c.limiter = o.Limiter; c.limiter != nil && c.limiter.inner == nil {
				c.reject("WithLimiter: the Limiter was not made by NewLimiter")
			}
		case tokenOption:
			c.set |= setToken
			c.token = o.key
		case proofOption:
			c.set |= setVerb
			c.verb, c.proof = o.verb, o.proof
		case *Policy:
			if o == nil {
				continue
			}
			p := &o.config
			if p.set&setExponential != 0 {
				c.setExponential(p.exponential, p.set&setExponential)
			}
			if p.set&setBackoff != 0 {
				c.backoff = p.backoff
			}
			for class, delay := range p.backoffFor {
				if delay != nil {
					c.backoffFor[class] = delay
				}
			}
			if p.set&setName != 0 {
				c.name, c.told = p.name, p.told
			}
			if p.pc != 0 {
				c.pc = p.pc
			}
			if p.set&setVerb != 0 {
				c.verb = p.verb
			}
			c.query = c.query || p.query
			if p.set&setMaxRetries != 0 {
				c.maxRetries = p.maxRetries
			}
			if p.set&setMaxElapsed != 0 {
				c.maxElapsed = p.maxElapsed
			}
			if p.set&setAttemptTimeout != 0 {
				c.attempt = p.attempt
			}
			if p.set&setMaxRetryAfter != 0 {
				c.maxRetryAfter = p.maxRetryAfter
			}
			if p.set&setCondition != 0 {
				c.condition = p.condition
			}
			if p.set&setClassifier != 0 {
				c.classify = p.classify
			}
			if p.set&setLogger != 0 {
				c.logger = p.logger
			}
			if p.set&setObserver != 0 {
				c.observe = p.observe
			}
			if p.set&setToken != 0 {
				c.token = p.token
			}
			if p.set&setBudget != 0 {
				c.budget = p.budget
			}
			if p.set&setBreaker != 0 {
				c.breaker = p.breaker
			}
			if p.set&setLimiter != 0 {
				c.limiter = p.limiter
			}
			if p.set&setMaxQueueTime != 0 {
				c.maxWait = p.maxWait
			}
			if c.problem == "" {
				c.problem = p.problem
			}
			c.set |= p.set
		}
	}
	return c
}

func (c *config) setNumber(s setting) {
	if s.kind&invalid != 0 {
		c.reject(s.complaint())
		return
	}
	c.set |= s.kind
	d := time.Duration(s.value)
	switch s.kind {
	case setVerb:
		c.verb = Verb(s.value)
	case setMaxRetries:
		c.maxRetries = int(s.value)
	case setInitial:
		c.setExponential(Exponential{Initial: orNegative(d)}, setInitial)
	case setMax:
		c.setExponential(Exponential{Max: orNegative(d)}, setMax)
	case setMultiplier:
		c.setExponential(Exponential{Multiplier: math.Float64frombits(uint64(s.value))}, setMultiplier)
	case setJitter:
		c.setExponential(Exponential{Jitter: Jitter(s.value)}, setJitter)
	case setMaxElapsed:
		c.maxElapsed = d
	case setAttemptTimeout:
		c.attempt = d
	case setMaxRetryAfter:
		c.maxRetryAfter = d
	case setQuery:
		c.query = true
	case setMaxQueueTime:
		c.maxWait = d
	}
}

// orNegative keeps a given 0 apart from a field of Exponential that was not given.
func orNegative(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// setExponential takes the given fields and ends the reign of another Backoff.
func (c *config) setExponential(e Exponential, fields kind) {
	c.set = c.set&^setBackoff | fields
	c.backoff = nil
	if fields&setInitial != 0 {
		c.exponential.Initial = e.Initial
	}
	if fields&setMax != 0 {
		c.exponential.Max = e.Max
	}
	if fields&setMultiplier != 0 {
		c.exponential.Multiplier = e.Multiplier
	}
	if fields&setJitter != 0 {
		c.exponential.Jitter = e.Jitter
	}
}

func (c *config) reject(what string) {
	if c.problem == "" {
		c.problem = what
	}
}

// complaint is the error of a call whose options make no sense.
func (c *config) complaint() error { return fmt.Errorf("k8sretry: %s", strings.Clone(c.problem)) }

// complaint says in words what is wrong with a number.
func (s setting) complaint() string {
	d := time.Duration(s.value)
	switch s.kind &^ invalid {
	case setVerb:
		return fmt.Sprintf("WithVerb(%d): no such verb", s.value)
	case setMaxRetries:
		return fmt.Sprintf("WithMaxRetries(%d): must not be negative", s.value)
	case setInitial:
		return fmt.Sprintf("WithInitialDelay(%v): must not be negative", d)
	case setMax:
		return fmt.Sprintf("WithMaxDelay(%v): must not be negative", d)
	case setMultiplier:
		return fmt.Sprintf("WithMultiplier(%v): must be finite and at least 1", math.Float64frombits(uint64(s.value)))
	case setJitter:
		return fmt.Sprintf("WithJitter(%d): no such jitter", s.value)
	case setMaxElapsed:
		return fmt.Sprintf("WithMaxElapsed(%v): must not be negative", d)
	case setAttemptTimeout:
		return fmt.Sprintf("WithAttemptTimeout(%v): must not be negative", d)
	case setMaxQueueTime:
		return fmt.Sprintf("WithMaxQueueTime(%v): must not be negative", d)
	}
	return fmt.Sprintf("WithMaxRetryAfter(%v): must not be negative", d)
}
