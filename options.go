// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"errors"
	"time"
)

// Option sets one thing about how a call is retried. Options are given to Do, Run,
// the Wrap family, Transport and NewPolicy. Their order matters only between two
// settings of the same thing: the later one wins. A nil Option is ignored.
//
// An invalid option value (a negative count, a NaN) makes the call return an error
// without calling fn. Options are immutable values, safe to share between goroutines.
//
// nil and 0 mean the same in all options, with two exceptions:
//
//   - A nil that could do something stands for none: no Budget, Breaker, Limiter, Observer or
//     logger. A nil that has to decide something is an error: WithRetryIf, WithClassifier,
//     WithExpected, WithBackoff and WithBackoffFor. Without the decision the call would not do
//     what its author meant.
//   - A number is taken as it is: 0 is no retry, no delay, no wait. WithMaxElapsed and
//     WithAttemptTimeout are limits that are off by default, and 0 turns them off: with a limit
//     of 0 there would be no call.
//
// In the structs [Exponential], [BudgetConfig] and [BreakerConfig] 0 is the default, because a
// field that is not written is 0.
type Option interface {
	// option marks the option types of this package. It does nothing: see config.go
	// for why options are read by a type switch and never through a method.
	option()
}

// WithName sets the name of the call in errors, events and logs. Default, and "": the
// name is looked up after a failure; for the Wrap family it is the wrapped function
// ("PodInterface.Get"), for a safe write its verb and resource ("create deployments.apps",
// "update pods/status"), for Do and Run the function that calls them. The resource of a safe
// write is that of the request if a [Transport] is below, else it follows from the type or the
// kind of the object.
func WithName(name string) Option { return nameOption{name, func() string { return name }} }

// WithBackoff replaces the schedule. An [Exponential], or a pointer to one, sets what
// WithInitialDelay, WithMaxDelay, WithMultiplier and WithJitter set; any other Backoff
// replaces these four and is asked for every class of failure except those of
// WithBackoffFor, in any order. Of WithBackoff and those four the later wins. The
// Retry-After of a server still applies. nil: an error. A nil pointer of a type of the
// caller's panics when it is asked.
//
// B is a type parameter, not an interface, so that a Backoff written in the call does
// not escape to the heap.
func WithBackoff[B Backoff](b B) Option {
	switch e := any(b).(type) {
	case Exponential:
		return exponentialOption{e}
	case *Exponential:
		if e != nil {
			return exponentialOption{*e}
		}
	}
	return backoffOption{delay: func(retry int) time.Duration { return b.Delay(retry) }, isNil: isNilBackoff(any(b))}
}

// WithBackoffFor sets the schedule after failures of one class. Default: a
// [ClassTimeout] or [ClassRefused] waits half of the schedule; a [ClassThrottled]
// without a Retry-After waits twice the schedule, up to WithMaxDelay; a
// [ClassDisruptionBudget] waits 5 s, then longer, up to 20 s or WithMaxDelay if that is
// less; every other class uses the schedule unchanged. [ClassNone] stands for the reads of [Until]
// for which the condition does not hold. A class that is none of the constants, or a nil
// Backoff: an error.
func WithBackoffFor[B Backoff](class Class, b B) Option {
	return backoffOption{
		delay: func(retry int) time.Duration { return b.Delay(retry) }, class: class, oneClass: true, isNil: isNilBackoff(any(b)),
	}
}

func isNilBackoff(b any) bool {
	switch b := b.(type) {
	case nil:
		return true
	case *Exponential:
		return b == nil
	case BackoffFunc:
		return b == nil
	}
	return false
}

// WithRetryOn retries every error for which errors.Is finds one of errs, whatever the
// verb and the classifier of this package say. It does not override an ended context,
// [Permanent], or an inner call that gave up; a context.DeadlineExceeded in errs means
// timeouts of attempts and of the network. The slice is kept, not copied. Of WithRetryOn
// and WithRetryIf the later wins. Default, and without an error: none. See [WithRetryIf]
// about verbs that forbid a repetition.
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

// WithRetryIf retries every error for which the condition is true, whatever the verb
// and the classifier of this package say; other errors are judged as usual. It does not
// override an ended context, [Permanent], or an inner call that gave up. It is called
// once for each failed attempt, in the goroutine of the call. Of WithRetryOn and
// WithRetryIf the later wins. Default: none. nil: an error.
//
// The condition wins over the verb: with WithRetryIf(apierrors.IsTimeout) a create is repeated
// although its outcome is unknown, and may make a second object. The Detail of such an
// [EventRetry] says so. Only the safe writes, such as [Create], do not write twice then: they
// check what became of an earlier request.
func WithRetryIf(condition func(error) bool) Option { return conditionOption{condition} }

