// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// A setting is what one option sets, or several options of which the later wins.
type setting struct {
	option string
	values []value
	// effect makes calls with do and returns what shows the value. do adds the options of the
	// test to those that it is given.
	effect  func(t *testing.T, do func(getFunc, ...k8sretry.Option) error) any
	invalid []invalid
}

type value struct {
	opt  k8sretry.Option
	want any // the effect
}

type invalid struct {
	opt  k8sretry.Option
	text string // of the error
}

type doFunc = func(getFunc, ...k8sretry.Option) error

// delay returns the delay before the given retry of a call that fails with 503.
func delay(retry int) func(*testing.T, doFunc) any {
	return func(t *testing.T, do doFunc) any {
		var seen recorder
		_ = do(fails(times(retry, unavailable())...).get, exact, k8sretry.WithObserver(&seen))
		require.Equal(t, k8sretry.EventRetry, seen.events[retry-1].Kind)
		return seen.events[retry-1].Delay
	}
}

// success returns the event of a call that succeeds at once.
func success(t *testing.T, do doFunc) k8sretry.Event {
	var seen recorder
	require.NoError(t, do(fails().get, k8sretry.WithObserver(&seen)))
	return seen.last(t)
}

var numericSettings = []setting{
	{
		option: "WithVerb",
		values: []value{
			{k8sretry.WithVerb(k8sretry.VerbUnspecified), k8sretry.VerbUnspecified}, {k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.VerbGet},
			{k8sretry.WithVerb(k8sretry.VerbWatch), k8sretry.VerbWatch}, {k8sretry.WithVerb(k8sretry.VerbDeleteCollection), k8sretry.VerbDeleteCollection},
		},
		effect: func(t *testing.T, do doFunc) any { return success(t, do).Verb },
		invalid: []invalid{
			{k8sretry.WithVerb(k8sretry.VerbDeleteCollection + 1), "WithVerb(10): no such verb"}, {k8sretry.WithVerb(99), "WithVerb(99): no such verb"},
		},
	},
	{
		option: "ReadOnly",
		values: []value{{k8sretry.ReadOnly(), false}, {k8sretry.WithVerb(k8sretry.VerbUnspecified), true}, {k8sretry.ForWrite(), true}, {k8sretry.ForRead(), false}},
		effect: func(t *testing.T, do doFunc) any {
			return errors.Is(do(fails(times(9, unavailable())...).get), k8sretry.ErrOutcomeUnknown)
		},
	},
	{
		option: "WithMaxRetries",
		values: []value{{k8sretry.WithMaxRetries(0), 0}, {k8sretry.WithMaxRetries(1), 1}, {k8sretry.WithMaxRetries(math.MaxInt), math.MaxInt}},
		effect: func(t *testing.T, do doFunc) any { return success(t, do).MaxRetries },
		invalid: []invalid{
			{k8sretry.WithMaxRetries(-1), "WithMaxRetries(-1): must not be negative"},
			{k8sretry.WithMaxRetries(math.MinInt), "WithMaxRetries(-9223372036854775808): must not be negative"},
		},
	},
	{
		option: "WithInitialDelay",
		values: []value{
			{k8sretry.WithInitialDelay(0), time.Duration(0)}, {k8sretry.WithInitialDelay(1), time.Duration(1)},
			{k8sretry.WithInitialDelay(5 * time.Second), 5 * time.Second}, {k8sretry.WithInitialDelay(math.MaxInt64), 30 * time.Second},
		},
		effect:  delay(1),
		invalid: []invalid{{k8sretry.WithInitialDelay(-time.Second), "WithInitialDelay(-1s): must not be negative"}},
	},
	{
		option: "WithMaxDelay",
		values: []value{
			{k8sretry.WithMaxDelay(0), time.Duration(0)}, {k8sretry.WithMaxDelay(1), time.Duration(1)},
			{k8sretry.WithMaxDelay(500 * time.Millisecond), 500 * time.Millisecond}, {k8sretry.WithMaxDelay(math.MaxInt64), time.Second},
		},
		effect:  delay(1),
		invalid: []invalid{{k8sretry.WithMaxDelay(-1), "WithMaxDelay(-1ns): must not be negative"}},
	},
	{
		option: "WithMultiplier",
		values: []value{
			{k8sretry.WithMultiplier(1), time.Second}, {k8sretry.WithMultiplier(1.5), 1500 * time.Millisecond}, {k8sretry.WithMultiplier(math.MaxFloat64), 30 * time.Second},
		},
		effect: delay(2),
		invalid: []invalid{
			{k8sretry.WithMultiplier(0.5), "WithMultiplier(0.5): must be finite and at least 1"},
			{k8sretry.WithMultiplier(math.Nextafter(1, 0)), "WithMultiplier(0.9999999999999999): must be finite and at least 1"},
			{k8sretry.WithMultiplier(-2), "WithMultiplier(-2): must be finite and at least 1"},
			{k8sretry.WithMultiplier(nan()), "WithMultiplier(NaN): must be finite and at least 1"},
			{k8sretry.WithMultiplier(inf()), "WithMultiplier(+Inf): must be finite and at least 1"},
		},
	},
	{
		option: "WithJitter",
		values: []value{
			{k8sretry.WithJitter(k8sretry.JitterProportional), "[d, 1.2 d]"}, {k8sretry.WithJitter(k8sretry.JitterFull), "[0, d]"},
			{k8sretry.WithJitter(k8sretry.JitterEqual), "[d/2, d]"}, {k8sretry.WithJitter(k8sretry.JitterNone), "d"},
		},
		effect: func(t *testing.T, do doFunc) any {
			var seen recorder
			_ = do(fails(times(100, unavailable())...).get, k8sretry.WithMaxRetries(100), k8sretry.WithMultiplier(1), k8sretry.WithObserver(&seen))
			low, high := time.Hour, time.Duration(0)
			for _, e := range seen.events[:100] {
				low, high = min(low, e.Delay), max(high, e.Delay)
			}
			switch {
			case low == time.Second && high == time.Second:
				return "d"
			case low >= time.Second && high <= 1200*time.Millisecond:
				return "[d, 1.2 d]"
			case low >= 500*time.Millisecond && high <= time.Second:
				return "[d/2, d]"
			case high <= time.Second:
				return "[0, d]"
			}
			return []time.Duration{low, high}
		},
		invalid: []invalid{
			{k8sretry.WithJitter(k8sretry.JitterNone + 1), "WithJitter(4): no such jitter"}, {k8sretry.WithJitter(99), "WithJitter(99): no such jitter"},
		},
	},
	{
		option: "WithMaxElapsed",
		values: []value{
			{k8sretry.WithMaxElapsed(0), 7 * time.Second}, {k8sretry.WithMaxElapsed(1), time.Duration(0)},
			{k8sretry.WithMaxElapsed(4 * time.Second), 3 * time.Second}, {k8sretry.WithMaxElapsed(math.MaxInt64), 7 * time.Second},
		},
		effect: func(t *testing.T, do doFunc) any {
			began := time.Now()
			require.Error(t, do(fails(times(9, unavailable())...).get, exact))
			return time.Since(began)
		},
		invalid: []invalid{{k8sretry.WithMaxElapsed(-time.Second), "WithMaxElapsed(-1s): must not be negative"}},
	},
	{
		option: "WithAttemptTimeout",
		values: []value{
			{k8sretry.WithAttemptTimeout(0), time.Duration(0)}, {k8sretry.WithAttemptTimeout(1), time.Duration(1)},
			{k8sretry.WithAttemptTimeout(time.Hour), time.Hour}, {k8sretry.WithAttemptTimeout(math.MaxInt64), time.Duration(math.MaxInt64)},
		},
		effect: func(t *testing.T, do doFunc) any {
			var timeout time.Duration
			require.NoError(t, do(func(ctx context.Context) (string, error) {
				if deadline, ok := ctx.Deadline(); ok {
					timeout = time.Until(deadline)
				}
				return "", nil
			}))
			return timeout
		},
		invalid: []invalid{{k8sretry.WithAttemptTimeout(-time.Second), "WithAttemptTimeout(-1s): must not be negative"}},
	},
	{
		option: "WithMaxRetryAfter",
		values: []value{
			{k8sretry.WithMaxRetryAfter(0), false}, {k8sretry.WithMaxRetryAfter(99 * time.Second), false}, {k8sretry.WithMaxRetryAfter(100 * time.Second), true},
			{k8sretry.WithMaxRetryAfter(math.MaxInt64), true},
		},
		effect:  func(_ *testing.T, do doFunc) any { return do(fails(tooMany(100)).get) == nil },
		invalid: []invalid{{k8sretry.WithMaxRetryAfter(-time.Second), "WithMaxRetryAfter(-1s): must not be negative"}},
	},
	{
		option: "WithMaxQueueTime",
		values: []value{
			{k8sretry.WithMaxQueueTime(0), time.Duration(0)}, {k8sretry.WithMaxQueueTime(3 * time.Second), 3 * time.Second},
			{k8sretry.WithMaxQueueTime(math.MaxInt64), 8 * time.Second},
		},
		effect: func(t *testing.T, do doFunc) any {
			began := time.Now()
			_ = do(fails().get, k8sretry.WithLimiter(busy(t, 8*time.Second)))
			return time.Since(began)
		},
		invalid: []invalid{{k8sretry.WithMaxQueueTime(-time.Second), "WithMaxQueueTime(-1s): must not be negative"}},
	},
	{
		option: "ForConnection",
		values: []value{
			{k8sretry.ForConnection(), false},
			{k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{}, false }), true}, // takes its place
		},
		effect: func(_ *testing.T, do doFunc) any { return do(fails(unavailable()).get) == nil },
	},
	{
		option: "WithErrorHistory",
		values: []value{{k8sretry.WithErrorHistory(0), 0}, {k8sretry.WithErrorHistory(2), 2}, {k8sretry.WithErrorHistory(math.MaxInt), 4}},
		effect: func(t *testing.T, do doFunc) any {
			return len(asError(t, do(fails(times(9, unavailable())...).get)).History())
		},
		invalid: []invalid{{k8sretry.WithErrorHistory(-1), "WithErrorHistory(-1): must not be negative"}},
	},
	{
		option: "WithHedge", // for a Transport only; see TestHedge
		values: []value{{k8sretry.WithHedge(0), 1}, {k8sretry.WithHedge(time.Second), 1}},
		effect: func(t *testing.T, do doFunc) any {
			attempts := fails()
			require.NoError(t, do(func(ctx context.Context) (string, error) { testkit.Sleep(5 * time.Second); return attempts.get(ctx) }))
			return attempts.attempts()
		},
		invalid: []invalid{{k8sretry.WithHedge(-time.Second), "WithHedge(-1s): must not be negative"}},
	},
	{
		option: "WithPriority",
		values: []value{{k8sretry.WithPriority(), false}},
		effect: func(t *testing.T, do doFunc) any {
			defer testkit.Sleep(2 * time.Minute) // until the attempt at the Limiter has ended
			return errors.Is(do(fails().get, k8sretry.WithLimiter(busy(t, time.Minute)), k8sretry.WithMaxQueueTime(0)), k8sretry.ErrQueueTimeout)
		},
	},
	{
		option: "WithObjectNames",
		values: []value{{k8sretry.WithObjectNames(), true}},
		effect: objectsLogged,
	},
}

