// SPDX-License-Identifier: Apache-2.0

package k8sretryprom

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/k8sretry/k8sretry"
)

// The metrics that Collect reads at each scrape. +Inf means no limit: a quotient with it is
// 0, and a graph of it has no line.
var (
	budgetRemaining = stateDesc("k8sretry_budget_remaining_retries", "Retries that the budget would allow now.", "budget")
	budgetTime      = stateDesc("k8sretry_budget_retry_time_seconds", "Time spent on retries within the budget's window.", "budget")
	budgetRetries   = stateDesc("k8sretry_budget_retries_total", "Retries by decision of the budget: paid or refused.", "budget", "decision")

	breakerState = stateDesc("k8sretry_breaker_state", "1 for the current state of the breaker, 0 for the others.", "breaker", "state")

	limiterLimited  = stateDesc("k8sretry_limiter_limited", "1 while the limiter limits attempts.", "limiter")
	limiterScopes   = stateDesc("k8sretry_limiter_limited_scopes", "Kinds of requests, priority levels and servers that are limited.", "limiter", "scope")
	limiterLimit    = stateDesc("k8sretry_limiter_limit_attempts", "Maximum number of attempts in flight, +Inf without a limit.", "limiter")
	limiterInFlight = stateDesc("k8sretry_limiter_in_flight_attempts", "Attempts in flight.", "limiter")
	limiterQueued   = stateDesc("k8sretry_limiter_queued_calls", "Calls in the queue.", "limiter")
	limiterPause    = stateDesc("k8sretry_limiter_pause_seconds", "Remaining time of the pause during which no attempt starts.", "limiter")
	limiterRate     = stateDesc("k8sretry_limiter_rate_attempts_per_second", "Maximum number of attempts started per second, +Inf without a limit.", "limiter")

	stateDescs = []*prometheus.Desc{
		budgetRemaining, budgetTime, budgetRetries, breakerState,
		limiterLimited, limiterScopes, limiterLimit, limiterInFlight, limiterQueued, limiterPause, limiterRate,
	}
)

func stateDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func (c *Collector) collectBudgets(out chan<- prometheus.Metric) {
	for name, b := range c.budgets {
		s := b.State()
		out <- gauge(budgetRemaining, float64(s.Remaining), name)
		out <- gauge(budgetTime, s.RetryTime.Seconds(), name)
		out <- total(budgetRetries, s.Paid, name, "paid")
		out <- total(budgetRetries, s.Refused, name, "refused")
	}
}

func (c *Collector) collectBreakers(out chan<- prometheus.Metric) {
	for name, b := range c.breakers {
		now := b.State()
		for _, s := range []k8sretry.BreakerState{k8sretry.BreakerClosed, k8sretry.BreakerOpen, k8sretry.BreakerHalfOpen} {
			out <- gauge(breakerState, boolValue(s == now), name, s.String())
		}
	}
}

// scopes are the values of the label scope.
var scopes = []k8sretry.LimiterScope{k8sretry.ScopeKind, k8sretry.ScopeLevel, k8sretry.ScopeServer}

func (c *Collector) collectLimiters(out chan<- prometheus.Metric) {
	for name, l := range c.limiters {
		s := l.State()
		out <- gauge(limiterLimited, boolValue(s.Limited), name)
		n := map[k8sretry.LimiterScope]int{}
		for _, limited := range l.Limited() {
			n[limited.Scope]++
		}
		for _, scope := range scopes {
			out <- gauge(limiterScopes, float64(n[scope]), name, scope.String())
		}
		out <- gauge(limiterLimit, limitValue(float64(s.Limit)), name)
		out <- gauge(limiterInFlight, float64(s.InFlight), name)
		out <- gauge(limiterQueued, float64(s.Queued), name)
		out <- gauge(limiterPause, s.Pause.Seconds(), name)
		out <- gauge(limiterRate, limitValue(s.Rate), name)
	}
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func total(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// limitValue returns +Inf for 0, which means no limit.
func limitValue(v float64) float64 {
	if v == 0 {
		return math.Inf(1)
	}
	return v
}
