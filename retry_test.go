// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// way is a way to give options to a call. A call with nothing but numbers, one with a
// single Policy and one with other options take different paths.
type way struct {
	name string
	call func(context.Context, func(context.Context) (string, error), []k8sretry.Option) (string, error)
}

type getFunc = func(context.Context) (string, error)

var ways = []way{
	{"options in the call", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		return k8sretry.Do(ctx, get, opts...)
	}},
	{"one Policy", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		return k8sretry.Do(ctx, get, k8sretry.NewPolicy(opts...))
	}},
	{"a Policy of a Policy", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		return k8sretry.Do(ctx, get, k8sretry.NewPolicy(k8sretry.NewPolicy(opts...)))
	}},
	{"a name and a Policy", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		return k8sretry.Do(ctx, get, k8sretry.WithName("get"), k8sretry.NewPolicy(opts...))
	}},
	{"options and the zero Policy", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		return k8sretry.Do(ctx, get, append(opts[:len(opts):len(opts)], new(k8sretry.Policy))...)
	}},
	{"a Policy for each option", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		var policies []k8sretry.Option
		for _, o := range opts {
			policies = append(policies, k8sretry.NewPolicy(o))
		}
		return k8sretry.Do(ctx, get, policies...)
	}},
	{"a wrapped function", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		return k8sretry.Wrap(get, opts...)(ctx)
	}},
	{"a Transport in the process", func(ctx context.Context, get getFunc, opts []k8sretry.Option) (string, error) {
		k8sretry.Transport()
		defer k8sretry.ForgetTransports()
		return k8sretry.Do(ctx, get, opts...)
	}},
}

// globalLogs sets the global logger until the end of the test and returns what it has
// written.
func globalLogs(t *testing.T) func() []map[string]any {
	core, written := newObserver()
	t.Cleanup(zap.ReplaceGlobals(zap.New(core)))
	return func() []map[string]any {
		var lines []map[string]any
		for _, entry := range written.TakeAll() {
			line := entry.ContextMap()
			line["event"], line["level"] = entry.Message, entry.Level.String()
			lines = append(lines, line)
		}
		return lines
	}
}

func events(lines []map[string]any) (names []string) {
	for _, line := range lines {
		names = append(names, line["event"].(string))
	}
	return names
}

