// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of events. A call emits any number of retries, and then exactly one
// success or one failure, unless fn panics or calls runtime.Goexit, or an Observer, a
// classifier or a method of an error panics. A call that returns an error for a nil
// function or an invalid option emits nothing. A change of the state of a Breaker or a
// Limiter that many calls share is an event of the call that caused it.
const (
	EventRetry   EventKind = iota // an attempt failed and will be repeated after Delay
	EventSuccess                  // the call succeeded; Attempt 1 means at once
	EventFailure                  // the call ended without success; StopReason says why
	EventBreaker                  // the start or the end of an attempt changed the state of the Breaker
	EventLimiter                  // the end of an attempt made the Limiter start or stop limiting
	EventQueued                   // the call has waited in the queue of the Limiter for a second
)

// Event is one decision of a call, as an [Observer] sees it. It is a plain value.
type Event struct {
	// Kind is what has been decided.
	Kind EventKind
	// Function is as in Error.Function, but "" for a success at once without WithName,
	// for which the name is not looked up.
	Function string
	// Verb is the verb given by WithVerb, VerbUnspecified if there was none.
	Verb Verb
	// ObjectNamespace and ObjectName are the object that the call works on, as far as it is
	// known: by a safe write from its object, and by a Transport from the request, for a Do
	// above it from the last request of the attempt. They are "" for a collection, and for a
	// success at once. They are for logs and traces; as labels of metrics they are too many.
	ObjectNamespace, ObjectName string
	// Attempt is the attempt that has just ended, counted from 1; 0 if there was none.
	Attempt int
	// MaxRetries is how many retries the call may have. See WithMaxRetries.
	MaxRetries int
	// Delay is the wait before the next attempt; EventRetry only.
	Delay time.Duration
	// Elapsed is the time since the first attempt ended. See Error.Elapsed.
	Elapsed time.Duration
	// Class, Outcome, StatusCode, RetryAfter and Detail are the verdict on Err. If nothing
	// failed, such as in an EventSuccess, they are ClassNone, OutcomeNone and zero. In an
	// EventFailure, Outcome is that of all attempts.
	Class      Class
	Outcome    Outcome
	StatusCode int
	RetryAfter time.Duration
	Detail     string
	// StopReason says why the call ended; EventFailure only.
	StopReason StopReason
	// Queued is how long the call has queued at its Limiter so far.
	Queued time.Duration
	// Hedges is how many requests the call has sent so far beside a slow one. See WithHedge.
	Hedges int
	// Breaker is the new state of the Breaker; EventBreaker only.
	Breaker BreakerState
	// Limited reports whether the Limiter has started to limit attempts; EventLimiter only.
	Limited bool
	// Scope is what the limits apply to that the Limiter has started or stopped to impose, and
	// in an EventQueued and the failure of a call that ended in the queue those for which it
	// waits or waited.
	Scope LimiterScope
	// Expected reports whether the error is one that the caller expects, see WithExpected;
	// EventFailure with StopNonRetryable only.
	Expected bool
	// Err is the error of the attempt that has just ended; nil on success. In an
	// EventFailure it is Error.Err, and the verdict is the one on that error: the error of
	// the last attempt that the API or the network answered, of another call if a Breaker
	// or a Limiter refused this one, and ErrQueueTimeout if nothing is known of that. In an
	// EventQueued it is the error, usually of another call, for which the Limiter limits.
	Err error

	risk        string // of a repetition, to be added to the Detail
	objectNames bool   // a log line names the object
}

// addRisk adds the risk of a repetition to the Detail.
func (e *Event) addRisk() {
	e.Detail += e.risk
	e.risk = ""
}

// Observer receives the decisions of calls, for metrics, traces and logs.
//
// Observe is called in the goroutine of the call, one event after the other, with
// the caller's context and no lock held; a slow Observer slows the call. It must be
// safe for concurrent use. A call with an Observer reports its success, too, even
// at once.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// MultiObserver returns an [Observer] that hands each event to all of the given ones, one
// after the other in their order. A nil among them is ignored. Without any it returns
// nil, as [WithObserver] takes it. The slice is copied.
func MultiObserver(all ...Observer) Observer {
	var o observers
	for _, one := range all {
		if one != nil {
			o = append(o, one)
		}
	}
	switch len(o) {
	case 0:
		return nil
	case 1:
		return o[0]
	}
	return o
}

type observers []Observer

func (o observers) Observe(ctx context.Context, e Event) {
	for _, one := range o {
		one.Observe(ctx, e)
	}
}

