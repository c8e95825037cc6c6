// SPDX-License-Identifier: Apache-2.0

package fairness

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/avast/retry-go/v5"
	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	clientretry "k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"
)

// Contender is one way to make calls.
type Contender struct {
	Name string
	// Ours is set for k8sretry.
	Ours bool
	// WithLimiter is set for k8sretry with a Limiter.
	WithLimiter bool
	// Bare is set if client-go's own retries are disabled. The library then gets each
	// 429, and obeys its Retry-After if possible.
	Bare bool

	prepare func(*rest.Config)
	// repeat makes the call until it succeeds or ctx ends.
	repeat func(ctx context.Context, call func(context.Context) error) error
}

// The other libraries use delays of 1 s to 10 s, like ForRead, and their own jitter. They
// retry until the context ends.
const (
	initialDelay = time.Second
	maxDelay     = 10 * time.Second
)

// Contenders returns all contenders, the other libraries first. A contender can be used for
// one run only, because its Limiter has state.
func Contenders() []Contender {
	list := []Contender{{Name: "plain client-go (10 retries)", repeat: once}}
	for _, bare := range []bool{false, true} {
		list = append(list,
			Contender{Name: "retry.OnError, jitter", Bare: bare, repeat: onError},
			Contender{Name: "cenkalti/backoff", Bare: bare, repeat: cenkalti(bare)},
			Contender{Name: "avast/retry-go", Bare: bare, repeat: avast(bare)},
			Contender{Name: "failsafe-go", Bare: bare, repeat: failsafeGo(bare)},
		)
	}
	return append(list,
		Contender{Name: "k8sretry, ForRead, no limiter", Ours: true, Bare: true, repeat: ours(k8sretry.ForRead())},
		Contender{Name: "k8sretry, ForRead, WithLimiter", Ours: true, WithLimiter: true, Bare: true, repeat: ours(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()))},
		Contender{Name: "k8sretry, ForWrite, WithLimiter", Ours: true, WithLimiter: true, Bare: true, repeat: ours(k8sretry.ForWrite(), k8sretry.WithLimiter(k8sretry.NewLimiter()))},
		Contender{Name: "k8sretry, Transport(ForRead, WithLimiter)", Ours: true, WithLimiter: true, prepare: onTransport(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter())), repeat: once},
	)
}

func once(ctx context.Context, call func(context.Context) error) error { return call(ctx) }

func ours(opts ...k8sretry.Option) func(context.Context, func(context.Context) error) error {
	return func(ctx context.Context, call func(context.Context) error) error {
		return k8sretry.Run(ctx, call, opts...)
	}
}

func onTransport(opts ...k8sretry.Option) func(*rest.Config) {
	return func(c *rest.Config) { c.Wrap(k8sretry.Transport(opts...)) }
}

// onError cannot obey Retry-After. Its schedule has no Cap, because a Cap ends the retries
// when the delay reaches it.
func onError(ctx context.Context, call func(context.Context) error) error {
	schedule := wait.Backoff{Duration: initialDelay, Factor: 2, Jitter: 1, Steps: 6}
	return clientretry.OnError(schedule, func(err error) bool { return ctx.Err() == nil && transient(err) },
		func() error { return call(ctx) })
}

func cenkalti(obey bool) func(context.Context, func(context.Context) error) error {
	return func(ctx context.Context, call func(context.Context) error) error {
		schedule := backoff.NewExponentialBackOff()
		schedule.InitialInterval, schedule.Multiplier, schedule.MaxInterval = initialDelay, 2, maxDelay
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			err := call(ctx)
			if err == nil {
				return struct{}{}, nil
			}
			if !transient(err) {
				return struct{}{}, backoff.Permanent(err)
			}
			if seconds, ok := apierrors.SuggestsClientDelay(err); ok && obey {
				err = backoff.RetryAfter(seconds)
			}
			return struct{}{}, err
		}, backoff.WithBackOff(schedule), backoff.WithMaxElapsedTime(0))
		return err
	}
}

func avast(obey bool) func(context.Context, func(context.Context) error) error {
	return func(ctx context.Context, call func(context.Context) error) error {
		delay := retry.CombineDelay(retry.BackOffDelay, retry.RandomDelay)
		if obey {
			delay = func(n uint, err error, c retry.DelayContext) time.Duration {
				if after := retryAfter(err); after > 0 {
					return after + retry.RandomDelay(n, err, c)
				}
				return retry.CombineDelay(retry.BackOffDelay, retry.RandomDelay)(n, err, c)
			}
		}
		return retry.New(retry.Context(ctx), retry.UntilSucceeded(), retry.Delay(initialDelay), retry.MaxDelay(maxDelay),
			retry.MaxJitter(initialDelay), retry.DelayType(delay), retry.LastErrorOnly(true), retry.RetryIf(transient)).
			Do(func() error { return call(ctx) })
	}
}

func failsafeGo(obey bool) func(context.Context, func(context.Context) error) error {
	builder := retrypolicy.NewBuilder[struct{}]().
		HandleIf(func(_ struct{}, err error) bool { return err != nil && transient(err) }).
		WithMaxRetries(-1).
		WithBackoff(initialDelay, maxDelay).
		ReturnLastFailure()
	if obey {
		// The library's jitter would make half of the retries too early.
		builder = builder.WithDelayFunc(func(e failsafe.ExecutionAttempt[struct{}]) time.Duration {
			if after := retryAfter(e.LastError()); after > 0 {
				return after + rand.N(after/2)
			}
			return -1 // the schedule
		})
	} else {
		builder = builder.WithJitterFactor(0.5)
	}
	policy := builder.Build()
	return func(ctx context.Context, call func(context.Context) error) error {
		return failsafe.With(policy).WithContext(ctx).Run(func() error { return call(ctx) })
	}
}

// transient reports whether an error is usually considered transient.
func transient(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsInternalError(err) || apierrors.IsTimeout(err)
}

// retryAfter returns the Retry-After of an error, or 0.
func retryAfter(err error) time.Duration {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return 0
	}
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return time.Duration(seconds) * time.Second
}