// objectsLogged reports whether the line of a call names the object of a request to a Transport.
func objectsLogged(t *testing.T, do doFunc) any {
	t.Cleanup(k8sretry.ForgetTransports)
	client := over(t, func(req *http.Request) (*http.Response, error) { return answer(req, 404, "text/plain", "no"), nil }, wrapper(t))
	core, written := newObserver()
	_ = do(func(ctx context.Context) (string, error) { return "", get(ctx, client) }, k8sretry.WithLogger(zap.New(core)))
	return written.All()[0].ContextMap()["object"] == "default/a"
}

// who is a logger and an Observer that records its name.
type who struct {
	name string
	all  *[]string
}

func (w who) Observe(context.Context, k8sretry.Event) { *w.all = append(*w.all, w.name) }

func (w who) logger() *zap.Logger {
	core, _ := newObserver()
	return zap.New(core, zap.Hooks(func(zapcore.Entry) error { *w.all = append(*w.all, w.name); return nil }))
}

// otherSettings are those that are no number. They are made for each test.
func otherSettings(t *testing.T) []setting {
	var heard []string
	first, second := who{"first", &heard}, who{"second", &heard}
	hears := func(_ *testing.T, do doFunc) any {
		heard = nil
		_ = do(fails(notFound()).get)
		return len(heard) == 1 && heard[0] == "first"
	}
	repeats := func(_ *testing.T, do doFunc) any {
		return []bool{do(fails(errPlain).get) == nil, do(fails(notFound()).get) == nil}
	}
	is := func(is func(error) bool) func(error) (k8sretry.Verdict, bool) {
		return func(err error) (k8sretry.Verdict, bool) {
			return k8sretry.Verdict{Class: k8sretry.ClassServer}, is(err)
		}
	}
	breaker, budget := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 1}), k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 1})
	for range 1000 {
		_, _ = k8sretry.Do(t.Context(), fails(noConnection()).get, k8sretry.WithBreaker(breaker), k8sretry.WithMaxRetries(0))
		if breaker.State() == k8sretry.BreakerOpen {
			break
		}
		testkit.Sleep(100 * time.Millisecond)
	}
	require.Equal(t, k8sretry.BreakerOpen, breaker.State())
	constant := constantBackoff{3 * time.Second}
	var noBackoff k8sretry.Backoff
	var noExponential *k8sretry.Exponential
	return []setting{
		{
			option: "WithName",
			values: []value{{k8sretry.WithName("first"), "first"}, {k8sretry.WithName("second"), "second"}},
			effect: func(t *testing.T, do doFunc) any { return success(t, do).Function },
		},
		{
			option: "WithBackoff",
			values: []value{
				{k8sretry.WithBackoff(constant), 3 * time.Second}, {k8sretry.WithBackoff(k8sretry.Exponential{Initial: 4 * time.Second, Jitter: k8sretry.JitterNone}), 4 * time.Second},
				{k8sretry.WithBackoff(&k8sretry.Exponential{Initial: 5 * time.Second, Jitter: k8sretry.JitterNone}), 5 * time.Second},
				{k8sretry.WithBackoff(k8sretry.BackoffFunc(func(int) time.Duration { return 6 * time.Second })), 6 * time.Second},
				{k8sretry.WithInitialDelay(7 * time.Second), 7 * time.Second},
			},
			effect: delay(1),
			invalid: []invalid{
				{k8sretry.WithBackoff(noBackoff), "WithBackoff: the Backoff is nil"}, {k8sretry.WithBackoff(noExponential), "WithBackoff: the Backoff is nil"},
				{k8sretry.WithBackoff(k8sretry.BackoffFunc(nil)), "WithBackoff: the Backoff is nil"},
			},
		},
		{
			option: "WithBackoffFor",
			values: []value{
				{k8sretry.WithBackoffFor(k8sretry.ClassServer, constant), 3 * time.Second},
				{k8sretry.WithBackoffFor(k8sretry.ClassServer, k8sretry.Exponential{Initial: 4 * time.Second, Jitter: k8sretry.JitterNone}), 4 * time.Second},
				{k8sretry.WithBackoffFor(k8sretry.ClassServer, k8sretry.BackoffFunc(func(int) time.Duration { return 6 * time.Second })), 6 * time.Second},
			},
			effect: delay(1),
			invalid: []invalid{
				{k8sretry.WithBackoffFor(k8sretry.ClassCanceled+1, constant), "WithBackoffFor: no such class"}, {k8sretry.WithBackoffFor(99, constant), "WithBackoffFor: no such class"},
				{k8sretry.WithBackoffFor(k8sretry.ClassServer, noBackoff), "WithBackoffFor: the Backoff is nil"},
				{k8sretry.WithBackoffFor(k8sretry.ClassServer, noExponential), "WithBackoffFor: the Backoff is nil"},
				{k8sretry.WithBackoffFor(k8sretry.ClassServer, k8sretry.BackoffFunc(nil)), "WithBackoffFor: the Backoff is nil"},
			},
		},
		{
			option: "WithRetryIf",
			values: []value{
				{k8sretry.WithRetryIf(apierrors.IsNotFound), []bool{false, true}}, {k8sretry.WithRetryOn(errPlain), []bool{true, false}},
				{k8sretry.WithRetryOn(), []bool{false, false}},
			},
			effect:  repeats,
			invalid: []invalid{{k8sretry.WithRetryIf(nil), "WithRetryIf: the condition is nil"}},
		},
		{
			option: "WithClassifier",
			values: []value{
				{k8sretry.WithClassifier(is(apierrors.IsNotFound)), []bool{false, true}},
				{k8sretry.WithClassifier(is(func(err error) bool { return err == errPlain })), []bool{true, false}},
			},
			effect:  repeats,
			invalid: []invalid{{k8sretry.WithClassifier(nil), "WithClassifier: the classifier is nil"}},
		},
		{
			option: "WithLogger",
			values: []value{
				{k8sretry.WithLogger(first.logger()), true}, {k8sretry.WithLogger(second.logger()), false}, {k8sretry.WithLogger(nil), false},
				{k8sretry.WithContextLogger(func(context.Context) *zap.Logger { return first.logger() }), true}, {k8sretry.WithContextLogger(nil), false},
			},
			effect: hears,
		},
		{
			option: "WithExpected",
			values: []value{{k8sretry.WithExpected(apierrors.IsNotFound), zapcore.DebugLevel}, {k8sretry.WithExpected(apierrors.IsGone), zapcore.InfoLevel}},
			effect: func(t *testing.T, do doFunc) any {
				core, written := newObserver()
				require.True(t, apierrors.IsNotFound(do(fails(notFound()).get, k8sretry.WithLogger(zap.New(core)))))
				return written.All()[0].Level
			},
			invalid: []invalid{{k8sretry.WithExpected(nil), "WithExpected: the function is nil"}},
		},
		{
			option: "WithObserver",
			values: []value{{k8sretry.WithObserver(first), true}, {k8sretry.WithObserver(second), false}, {k8sretry.WithObserver(nil), false}},
			effect: hears,
		},
		{
			option: "WithBreaker",
			values: []value{{k8sretry.WithBreaker(breaker), true}, {k8sretry.WithBreaker(nil), false}},
			effect: func(_ *testing.T, do doFunc) any { return errors.Is(do(fails().get), k8sretry.ErrBreakerOpen) },
		},
		{
			option: "WithBudget",
			values: []value{{k8sretry.WithBudget(budget), true}, {k8sretry.WithBudget(nil), false}},
			effect: func(_ *testing.T, do doFunc) any {
				return errors.Is(do(fails(times(9, unavailable())...).get, k8sretry.WithInitialDelay(0)), k8sretry.ErrBudgetExhausted)
			},
		},
		{
			option: "WithLimiter",
			values: []value{{k8sretry.WithLimiter(busy(t, time.Minute)), true}, {k8sretry.WithLimiter(nil), false}},
			effect: func(_ *testing.T, do doFunc) any {
				return errors.Is(do(fails().get, k8sretry.WithMaxQueueTime(0)), k8sretry.ErrQueueTimeout)
			},
		},
	}
}

