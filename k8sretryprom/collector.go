// SPDX-License-Identifier: Apache-2.0

package k8sretryprom

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/k8sretry/k8sretry"
)

// Collector counts the events of calls. It is a [k8sretry.Observer] for
// [k8sretry.WithObserver] and a [prometheus.Collector] for one registry.
//
// Use [New] to create a Collector, one for all calls of a process. It is safe for
// concurrent use, starts no goroutine and must not be copied. A nil Collector and the
// zero Collector count nothing.
type Collector struct {
	calls    *prometheus.CounterVec
	retries  *prometheus.CounterVec
	attempts *prometheus.CounterVec
	perCall  *prometheus.HistogramVec
	hedges   *prometheus.CounterVec
	waits    *prometheus.CounterVec
	sends    *prometheus.CounterVec
	breaker  *prometheus.CounterVec
	limiter  *prometheus.CounterVec
	vectors  []prometheus.Collector // all of the above

	budgets  map[string]*k8sretry.Budget
	breakers map[string]*k8sretry.Breaker
	limiters map[string]*k8sretry.Limiter

	series atomic.Pointer[map[call]*series] // the map is replaced, not modified
	mu     sync.Mutex                       // serializes replacements of the map
}

var (
	_ k8sretry.Observer    = (*Collector)(nil)
	_ prometheus.Collector = (*Collector)(nil)
)

// attemptBuckets include the numbers of attempts of the presets, which have 2, 3, 5 and
// 10 retries.
var attemptBuckets = []float64{1, 2, 3, 4, 6, 11}

// New returns a Collector. Without options it exports no state of budgets, breakers and
// limiters.
func New(options ...Option) *Collector {
	c := &Collector{
		calls: counter("k8sretry_calls_total",
			"Calls that have ended, by result and, for failures, by stop reason.",
			"function", "verb", "result", "stop_reason"),
		retries: counter("k8sretry_retries_total",
			"Retries, by class and status code of the failed attempt.",
			"function", "verb", "class", "code"),
		attempts: counter("k8sretry_attempts_total",
			"Attempts of calls that have ended.",
			"function", "verb"),
		hedges: counter("k8sretry_hedges_total",
			"Second requests of reads beside a slow one, of calls that have ended.",
			"function", "verb"),
		waits: counter("k8sretry_wait_seconds_total",
			"Time that calls waited, by cause: the class of the failed attempt for a wait before a retry, counted when it starts; limiter for a wait in the queue of a limiter, counted when the call ends.",
			"function", "verb", "cause"),
		sends: counter("k8sretry_sends_total",
			"HTTP requests sent through a RoundTripper of CountSends, by status code of the response.",
			"method", "code"),
		breaker: counter("k8sretry_breaker_changes_total",
			"State changes of breakers, by new state.",
			"state"),
		limiter: counter("k8sretry_limiter_changes_total",
			"State changes of limiters, by scope: to limited when they start to limit the attempts of a kind, a priority level or the server, to open when they stop.",
			"state", "scope"),
		perCall: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "k8sretry_call_attempts",
			Help:    "Attempts per call, counted when the call ends.",
			Buckets: attemptBuckets,

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  40,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"function", "verb"}),

		budgets:  map[string]*k8sretry.Budget{},
		breakers: map[string]*k8sretry.Breaker{},
		limiters: map[string]*k8sretry.Limiter{},
	}
	c.vectors = []prometheus.Collector{c.calls, c.retries, c.attempts, c.hedges, c.waits, c.sends, c.breaker, c.limiter, c.perCall}
	c.series.Store(&map[call]*series{})
	for _, s := range []k8sretry.BreakerState{k8sretry.BreakerClosed, k8sretry.BreakerOpen, k8sretry.BreakerHalfOpen} {
		c.breaker.WithLabelValues(s.String())
	}
	for _, limited := range []bool{false, true} {
		for _, scope := range scopes {
			c.limiter.WithLabelValues(limiterState(limited), scope.String())
		}
	}
	for _, o := range options {
		if o != nil {
			o(c)
		}
	}
	return c
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	if c == nil || c.vectors == nil {
		return
	}
	for _, vector := range c.vectors {
		vector.Describe(out)
	}
	for _, d := range stateDescs {
		out <- d
	}
}

// Collect implements [prometheus.Collector]. It reads the current state of the budgets,
// breakers and limiters.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	if c == nil || c.vectors == nil {
		return
	}
	for _, vector := range c.vectors {
		vector.Collect(out)
	}
	c.collectBudgets(out)
	c.collectBreakers(out)
	c.collectLimiters(out)
}
