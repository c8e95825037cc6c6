// SPDX-License-Identifier: Apache-2.0

package k8sretryprom

import (
	"context"

	"github.com/k8sretry/k8sretry"
)

// Observe counts an event. It implements [k8sretry.Observer]. For a success at once it
// takes no lock and allocates nothing, except for the first one of a function and verb.
func (c *Collector) Observe(_ context.Context, e k8sretry.Event) {
	if c == nil || c.vectors == nil {
		return
	}
	switch e.Kind {
	case k8sretry.EventSuccess:
		c.ended(&e, "succeeded_after_retry", "")
	case k8sretry.EventFailure:
		result := "failed_at_once"
		if e.Attempt > 1 {
			result = "failed_after_retry"
		}
		c.ended(&e, result, e.StopReason.String())
	case k8sretry.EventRetry:
		s := c.find(&e)
		c.retries.WithLabelValues(s.function, s.verb, e.Class.String(), codeName(e.StatusCode)).Inc()
		c.waited(s, e.Class.String(), e.Delay.Seconds())
	case k8sretry.EventBreaker:
		c.breaker.WithLabelValues(e.Breaker.String()).Inc()
	case k8sretry.EventLimiter:
		c.limiter.WithLabelValues(limiterState(e.Limited), e.Scope.String()).Inc()
	case k8sretry.EventQueued: // the time is known when the call ends
	}
}

// ended counts a call and its attempts. The number of attempts is known only when the
// call ends: the attempt that an EventRetry announces may not take place.
func (c *Collector) ended(e *k8sretry.Event, result, stopReason string) {
	s := c.find(e)
	if e.Kind == k8sretry.EventSuccess && e.Attempt == 1 {
		s.atOnce.Inc()
	} else {
		c.calls.WithLabelValues(s.function, s.verb, result, stopReason).Inc()
	}
	if e.Attempt > 0 {
		s.attempts.Add(float64(e.Attempt))
		s.perCall.Observe(float64(e.Attempt))
	}
	if e.Hedges > 0 {
		c.hedges.WithLabelValues(s.function, s.verb).Add(float64(e.Hedges))
	}
	if e.Queued > 0 {
		c.waited(s, "limiter", e.Queued.Seconds())
	}
}

func (c *Collector) waited(s *series, cause string, seconds float64) {
	c.waits.WithLabelValues(s.function, s.verb, cause).Add(max(0, seconds)) // a Counter panics on a negative value
}

func limiterState(limited bool) string {
	if limited {
		return "limited"
	}
	return "open"
}