// Each setting has its effect in each way; of two values the later wins, and a Policy that
// does not set it leaves it.
func TestSettings(t *testing.T) {
	test := func(t *testing.T, s setting) {
		unrelated := k8sretry.NewPolicy(k8sretry.WithTokenAnnotation("example.com/token")) // see TestTokenAnnotation
		for _, way := range ways {
			effect := func(opts ...k8sretry.Option) any {
				return s.effect(t, func(get getFunc, extra ...k8sretry.Option) error {
					_, err := way.call(t.Context(), get, slices.Concat(extra, opts))
					return err
				})
			}
			for i, v := range s.values {
				require.Equal(t, v.want, effect(v.opt), "%s, value %d, %s", s.option, i, way.name)
				require.Equal(t, v.want, effect(v.opt, unrelated), "%s, value %d before a Policy, %s", s.option, i, way.name)
				require.Equal(t, v.want, effect(unrelated, v.opt), "%s, value %d after a Policy, %s", s.option, i, way.name)
				for j, earlier := range s.values {
					require.Equal(t, v.want, effect(earlier.opt, v.opt), "%s, value %d after value %d, %s", s.option, i, j, way.name)
				}
			}
		}
	}
	for _, s := range numericSettings {
		t.Run(s.option, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, s) }) })
	}
	for i, done := 0, false; !done; i++ {
		synctest.Test(t, func(t *testing.T) {
			defer testkit.Sleep(time.Hour) // until the attempt at the Limiter has ended
			others := otherSettings(t)     // with the clock of this bubble
			done = i+1 == len(others)
			test(t, others[i])
		})
	}
}

