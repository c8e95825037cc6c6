// SPDX-License-Identifier: Apache-2.0

package contender

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	unavailable = apierrors.NewServiceUnavailable("the server is currently unable to handle the request")
	notFound    = apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web-0")
)

// All contenders have the settings of the comparison.
func TestContendersMakeTheSameAttempts(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range All() {
		for _, situation := range []struct {
			name     string
			answers  []sim.Attempt // the last one is repeated
			attempts int
			ok       bool
		}{
			{"success", []sim.Attempt{answer(nil)}, 1, true},
			{"a permanent error", []sim.Attempt{answer(notFound)}, 1, false},
			{"two failures, then success", []sim.Attempt{answer(unavailable), answer(unavailable), answer(nil)}, 3, true},
			{"a server that never answers", []sim.Attempt{hang, answer(nil)}, 2, true},
			{"five failures, then success", []sim.Attempt{
				answer(unavailable), answer(unavailable), answer(unavailable), answer(unavailable), answer(unavailable), answer(nil)}, 6, true},
			{"nothing but failures", []sim.Attempt{answer(unavailable)}, 6, false},
		} {
			synctest.Test(t, func(t *testing.T) {
				start, attempts := time.Now(), 0
				err := c.Process()(context.Background(), sim.Get, func(ctx context.Context) error {
					attempts++
					deadline, bounded := ctx.Deadline()
					require.True(t, bounded, c.Name)
					assert.Equal(t, perAttempt, time.Until(deadline), c.Name)
					return situation.answers[min(attempts, len(situation.answers))-1](ctx)
				})
				took := time.Since(start)
				switch {
				case c.Name == "one attempt":
					assert.Equal(t, 1, attempts)
				case c.Name == "k8sretry limiter with 5 s queue time":
					// After some failures a pause may outlast the queue time.
					assert.LessOrEqual(t, attempts, situation.attempts, "%s: %s", c.Name, situation.name)
				case c.Name == "failsafe eager breaker", c.Name == "failsafe queue and eager breaker", c.Name == "failsafe throttler":
					// Rejections count as attempts of the retry policy.
					assert.LessOrEqual(t, attempts, situation.attempts, "%s: %s", c.Name, situation.name)
				default:
					assert.Equal(t, situation.attempts, attempts, "%s: %s", c.Name, situation.name)
					assert.Equal(t, situation.ok, err == nil, "%s: %s", c.Name, situation.name)
				}
				assert.LessOrEqual(t, took, 160*time.Second, "%s: %s", c.Name, situation.name)
			})
		}
	}
}

func answer(err error) sim.Attempt { return func(context.Context) error { return err } }

// The libraries that support it wait at least as long as the server asks for.
func TestRetryAfterIsObeyed(t *testing.T) {
	obeys := map[string]bool{"avast Retry-After": true, "cenkalti Retry-After": true}
	for _, c := range All() {
		if !c.Ours && !obeys[c.Name] && (len(c.Name) < 8 || c.Name[:8] != "failsafe") {
			continue
		}
		for range 20 {
			synctest.Test(t, func(t *testing.T) {
				var answered time.Time
				attempts := 0
				_ = c.Process()(context.Background(), sim.Get, func(context.Context) error {
					if attempts++; attempts > 1 {
						assert.GreaterOrEqual(t, time.Since(answered), 20*time.Second, c.Name)
					}
					answered = time.Now()
					if attempts == 3 {
						return nil
					}
					return apierrors.NewTooManyRequests("too many requests", 20)
				})
			})
		}
	}
}

func TestNamedSelectsByPattern(t *testing.T) {
	names := func(patterns ...string) (names []string) {
		for _, c := range Named(patterns) {
			names = append(names, c.Name)
		}
		return names
	}
	assert.Equal(t, []string{"k8sretry"}, names("k8sretry$"))
	assert.Contains(t, names("k8sretry"), Main)
	assert.Equal(t, []string{"one attempt", "gax"}, names("gax", "one"))
	assert.Empty(t, names("unknown"))
	assert.Len(t, names(), len(All()))
	seen := map[string]bool{}
	for _, c := range All() {
		assert.False(t, seen[c.Name], c.Name)
		assert.NotContains(t, c.Name, ",")
		seen[c.Name] = true
	}
	assert.True(t, seen[Main])
}
