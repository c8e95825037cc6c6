// SPDX-License-Identifier: Apache-2.0

package contention

import (
	"context"
	"math"
	"time"

	avast "github.com/avast/retry-go/v5"
	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/googleapis/gax-go/v2"
	sethvargo "github.com/sethvargo/go-retry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgo "k8s.io/client-go/util/retry"

	"github.com/k8sretry/k8sretry"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
)

// The delays of all callers, as far as the library has these settings.
const (
	first   = 10 * time.Millisecond
	longest = 2 * time.Second
)

// Caller is one way to increment the object.
type Caller struct {
	Name    string
	Ours    bool
	Shares  bool // the clients of a process share state
	Process func() Process
}

// Callers returns all callers in the order of the table.
func Callers() []Caller {
	var all []Caller
	for _, v := range contender.Ours() {
		all = append(all, ours(v))
	}
	stateless := func(name string, p Process) Caller { return Caller{Name: name, Process: func() Process { return p }} }
	return append(all,
		stateless("client-go RetryOnConflict, DefaultRetry", onConflict(clientgo.DefaultRetry)),
		stateless("client-go RetryOnConflict, DefaultBackoff", onConflict(clientgo.DefaultBackoff)),
		stateless("client-go RetryOnConflict, jitter 1.0", onConflict(unlimited)),
		stateless("avast full jitter", avastFull),
		stateless("cenkalti", cenkalti),
		stateless("sethvargo full jitter", sethvargoFull),
		stateless("gax", gaxRetry),
		stateless("failsafe", failsafeRetry()),
	)
}

// ours returns the caller that uses Modify with the policy of a variant.
func ours(v contender.Variant) Caller {
	return Caller{Name: v.Name + ", Modify", Ours: true, Shares: v.Shared != nil, Process: func() Process {
		policy := v.Policy()
		return func(ctx context.Context, c *Client) error {
			_, err := k8sretry.Modify(ctx, c, name, add, policy)
			return err
		}
	}}
}

// unlimited has no practical limit of steps. It has no Cap, because a Cap ends the retries early.
var unlimited = wait.Backoff{Duration: first, Factor: 2, Jitter: 1, Steps: math.MaxInt32, Cap: 0}

func onConflict(schedule wait.Backoff) Process {
	return func(ctx context.Context, c *Client) error {
		schedule := schedule
		return clientgo.RetryOnConflict(schedule, func() error { return c.once(ctx) })
	}
}

func avastFull(ctx context.Context, c *Client) error {
	return avast.New(avast.UntilSucceeded(), avast.Delay(first/2), avast.MaxDelay(longest),
		avast.DelayType(avast.FullJitterBackoffDelay), avast.RetryIf(apierrors.IsConflict), avast.LastErrorOnly(true),
	).Do(func() error { return c.once(ctx) })
}

func cenkalti(ctx context.Context, c *Client) error {
	schedule := &backoff.ExponentialBackOff{InitialInterval: first, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longest}
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, c.once(ctx) },
		backoff.WithBackOff(schedule), backoff.WithMaxElapsedTime(0))
	return err
}

func sethvargoFull(ctx context.Context, c *Client) error {
	schedule := sethvargo.WithFullJitter(sethvargo.WithCappedDuration(longest, sethvargo.NewExponential(first)))
	return sethvargo.Do(ctx, schedule, func(ctx context.Context) error { return sethvargo.RetryableError(c.once(ctx)) })
}

func gaxRetry(ctx context.Context, c *Client) error {
	return gax.Invoke(ctx, func(ctx context.Context, _ gax.CallSettings) error { return c.once(ctx) },
		gax.WithRetry(func() gax.Retryer {
			return gax.OnErrorFunc(gax.Backoff{Initial: first, Max: longest, Multiplier: 2}, apierrors.IsConflict)
		}))
}

func failsafeRetry() Process {
	executor := failsafe.With(retrypolicy.NewBuilder[any]().HandleIf(func(_ any, err error) bool { return apierrors.IsConflict(err) }).
		WithMaxRetries(-1).WithBackoff(first, longest).WithJitterFactor(1).Build())
	return func(ctx context.Context, c *Client) error {
		return executor.WithContext(ctx).Run(func() error { return c.once(ctx) })
	}
}
