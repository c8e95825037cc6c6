// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// The escape rule: nothing that is read from the options of a call may escape.
//
// Do(ctx, fn, WithMaxRetries(5)) must not allocate. The compiler keeps the options on the
// caller's stack only if it can see that nothing read from them outlives the call. It
// does not tell the fields of a value apart, and it follows every store through a
// pointer and every call of a method through an interface. Hence:
//
//   - Option is a sealed interface that is read by a type switch.
//   - Options hold behaviour as funcs and bound methods: calling a func value does not
//     make it escape. Each guard (Budget, Breaker, Limiter) offers one struct of them,
//     because a method that takes a mutex lets its receiver escape.
//   - resolve builds and returns a value and overlays a Policy in its own body, not
//     in a method with a pointer receiver.
//   - progress does not hold the config, and a text that goes into an error or an
//     event is the result of a func, or a copy.
//
// TestNoAllocation has a row for each option. To find what broke it:
//
//	go build -gcflags=-m . 2>&1 | grep leaking

// given is a set of the settings that options have set: a bit for each number, by its
// value, and one for each of these.
type given uint32

const (
	hasName given = 1 << (iota + len(numbers))
	hasBackoff
	hasCondition
	hasClassifier
	hasLogger
	hasExpected
	hasObserver
	hasToken
	hasBudget
	hasBreaker
	hasLimiter
	hasLeases

	// hasSchedule are the numbers of an Exponential.
	hasSchedule given = 1<<numInitialDelay | 1<<numMaxDelay | 1<<numMultiplier | 1<<numJitter
)

// config is what the options of a call add up to. A call never changes it.
type config struct {
	given       given
	numbers     [len(numbers)]int64
	pc          uintptr // of the wrapped function
	name        string
	copyName    func() string
	backoff     func(int) time.Duration
	backoffFor  [len(classNames)]func(int) time.Duration
	condition   func(error) bool
	classify    func(error) (Verdict, bool)
	logger      logger
	expected    func(error) bool
	observe     func(context.Context, Event)
	budget      *Budget
	breaker     *Breaker
	limiter     *Limiter
	limiterKey  uint64     // of the kind of the call; 0: that of fn
	token       string     // the annotation of the safe writes
	namedCreate bool       // the call creates an object whose name is known
	safeWrite   *safeWrite // nil if the call is not a safe write
	patch       *seenPatch // nil if the call sees no patch
	problem     string     // the first invalid setting
}

