//go:build !race

package k8sretry_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
)

// A call that is retried costs no allocation either: memory and timer are those of calls
// that have ended. The race detector lets a sync.Pool lose some of them, to be seen.
func TestNoAllocationForRetries(t *testing.T) {
	k8sretry.ForgetTransports()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, name := rand.IntN(5)+1, []string{"get a pod", "list pods"}[rand.IntN(2)]
	value := 42
	gate := k8sretry.NewLimiter() // no Budget or Breaker goes along with so many failures
	quick := k8sretry.NewPolicy(k8sretry.WithInitialDelay(1))
	down, failures := unavailable(), 0
	failsTwice := func(context.Context) (*int, error) {
		if failures++; failures%3 != 0 {
			return nil, down
		}
		return &value, nil
	}
	for name, call := range map[string]func(){
		"two failures, no option": func() { _, _ = k8sretry.Do(ctx, failsTwice, k8sretry.WithInitialDelay(1)) },
		"two failures, options": func() {
			_, _ = k8sretry.Do(ctx, failsTwice, k8sretry.WithInitialDelay(1), k8sretry.WithMaxRetries(n+2))
		},
		"two failures, prepared policy":   func() { _, _ = k8sretry.Do(ctx, failsTwice, quick) },
		"two failures, policy and a name": func() { _, _ = k8sretry.Do(ctx, failsTwice, quick, k8sretry.WithName(name)) },
		"two failures, WithLimiter":       func() { _, _ = k8sretry.Do(ctx, failsTwice, quick, k8sretry.WithLimiter(gate)) },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, call), name)
	}
}
