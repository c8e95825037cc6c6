// SPDX-License-Identifier: Apache-2.0

package k8sretryprom_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
	"github.com/k8sretry/k8sretry/k8sretryprom"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

func TestStateOfABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 3, Ratio: -1, Window: time.Minute})
		c := k8sretryprom.New(k8sretryprom.WithBudget("cluster", b))
		assert.Equal(t, []string{"budget_remaining_retries{budget=cluster} 3"},
			values(t, c, "budget_remaining_retries", "budget_retries_total"))

		_ = k8sretry.Run(t.Context(), func(context.Context) error { return k8sretrytest.Status(503) },
			k8sretry.WithMaxRetries(9), k8sretry.WithJitter(k8sretry.JitterNone), k8sretry.WithBudget(b), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))

		assert.Equal(t, []string{
			"budget_retries_total{budget=cluster,decision=paid} 3",
			"budget_retries_total{budget=cluster,decision=refused} 1",
			"budget_retry_time_seconds{budget=cluster} 7",
		}, values(t, c, "budget_remaining_retries", "budget_retries_total", "budget_retry_time_seconds"))
	})
}

func TestStateOfABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
		c := k8sretryprom.New(k8sretryprom.WithBreaker("cluster", b))
		exported := func() []string { return values(t, c, "breaker_state", "breaker_changes_total") }
		assert.Equal(t, []string{"breaker_state{breaker=cluster,state=closed} 1"}, exported())

		down := k8sretrytest.ConnectionRefused()
		call := func() {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return down },
				k8sretry.WithMaxRetries(0), k8sretry.WithBreaker(b), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))
		}
		for range 30 {
			call()
			testkit.Sleep(time.Second / 4)
		}
		assert.Contains(t, exported(), "breaker_state{breaker=cluster,state=open} 1")

		down = nil
		testkit.Sleep(time.Minute)
		call()
		assert.Contains(t, exported(), "breaker_state{breaker=cluster,state=closed} 1")
		assert.Contains(t, exported(), "breaker_changes_total{state=closed} 1")
	})
}

func TestStateOfALimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := k8sretry.NewLimiter()
		c := k8sretryprom.New(k8sretryprom.WithLimiter("cluster", l))
		assert.Equal(t, []string{"limiter_limit_attempts{limiter=cluster} +Inf", "limiter_rate_attempts_per_second{limiter=cluster} +Inf"},
			values(t, c, "limiter_limited", "limiter_limit_attempts", "limiter_rate_attempts_per_second", "limiter_changes_total"))

		options := k8sretry.NewPolicy(k8sretry.WithName("f"), k8sretry.WithLimiter(l), k8sretry.WithLogger(nil), k8sretry.WithObserver(c))
		refused := func(context.Context) error { return k8sretrytest.ConnectionRefused() }
		for range 9 {
			testkit.Sleep(time.Second)
			_ = k8sretry.Run(t.Context(), refused, options, k8sretry.WithMaxRetries(0))
		}
		assert.Subset(t, values(t, c, "limiter_limited", "limiter_limited_scopes", "limiter_changes_total"),
			[]string{"limiter_changes_total{scope=server,state=limited} 1", "limiter_limited{limiter=cluster} 1", "limiter_limited_scopes{limiter=cluster,scope=server} 1"})

		_ = k8sretry.Run(t.Context(), refused, options, k8sretry.WithMaxRetries(3))
		assert.NotEmpty(t, withCause(values(t, c, "wait_seconds_total"), "limiter"), "the wait in the queue")

		for range 20 {
			_ = k8sretry.Run(t.Context(), func(context.Context) error { return nil }, options)
		}
		testkit.Sleep(time.Minute) // the timers of the Limiter end
		assert.Contains(t, values(t, c, "limiter_changes_total"), "limiter_changes_total{scope=server,state=open} 1")
	})
}