func TestEachNumericOptionIsTested(t *testing.T) {
	var names []string
	for _, s := range numericSettings {
		names = append(names, s.option)
	}
	assert.ElementsMatch(t, k8sretry.NumericOptions(), names)
}

// An invalid value makes each call return an error with the name of the option, and fn is
// not called. The first one is reported, and a later valid value does not help.
func TestInvalidOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer testkit.Sleep(time.Hour) // until the attempt at the Limiter has ended
		for _, s := range append(otherSettings(t), numericSettings...) {
			for _, bad := range s.invalid {
				for _, way := range ways {
					check := func(opts ...k8sretry.Option) {
						attempts := fails()
						_, err := way.call(t.Context(), attempts.get, opts)
						assert.EqualError(t, err, "k8sretry: "+bad.text, way.name)
						assert.Zero(t, attempts.attempts(), "%s, %s", bad.text, way.name)
					}
					check(bad.opt)
					check(k8sretry.ForRead(), bad.opt, s.values[0].opt)
					check(s.values[0].opt, bad.opt)
					check(bad.opt, k8sretry.WithMaxRetries(-99), k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{Ratio: -1})))
				}
			}
		}
	})
}

func TestNilOptionsAreIgnored(t *testing.T) {
	var policy *k8sretry.Policy
	for _, way := range ways {
		if way.name == "a Policy for each option" {
			continue // NewPolicy(nil) is tested below
		}
		v, err := way.call(t.Context(), fails().get, []k8sretry.Option{nil, policy, new(k8sretry.Policy), nil})
		require.NoError(t, err, way.name)
		assert.Equal(t, "value", v)
	}
	_, err := k8sretry.Do(t.Context(), fails().get, k8sretry.NewPolicy(nil))
	require.NoError(t, err)
}

// The zero Policy and a nil one set nothing: alone, the defaults apply.
func TestZeroPolicy(t *testing.T) {
	var none *k8sretry.Policy
	for name, policy := range map[string]*k8sretry.Policy{"zero": {}, "nil": none, "of no options": k8sretry.NewPolicy(), "of a zero Policy": k8sretry.NewPolicy(new(k8sretry.Policy))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(9, unavailable())...)
				_, err := k8sretry.Do(t.Context(), s.get, policy)
				require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				require.Len(t, s.waits(), 3)
				for i, wait := range s.waits() {
					nominal := time.Second << i
					assert.True(t, nominal <= wait && wait <= nominal*6/5, "wait %d: %v", i+1, wait)
				}
				want := notFound()
				_, err = k8sretry.Do(t.Context(), fails(want).get, policy)
				assert.Same(t, want, err)
				s = fails(times(9, unavailable())...)
				_, err = k8sretry.Do(t.Context(), s.get, exact, k8sretry.WithMaxRetries(1), k8sretry.WithVerb(k8sretry.VerbGet), policy)
				require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, seconds(1), s.waits())
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			})
		})
	}
}

// Of WithBackoff and the four options of a schedule the later wins, and an Exponential is
// these four.
func TestScheduleOptions(t *testing.T) {
	second := k8sretry.Exponential{Initial: 10 * time.Second, Max: 15 * time.Second, Jitter: k8sretry.JitterNone}
	constant := k8sretry.WithBackoff(constantBackoff{time.Second})
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		waits     []time.Duration
	}{
		{"a preset after an option", []k8sretry.Option{k8sretry.WithInitialDelay(time.Minute), k8sretry.ForBackground()}, seconds(2, 4)},
		{"an option after a preset", []k8sretry.Option{k8sretry.ForBackground(), k8sretry.WithInitialDelay(5 * time.Second)}, seconds(5, 10)},
		{"a preset sets no multiplier and no jitter", []k8sretry.Option{k8sretry.WithMultiplier(3), k8sretry.ForBackground()}, seconds(2, 6)},
		{"a Backoff after an initial delay", []k8sretry.Option{k8sretry.WithInitialDelay(7), k8sretry.WithMaxRetries(2), constant}, seconds(1, 1)},
		{"an initial delay after a Backoff", []k8sretry.Option{k8sretry.WithMaxRetries(2), constant, k8sretry.WithInitialDelay(3 * time.Second)}, seconds(3, 6)},
		{"a maximum delay after a Backoff", []k8sretry.Option{k8sretry.WithMaxRetries(2), constant, k8sretry.WithMaxDelay(1500 * time.Millisecond)}, seconds(1, 1.5)},
		{"a multiplier after a Backoff", []k8sretry.Option{k8sretry.WithMaxRetries(2), constant, k8sretry.WithMultiplier(3)}, seconds(1, 3)},
		{"a jitter after a Backoff", []k8sretry.Option{k8sretry.WithMaxRetries(2), constant, exact}, seconds(1, 2)},
		{"a preset after a Backoff", []k8sretry.Option{constant, k8sretry.ForBackground()}, seconds(2, 4)},
		{"another number after a Backoff", []k8sretry.Option{constant, k8sretry.WithMaxRetries(2)}, seconds(1, 1)},
		{"an Exponential, then a multiplier", []k8sretry.Option{k8sretry.WithMaxRetries(3), k8sretry.WithBackoff(second), k8sretry.WithMultiplier(1.2)}, seconds(10, 12, 14.4)},
		{"an Exponential after a Backoff", []k8sretry.Option{constant, k8sretry.WithMaxRetries(3), k8sretry.WithBackoff(second)}, seconds(10, 15, 15)},
		{"an Exponential sets all four", []k8sretry.Option{k8sretry.WithMultiplier(9), k8sretry.WithMaxRetries(3),
			k8sretry.WithBackoff(k8sretry.Exponential{Initial: time.Second, Jitter: k8sretry.JitterNone})}, seconds(1, 2, 4)},
		{"an Exponential without delay", []k8sretry.Option{k8sretry.WithMaxRetries(2), k8sretry.WithBackoff(k8sretry.Exponential{Initial: -1})}, seconds(0, 0)},
		{"an Exponential with a negative maximum", []k8sretry.Option{k8sretry.WithMaxRetries(2), k8sretry.WithBackoff(k8sretry.Exponential{Max: -1})}, seconds(0, 0)},
		{"an Exponential with an infinite multiplier", []k8sretry.Option{k8sretry.WithMaxRetries(2),
			k8sretry.WithBackoff(k8sretry.Exponential{Multiplier: inf(), Jitter: k8sretry.JitterNone})}, seconds(1, 30)},
		{"a pointer to an Exponential", []k8sretry.Option{k8sretry.WithMaxRetries(3), k8sretry.WithBackoff(&second)}, seconds(10, 15, 15)},
		{"a WithBackoffFor for another class", []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.WithBackoffFor(k8sretry.ClassTimeout, constantBackoff{7})}, seconds(1)},
		{"a WithBackoffFor, then one for another class", []k8sretry.Option{k8sretry.WithMaxRetries(1),
			k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{7 * time.Second}), k8sretry.WithBackoffFor(k8sretry.ClassTimeout, constantBackoff{9 * time.Second})}, seconds(7)},
		{"a WithBackoffFor, then a preset", []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{7 * time.Second}), k8sretry.ForBackground()}, seconds(7, 7)},
		{"no delay, not the default", []k8sretry.Option{k8sretry.WithMaxRetries(2), k8sretry.WithInitialDelay(0)}, seconds(0, 0)},
	} {
		for _, way := range ways {
			t.Run(c.situation+", "+way.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := fails(times(99, unavailable())...)
					_, err := way.call(t.Context(), s.get, append([]k8sretry.Option{exact}, c.opts...))
					require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
					assert.Equal(t, c.waits, s.waits())
				})
			})
		}
	}
	t.Run("a pointer to an Exponential gets the shares of the classes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := fails(tooMany(7), gatewayTimeout())
			_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithBackoff(&k8sretry.Exponential{Initial: 2 * time.Second, Jitter: k8sretry.JitterNone}))
			require.NoError(t, err)
			assert.Equal(t, seconds(7, 2), s.waits())
		})
	})
	t.Run("an Exponential with an unknown jitter", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := fails(unavailable())
			_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithBackoff(k8sretry.Exponential{Jitter: 99}))
			require.NoError(t, err)
			assert.True(t, time.Second <= s.waits()[0] && s.waits()[0] <= 1200*time.Millisecond, "%v", s.waits())
		})
	})
}

