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

// failing fails with these errors, one each, and then succeeds.
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

func TestWhatBecomesOfCalls(t *testing.T) {
	for _, situation := range []struct {
		name    string
		call    func(context.Context) error
		options []k8sretry.Option
		calls   []string
	}{
		{
			"it succeeds at once",
			failing(), nil,
			[]string{
				"attempts_total{function=get_pod,verb=get} 1",
				"call_attempts{function=get_pod,verb=get} 1 calls, 1 attempts",
				"calls_total{function=get_pod,result=succeeded_at_once,verb=get} 1",
			},
		},
		{
			"it succeeds after two retries, for different reasons",
			failing(k8sretrytest.Status(503), k8sretrytest.LostReply()), nil,
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
			"it is throttled for 7 seconds",
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
			"there is nothing of that name",
			failing(k8sretrytest.Status(404)), nil,
			[]string{
				"attempts_total{function=get_pod,verb=get} 1",
				"call_attempts{function=get_pod,verb=get} 1 calls, 1 attempts",
				"calls_total{function=get_pod,result=failed_at_once,stop=non_retryable,verb=get} 1",
			},
		},
		{
			"all retries fail",
			failing(k8sretrytest.LostReply(), k8sretrytest.LostReply(), k8sretrytest.LostReply(), k8sretrytest.LostReply()), []k8sretry.Option{k8sretry.WithMaxRetries(1)},
			[]string{
				"attempts_total{function=get_pod,verb=get} 2",
				"call_attempts{function=get_pod,verb=get} 1 calls, 2 attempts",
				"calls_total{function=get_pod,result=failed_after_retry,stop=max_retries,verb=get} 1",
				"retries_total{class=connection,code=none,function=get_pod,verb=get} 1",
				"wait_seconds_total{cause=connection,function=get_pod,verb=get} 1",
			},
		},
		{
			"a budget without a reserve refuses the first retry",
			failing(k8sretrytest.LostReply()), []k8sretry.Option{k8sretry.WithBudget(k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: -1}))},
			[]string{
				"attempts_total{function=get_pod,verb=get} 1",
				"call_attempts{function=get_pod,verb=get} 1 calls, 1 attempts",
				"calls_total{function=get_pod,result=failed_at_once,stop=budget_exhausted,verb=get} 1",
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

// A call that is stopped while it waits has made no more attempts than it had.
func TestStoppedBetweenTwoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := k8sretryprom.New()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)

		err := k8sretry.Run(ctx, failing(k8sretrytest.LostReply()), k8sretry.WithName("f"), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))

		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, []string{
			"attempts_total{function=f,verb=none} 1",
			"call_attempts{function=f,verb=none} 1 calls, 1 attempts",
			"calls_total{function=f,result=failed_at_once,stop=canceled,verb=none} 1",
			"retries_total{class=connection,code=none,function=f,verb=none} 1",
		}, values(t, c, "attempts_total", "call_attempts", "calls_total", "retries_total"))
	})
}

// A call that never began is a call, and no attempt.
func TestOverBeforeTheFirstAttempt(t *testing.T) {
	c := k8sretryprom.New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_ = k8sretry.Run(ctx, failing(), k8sretry.WithName("f"), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))

	assert.Equal(t, []string{"calls_total{function=f,result=failed_at_once,stop=canceled,verb=none} 1"},
		values(t, c, "attempts_total", "call_attempts", "calls_total"))
}

// An alert sees a first failure only if the series was there before it, with 0.
func TestWhatAlertsAreAboutBeginsAtZero(t *testing.T) {
	c := k8sretryprom.New()
	c.Observe(t.Context(), k8sretry.Event{Kind: k8sretry.EventSuccess, Attempt: 1, Function: "f"})
	at0 := map[string]bool{}
	for _, family := range gather(t, c) {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				at0[family.GetName()+" "+l.GetValue()] = m.GetCounter() != nil && m.GetCounter().GetValue() == 0
			}
		}
	}
	for _, series := range []string{
		"k8sretry_calls_total succeeded_after_retry", "k8sretry_calls_total max_retries",
		"k8sretry_breaker_changes_total open", "k8sretry_limiter_changes_total limited",
	} {
		assert.True(t, at0[series], series)
	}
}

// Events of others may hold anything; a scrape must go well all the same.
func TestStrangeEvents(t *testing.T) {
	c := k8sretryprom.New()
	for kind := range k8sretry.EventKind(8) {
		c.Observe(t.Context(), k8sretry.Event{
			Kind: kind, Function: "\xff", Verb: 99, Attempt: -1, Delay: -time.Hour, Queued: -1, Class: 99, StatusCode: -7, StopReason: 99,
			Breaker: 99, Err: errors.New("odd"),
		})
	}
	assert.Equal(t, []string{"retries_total{class=invalid,code=other,function=\uFFFD,verb=invalid} 1"}, values(t, c, "retries_total", "attempts_total", "wait_seconds_total"))
}

func TestNoCollector(t *testing.T) {
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
	f.Fuzz(func(t *testing.T, kind uint8, function string, verb uint8, attempt int, delay, held int64, class uint8, code int, stop uint8) {
		c := k8sretryprom.New()
		c.Observe(t.Context(), k8sretry.Event{
			Kind: k8sretry.EventKind(kind), Function: function, Verb: k8sretry.Verb(verb), Attempt: attempt, Delay: time.Duration(delay),
			Queued: time.Duration(held), Class: k8sretry.Class(class), StatusCode: code, StopReason: k8sretry.StopReason(stop), Breaker: k8sretry.BreakerState(stop),
		})
		gather(t, c)
	})
}
