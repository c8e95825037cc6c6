// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"fmt"
	"math"
	"time"

	"github.com/k8sretry/k8sretry/internal/delay"
)

// setting is an option that is a number. A call whose options are all settings goes
// straight to fn.
type setting struct {
	number number
	value  int64
}

// specialSetting is a setting that is invalid, or with which an attempt is more than a
// call of fn.
type specialSetting struct{ setting }

func (setting) option() {}

// set makes the option for a number.
func set(n number, value int64, special bool) Option {
	if special {
		return specialSetting{setting{n, value}}
	}
	return setting{n, value}
}

// number says which number a setting sets.
type number uint8

const (
	numVerb number = iota
	numReadOnly
	numMaxRetries
	numInitialDelay
	numMaxDelay
	numMultiplier
	numJitter
	numMaxElapsed
	numAttemptTimeout
	numMaxRetryAfter
	numMaxQueueTime
	numConnectionOnly
	numPriority
	numErrorHistory
	numObjectNames
	numHedge
)

// numbers describes each number. A new numeric option is a constant above, a line here
// and its function below; Policies, overlays and errors need nothing more.
var numbers = [...]struct {
	option   string // the function that sets it
	initial  int64  // the default
	validity validity
}{
	numVerb:           {"WithVerb", int64(VerbUnspecified), anyVerb},
	numReadOnly:       {"ReadOnly", 0, anyCount},
	numMaxRetries:     {"WithMaxRetries", 3, anyCount},
	numInitialDelay:   {"WithInitialDelay", int64(delay.DefaultInitial), anyDuration},
	numMaxDelay:       {"WithMaxDelay", int64(delay.DefaultMax), anyDuration},
	numMultiplier:     {"WithMultiplier", bits(delay.DefaultMultiplier), anyMultiplier},
	numJitter:         {"WithJitter", int64(JitterProportional), anyJitter},
	numMaxElapsed:     {"WithMaxElapsed", 0, anyDuration},
	numAttemptTimeout: {"WithAttemptTimeout", 0, anyDuration},
	numMaxRetryAfter:  {"WithMaxRetryAfter", int64(60 * time.Second), anyDuration},
	numMaxQueueTime:   {"WithMaxQueueTime", 0, anyDuration},
	numConnectionOnly: {"ForConnection", 0, anyCount},
	numPriority:       {"WithPriority", 0, anyCount},
	numErrorHistory:   {"WithErrorHistory", 0, anyCount},
	numObjectNames:    {"WithObjectNames", 0, anyCount},
	numHedge:          {"WithHedge", 0, anyDuration},
}

// validity returns what is wrong with a value as it stands in an error, "" for nothing.
type validity func(value int64) string

func anyCount(n int64) string {
	if n < 0 {
		return fmt.Sprintf("(%d): must not be negative", n)
	}
	return ""
}

func anyDuration(d int64) string {
	if d < 0 {
		return fmt.Sprintf("(%v): must not be negative", time.Duration(d))
	}
	return ""
}

func anyVerb(v int64) string {
	if v < 0 || v >= int64(len(verbNames)) {
		return fmt.Sprintf("(%d): no such verb", v)
	}
	return ""
}

func anyJitter(j int64) string {
	if j < 0 || j >= int64(jitters) {
		return fmt.Sprintf("(%d): no such jitter", j)
	}
	return ""
}

func anyMultiplier(b int64) string {
	if m := math.Float64frombits(uint64(b)); !(m >= 1 && m <= math.MaxFloat64) {
		return fmt.Sprintf("(%v): must be finite and at least 1", m)
	}
	return ""
}

// setExponential sets the numbers of a schedule. In an Exponential 0 stands for the
// default and negative for no delay.
func (c *config) setExponential(e Exponential) {
	e = e.withDefaults()
	c.setNumber(numInitialDelay, max(0, int64(e.Initial)))
	c.setNumber(numMaxDelay, max(0, int64(e.Max)))
	c.setNumber(numMultiplier, bits(min(e.Multiplier, math.MaxFloat64)))
	if e.Jitter >= jitters {
		e.Jitter = JitterProportional
	}
	c.setNumber(numJitter, int64(e.Jitter))
}

