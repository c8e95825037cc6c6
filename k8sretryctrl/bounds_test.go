// SPDX-License-Identifier: Apache-2.0

package k8sretryctrl_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretryctrl"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// hang waits for the end of the context and returns its error.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestACallEndsAfterTenSeconds(t *testing.T) {
	for situation, fail := range map[string]func(ctx context.Context, attempt int) error{
		"the server does not respond":                  func(ctx context.Context, _ int) error { return hang(ctx) },
		"the server fails at once":                     func(context.Context, int) error { return unknownOutcome() },
		"the server responds with long Retry-Afters":   func(context.Context, int) error { return k8sretrytest.TooManyRequests(4 * time.Second) },
		"the server does not respond after 3 failures": func(ctx context.Context, n int) error { return failThenHang(ctx, n, 3) },
		"the server does not respond after 4 failures": func(ctx context.Context, n int) error { return failThenHang(ctx, n, 4) },
		"the server does not respond after 6 failures": func(ctx context.Context, n int) error { return failThenHang(ctx, n, 6) },
		"the server fails slowly":                      func(ctx context.Context, _ int) error { return slowly(ctx, 1900*time.Millisecond) },
		"the server fails slowly, then does not respond": func(ctx context.Context, n int) error {
			if n > 2 {
				return hang(ctx)
			}
			return slowly(ctx, 1900*time.Millisecond)
		},
		"the server fails slowly, almost at the timeout": func(ctx context.Context, _ int) error { return slowly(ctx, 2900*time.Millisecond) },
	} {
		for _, m := range methods() {
			inVirtualTime(t, fmt.Sprintf("%s: %s %s", situation, m.name, m.verb), func(t *testing.T) {
				n := 0
				attempt := func(ctx context.Context) error { n++; return fail(ctx, n) }
				begin := time.Now()
				require.Error(t, m.call(t.Context(), k8sretryctrl.NewClient(failing(attempt))))
				assert.LessOrEqual(t, time.Since(begin), 10*time.Second)
			})
		}
	}
	inVirtualTime(t, "Modify", func(t *testing.T) {
		begin := time.Now()
		require.Error(t, k8sretryctrl.Modify(t.Context(), failing(hang), configMap("x"), plusOne))
		assert.LessOrEqual(t, time.Since(begin), 10*time.Second)
	})
	for _, m := range methods() {
		inVirtualTime(t, fmt.Sprintf("with a Limiter, in whose queue it waits: %s %s", m.name, m.verb), func(t *testing.T) {
			var n atomic.Int32
			c := k8sretryctrl.NewClient(failing(func(ctx context.Context) error {
				switch n.Add(1) % 3 {
				case 0:
					return k8sretrytest.TooManyRequests(4 * time.Second)
				case 1:
					return unknownOutcome()
				}
				return hang(ctx)
			}), k8sretry.WithLimiter(k8sretry.NewLimiter()))
			var calls sync.WaitGroup
			for range 20 {
				calls.Go(func() {
					for range 5 {
						begin := time.Now()
						assert.Error(t, m.call(t.Context(), c))
						assert.LessOrEqual(t, time.Since(begin), 10*time.Second)
					}
				})
			}
			calls.Wait()
		})
	}
	inVirtualTime(t, "options override that", func(t *testing.T) {
		begin := time.Now()
		c := k8sretryctrl.NewClient(failing(hang), k8sretry.WithMaxElapsed(time.Minute), k8sretry.WithAttemptTimeout(20*time.Second))
		require.Error(t, c.Get(t.Context(), key("x"), configMap("x")))
		assert.Greater(t, time.Since(begin), time.Minute)
	})
}

func failThenHang(ctx context.Context, attempt, failures int) error {
	if attempt <= failures {
		return unknownOutcome()
	}
	return hang(ctx)
}

func slowly(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
	return unknownOutcome()
}

// failing returns a client all of whose calls are those of attempt.
func failing(attempt func(context.Context) error) client.WithWatch {
	f := &faults{attempt: attempt}
	return f.in(cluster())
}