// Name returns the message under which the event is logged, such as
// "k8s_api_call_failed_retrying". It is "" for a success at once, which is not logged.
func (e Event) Name() string {
	switch {
	case e.Kind == EventRetry:
		return "k8s_api_call_failed_retrying"
	case e.Kind == EventSuccess && e.Attempt > 1:
		return "k8s_api_call_succeeded_after_retry"
	case e.Kind == EventFailure && int(e.StopReason) < len(stops):
		return failureNames[e.StopReason]
	case e.Kind == EventBreaker:
		return "k8s_api_breaker_" + e.Breaker.String()
	case e.Kind == EventQueued:
		return "k8s_api_call_queued"
	case e.Kind == EventLimiter && e.Limited:
		return "k8s_api_limiter_limiting"
	case e.Kind == EventLimiter:
		return "k8s_api_limiter_open"
	}
	return ""
}

var failureNames = func() (names [len(stops)]string) {
	for s := range names {
		names[s] = "k8s_api_call_failed_" + stops[s].name
	}
	return names
}()

// level is the severity of an event. Its values are those of zapcore.Level, and a
// quarter of those of slog.Level.
type level int8

const (
	levelDebug level = iota - 1
	levelInfo
	levelWarn
	levelError
)

// levelOf is the level of an event of a call. A permanent error is an everyday answer (a
// Get that finds nothing), and so is a caller that cancels.
func levelOf(kind EventKind, why StopReason) level {
	switch {
	case kind == EventRetry:
		return levelWarn
	case kind != EventFailure, why == StopNonRetryable, why == StopCanceled:
		return levelInfo
	}
	return levelError
}

// level is the level at which the event is logged.
func (e *Event) level() level {
	if e.Expected {
		return levelDebug
	}
	if e.Limited || e.Kind == EventBreaker && e.Breaker == BreakerOpen {
		return levelWarn
	}
	return levelOf(e.Kind, e.StopReason)
}

// logger is where the events of a call are logged. It is two funcs because of the escape
// rule in config.go, and because asking whether a level is enabled comes before the
// fields are built.
type logger struct {
	enabled func(context.Context, level) bool
	write   func(context.Context, *Event)
}

// field is one field of a log line. Its value is a string, an int or a float64.
type field struct {
	key   string
	value any
}

// fields are what a log line of the event holds.
func (e *Event) fields() []field {
	fields := make([]field, 0, 16)
	fields = append(fields, field{"function", e.Function}, field{"attempt", e.Attempt})
	if e.Kind == EventRetry || e.Kind == EventSuccess || e.Kind == EventFailure && e.StopReason == StopMaxRetries {
		fields = append(fields, field{"max_retries", e.MaxRetries})
	}
	if e.Kind == EventRetry {
		fields = append(fields, field{"delay_seconds", e.Delay.Seconds()})
	}
	if e.Err != nil {
		fields = append(fields, field{"error_type", errchain.TypeName(e.Err)}, field{"error", shorten(e.Err)})
		if e.StatusCode != 0 {
			fields = append(fields, field{"status_code", e.StatusCode})
		}
		fields = append(fields, field{"class", e.Class.String()}, field{"outcome", e.Outcome.String()})
		if e.Detail != "" {
			fields = append(fields, field{"detail", e.Detail})
		}
		if e.RetryAfter > 0 {
			fields = append(fields, field{"retry_after_seconds", e.RetryAfter.Seconds()})
		}
	}
	if e.Verb != VerbUnspecified {
		fields = append(fields, field{"verb", e.Verb.String()})
	}
	if e.objectNames && e.ObjectName != "" {
		name := e.ObjectName
		if e.ObjectNamespace != "" {
			name = e.ObjectNamespace + "/" + name
		}
		fields = append(fields, field{"object", name})
	}
	if e.Scope != ScopeNone {
		fields = append(fields, field{"scope", e.Scope.String()})
	}
	if e.Queued > 0 {
		fields = append(fields, field{"queued_seconds", e.Queued.Seconds()})
	}
	return append(fields, field{"elapsed_seconds", e.Elapsed.Seconds()})
}

// longestText bounds the error text in a log line: a gateway may answer with a page of
// HTML.
const longestText = 1024

func shorten(err error) string {
	text := fmt.Sprint(err) // which survives an Error method that panics, of a nil pointer for one
	if len(text) <= longestText {
		return text
	}
	cut := longestText
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s... (%d bytes in all)", text[:cut], len(text))
}
