// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryprom"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// failing returns a function that fails with each of the errors once and then succeeds.
func failing(errs ...error) func(context.Context) error {
	return func(context.Context) error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

func TestCallsAreCountedByResult(t *testing.T) {
	for _, situation := range []struct {
		name    string
		call    func(context.Context) error
		options []k8sretry.Option
		calls   []string
	}{
		{
			"success at once",
			failing(), nil,
			[]string{
				"attempts_total{function=get_pod,verb=get} 1",
				"call_attempts{function=get_pod,verb=get} 1 calls, 1 attempts",
				"calls_total{function=get_pod,result=succeeded_at_once,verb=get} 1",
			},
		},
		{
			"success after two retries, for different reasons",
			failing(k8sretrytest.Status(503), k8sretrytest.ConnectionClosed()), nil,
			[]string{
				"attempts_total{function=get_pod,verb=get} 3",
				"call_attempts{function=get_pod,verb=get} 1 calls, 3 attempts",
				"calls_total{function=get_pod,result=succeeded_after_retry,verb=get} 1",
				"retries_total{class=connection,code=none,function=get_pod,verb=get} 1",
				"retries_total{class=server,code=503,function=get_pod,verb=get} 1",
				"wait_seconds_total{cause=connection,function=get_pod,verb=get} 2",
				"wait_seconds_total{cause=server,function=get_pod,verb=get} 1",
			},
		},
		{
			"throttled for 7 seconds",
			failing(k8sretrytest.TooManyRequests(7 * time.Second)), nil,
			[]string{
				"attempts_total{function=get_pod,verb=get} 2",
				"call_attempts{function=get_pod,verb=get} 1 calls, 2 attempts",
				"calls_total{function=get_pod,result=succeeded_after_retry,verb=get} 1",
				"retries_total{class=throttled,code=429,function=get_pod,verb=get} 1",
				"wait_seconds_total{cause=throttled,function=get_pod,verb=get} 7",
			},
		},
		{
			"not found",
			failing(k8sretrytest.Status(404)), nil,
			[]string{
				"attempts_total{function=get_pod,verb=get} 1",
				"call_attempts{function=get_pod,verb=get} 1 calls, 1 attempts",
				"calls_total{function=get_pod,result=failed_at_once,stop_reason=non_retryable,verb=get} 1",
			},
		},
		{
			"all retries fail",
			failing(k8sretrytest.ConnectionClosed(), k8sretrytest.ConnectionClosed(), k8sretrytest.ConnectionClosed(), k8sretrytest.ConnectionClosed()), []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			[]string{
				"attempts_total{function=get_pod,verb=get} 2",
				"call_attempts{function=get_pod,verb=get} 1 calls, 2 attempts",
				"calls_total{function=get_pod,result=failed_after_retry,stop_reason=max_retries,verb=get} 1",
				"retries_total{class=connection,code=none,function=get_pod,verb=get} 1",
				"wait_seconds_total{cause=connection,function=get_pod,verb=get} 1",
			},
		},
		{
			"a budget without minimum retries refuses the first retry",
			failing(k8sretrytest.ConnectionClosed()), []k8sretry.Option{k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: -1}))},
			[]string{
				"attempts_total{function=get_pod,verb=get} 1",
				"call_attempts{function=get_pod,verb=get} 1 calls, 1 attempts",
				"calls_total{function=get_pod,result=failed_at_once,stop_reason=budget_exhausted,verb=get} 1",
			},
		},
	} {
		t.Run(situation.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := k8sretryprom.New()
				options := append([]k8sretry.Option{
					k8sretry.ForRead(), k8sretry.WithJitter(k8sretry.JitterNone), k8sretry.WithLogger(nil),
					k8sretry.WithName("get_pod"), k8sretry.WithVerb(k8sretry.VerbGet), k8sretry.WithObserver(c),
				}, situation.options...)

				_ = k8sretry.Run(t.Context(), situation.call, options...)

				assert.Equal(t, situation.calls, values(t, c, "calls_total", "attempts_total", "call_attempts", "retries_total", "wait_seconds_total"))
			})
		})
	}
}

// A call that is canceled during a wait makes no further attempt.
func TestACallCanceledBetweenTwoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := k8sretryprom.New()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)

		err := k8sretry.Run(ctx, failing(k8sretrytest.ConnectionClosed()), k8sretry.WithName("f"), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))

		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, []string{
			"attempts_total{function=f,verb=none} 1",
			"call_attempts{function=f,verb=none} 1 calls, 1 attempts",
			"calls_total{function=f,result=failed_at_once,stop_reason=canceled,verb=none} 1",
			"retries_total{class=connection,code=none,function=f,verb=none} 1",
		}, values(t, c, "attempts_total", "call_attempts", "calls_total", "retries_total"))
	})
}

func TestACallCanceledBeforeTheFirstAttempt(t *testing.T) {
	c := k8sretryprom.New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_ = k8sretry.Run(ctx, failing(), k8sretry.WithName("f"), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))

	assert.Equal(t, []string{"calls_total{function=f,result=failed_at_once,stop_reason=canceled,verb=none} 1"},
		values(t, c, "attempts_total", "call_attempts", "calls_total"))
}

