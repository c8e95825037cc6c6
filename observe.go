package k8sretry

import (
	"context"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/k8sretry/k8sretry/internal/errchain"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of events. A call emits any number of retries, and then exactly one
// success or one failure, unless fn panics. A call that cannot even begin, for a nil
// function or an option that makes no sense, emits nothing. What changes the state of a
// Breaker or a Limiter that many calls share is an event of the call that did it.
const (
	EventRetry   EventKind = iota // an attempt failed and will be repeated after Delay
	EventSuccess                  // the call succeeded; Attempt 1 means at once
	EventFailure                  // the call ended without success; Stop says why
	EventBreaker                  // the end of an attempt, or its beginning, has changed the state of the Breaker
	EventLimiter                  // the end of an attempt has made the Limiter limit attempts, or no longer
)

// Event is one decision of a call, as an [Observer] sees it. It is a plain value.
type Event struct {
	// Kind is what has been decided.
	Kind EventKind
	// Function is as in Error.Function, but "" for a success at once without WithName:
	// that is not worth a look-up.
	Function string
	// Verb is the verb given by WithVerb, VerbUnspecified if there was none.
	Verb Verb
	// Attempt is the attempt that has just ended, counted from 1; 0 if none was made.
	Attempt int
	// MaxRetries is how many retries the call may have. See WithMaxRetries.
	MaxRetries int
	// Delay is the wait before the next attempt; EventRetry only.
	Delay time.Duration
	// Elapsed is the time since the first attempt ended. See Error.Elapsed.
	Elapsed time.Duration
	// Class, Outcome, StatusCode, RetryAfter and Detail are the verdict on Err; zero on
	// success. In the EventFailure, Outcome is that of all attempts.
	Class      Class
	Outcome    Outcome
	StatusCode int
	RetryAfter time.Duration
	Detail     string
	// StopReason says why the call ended; EventFailure only.
	StopReason StopReason
	// Held is how long the call has waited in line at its Limiter so far.
	Held time.Duration
	// Breaker is the new state of the Breaker; EventBreaker only.
	Breaker BreakerState
	// Limited tells that the Limiter has begun to limit attempts; EventLimiter only.
	Limited bool
	// Err is the error of the attempt that has just ended; nil on success. In the
	// EventFailure it is what Error.Err is, with the verdict on it (that of Classify, if it is
	// not of the last attempt): of the last attempt that the API or the network answered, of another call if a Breaker refused this one, and
	// ErrQueueTimeout if a Limiter did so before the first attempt.
	Err error
}

// Observer sees the decisions of calls, for metrics, traces and logs.
//
// Observe is called in the goroutine of the call, one event after the other, with
// the caller's context and no lock held; a slow Observer slows the call. It must be
// safe for concurrent use. A call with an Observer reports its success, too, even
// at once.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// Name returns the message under which the event is logged, such as
// "k8s_api_call_failed_retrying", and "" for a success at once, which is not
// logged.
func (e Event) Name() string {
	switch {
	case e.Kind == EventRetry:
		return "k8s_api_call_failed_retrying"
	case e.Kind == EventSuccess && e.Attempt > 1:
		return "k8s_api_call_succeeded_after_retry"
	case e.Kind == EventFailure && int(e.StopReason) < len(failureNames):
		return failureNames[e.StopReason]
	case e.Kind == EventBreaker:
		return "k8s_api_breaker_" + e.Breaker.String()
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

// level is the zap level of an event. A lasting error is the caller's everyday
// business (a Get that finds nothing), and so is a caller who leaves.
func level(kind EventKind, why StopReason) zapcore.Level {
	switch {
	case kind == EventRetry:
		return zapcore.WarnLevel
	case kind == EventSuccess, why == StopNonRetryable, why == StopCanceled:
		return zapcore.InfoLevel
	}
	return zapcore.ErrorLevel
}

// level is the level at which the event is logged.
func (e *Event) level() zapcore.Level {
	if e.Limited || e.Kind == EventBreaker && e.Breaker == BreakerOpen {
		return zapcore.WarnLevel
	}
	if e.Kind == EventBreaker || e.Kind == EventLimiter {
		return zapcore.InfoLevel
	}
	return level(e.Kind, e.StopReason)
}

// WithLogger sets the logger for the events of a call. nil silences them.
// Default: zap.L() at the time of each event, which is silent until a service
// calls zap.ReplaceGlobals.
//
// The event's name is the message; the fields are listed at the package's
// documentation. To drop the line for lasting errors (a Get that finds nothing),
// give a logger that starts at warn: logger.WithOptions(zap.IncreaseLevel(zap.WarnLevel)).
func WithLogger(l *zap.Logger) Option {
	if l == nil {
		return loggerOption{}
	}
	return loggerOption{logger{enabled: l.Core().Enabled, check: l.Check}}
}

// WithContextLogger sets the logger for the events of a call to the one that from
// finds in the context of the call, so that its lines carry the fields of what the
// call is part of: a request, a reconcile. Where from finds none it returns nil, and
// zap.L() is used. Of WithLogger and WithContextLogger the later wins. Default: zap.L(),
// and no look-up. nil: as a from that finds none.
//
// from is called in the goroutine of the call, at most twice for each event and never
// for a success at once. It must be safe for concurrent use.
func WithContextLogger(from func(context.Context) *zap.Logger) Option {
	if from == nil {
		from = findNone
	}
	return loggerOption{logger{from: from}}
}

func findNone(context.Context) *zap.Logger { return nil }

// logger is what a call needs of a zap.Logger. Bound methods rather than the Logger:
// calling them does not make the options of a call escape. Check alone would tell
// whether a level is enabled, but its frame of more than a kilobyte would double the
// stack of a goroutine that then waits.
type logger struct {
	enabled func(zapcore.Level) bool
	check   func(zapcore.Level, string) *zapcore.CheckedEntry
	from    func(context.Context) *zap.Logger // if set, it takes the place of both
}

type loggerOption struct{ logger }

func (loggerOption) option() {}

// fields are what a log line of the event holds.
func (e *Event) fields() []zap.Field {
	fields := make([]zap.Field, 0, 15)
	fields = append(fields, zap.String("function", e.Function), zap.Int("attempt", e.Attempt))
	if e.Kind == EventRetry || e.Kind == EventSuccess || e.Kind == EventFailure && e.StopReason == StopMaxRetries {
		fields = append(fields, zap.Int("max_retries", e.MaxRetries))
	}
	if e.Kind == EventRetry {
		fields = append(fields, zap.Float64("delay_seconds", e.Delay.Seconds()))
	}
	if e.Err != nil {
		fields = append(fields, zap.String("error_type", errchain.TypeName(e.Err)), zap.String("error", shorten(e.Err)))
		if e.StatusCode != 0 {
			fields = append(fields, zap.Int("status_code", e.StatusCode))
		}
		fields = append(fields, zap.Stringer("class", e.Class), zap.Stringer("outcome", e.Outcome))
		if e.Detail != "" {
			fields = append(fields, zap.String("detail", e.Detail))
		}
		if e.RetryAfter > 0 {
			fields = append(fields, zap.Float64("retry_after_seconds", e.RetryAfter.Seconds()))
		}
	}
	if e.Verb != VerbUnspecified {
		fields = append(fields, zap.Stringer("verb", e.Verb))
	}
	if e.Held > 0 {
		fields = append(fields, zap.Float64("queued_seconds", e.Held.Seconds()))
	}
	return append(fields, zap.Float64("elapsed_seconds", e.Elapsed.Seconds()))
}

// attrs are the fields as log/slog has them.
func (e *Event) attrs() []slog.Attr {
	fields := e.fields()
	attrs := make([]slog.Attr, len(fields))
	values := zapcore.NewMapObjectEncoder()
	for i, f := range fields {
		f.AddTo(values)
		attrs[i] = slog.Any(f.Key, values.Fields[f.Key])
	}
	return attrs
}

// longestText bounds the error text in a log line: a gateway may answer with a
// page of HTML.
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

// heard reports whether anybody listens to an event. It is asked before anything is looked
// up or built, so that a call to which nobody listens pays next to nothing.
func (c *config) heard(ctx context.Context, kind EventKind, why StopReason) bool {
	if c.set&(setLogger|setObserver) == 0 { // as in most calls
		return zap.L().Core().Enabled(level(kind, why))
	}
	return c.observe != nil || c.listens(ctx, level(kind, why))
}

// tell tells logger and observer of an event that is heard.
//
//go:noinline // its frame must not be part of a call that waits
func (p *progress) tell(c *config, ctx context.Context, kind EventKind, why StopReason, delay time.Duration, v *Verdict, err error) {
	e := Event{Kind: kind, StopReason: why, Delay: delay, Err: err}
	e.Attempt, e.MaxRetries, e.Verb, e.Elapsed, e.Held = int(p.attempts), c.maxRetries, c.verb, p.elapsed(), p.held
	e.Class, e.Outcome, e.StatusCode, e.RetryAfter, e.Detail = v.Class, v.Outcome, v.StatusCode, v.RetryAfter, v.Detail
	name := e.Name()
	if name != "" || c.name != "" { // a success at once is not worth a look-up
		e.Function = c.function()
	}
	c.publish(ctx, name, &e)
}

// changed tells of a new state of breaker or gate, and of the error that has brought it
// about, if there is one.
func (p *progress) changed(c *config, ctx context.Context, e Event, err error) {
	if c.observe == nil && !c.listens(ctx, e.level()) {
		return
	}
	if v := &p.verdict; err != nil {
		e.Err, e.Class, e.Outcome, e.StatusCode, e.RetryAfter, e.Detail = err, v.Class, v.Outcome, v.StatusCode, v.RetryAfter, v.Detail
		if c.harmless() {
			e.Outcome = OutcomeNotExecuted
		}
	}
	e.Function, e.Verb, e.Attempt, e.MaxRetries, e.Elapsed, e.Held = c.function(), c.verb, int(p.attempts), c.maxRetries, p.elapsed(), p.held
	c.publish(ctx, e.Name(), &e)
}

// publish hands an event to the logger, if it has a name, and to the observer.
func (c *config) publish(ctx context.Context, name string, e *Event) {
	if name != "" {
		if entry := c.check(ctx, e.level(), name); entry != nil {
			entry.Write(e.fields()...)
		}
	}
	if c.observe != nil {
		c.observe(ctx, *e)
	}
}

// listens reports whether the logger of the call wants a level.
func (c *config) listens(ctx context.Context, level zapcore.Level) bool {
	return c.wants(c.lookUp(ctx), level)
}

// check returns the line to fill in, nil if nobody wants it.
func (c *config) check(ctx context.Context, level zapcore.Level, name string) *zapcore.CheckedEntry {
	l := c.lookUp(ctx)
	switch {
	case !c.wants(l, level):
		return nil
	case l != nil:
		return l.Check(level, name)
	}
	return c.logger.check(level, name)
}

// lookUp returns the logger that each event looks up anew, that of the context or the
// global one; nil if the call has been given one.
func (c *config) lookUp(ctx context.Context) *zap.Logger {
	if c.set&setLogger != 0 {
		if c.logger.from == nil {
			return nil
		}
		if found := c.logger.from(ctx); found != nil {
			return found
		}
	}
	return zap.L()
}

// wants asks the given logger, or without one that of WithLogger, about a level.
func (c *config) wants(found *zap.Logger, level zapcore.Level) bool {
	if found != nil {
		return found.Core().Enabled(level)
	}
	return c.logger.enabled != nil && c.logger.enabled(level)
}

// defaultLoggerSilent reports whether the global logger drops what a lasting error
// would be logged as.
func defaultLoggerSilent() bool { return !zap.L().Core().Enabled(zapcore.InfoLevel) }