// All settings together survive being put into a Policy, and into a Policy of that Policy.
func TestPolicyKeepsEverySetting(t *testing.T) {
	var seen recorder
	logger, written := logs()
	asked := 0
	policy := k8sretry.NewPolicy(k8sretry.NewPolicy(
		k8sretry.WithName("get_database"), k8sretry.WithVerb(k8sretry.VerbDelete), k8sretry.WithMaxRetries(2),
		k8sretry.WithInitialDelay(4*time.Second), k8sretry.WithMaxDelay(5*time.Second), k8sretry.WithMultiplier(3), exact,
		k8sretry.WithMaxElapsed(time.Hour), k8sretry.WithAttemptTimeout(time.Minute), k8sretry.WithMaxRetryAfter(time.Second),
		k8sretry.WithRetryIf(func(err error) bool { asked++; return err == errPlain }), logger, k8sretry.WithObserver(&seen),
		k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { asked++; return k8sretry.Verdict{}, false }),
	))
	synctest.Test(t, func(t *testing.T) {
		s := fails(errPlain, errPlain, tooMany(2))
		deadline := false
		_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (string, error) {
			_, deadline = ctx.Deadline()
			return s.get(ctx)
		}, policy)
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.Equal(t, seconds(4, 5), s.waits())
		assert.True(t, deadline, "the attempt timeout")
		assert.Equal(t, 6, asked)
		e := asError(t, err)
		assert.Equal(t, "get_database", e.Function)
		assert.Equal(t, k8sretry.VerbDelete, e.Verb)
		assert.Len(t, seen.events, 3)
		assert.Len(t, written.All(), 3)

		_, err = k8sretry.Do(t.Context(), fails(tooMany(2)).get, policy)
		assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
		_, err = k8sretry.Do(t.Context(), fails(errPlain).get, policy, k8sretry.WithMaxElapsed(time.Second))
		assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
	})
}

// A call that is read-only has no unknown outcome. A verb decides in any order; a later
// WithVerb, also of no verb, and ForWrite take the mark back.
func TestReadOnly(t *testing.T) {
	readOnly, read, write := k8sretry.ReadOnly(), k8sretry.ForRead(), k8sretry.ForWrite()
	update, get, unspecified := k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithVerb(k8sretry.VerbUnspecified)
	named := k8sretry.NewPolicy(k8sretry.WithName("list_pods"))
	for name, c := range map[string]struct {
		opts    []k8sretry.Option
		unknown bool
	}{
		"no option":                            {nil, true},
		"ReadOnly":                             {[]k8sretry.Option{readOnly}, false},
		"ForRead":                              {[]k8sretry.Option{read}, false},
		"ForRead between numbers":              {[]k8sretry.Option{k8sretry.WithMaxRetries(1), read, exact}, false},
		"ForRead and another Policy":           {[]k8sretry.Option{read, named}, false},
		"ForRead and ForBackground":            {[]k8sretry.Option{read, k8sretry.ForBackground()}, false},
		"ForBackground":                        {[]k8sretry.Option{k8sretry.ForBackground()}, true},
		"ReadOnly and a verb that writes":      {[]k8sretry.Option{readOnly, update}, true},
		"a verb that writes and ReadOnly":      {[]k8sretry.Option{update, readOnly}, true},
		"ForRead and a verb that writes":       {[]k8sretry.Option{read, update}, true},
		"a verb that writes and ForRead":       {[]k8sretry.Option{update, read}, true},
		"ReadOnly and a verb that reads":       {[]k8sretry.Option{readOnly, get}, false},
		"a verb that reads and ReadOnly":       {[]k8sretry.Option{get, readOnly}, false},
		"ReadOnly and no verb":                 {[]k8sretry.Option{readOnly, unspecified}, true},
		"no verb and ReadOnly":                 {[]k8sretry.Option{unspecified, readOnly}, false},
		"a verb, taken back":                   {[]k8sretry.Option{readOnly, update, unspecified}, true},
		"ReadOnly and ForWrite":                {[]k8sretry.Option{readOnly, write}, true},
		"ForWrite and ReadOnly":                {[]k8sretry.Option{write, readOnly}, false},
		"ForRead and ForWrite":                 {[]k8sretry.Option{read, write}, true},
		"ForWrite and ForRead":                 {[]k8sretry.Option{write, read}, false},
		"ForRead, ForWrite, verb that reads":   {[]k8sretry.Option{read, write, get}, false},
		"Policies of both":                     {[]k8sretry.Option{k8sretry.NewPolicy(readOnly), k8sretry.NewPolicy(update)}, true},
		"a Policy of ForRead and ForWrite":     {[]k8sretry.Option{k8sretry.NewPolicy(read, write)}, true},
		"a Policy of ForWrite and ForRead":     {[]k8sretry.Option{k8sretry.NewPolicy(write, read)}, false},
		"a Policy of ReadOnly and no verb":     {[]k8sretry.Option{k8sretry.NewPolicy(readOnly, unspecified)}, true},
		"a Policy of no verb and ReadOnly":     {[]k8sretry.Option{k8sretry.NewPolicy(unspecified, readOnly)}, false},
		"ReadOnly and a Policy of no verb":     {[]k8sretry.Option{readOnly, k8sretry.NewPolicy(unspecified)}, true},
		"a Policy of ForRead and another":      {[]k8sretry.Option{k8sretry.NewPolicy(read, named)}, false},
		"a verb and a Policy of ForRead":       {[]k8sretry.Option{update, k8sretry.NewPolicy(read)}, true},
		"a Policy with a verb and ForRead":     {[]k8sretry.Option{k8sretry.NewPolicy(update, read)}, true},
		"ForWrite and a Policy with ForRead":   {[]k8sretry.Option{write, k8sretry.NewPolicy(read)}, false},
		"a Policy with a verb, then ReadOnly":  {[]k8sretry.Option{k8sretry.NewPolicy(update), readOnly}, true},
		"a Policy with ForRead, then ForWrite": {[]k8sretry.Option{k8sretry.NewPolicy(read), write}, true},
	} {
		for _, way := range ways {
			t.Run(name+", "+way.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, err := way.call(t.Context(), fails(times(9, unavailable())...).get, c.opts)
					assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
					assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
					_, err = way.call(t.Context(), fails(unavailable(), notFound()).get, c.opts)
					assert.True(t, apierrors.IsNotFound(err))
					assert.Equal(t, c.unknown, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
				})
			})
		}
	}
}

