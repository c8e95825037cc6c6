package k8sretry_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
)

// A tenth of the attempts fails by chance, in all ways, while the server is well: the gate
// must not take that for overload and make everybody wait.
func TestLimiterBesideRandomFaults(t *testing.T) {
	faults := []error{unavailable(), unavailable(), noConnection(), lostReply(), gatewayTimeout()}
	done := func(opts ...k8sretry.Option) (n int64) {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			var all sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for range 6 {
				all.Go(func() {
					for ctx.Err() == nil {
						err := k8sretry.Run(ctx, func(context.Context) error {
							time.Sleep(20 * time.Millisecond)
							if rand.IntN(10) == 0 {
								return faults[rand.IntN(len(faults))]
							}
							return nil
						}, append(opts, k8sretry.ForRead())...)
						if err == nil {
							calls.Add(1)
						}
						time.Sleep(100 * time.Millisecond)
					}
				})
			}
			all.Wait()
			n = calls.Load()
		})
		return n
	}
	without, with := done(), done(k8sretry.WithLimiter(k8sretry.NewLimiter()))
	t.Log(without, with)
	assert.Greater(t, with, without*6/10, "three quarters, and more")
}