// What Do does about failures, in each way, with the global logger and without one.
func TestDo(t *testing.T) {
	const (
		retrying     = "k8s_api_call_failed_retrying"
		succeeded    = "k8s_api_call_succeeded_after_retry"
		nonRetryable = "k8s_api_call_failed_non_retryable"
		maxRetries   = "k8s_api_call_failed_max_retries"
	)
	notFound, conflict := notFound(), status(409, metav1.StatusReasonConflict)
	for _, c := range []struct {
		situation string
		fails     []error
		opts      []k8sretry.Option
		waits     []time.Duration // between attempts, so attempts - 1 of them
		check     func(*testing.T, error)
		events    []string
	}{
		{
			situation: "success at once: one attempt, no event",
		},
		{
			situation: "503, 502, then success: the schedule of ForWrite",
			fails:     []error{unavailable(), badGateway()},
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(2, 4),
			events:    []string{retrying, retrying, succeeded},
		},
		{
			situation: "404: one attempt, the same error",
			fails:     []error{notFound},
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
			events:    []string{nonRetryable},
		},
		{
			situation: "409: one attempt, the same error",
			fails:     []error{conflict},
			check:     func(t *testing.T, err error) { assert.Same(t, conflict, err) },
			events:    []string{nonRetryable},
		},
		{
			situation: "503 six times with ForWrite: all retries, then an Error",
			fails:     times(6, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(2, 4, 8, 16, 30),
			check: func(t *testing.T, err error) {
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				e := asError(t, err)
				assert.Equal(t, 6, e.Attempts)
				assert.Equal(t, 60*time.Second, e.Elapsed)
				assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason)
			},
			events: []string{retrying, retrying, retrying, retrying, retrying, maxRetries},
		},
		{
			situation: "503 five times with ForWrite: the last retry succeeds",
			fails:     times(5, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite()},
			waits:     seconds(2, 4, 8, 16, 30),
			events:    []string{retrying, retrying, retrying, retrying, retrying, succeeded},
		},
		{
			situation: "503 four times with ForRead: 1, 2, 4 s",
			fails:     times(4, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForRead()},
			waits:     seconds(1, 2, 4),
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			},
			events: []string{retrying, retrying, retrying, maxRetries},
		},
		{
			situation: "503, 503, 404 of a read: the last error, as it is",
			fails:     []error{unavailable(), unavailable(), notFound},
			opts:      []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbGet)},
			waits:     seconds(1, 2),
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
			events:    []string{retrying, retrying, nonRetryable},
		},
		{
			situation: "503, 503, 404 without a verb: NotFound, and the unknown outcome of the 503s",
			fails:     []error{unavailable(), unavailable(), notFound},
			waits:     seconds(1, 2),
			check: func(t *testing.T, err error) {
				assert.True(t, apierrors.IsNotFound(err))
				assert.False(t, apierrors.IsServiceUnavailable(err))
				assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.Equal(t, k8sretry.StopNonRetryable, asError(t, err).StopReason)
			},
			events: []string{retrying, retrying, nonRetryable},
		},
		{
			situation: "429 then 404: a 429 changes nothing, so the 404 comes as it is",
			fails:     []error{tooMany(0), notFound},
			opts:      []k8sretry.Option{k8sretry.WithVerb(k8sretry.VerbDelete)},
			waits:     seconds(2),
			check:     func(t *testing.T, err error) { assert.Same(t, notFound, err) },
			events:    []string{retrying, nonRetryable},
		},
		{
			situation: "no retries: one attempt, and an Error",
			fails:     []error{unavailable()},
			opts:      []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, 1, asError(t, err).Attempts)
			},
			events: []string{maxRetries},
		},
		{
			situation: "no delay: retries follow at once",
			fails:     times(2, unavailable()),
			opts:      []k8sretry.Option{k8sretry.WithInitialDelay(0)},
			waits:     seconds(0, 0),
			events:    []string{retrying, retrying, succeeded},
		},
		{
			situation: "a Retry-After of a day ends the call at once",
			fails:     []error{tooMany(86400)},
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
				assert.True(t, apierrors.IsTooManyRequests(err))
				assert.Equal(t, 24*time.Hour, asError(t, err).RetryAfter)
			},
			events: []string{"k8s_api_call_failed_retry_after_too_long"},
		},
		{
			situation: "the wait would pass WithMaxElapsed",
			fails:     times(9, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithMaxElapsed(10 * time.Second)},
			waits:     seconds(2, 4),
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, 6*time.Second, asError(t, err).Elapsed)
			},
			events: []string{retrying, retrying, "k8s_api_call_failed_max_elapsed"},
		},
		{
			situation: "the wait ends exactly with WithMaxElapsed",
			fails:     times(2, unavailable()),
			opts:      []k8sretry.Option{k8sretry.ForWrite(), k8sretry.WithMaxElapsed(6 * time.Second)},
			waits:     seconds(2, 4),
			events:    []string{retrying, retrying, succeeded},
		},
	} {
		for _, way := range ways {
			t.Run(c.situation+", "+way.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					for _, logged := range []bool{false, true} {
						lines := func() []map[string]any { return nil }
						if logged {
							lines = globalLogs(t)
						}
						s := fails(c.fails...)
						value, err := way.call(t.Context(), s.get, append([]k8sretry.Option{exact}, c.opts...))
						if c.check == nil {
							require.NoError(t, err)
							assert.Equal(t, "value", value)
						} else {
							require.Error(t, err)
							c.check(t, err)
						}
						assert.Equal(t, c.waits, s.waits())
						if logged {
							assert.Equal(t, c.events, events(lines()))
						}
					}
				})
			})
		}
	}
}

