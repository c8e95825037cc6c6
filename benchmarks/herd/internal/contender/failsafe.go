// SPDX-License-Identifier: Apache-2.0

package contender

import (
	"context"
	"errors"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	failsafebudget "github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

// policy is a policy of failsafe-go.
type policy = failsafe.Policy[any]

// failsafePeers returns the contenders with the policies of failsafe-go that protect a
// server. The policies are inside the retries, so that they apply to each attempt.
func failsafePeers() []Contender {
	peer := func(name string, inside ...func() policy) Contender {
		return Contender{Name: "failsafe " + name, Shares: len(inside) > 0, Process: func() sim.Process {
			var shared []policy
			for _, p := range inside {
				shared = append(shared, p())
			}
			return failsafeRetry(nil, shared...)
		}}
	}
	return []Contender{
		peer("Retry-After"),
		{Name: "failsafe budget", Shares: true, Process: func() sim.Process { return failsafeRetry(failsafebudget.New()) }},
		peer("breaker", rateBreaker),
		peer("eager breaker", eagerBreaker),
		peer("throttler", throttler),
		peer("limiter", adaptiveLimiter),
		peer("queue", queue),
		peer("queue and breaker", queue, rateBreaker),
		peer("queue and eager breaker", queue, eagerBreaker),
	}
}

func throttler() policy { return adaptivethrottler.NewBuilder[any]().HandleIf(failed).Build() }

func adaptiveLimiter() policy { return adaptivelimiter.NewWithDefaults[any]() }

// queue is the limiter with a queue that is long enough for all calls.
func queue() policy {
	return adaptivelimiter.NewBuilder[any]().WithQueueing(1000, 2000).WithMaxWaitTime(2 * time.Minute).Build()
}

// rateBreaker opens when half of at least ten attempts within 10 s fail.
func rateBreaker() policy {
	return circuitbreaker.NewBuilder[any]().HandleIf(failed).WithFailureRateThreshold(0.5, 10, 10*time.Second).
		WithDelay(10 * time.Second).WithJitterFactor(0.5).WithSuccessThreshold(3).Build()
}

// eagerBreaker opens after three consecutive failures.
func eagerBreaker() policy {
	return circuitbreaker.NewBuilder[any]().HandleIf(failed).WithFailureThreshold(3).
		WithDelay(5 * time.Second).WithJitterFactor(0.5).WithSuccessThreshold(1).Build()
}

func failed(_ any, err error) bool { return err != nil && transient(err) }

// rejected reports whether a policy of the library rejected the attempt.
func rejected(err error) bool {
	return errors.Is(err, circuitbreaker.ErrOpen) || errors.Is(err, adaptivethrottler.ErrExceeded) || errors.Is(err, adaptivelimiter.ErrExceeded)
}

// failsafeRetry returns a process that obeys Retry-After.
func failsafeRetry(shared failsafebudget.Budget, inside ...policy) sim.Process {
	b := retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return err != nil && (rejected(err) || transient(err)) }).
		WithMaxRetries(retries).WithBackoff(initial, longest).WithJitterFactor(jitter).ReturnLastFailure().
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[any]) time.Duration {
			after, ok := retryAfter(exec.LastError())
			if !ok {
				return -1
			}
			// The jitter may shorten the delay, but not below the Retry-After.
			return time.Duration(float64(max(after, min(initial<<exec.Retries(), longest))) / (1 - jitter))
		})
	if shared != nil {
		b.WithBudget(shared)
	}
	executor := failsafe.With(append([]policy{b.Build()}, inside...)...)
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
		return executor.WithContext(ctx).Run(func() error { return bounded(ctx, attempt) })
	}
}