// rate() includes the first failure only if the series had the value 0 before.
func TestSeriesOfAlertsStartAtZero(t *testing.T) {
	c := k8sretryprom.New()
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "f"})
	isZero := map[string]bool{}
	for _, family := range gather(t, c) {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				isZero[family.GetName()+" "+l.GetValue()] = m.GetCounter() != nil && m.GetCounter().GetValue() == 0
			}
		}
	}
	for _, series := range []string{
		"k8sretry_calls_total succeeded_after_retry", "k8sretry_calls_total max_retries",
		"k8sretry_breaker_changes_total open", "k8sretry_limiter_changes_total limited",
	} {
		assert.True(t, isZero[series], series)
	}
}

// Other packages may create events with any values.
func TestInvalidEventsDoNotBreakAScrape(t *testing.T) {
	c := k8sretryprom.New()
	for kind := range k8sretry.EventKind(8) {
		c.Observe(t.Context(), k8sretry.Event{
			Kind: kind, Function: "\xff", Verb: 99, Attempt: -1, Delay: -time.Hour, Queued: -1, Class: 99, StatusCode: -7, StopReason: 99,
			Breaker: 99, Err: errors.New("odd"),
		})
	}
	assert.Equal(t, []string{"retries_total{class=invalid,code=other,function=\uFFFD,verb=invalid} 1"}, values(t, c, "retries_total", "attempts_total", "wait_seconds_total"))
}

func TestNilAndZeroCollectorsCountNothing(t *testing.T) {
	for name, c := range map[string]*k8sretryprom.Collector{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1})
			c.Describe(nil)
			c.Collect(nil)
		})
	}
}

func FuzzObserve(f *testing.F) {
	f.Add(uint8(0), "get pods", uint8(1), 1, int64(time.Second), int64(0), uint8(2), 503, uint8(0))
	f.Add(uint8(2), "\xff", uint8(0), -1, int64(-1), int64(-1), uint8(200), -503, uint8(200))
	f.Fuzz(func(t *testing.T, kind uint8, function string, verb uint8, attempt int, delay, queued int64, class uint8, code int, reason uint8) {
		c := k8sretryprom.New()
		c.Observe(t.Context(), k8sretry.Event{
			Kind: k8sretry.EventKind(kind), Function: function, Verb: k8sretry.Verb(verb), Attempt: attempt, Delay: time.Duration(delay),
			Queued: time.Duration(queued), Class: k8sretry.Class(class), StatusCode: code, StopReason: k8sretry.StopReason(reason), Breaker: k8sretry.BreakerState(reason),
		})
		gather(t, c)
	})
}

func TestASuccessAtOnceAllocatesNothing(t *testing.T) {
	c := k8sretryprom.New()
	success(t, c, "f", k8sretry.VerbGet)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		c.Observe(ctx, k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "f", Verb: k8sretry.VerbGet})
	}))
}

// BenchmarkObserve measures the cost of a success at once.
func BenchmarkObserve(b *testing.B) {
	c := k8sretryprom.New()
	ctx := b.Context()
	e := k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "get pods", Verb: k8sretry.VerbGet}
	b.ReportAllocs()
	for b.Loop() {
		c.Observe(ctx, e)
	}
}

func BenchmarkObserveRetry(b *testing.B) {
	c := k8sretryprom.New()
	ctx := b.Context()
	e := k8sretry.Event{Kind: k8sretry.EventRetry, Attempt: 1, Function: "get pods", Verb: k8sretry.VerbGet, Class: k8sretry.ClassServer, StatusCode: 503, Delay: 1}
	b.ReportAllocs()
	for b.Loop() {
		c.Observe(ctx, e)
	}
}

type noop struct{}

func (noop) Observe(context.Context, k8sretry.Event) {}

// BenchmarkDo measures a call that succeeds at once without an Observer, with an Observer
// that does nothing, and with a Collector.
func BenchmarkDo(b *testing.B) {
	for _, bench := range []struct {
		name   string
		policy *k8sretry.Policy
	}{
		{"without", k8sretry.NewPolicy(k8sretry.ForRead())},
		{"noop", k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithName("get_pod"), k8sretry.WithObserver(noop{}))},
		{"with", k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithName("get_pod"), k8sretry.WithObserver(k8sretryprom.New()))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k8sretry.Do(ctx, func(context.Context) (int, error) { return 1, nil }, bench.policy)
			}
		})
	}
}

// Second requests of reads are counted when their call ends.
func TestHedgesAreCounted(t *testing.T) {
	c := k8sretryprom.New()
	for _, e := range []k8sretry.Event{
		{Kind: k8sretry.EventSuccess, Attempt: 1},
		{Kind: k8sretry.EventSuccess, Attempt: 1, Hedges: 1},
		{Kind: k8sretry.EventRetry, Attempt: 1, Hedges: 1},
		{Kind: k8sretry.EventFailure, Attempt: 2, Hedges: 2},
	} {
		e.Function, e.Verb = "get pods", k8sretry.VerbGet
		c.Observe(t.Context(), e)
	}
	assert.Equal(t, []string{"hedges_total{function=get pods,verb=get} 3"}, values(t, c, "hedges_total"))
}