// A call behaves alike in whatever way it is given its options: attempts, waits, error,
// events, and log lines are the same.
func TestFormsOfOptionsAreEquivalent(t *testing.T) {
	type result struct {
		Value  string
		Err    error // without the name of the function
		Chain  []error
		At     []time.Duration // of the attempts and of the end
		Events []k8sretry.Event
		Lines  []map[string]any
	}
	notFound := notFound()
	inner := &k8sretry.Error{StopReason: k8sretry.StopMaxRetries, Err: unavailable(), Outcome: k8sretry.OutcomeUnknown}
	sequences := map[string][]error{
		"success":                    nil,
		"permanent":                  {notFound},
		"permanent, marked":          {k8sretry.Permanent(unavailable())},
		"unclassified":               {errPlain},
		"retries and success":        {unavailable(), tooMany(3), gatewayTimeout()},
		"retries without success":    times(9, unavailable()),
		"unknown outcome, permanent": {gatewayTimeout(), notFound},
		"throttled, permanent":       {tooMany(1), notFound},
		"Retry-After too long":       {tooMany(1), tooMany(100)},
		"network errors":             {network("dial", syscall.ECONNREFUSED), network("read", syscall.ECONNRESET), io.ErrUnexpectedEOF},
		"an inner call gave up":      {unavailable(), fmt.Errorf("inner: %w", inner)},
		"canceled by another":        {context.Canceled},
		"disruption budget":          {budgetSpent(), budgetSpent()},
	}
	contexts := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"no deadline": context.WithCancel,
		"a deadline of 3 s": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 3*time.Second)
		},
		"canceled after 1.5s": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(1500*time.Millisecond, cancel)
			return ctx, cancel
		},
		"ended": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		},
	}
	for name, opts := range map[string][]k8sretry.Option{
		"none":               nil,
		"numbers":            {k8sretry.WithMaxRetries(2), k8sretry.WithInitialDelay(2 * time.Second), k8sretry.WithMultiplier(3), k8sretry.WithMaxDelay(5 * time.Second)},
		"ReadOnly":           {k8sretry.ReadOnly()},
		"a verb that reads":  {k8sretry.WithVerb(k8sretry.VerbList)},
		"a verb that writes": {k8sretry.WithVerb(k8sretry.VerbCreate)},
		"WithMaxRetryAfter":  {k8sretry.WithMaxRetryAfter(2 * time.Second)},
		"WithMaxElapsed":     {k8sretry.WithMaxElapsed(4 * time.Second)},
		"WithAttemptTimeout": {k8sretry.WithAttemptTimeout(time.Second)},
		"a preset":           {k8sretry.ForWrite()},
		"ForConnection":      {k8sretry.ForConnection()},
		"WithRetryOn":        {k8sretry.WithRetryOn(errPlain, notFound)},
		"WithClassifier":     {k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true })},
		"a condition, a classifier and numbers": {
			k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithMaxRetries(2), k8sretry.WithRetryIf(apierrors.IsNotFound), k8sretry.WithErrorHistory(2),
			k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
				v := k8sretry.Classify(err)
				v.RetryAfter = 2 * time.Second
				return v, apierrors.IsServiceUnavailable(err)
			}),
		},
		"the later of two conditions and of two classifiers": {
			k8sretry.WithRetryOn(errPlain), k8sretry.WithRetryIf(func(error) bool { return false }), k8sretry.ReadOnly(),
			k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{}, true }),
			k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) {
				return k8sretry.Verdict{Class: k8sretry.ClassConflict, Outcome: k8sretry.OutcomeUnknown, StatusCode: 1}, !apierrors.IsTimeout(err)
			}),
		},
		"WithBackoff":         {k8sretry.WithBackoff(constantBackoff{time.Second})},
		"WithBackoffFor":      {k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{time.Second})},
		"WithLogger(nil)":     {k8sretry.WithLogger(nil)},
		"WithObserver":        {k8sretry.WithObserver(new(silentObserver))},
		"guards":              nil, // made for each call, below
		"guards that are nil": {k8sretry.WithBudget(nil), k8sretry.WithBreaker(nil), k8sretry.WithLimiter(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lines := globalLogs(t)
				perform := func(way way, fail []error, observed bool, within func(context.Context) (context.Context, context.CancelFunc)) (r result) {
					ctx, cancel := within(t.Context())
					defer cancel()
					var seen recorder
					opts := append([]k8sretry.Option{exact}, opts...)
					if name == "guards" {
						opts = append(opts, k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})), k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})))
					}
					if observed {
						opts = append(opts, k8sretry.WithObserver(&seen))
					}
					began, s := time.Now(), fails(fail...)
					r.Value, r.Err = way.call(ctx, s.get, opts)
					for _, at := range append(s.at, time.Now()) {
						r.At = append(r.At, at.Sub(began))
					}
					if e, ok := r.Err.(*k8sretry.Error); ok && e != inner {
						unnamed := *e
						unnamed.Function = ""
						r.Err, r.Chain = &unnamed, e.Unwrap()
					}
					for _, e := range seen.events {
						e.Function = ""
						r.Events = append(r.Events, e)
					}
					for _, line := range lines() {
						delete(line, "function")
						r.Lines = append(r.Lines, line)
					}
					return r
				}
				for _, fail := range sequences {
					for _, within := range contexts {
						for _, observed := range []bool{false, true} {
							want := perform(ways[0], fail, observed, within)
							for _, way := range ways[1:] {
								require.Equal(t, want, perform(way, fail, observed, within), way.name)
							}
						}
					}
				}
			})
		})
	}
}

