package k8sretryprom

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/k8sretry/k8sretry"
)

// What is read at each scrape. +Inf stands for no limit: a share of it is 0, and no line
// of a graph.
var (
	budgetRemaining = state("k8sretry_budget_remaining_retries", "Retries that the budget would pay for now.", "budget")
	budgetTime      = state("k8sretry_budget_retry_time_seconds", "Time spent on retries in the budget's window.", "budget")
	budgetRetries   = state("k8sretry_budget_retries_total", "Retries that the budget paid for or refused.", "budget", "decision")

	breakerState = state("k8sretry_breaker_state", "1 for the state that the breaker is in, 0 for the others.", "breaker", "state")

	limiterLimited  = state("k8sretry_limiter_limited", "1 while the limiter limits attempts.", "limiter")
	limiterLimit    = state("k8sretry_limiter_limit_attempts", "Attempts that may be under way at a time, +Inf without a limit.", "limiter")
	limiterInFlight = state("k8sretry_limiter_in_flight_attempts", "Attempts that are under way.", "limiter")
	limiterWaiting  = state("k8sretry_limiter_waiting_calls", "Calls that wait in line.", "limiter")
	limiterRest     = state("k8sretry_limiter_rest_seconds", "Time for which no attempt will start.", "limiter")
	limiterPace     = state("k8sretry_limiter_pace_attempts_per_second", "Attempts that may start in a second, +Inf without a limit.", "limiter")

	states = []*prometheus.Desc{
		budgetRemaining, budgetTime, budgetRetries, breakerState,
		limiterLimited, limiterLimit, limiterInFlight, limiterWaiting, limiterRest, limiterPace,
	}
)

func state(name, help string, labels ...string) *prometheus.Desc {
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
			out <- gauge(breakerState, truth(s == now), name, s.String())
		}
	}
}

func (c *Collector) collectLimiters(out chan<- prometheus.Metric) {
	for name, g := range c.limiters {
		s := g.State()
		out <- gauge(limiterLimited, truth(s.Limited), name)
		out <- gauge(limiterLimit, orUnlimited(float64(s.Limit)), name)
		out <- gauge(limiterInFlight, float64(s.InFlight), name)
		out <- gauge(limiterWaiting, float64(s.Queued), name)
		out <- gauge(limiterRest, s.Pause.Seconds(), name)
		out <- gauge(limiterPace, orUnlimited(s.Rate), name)
	}
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func total(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func orUnlimited(v float64) float64 {
	if v == 0 {
		return math.Inf(1)
	}
	return v
}