func bits(f float64) int64 { return int64(math.Float64bits(f)) }

// WithVerb says what the call does. The verb decides whether the call may be repeated
// after a failure whose outcome is unknown; see [Verdict.Retryable]. Default:
// [VerbUnspecified]. Without a verb, k8sretry assumes that the call is safe to repeat.
// A verb that is none of the constants is an error.
//
// A call does not see what fn sends, unless a [Transport] below it does:
//
//   - With [VerbCreate] it is not repeated while its outcome is unknown, even if the object
//     has a name. [Create] and [Wrap2] see the object.
//   - With [VerbDelete] it is repeated, and deletes what has the name then. [Delete] sends
//     the UID of the object.
//   - With [VerbPatch] it is repeated, unless it is seen to send a JSON patch. It returns a
//     Conflict unchanged, also if the patch names no version and the server has lost a race
//     against another write. [Patch] sees the patch.
//   - With [VerbApply] it is repeated also after a Conflict, unless a field is owned by
//     another manager. If the configuration names a resource version, that is in vain.
//     [Apply] sees the configuration.
//
// For a verb that writes, the context given to fn carries an httptrace. So a request that
// never got a connection is known not to have been executed. And a write that was answered
// by a 301, 302 or 303, which net/http follows with a GET, fails whatever becomes of the
// GET; its outcome is unknown. Without a [Transport] this is not seen if the redirect leads
// from HTTPS to HTTP, or if it answers a DELETE without a body over HTTP/1.1.
func WithVerb(verb Verb) Option {
	return set(numVerb, int64(verb), verb > VerbWatch)
}

// ReadOnly says that the call changes nothing on the server. Use it for reads that have
// no verb of their own. The outcome of a failed attempt is then never unknown, and the
// call never has [ErrOutcomeUnknown]. [ForRead] includes it. A verb given by WithVerb, or
// known from a wrapped method (see [Wrap2]), decides instead of ReadOnly, and [ForWrite]
// or a WithVerb given later takes it back.
func ReadOnly() Option { return set(numReadOnly, 1, false) }

// WithMaxRetries sets how often a failed attempt may be repeated: 3 means at most
// 4 attempts, 0 no retry. Default: 3. Negative: an error.
func WithMaxRetries(n int) Option { return set(numMaxRetries, int64(n), n < 0) }

// WithInitialDelay sets the delay before the first retry. Default: 1 s. 0: no
// delay. Negative: an error. See [Exponential].
func WithInitialDelay(d time.Duration) Option { return set(numInitialDelay, int64(d), d < 0) }

// WithMaxDelay sets the longest delay of the schedule, jitter included. A
// Retry-After of the server may be longer; see [WithMaxRetryAfter]. Default: 30 s. 0:
// no delays. Negative: an error.
func WithMaxDelay(d time.Duration) Option { return set(numMaxDelay, int64(d), d < 0) }

// WithMultiplier sets the growth of the delays from one retry to the next.
// Default: 2. 1: constant delays. Less than 1, NaN, Inf: an error.
func WithMultiplier(m float64) Option {
	return set(numMultiplier, bits(m), !(m >= 1 && m <= math.MaxFloat64))
}

// WithJitter sets how delays are spread. Default: [JitterProportional]. With
// [JitterNone] delays are exact, and so is a Retry-After. A value that is none of the
// constants is an error.
func WithJitter(j Jitter) Option { return set(numJitter, int64(j), j >= jitters) }

// WithMaxElapsed stops retrying once the next attempt would start more than d after
// the call began. It does not end an attempt that is running; see [WithAttemptTimeout].
// Default, and 0: no limit but the context's. Negative: an error.
func WithMaxElapsed(d time.Duration) Option { return set(numMaxElapsed, int64(d), d != 0) }