func TestCallsThatCannotStart(t *testing.T) {
	ctx := t.Context()
	never := func(context.Context) (string, error) { t.Error("an attempt was made"); return "", nil }
	t.Run("a nil function", func(t *testing.T) {
		for _, opts := range [][]k8sretry.Option{nil, {k8sretry.ForRead()}, {k8sretry.WithName("get")}} {
			_, err := k8sretry.Do[int](ctx, nil, opts...)
			assert.EqualError(t, err, "k8sretry: the function to call is nil")
			assert.EqualError(t, k8sretry.Run(ctx, nil, opts...), "k8sretry: the function to call is nil")
		}
	})
	t.Run("a nil context", func(t *testing.T) {
		for _, way := range ways {
			_, err := way.call(nil, never, nil)
			assert.EqualError(t, err, "k8sretry: the context is nil", way.name)
		}
	})
	t.Run("an invalid option", func(t *testing.T) {
		for _, way := range ways {
			lines := globalLogs(t)
			_, err := way.call(ctx, never, []k8sretry.Option{k8sretry.WithMaxRetries(-1)})
			assert.EqualError(t, err, "k8sretry: WithMaxRetries(-1): must not be negative", way.name)
			assert.Empty(t, lines(), way.name)
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		canceled, cancel := context.WithCancelCause(ctx)
		cancel(errPlain)
		late, stop := context.WithTimeout(ctx, -1)
		defer stop()
		for _, way := range ways {
			lines := globalLogs(t)
			_, err := way.call(canceled, never, nil)
			assert.Same(t, errPlain, err, way.name)
			_, err = way.call(late, never, nil)
			assert.Equal(t, context.DeadlineExceeded, err, way.name)
			assert.Equal(t, []string{"k8s_api_call_failed_canceled", "k8s_api_call_failed_deadline"}, events(lines()), way.name)
		}
	})
}

func TestRunIsDoWithoutAValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(unavailable())
		run := func(ctx context.Context) error { _, err := s.get(ctx); return err }
		require.NoError(t, k8sretry.Run(t.Context(), run, exact))
		assert.Equal(t, seconds(1), s.waits())
		err := notFound()
		assert.Same(t, err, k8sretry.Run(t.Context(), func(context.Context) error { return err }))
	})
}

func TestValueOfTheLastAttempt(t *testing.T) {
	for situation, fail := range map[string]error{"a permanent error": notFound(), "an Error": unavailable()} {
		for _, way := range ways {
			v, err := way.call(t.Context(), func(context.Context) (string, error) { return "partial", fail }, []k8sretry.Option{k8sretry.WithMaxRetries(0)})
			require.Error(t, err)
			assert.Equal(t, "partial", v, "%s, %s", situation, way.name)
		}
	}
}

// A wait ends at once when the caller cancels.
func TestCancelDuringAWait(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(1500*time.Millisecond, cancel)
				began, s := time.Now(), fails(times(9, unavailable())...)
				_, err := way.call(ctx, s.get, []k8sretry.Option{exact})
				assert.Equal(t, 1500*time.Millisecond, time.Since(began))
				assert.Equal(t, 2, s.attempts())
				assert.ErrorIs(t, err, context.Canceled)
			})
		})
	}
}

