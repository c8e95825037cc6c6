// SPDX-License-Identifier: Apache-2.0

package contender

import (
	"context"
	"time"

	avast "github.com/avast/retry-go/v5"
	"github.com/cenkalti/backoff/v5"
	"github.com/googleapis/gax-go/v2"
	sethvargo "github.com/sethvargo/go-retry"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgo "k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

func peers() []Contender {
	return append([]Contender{
		{Name: "one attempt", Process: oneAttempt},
		{Name: "loop exact delays", Process: func() sim.Process { return clientGo(0) }},
		{Name: "client-go jitter 0.1", Process: func() sim.Process { return clientGo(0.1) }},
		{Name: "client-go jitter 1.0", Process: func() sim.Process { return clientGo(1) }},
		{Name: "avast", Process: func() sim.Process { return avastRetry() }},
		{Name: "avast Retry-After", Process: func() sim.Process { return avastRetry(avast.DelayType(avastDelay)) }},
		{Name: "avast token bucket", Shares: true, Process: func() sim.Process {
			return avastRetry(avast.WithThrottle(avast.NewFixedTokenBucketThrottle(avast.FixedTokenBucketThrottleConfig{})))
		}},
		{Name: "cenkalti Retry-After", Process: cenkalti},
		{Name: "sethvargo full jitter", Process: sethvargoRetry},
		{Name: "gax", Process: gaxRetry},
	}, failsafePeers()...)
}

// oneAttempt does not retry.
func oneAttempt() sim.Process {
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error { return bounded(ctx, attempt) }
}

// clientGo uses retry.OnError without a Cap, because a Cap ends the retries early.
func clientGo(jitter float64) sim.Process {
	schedule := wait.Backoff{Duration: initial, Factor: 2, Jitter: jitter, Steps: retries + 1}
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
		return clientgo.OnError(schedule, transient, func() error { return bounded(ctx, attempt) })
	}
}

func avastRetry(opts ...avast.Option) sim.Process {
	opts = append([]avast.Option{
		avast.Attempts(retries + 1), avast.Delay(initial), avast.MaxDelay(longest), avast.LastErrorOnly(true), avast.RetryIf(transient),
	}, opts...)
	retrier := avast.New(opts...)
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
		return retrier.Do(func() error { return bounded(ctx, attempt) })
	}
}

// avastDelay is a delay function that obeys Retry-After.
func avastDelay(n uint, err error, config avast.DelayContext) time.Duration {
	own := avast.CombineDelay(avast.BackOffDelay, avast.RandomDelay)(n, err, config)
	after, _ := retryAfter(err)
	return max(own, after)
}

func cenkalti() sim.Process {
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
		schedule := &backoff.ExponentialBackOff{InitialInterval: initial, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longest}
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			err := bounded(ctx, attempt)
			switch after, ok := retryAfter(err); {
			case err != nil && !transient(err):
				err = backoff.Permanent(err)
			case ok:
				err = backoff.RetryAfter(int(after / time.Second))
			}
			return struct{}{}, err
		}, backoff.WithBackOff(schedule), backoff.WithMaxTries(retries+1), backoff.WithMaxElapsedTime(0))
		return err
	}
}

func sethvargoRetry() sim.Process {
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
		schedule := sethvargo.WithMaxRetries(retries,
			sethvargo.WithFullJitter(sethvargo.WithCappedDuration(longest, sethvargo.NewExponential(initial))))
		return sethvargo.Do(ctx, schedule, func(ctx context.Context) error {
			err := bounded(ctx, attempt)
			if err != nil && transient(err) {
				return sethvargo.RetryableError(err)
			}
			return err
		})
	}
}

// gaxRetryer adds a limit of attempts, which gax does not have.
type gaxRetryer struct {
	backoff gax.Backoff
	retries int
}

func (r *gaxRetryer) Retry(err error) (time.Duration, bool) {
	if r.retries == 0 || !transient(err) {
		return 0, false
	}
	r.retries--
	return r.backoff.Pause(), true
}

func gaxRetry() sim.Process {
	option := gax.WithRetry(func() gax.Retryer {
		return &gaxRetryer{backoff: gax.Backoff{Initial: initial, Max: longest, Multiplier: 2}, retries: retries}
	})
	return func(ctx context.Context, _ sim.Verb, attempt sim.Attempt) error {
		return gax.Invoke(ctx, func(ctx context.Context, _ gax.CallSettings) error { return bounded(ctx, attempt) }, option)
	}
}