// The presets.

// What each preset waits, as the package documentation and the README say.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy *k8sretry.Policy
		fail   error
		waits  []time.Duration
		total  time.Duration
	}{
		{"the defaults", k8sretry.NewPolicy(), unavailable(), seconds(1, 2, 4), 7 * time.Second},
		{"ForWrite", k8sretry.ForWrite(), unavailable(), seconds(2, 4, 8, 16, 30), 60 * time.Second},
		{"ForRead", k8sretry.ForRead(), unavailable(), seconds(1, 2, 4), 7 * time.Second},
		{"ForConnection", k8sretry.ForConnection(), network("read", 104), seconds(0.5, 1, 2, 4, 8), 15500 * time.Millisecond},
		{"ForMaintenance", k8sretry.ForMaintenance(), unavailable(), seconds(0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60), 243500 * time.Millisecond},
		{"ForBackground", k8sretry.ForBackground(), unavailable(), seconds(2, 4), 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, c.fail)...)
				_, err := k8sretry.Do(t.Context(), s.get, c.policy, exact)
				require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, c.waits, s.waits())
				assert.Equal(t, c.total, asError(t, err).Elapsed)
			})
		})
	}
	assert.Same(t, k8sretry.ForWrite(), k8sretry.ForWrite(), "made once")
	synctest.Test(t, func(t *testing.T) {
		s := fails(times(99, unavailable())...)
		_, err := k8sretry.Do(t.Context(), s.get, exact, k8sretry.ForRead(), k8sretry.WithMaxRetries(6))
		require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.Equal(t, seconds(1, 2, 4, 8, 10, 10), s.waits(), "up to 10 s")
	})
}

// ForConnection repeats lost, refused and timed-out connections, and no answer of the API.
func TestForConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(noConnection(), network("read", 104), context.DeadlineExceeded)
		_, err := k8sretry.Do(t.Context(), s.get, exact, k8sretry.ForConnection())
		require.NoError(t, err)
		assert.Equal(t, seconds(0.25, 1, 1), s.waits())
		for _, answer := range []error{unavailable(), badGateway(), gatewayTimeout(), tooMany(0), notFound(), errPlain} {
			s = fails(answer)
			_, err = k8sretry.Do(t.Context(), s.get, k8sretry.ForConnection(), k8sretry.WithVerb(k8sretry.VerbGet))
			assert.Same(t, answer, err)
			assert.Equal(t, 1, s.attempts())
		}
		logger, lines := jsonLogs()
		_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.ForConnection(), logger)
		assert.Equal(t, "not a connection error", lines(t)[0]["detail"])
	})
}

func TestForEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(times(50, budgetSpent())...)
		_, err := k8sretry.Do(t.Context(), s.get, k8sretry.ForEviction(), exact)
		require.NoError(t, err, "no number of retries ends it")
		assert.Equal(t, append(seconds(5, 7.5, 11.25, 16.875), slices.Repeat(seconds(20), 46)...), s.waits())
		s = fails(times(7, unavailable())...)
		_, err = k8sretry.Do(t.Context(), s.get, k8sretry.ForEviction(), exact)
		require.NoError(t, err)
		assert.Equal(t, seconds(1, 2, 4, 8, 16, 30, 30), s.waits(), "after other failures")

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		s = fails(times(99, budgetSpent())...)
		_, err = k8sretry.Do(ctx, s.get, k8sretry.ForEviction(), exact)
		assert.ErrorIs(t, err, k8sretry.ErrDeadline)
		assert.ErrorContains(t, err, "disruption budget", "the refusal itself")
		assert.Less(t, time.Since(began), time.Minute)
		assert.Equal(t, 5, s.attempts(), "at 0, 5, 12.5, 23.75, 40.6 s and no later than the deadline")
	})
}

