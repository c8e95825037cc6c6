package k8sretry_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// seats is a server that serves so many requests at a time, each for a while, and
// refuses all others at once, as Priority and Fairness does without a queue.
type seats struct {
	free    atomic.Int64
	takes   time.Duration
	refused atomic.Int64
}

func (s *seats) serve(context.Context) error {
	if s.free.Add(-1) < 0 {
		s.free.Add(1)
		time.Sleep(5 * time.Millisecond)
		s.refused.Add(1)
		return apierrors.NewTooManyRequests("too many", 1)
	}
	time.Sleep(5*time.Millisecond + s.takes)
	s.free.Add(1)
	return nil
}

// A process that knows nothing of the server asks for everything at once. Whoever is
// refused then waits; the seats do not.
func TestLimiterTakesTheSeatsThereAre(t *testing.T) {
	for _, n := range []int64{1, 3, 20} {
		t.Run(strconv.FormatInt(n, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const calls = 200
				s := &seats{takes: 60 * time.Millisecond}
				s.free.Store(n)
				policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithLimiter(k8sretry.NewLimiter()))
				begin := time.Now()
				var wg sync.WaitGroup
				for range calls {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
						defer cancel()
						assert.NoError(t, k8sretry.Run(ctx, s.serve, policy))
					})
				}
				wg.Wait()
				took, alone := time.Since(begin), calls*65*time.Millisecond/time.Duration(n)
				t.Logf("%v, %d refused", took, s.refused.Load())
				assert.Less(t, took, 5*time.Second+2*alone, "seats stay empty")
				assert.Less(t, s.refused.Load(), int64(calls+30), "refusals are not asked for again and again")
			})
		})
	}
}