// WithClassifier asks the given function first what an error means. If it returns
// false, it has no opinion: then WithRetryIf, WithRetryOn and [Classify] decide. Its
// Verdict is final, but for an ended context, [Permanent], and an inner call that gave up.
//
// A RetryAfter or StatusCode of 0 stands for that of the server's answer, a negative
// RetryAfter for none. To change one field, begin with the Verdict of Classify: an
// Outcome that is the same as that of Classify is completed with what only the attempt
// knows (no connection was obtained, an earlier request was sent), and ClassCanceled
// becomes ClassTimeout if the attempt's own timeout was the cause.
//
// The function is called once for each failed attempt, in the goroutine of the call.
// Default: none. nil: an error.
func WithClassifier(classify func(error) (Verdict, bool)) Option { return classifierOption{classify} }

// WithExpected names the permanent errors that a caller expects as an everyday answer, such
// as apierrors.IsNotFound for a Get that looks whether an object exists. The line of such an
// error is written at level debug instead of info. Nothing else changes: the call returns the
// error, and observers get its event. expected is called at most once for each call, in its
// goroutine. Default: none. nil: an error.
func WithExpected(expected func(error) bool) Option { return expectedOption{expected} }

// WithObserver sets the Observer that receives the events of a call. Default, and nil:
// none. A typed nil pointer or func is not treated as nil: its Observe is called.
func WithObserver(o Observer) Option {
	if o == nil {
		return observerOption{}
	}
	return observerOption{o.Observe}
}

// WithBudget limits the retries of all calls that share the Budget. A resource that always
// fails spends what others share with it: share a Budget by resource where that matters.
// Default, and nil: no limit.
func WithBudget(b *Budget) Option { return budgetOption{b} }

// WithBreaker makes calls fail at once while the Breaker is open. It opens for all calls
// that share it: calls whose failures have one cause, such as those for one resource or one
// webhook, should share one. For all calls to a server use a [Limiter], which tells kinds of
// requests apart. Default, and nil: none.
func WithBreaker(b *Breaker) Option { return breakerOption{b} }

// WithLimiter makes calls queue while the server is overloaded. All calls of a process
// to the same server should share one Limiter; a Transport keeps the servers apart by
// itself. Default, and nil: none.
//
// A call with a Limiter chooses its delays by the cause of the failure, unless WithJitter
// or WithBackoff is given. After timeouts, lost connections and 429 the delay is between one
// and two times that of the schedule, up to WithMaxDelay. After a 5xx it is between 0 and the
// delay of the schedule.
func WithLimiter(l *Limiter) Option { return limiterOption{l} }

// WithTokenAnnotation sets the key of the annotation in which [Modify] stores a random token
// of the call, and with "-create" appended that of the mark that [Create] stores in an
// object with a name and without a controller. The default is [TokenAnnotation]. With an
// empty key, neither is stored: the call still retries after an ambiguous failure, but
// returns [ErrOutcomeUnknown] where only the annotation could show which client wrote the
// object. All other calls, [Update] among them, ignore the option.
func WithTokenAnnotation(key string) Option { return tokenOption{key} }

// The option types. Those that hold behaviour hold it as a func; see config.go.
type (
	nameOption struct {
		name string
		copy func() string // returns name; what a func returns does not make options escape
	}
	exponentialOption struct{ Exponential }
	backoffOption     struct {
		delay           func(int) time.Duration
		class           Class
		oneClass, isNil bool
	}
	conditionOption  struct{ condition func(error) bool }
	classifierOption struct {
		classify func(error) (Verdict, bool)
	}
	expectedOption struct{ expected func(error) bool }
	observerOption struct {
		observe func(context.Context, Event)
	}
	loggerOption    struct{ logger }
	budgetOption    struct{ *Budget }
	breakerOption   struct{ *Breaker }
	limiterOption   struct{ *Limiter }
	leasesOption    struct{}
	tokenOption     struct{ key string }
	safeWriteOption struct{ *safeWrite } // makes a call a safe write
)

func (nameOption) option()        {}
func (exponentialOption) option() {}
func (backoffOption) option()     {}
func (conditionOption) option()   {}
func (classifierOption) option()  {}
func (expectedOption) option()    {}
func (observerOption) option()    {}
func (loggerOption) option()      {}
func (budgetOption) option()      {}
func (breakerOption) option()     {}
func (limiterOption) option()     {}
func (leasesOption) option()      {}
func (tokenOption) option()       {}
func (safeWriteOption) option()   {}