// The assumption was that a wait that Done ends is followed by an Err. If it is not, all
// retries were made at once.
func TestAContextWhoseErrStaysNilIsCanceledByItsDone(t *testing.T) {
	for _, way := range ways {
		for _, c := range []struct {
			situation string
			opts      []k8sretry.Option
		}{
			{"a wait", []k8sretry.Option{exact}},
			{"with an attempt timeout", []k8sretry.Option{exact, k8sretry.WithAttemptTimeout(time.Minute)}},
		} {
			t.Run(way.name+", "+c.situation, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := newDoneOnly()
					time.AfterFunc(1500*time.Millisecond, func() { close(ctx.done) })
					began, s := time.Now(), fails(times(9, unavailable())...)
					_, err := way.call(ctx, s.get, c.opts)
					assert.Equal(t, 1500*time.Millisecond, time.Since(began))
					assert.Equal(t, 2, s.attempts())
					assert.ErrorIs(t, err, context.Canceled)
					assert.True(t, apierrors.IsServiceUnavailable(err))
					assert.Equal(t, k8sretry.StopCanceled, asError(t, err).StopReason)
				})
			})
		}
	}

	t.Run("during an attempt: no retry is announced, and none is made without a delay", func(t *testing.T) {
		for _, delay := range []time.Duration{0, time.Second} {
			ctx := newDoneOnly()
			var seen recorder
			err := k8sretry.Run(ctx, func(context.Context) error { close(ctx.done); return unavailable() },
				k8sretry.WithInitialDelay(delay), k8sretry.WithObserver(&seen))
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, k8sretry.EventFailure, seen.last(t).Kind)
			assert.Len(t, seen.events, 1)
		}
	})

	t.Run("during an attempt with a timeout, which notices it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := newDoneOnly()
			time.AfterFunc(time.Second, func() { close(ctx.done) })
			began := time.Now()
			err := k8sretry.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, k8sretry.WithAttemptTimeout(time.Minute))
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, time.Second, time.Since(began))
		})
	})
}

// A Policy and a wrapped function have no state: concurrent calls share nothing.
func TestOnePolicyForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := k8sretry.NewPolicy(k8sretry.ForWrite(), exact)
		limited := k8sretry.NewPolicy(policy, k8sretry.WithAttemptTimeout(time.Hour), k8sretry.WithVerb(k8sretry.VerbUpdate))
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				for _, opts := range [][]k8sretry.Option{{policy}, {limited}, {policy, k8sretry.WithName("get")}} {
					s := fails(times(i%5, unavailable())...)
					v, err := k8sretry.Do(t.Context(), s.get, opts...)
					assert.NoError(t, err)
					assert.Equal(t, "value", v)
					assert.Equal(t, seconds(2, 4, 8, 16)[:i%5], append([]time.Duration{}, s.waits()...), "each call starts from the first delay")
				}
				s := fails(times(i%5+1, unavailable())...)
				_, err := k8sretry.Do(t.Context(), s.get, policy, k8sretry.WithMaxRetries(i%5))
				if e := new(k8sretry.Error); assert.ErrorAs(t, err, &e) {
					assert.Equal(t, i%5+1, e.Attempts)
				}
			})
		}
		wg.Wait()
		wrapped := fails(times(2, unavailable())...)
		get := k8sretry.Wrap(wrapped.get, policy)
		for range 1000 {
			_, err := get(t.Context())
			require.NoError(t, err)
		}
		assert.Equal(t, 1002, wrapped.attempts())
	})
}

// The number of attempts is an int32. It does not overflow: the call ends before.
func TestAttemptsDoNotOverflow(t *testing.T) {
	for _, c := range []struct{ attempts, retries int }{
		{math.MaxInt32, math.MaxInt}, {math.MaxInt32, math.MaxInt32}, {math.MaxInt32 + 1, math.MaxInt}, {math.MaxInt, math.MaxInt},
	} {
		err := k8sretry.FailAfter(t.Context(), c.attempts, unavailable(), k8sretry.WithMaxRetries(c.retries))
		require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.Equal(t, math.MaxInt32, asError(t, err).Attempts)
	}
	assert.NoError(t, k8sretry.FailAfter(t.Context(), math.MaxInt32-1, unavailable(), k8sretry.WithMaxRetries(math.MaxInt)), "another attempt follows")
}