// WithRetryIf and WithRetryOn decide before ForConnection, in any order. Of ForConnection
// and WithClassifier the later decides.
func TestForConnectionWithConditionsAndClassifiers(t *testing.T) {
	noHost := network("dial", 0)
	noHost.(*url.Error).Err.(*net.OpError).Err = &net.DNSError{Err: "no such host", IsNotFound: true}
	isNoHost := k8sretry.WithRetryIf(func(err error) bool {
		var dns *net.DNSError
		return errors.As(err, &dns) && dns.IsNotFound
	})
	all := k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true })
	preset := k8sretry.ForConnection()
	for name, c := range map[string]struct {
		fail     error
		opts     []k8sretry.Option
		attempts int
	}{
		"a lost connection": {network("read", 104), []k8sretry.Option{preset}, 6},
		"a lost connection that canceled another request": {errors.Join(context.Canceled, network("read", 104)), []k8sretry.Option{preset}, 6},
		"an answer of the API":                            {unavailable(), []k8sretry.Option{preset}, 1},
		"an answer to a read":                             {unavailable(), []k8sretry.Option{preset, k8sretry.ReadOnly()}, 1},
		"a conflict of an apply":                          {apierrors.NewConflict(pods, "a", errRemodeled), []k8sretry.Option{preset, k8sretry.WithVerb(k8sretry.VerbApply)}, 1},
		"a host that does not exist":                      {noHost, []k8sretry.Option{preset}, 1},
		"and WithRetryIf":                                 {noHost, []k8sretry.Option{preset, isNoHost}, 6},
		"WithRetryIf before it":                           {noHost, []k8sretry.Option{isNoHost, preset}, 6},
		"WithRetryIf in a policy":                         {noHost, []k8sretry.Option{k8sretry.NewPolicy(preset, isNoHost)}, 6},
		"a condition that is false":                       {unavailable(), []k8sretry.Option{preset, isNoHost}, 1},
		"WithRetryOn":                                     {errNotYet, []k8sretry.Option{preset, k8sretry.WithRetryOn(errNotYet)}, 6},
		"a classifier after it":                           {unavailable(), []k8sretry.Option{preset, all}, 6},
		"a classifier after it, in a policy":              {unavailable(), []k8sretry.Option{preset, k8sretry.NewPolicy(all)}, 6},
		"a classifier before it":                          {unavailable(), []k8sretry.Option{all, preset}, 1},
		"a classifier before it, in a policy":             {unavailable(), []k8sretry.Option{k8sretry.NewPolicy(all), k8sretry.NewPolicy(preset)}, 1},
		"a classifier before it, and a condition":         {unavailable(), []k8sretry.Option{all, preset, isNoHost}, 1},
		"another preset after it":                         {unavailable(), []k8sretry.Option{preset, k8sretry.ForWrite()}, 1},
		"a timeout of the attempt":                        {from(context.DeadlineExceeded), []k8sretry.Option{preset}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, c.fail)...)
				_, err := k8sretry.Do(t.Context(), s.get, c.opts...)
				assert.Error(t, err)
				assert.Equal(t, c.attempts, s.attempts())
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Do(t.Context(), fails(status(401, metav1.StatusReasonUnauthorized)).get, preset, k8sretry.WithObserver(&seen))
		assert.Error(t, err)
		assert.Equal(t, k8sretry.ClassBlocked, seen.last(t).Class, "what is not repeated anyway keeps its class")

		attempts := 0
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			attempts++
			<-ctx.Done()
			return errors.New("net/http: request canceled")
		}, preset, k8sretry.WithAttemptTimeout(time.Second))
		assert.Equal(t, 6, attempts, "an attempt timeout is a timeout of the connection")
	})
}

// errNotYet is an error of the caller that WithRetryOn makes retryable.
var errNotYet = errors.New("not yet")

// What is in force can be read in a log or a debugger.
func TestAPolicyPrintsItsSettings(t *testing.T) {
	for _, c := range []struct {
		policy *k8sretry.Policy
		want   string
	}{
		{k8sretry.ForWrite(), "max_retries=5 initial_delay=2s max_delay=30s multiplier=2 jitter=proportional max_retry_after=1m0s"},
		{k8sretry.NewPolicy(), "max_retries=3 initial_delay=1s max_delay=30s multiplier=2 jitter=proportional max_retry_after=1m0s"},
		{
			k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithName("sync"), k8sretry.WithInitialDelay(0), k8sretry.WithJitter(k8sretry.JitterNone),
				k8sretry.WithAttemptTimeout(5*time.Second), k8sretry.WithMaxElapsed(time.Minute), k8sretry.WithLogger(nil), k8sretry.WithRetryOn(),
				k8sretry.WithErrorHistory(5), k8sretry.WithHedge(time.Second)),
			"name=sync read_only=true max_retries=3 initial_delay=0s max_delay=10s multiplier=2 jitter=none max_retry_after=1m0s " +
				"attempt_timeout=5s max_elapsed=1m0s retry_if=true logger=false hedge=1s error_history=5",
		},
		{
			k8sretry.NewPolicy(k8sretry.WithVerb(k8sretry.VerbCreate), k8sretry.WithBackoff(constantBackoff{time.Second}),
				k8sretry.WithBackoffFor(k8sretry.ClassThrottled, constantBackoff{time.Second}), k8sretry.WithLimiter(k8sretry.NewLimiter()),
				k8sretry.WithMaxQueueTime(0), k8sretry.WithObserver(new(silentObserver))),
			"verb=create max_retries=3 backoff=custom backoff_throttled=custom max_retry_after=1m0s max_queue_time=0s observer=true limiter=true",
		},
		{k8sretry.NewPolicy(k8sretry.WithMaxRetries(-1)), "invalid=WithMaxRetries(-1): must not be negative max_retries=3 initial_delay=1s max_delay=30s " +
			"multiplier=2 jitter=proportional max_retry_after=1m0s"},
		{new(k8sretry.Policy), ""},
		{nil, ""},
	} {
		assert.Equal(t, c.want, fmt.Sprint(c.policy))
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("start", "policy", k8sretry.ForBackground())
	assert.Contains(t, out.String(), "policy.max_retries=2 policy.initial_delay=2s policy.max_delay=10s")
	assert.Equal(t, "equal invalid", k8sretry.JitterEqual.String()+" "+k8sretry.Jitter(99).String())
}