// WithAttemptTimeout bounds each attempt: its context ends after d. An attempt that
// the timeout ends without an answer of the API is retried as other timeouts are. The
// timeout is what detects a server that accepts requests and never answers. Default,
// and 0: no limit but the caller's context; only for a [Transport] the default is 75 s.
// Negative: an error.
//
// The timeout ends when fn returns successfully: the context of a watch or a stream
// that fn has opened lives on until the caller's context ends. A goroutine that waits
// for that end must keep the context, not its Done channel alone.
//
// If the caller's context is not one of package context's own types (such as that of
// wait.ContextForChannel in apimachinery), package context starts a goroutine that waits
// for its end until the next garbage collections after the call. Derive one context
// from it with context.WithCancel and use that for all calls.
func WithAttemptTimeout(d time.Duration) Option {
	return set(numAttemptTimeout, int64(d), d != 0)
}

// WithMaxRetryAfter sets the longest Retry-After that a call obeys. If the server asks
// for more, the call returns at once, with [ErrRetryAfterTooLong] and the requested wait
// in the Error. Default: 60 s. 0: any Retry-After ends the call. Negative: an error.
func WithMaxRetryAfter(d time.Duration) Option { return set(numMaxRetryAfter, int64(d), d < 0) }

// WithMaxQueueTime sets how long a call may queue at its Limiter, all attempts
// together. 0 returns [ErrQueueTimeout] at once where the call would have to queue.
// Default: as long as the call could take without a Limiter, which is the sum of the
// delays of its schedule and, for each attempt, the time of [WithAttemptTimeout] or else
// 10 s; two minutes for [ForWrite]. The schedule is that of WithInitialDelay and the
// options beside it, also where a [WithBackoff] replaces it. Negative: an error.
func WithMaxQueueTime(d time.Duration) Option { return set(numMaxQueueTime, int64(d), d < 0) }

// WithPriority lets the attempts of a call start at once whatever its Limiter limits. They do
// not count against a limit, and their ends are no signs for the Limiter. On a [Do] it also
// covers the Limiter of a [Transport] below. It is for few and important calls, such as
// health checks. Default: calls wait.
func WithPriority() Option { return setting{numPriority, 1} }

// WithErrorHistory keeps the errors of the last n failed attempts for [Error.History]. A call
// that returns an error unchanged, such as a 404, returns no history; an [Observer] sees each
// error. Default, and 0: none. Negative: an error.
func WithErrorHistory(n int) Option { return set(numErrorHistory, int64(n), n < 0) }

// WithObjectNames adds the object of the call to log lines, as the field object: "default/web-0",
// or "node-1" without a namespace. Objects are known to the safe writes, and to a [Transport]
// and a [Do] above it, and then every [Event] names them. Default: lines do not name objects,
// so that they can be grouped and hold no names of users' objects.
func WithObjectNames() Option { return setting{numObjectNames, 1} }

// WithHedge makes a [Transport] send a GET or a LIST once more if it has no answer after d, and
// use the first answer. The other request is cancelled, and has ended when the call returns. So
// one slow answer in a hundred delays fewer calls; d is best a little more than nearly all
// answers take, such as the 95th percentile. An error, a 429 or a 5xx is used only if the other
// request does not get an answer either. An attempt counts once, and WithAttemptTimeout
// covers both requests: with n retries the server sees up to 2n + 2 requests.
//
// A Transport makes at most one second request for ten answers, and 10 more in 10 s, so that
// a server that is slow with all answers gets little more load. It sends a second request only
// if its [Limiter] has a place for it without a wait, its [Breaker] is closed, and its [Budget]
// pays for it as for a retry at a price of 1. [Event].Hedges counts them.
//
// Everything else is sent once: writes, watches and other streams, subresources but status
// and scale, leases (see [IncludeLeases]), what is not a resource, and the requests of a Do
// with a Breaker or a Limiter of its own. Calls other than those of a Transport ignore the
// option, because their function need not be safe for two calls at a time. Default, and 0: off.
// Negative: an error.
func WithHedge(d time.Duration) Option { return set(numHedge, int64(d), d < 0) }

// IncludeLeases makes a [Transport] limit and retry requests for leases.coordination.k8s.io
// as all others. By default it sends each of them once and at once: leader election is a loop
// of its own with a deadline, which a wait could make it miss. Calls other than those of a
// Transport ignore the option.
func IncludeLeases() Option { return leasesOption{} }