// resolve adds up options, the later ones on top of the earlier ones. See the escape
// rule above for its shape.
func resolve(opts []Option) config {
	var c config
	for _, o := range opts {
		switch o := o.(type) {
		case setting:
			c.setNumber(o.number, o.value)
		case specialSetting:
			c.setNumber(o.number, o.value)
		case nameOption:
			c.given |= hasName
			c.name, c.copyName = o.name, o.copy
		case exponentialOption:
			c.setExponential(o.Exponential)
		case backoffOption:
			switch {
			case o.isNil && o.oneClass:
				c.reject("WithBackoffFor: the Backoff is nil")
			case o.isNil:
				c.reject("WithBackoff: the Backoff is nil")
			case !o.oneClass:
				c.given |= hasBackoff
				c.backoff = o.delay
			case int(o.class) < len(c.backoffFor):
				c.backoffFor[o.class] = o.delay
			default:
				c.reject("WithBackoffFor: no such class")
			}
		case conditionOption:
			c.given |= hasCondition
			if c.condition = o.condition; o.condition == nil {
				c.reject("WithRetryIf: the condition is nil")
			}
		case classifierOption:
			c.given |= hasClassifier
			c.setNumber(numConnectionOnly, 0)
			if c.classify = o.classify; o.classify == nil {
				c.reject("WithClassifier: the classifier is nil")
			}
		case expectedOption:
			c.given |= hasExpected
			if c.expected = o.expected; o.expected == nil {
				c.reject("WithExpected: the function is nil")
			}
		case loggerOption:
			c.given |= hasLogger
			c.logger = o.logger
		case observerOption:
			c.given |= hasObserver
			c.observe = o.observe
		case budgetOption:
			c.given |= hasBudget
			if c.budget = o.Budget; c.budget != nil {
				c.reject(strings.Clone(c.budget.problem))
			}
		case breakerOption:
			c.given |= hasBreaker
			if c.breaker = o.Breaker; c.breaker != nil {
				c.reject(strings.Clone(c.breaker.problem))
			}
		case limiterOption:
			c.given |= hasLimiter
			if c.limiter = o.Limiter; c.limiter != nil && c.limiter.inner == nil {
				c.reject("WithLimiter: the Limiter was not made by NewLimiter")
			}
		case leasesOption:
			c.given |= hasLeases
		case tokenOption:
			c.given |= hasToken
			c.token = o.key
		case safeWriteOption:
			c.setNumber(numVerb, int64(o.verb))
			c.safeWrite = o.safeWrite
		case *Policy:
			if o == nil {
				continue
			}
			p := &o.config
			for i := range p.numbers {
				if p.given&(1<<i) != 0 {
					c.setNumber(number(i), p.numbers[i])
				}
			}
			if p.given&hasBackoff != 0 {
				c.backoff = p.backoff
			}
			for class, delay := range p.backoffFor {
				if delay != nil {
					c.backoffFor[class] = delay
				}
			}
			if p.given&hasName != 0 {
				c.name, c.copyName = p.name, p.copyName
			}
			if p.given&hasCondition != 0 {
				c.condition = p.condition
			}
			if p.given&hasClassifier != 0 {
				c.classify = p.classify
			}
			if p.given&hasLogger != 0 {
				c.logger = p.logger
			}
			if p.given&hasExpected != 0 {
				c.expected = p.expected
			}
			if p.given&hasObserver != 0 {
				c.observe = p.observe
			}
			if p.given&hasToken != 0 {
				c.token = p.token
			}
			if p.given&hasBudget != 0 {
				c.budget = p.budget
			}
			if p.given&hasBreaker != 0 {
				c.breaker = p.breaker
			}
			if p.given&hasLimiter != 0 {
				c.limiter = p.limiter
			}
			if c.problem == "" {
				c.problem = p.problem
			}
			c.given |= p.given
		}
	}
	return c
}

// setNumber sets a valid number, and records the problem of an invalid one.
func (c *config) setNumber(n number, value int64) {
	if wrong := numbers[n].validity(value); wrong != "" {
		c.reject(numbers[n].option + wrong)
		return
	}
	c.numbers[n] = value
	c.given |= 1 << n
	switch {
	case n == numVerb:
		c.numbers[numReadOnly] = 0 // a later verb takes ReadOnly back
	case n == numConnectionOnly && value != 0:
		c.given &^= hasClassifier // the later of the two decides
		c.classify = nil
	case hasSchedule&(1<<n) != 0:
		c.given &^= hasBackoff // the later of the two schedules wins
		c.backoff = nil
	}
}

// setDefaults fills in what no option has set.
func (c *config) setDefaults() {
	for i := range c.numbers {
		if c.given&(1<<i) == 0 {
			c.numbers[i] = numbers[i].initial
		}
	}
	c.limiterKey = c.keyOfLimiter()
}

// reject keeps the first problem.
func (c *config) reject(problem string) {
	if c.problem == "" {
		c.problem = problem
	}
}

// invalid is the error of a call with an invalid option.
func (c *config) invalid() error { return fmt.Errorf("k8sretry: %s", strings.Clone(c.problem)) }

func (c *config) verb() Verb                      { return Verb(c.numbers[numVerb]) }
func (c *config) maxRetries() int                 { return int(c.numbers[numMaxRetries]) }
func (c *config) duration(n number) time.Duration { return time.Duration(c.numbers[n]) }

// readOnly reports whether the call changes nothing on the server.
func (c *config) readOnly() bool {
	return c.verb().reads() || c.verb() == VerbUnspecified && c.numbers[numReadOnly] != 0
}

// schedule is the Exponential of the call.
func (c *config) schedule() Exponential {
	return Exponential{
		Initial:    orNegative(c.duration(numInitialDelay)),
		Max:        orNegative(c.duration(numMaxDelay)),
		Multiplier: math.Float64frombits(uint64(c.numbers[numMultiplier])),
		Jitter:     Jitter(c.numbers[numJitter]),
	}
}

// orNegative keeps a delay of 0 apart from a field of Exponential that was not given.
func orNegative(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