// A new option prints itself, too.
func TestAPolicyPrintsEachOption(t *testing.T) {
	options := map[string]k8sretry.Option{
		"IncludeLeases": k8sretry.IncludeLeases(), "ReadOnly": k8sretry.ReadOnly(), "WithAttemptTimeout": k8sretry.WithAttemptTimeout(1),
		"WithBackoff": k8sretry.WithBackoff(constantBackoff{1}), "WithBackoffFor": k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{1}),
		"WithBreaker": k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{})), "WithBudget": k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{})),
		"WithClassifier":    k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{}, false }),
		"WithContextLogger": k8sretry.WithContextLogger(nil), "WithErrorHistory": k8sretry.WithErrorHistory(1), "WithExpected": k8sretry.WithExpected(apierrors.IsNotFound),
		"WithHedge": k8sretry.WithHedge(1), "WithInitialDelay": k8sretry.WithInitialDelay(1), "WithJitter": k8sretry.WithJitter(k8sretry.JitterFull),
		"WithLimiter": k8sretry.WithLimiter(k8sretry.NewLimiter()), "WithLogger": k8sretry.WithLogger(nil), "WithMaxDelay": k8sretry.WithMaxDelay(1),
		"WithMaxElapsed": k8sretry.WithMaxElapsed(1), "WithMaxQueueTime": k8sretry.WithMaxQueueTime(1), "WithMaxRetries": k8sretry.WithMaxRetries(1),
		"WithMaxRetryAfter": k8sretry.WithMaxRetryAfter(1), "WithMultiplier": k8sretry.WithMultiplier(7), "WithName": k8sretry.WithName("sync"),
		"WithObjectNames": k8sretry.WithObjectNames(), "WithObserver": k8sretry.WithObserver(new(silentObserver)), "WithPriority": k8sretry.WithPriority(),
		"WithRetryIf": k8sretry.WithRetryIf(apierrors.IsNotFound), "WithRetryOn": k8sretry.WithRetryOn(), "WithTokenAnnotation": k8sretry.WithTokenAnnotation("example.com/token"),
		"WithVerb": k8sretry.WithVerb(k8sretry.VerbGet),
	}
	api, err := os.ReadFile("api/k8sretry.txt")
	require.NoError(t, err)
	var names []string
	for _, f := range regexp.MustCompile(`(?m)^func (\w+).* Option$`).FindAllStringSubmatch(string(api), -1) {
		names = append(names, f[1])
	}
	assert.ElementsMatch(t, names, slices.Collect(maps.Keys(options)))
	for name, o := range options {
		assert.NotEqual(t, k8sretry.NewPolicy().String(), k8sretry.NewPolicy(o).String(), name)
		if name != "WithLogger" && name != "WithContextLogger" { // nil: off
			assert.NotContains(t, k8sretry.NewPolicy(o).String(), "=false", name)
		}
	}
	assert.Contains(t, k8sretry.ForConnection().String(), " connection_only=true")
	assert.Contains(t, k8sretry.NewPolicy(k8sretry.WithTokenAnnotation("")).String(), " token_annotation=")
}

// What nil and 0 mean, as the documentation of Option says: nil is none, or an error if it has to
// decide; a number is taken as it is; and two limits are off.
func TestNilAndZero(t *testing.T) {
	type opts = []k8sretry.Option
	var noBackoff k8sretry.Backoff
	const none, once, atOnce, refused = "as without the option", "one attempt", "retries without a delay", "an error"
	for name, c := range map[string]struct {
		opts opts
		want string
	}{
		"no option":            {nil, none},
		"nil Option":           {opts{nil}, none},
		"nil Policy":           {opts{(*k8sretry.Policy)(nil)}, none},
		"zero Policy":          {opts{new(k8sretry.Policy)}, none},
		"NewPolicy":            {opts{k8sretry.NewPolicy()}, none},
		"NewPolicy(nil)":       {opts{k8sretry.NewPolicy(nil)}, none},
		"WithName":             {opts{k8sretry.WithName("")}, none},
		"WithVerb":             {opts{k8sretry.WithVerb(0)}, none},
		"WithRetryOn":          {opts{k8sretry.WithRetryOn()}, none},
		"WithRetryOn(nil)":     {opts{k8sretry.WithRetryOn(nil)}, none},
		"WithObserver":         {opts{k8sretry.WithObserver(nil)}, none},
		"MultiObserver":        {opts{k8sretry.WithObserver(k8sretry.MultiObserver(nil))}, none},
		"SlogObserver":         {opts{k8sretry.WithObserver(k8sretry.SlogObserver(nil))}, none},
		"WithLogger":           {opts{k8sretry.WithLogger(nil)}, none},
		"WithContextLogger":    {opts{k8sretry.WithContextLogger(nil)}, none},
		"WithBudget":           {opts{k8sretry.WithBudget(nil)}, none},
		"WithBreaker":          {opts{k8sretry.WithBreaker(nil)}, none},
		"WithLimiter":          {opts{k8sretry.WithLimiter(nil)}, none},
		"zero Budget":          {opts{k8sretry.WithBudget(new(k8sretry.Budget))}, none},
		"zero Breaker":         {opts{k8sretry.WithBreaker(new(k8sretry.Breaker))}, none},
		"zero Exponential":     {opts{k8sretry.WithBackoff(k8sretry.Exponential{}), exact}, none},
		"WithMaxElapsed":       {opts{k8sretry.WithMaxElapsed(0)}, none},
		"WithAttemptTimeout":   {opts{k8sretry.WithAttemptTimeout(0)}, none},
		"WithJitter":           {opts{k8sretry.WithJitter(0), exact}, none},
		"WithMaxQueueTime":     {opts{k8sretry.WithMaxQueueTime(0)}, none}, // nothing queues
		"WithTokenAnnotation":  {opts{k8sretry.WithTokenAnnotation("")}, none},
		"WithMaxRetries":       {opts{k8sretry.WithMaxRetries(0)}, once},
		"WithMaxRetryAfter":    {opts{k8sretry.WithMaxRetryAfter(0)}, none}, // the server asks for none
		"WithInitialDelay":     {opts{k8sretry.WithInitialDelay(0)}, atOnce},
		"WithMaxDelay":         {opts{k8sretry.WithMaxDelay(0)}, atOnce},
		"WithMultiplier":       {opts{k8sretry.WithMultiplier(0)}, refused},
		"WithBackoff":          {opts{k8sretry.WithBackoff(noBackoff)}, refused},
		"WithBackoffFor":       {opts{k8sretry.WithBackoffFor(k8sretry.ClassServer, noBackoff)}, refused},
		"WithRetryIf":          {opts{k8sretry.WithRetryIf(nil)}, refused},
		"WithClassifier":       {opts{k8sretry.WithClassifier(nil)}, refused},
		"WithExpected":         {opts{k8sretry.WithExpected(nil)}, refused},
		"zero Limiter":         {opts{k8sretry.WithLimiter(new(k8sretry.Limiter))}, refused},
		"ContextSlogObserver":  {opts{k8sretry.WithObserver(k8sretry.ContextSlogObserver(nil))}, none},
		"BackoffFunc":          {opts{k8sretry.WithBackoff(k8sretry.BackoffFunc(nil))}, refused},
		"NewBudget, defaults":  {opts{k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{}))}, none},
		"NewBreaker, defaults": {opts{k8sretry.WithBreaker(k8sretry.NewBreaker(k8sretry.BreakerConfig{}))}, none},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer slog.SetDefault(slog.Default())
				slog.SetDefault(slog.New(slog.DiscardHandler))
				s := fails(times(9, unavailable())...)
				_, err := k8sretry.Do(t.Context(), s.get, append(opts{exact}, c.opts...)...)
				require.Error(t, err)
				got := fmt.Sprint(s.waits())
				switch {
				case s.attempts() == 0:
					got = refused
				case s.attempts() == 1:
					got = once
				case slices.Equal(s.waits(), seconds(1, 2, 4)):
					got = none
				case slices.Equal(s.waits(), seconds(0, 0, 0)):
					got = atOnce
				}
				assert.Equal(t, c.want, got)
			})
		})
	}
}
