// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serving calls the body with a running server in a synctest bubble.
func serving(t *testing.T, s Server, body func(r *running)) *Record {
	record := &Record{}
	synctest.Test(t, func(*testing.T) {
		r := start(s, time.Now(), 1, record)
		body(r)
		for r.busy() {
			time.Sleep(time.Second)
		}
		close(r.stop)
	})
	assert.Equal(t, record.Accepted, record.Served+record.Lost+record.Dropped, "accepted requests are served, lost or dropped")
	return record
}

// sendAll sends n requests at the same time with the given timeout. It returns the times of
// the first and the last success, and the errors.
func sendAll(r *running, n int, timeout time.Duration) (first, last time.Duration, errs []error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range n {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			err := r.request(ctx, Get)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			if last = r.now(); first == 0 {
				first = last
			}
		})
	}
	all.Wait()
	return first, last, errs
}

func TestServerServesAtItsCapacity(t *testing.T) {
	serving(t, Server{Capacity: Constant(100), Queue: 1000}, func(r *running) {
		first, last, errs := sendAll(r, 500, time.Minute)
		assert.Equal(t, 10*time.Millisecond, first)
		assert.InDelta(t, 5*time.Second, last, float64(time.Millisecond))
		assert.Empty(t, errs)
	})
}

func TestRequestsOfClientsThatLeftAreServedOrDropped(t *testing.T) {
	for _, drops := range []bool{false, true} {
		record := serving(t, Server{Capacity: Constant(10), Queue: 1000, Drops: drops}, func(r *running) {
			_, last, errs := sendAll(r, 300, 10*time.Second)
			assert.InDelta(t, 10*time.Second, last, float64(200*time.Millisecond))
			require.InDelta(t, 200, len(errs), 1)
			assert.ErrorIs(t, errs[0], context.DeadlineExceeded)
		})
		if drops {
			assert.InDelta(t, 200, record.Dropped, 1)
			assert.LessOrEqual(t, record.Wasted, 1, "the request being served")
		} else {
			assert.InDelta(t, 200, record.Wasted, 1)
		}
	}
}

func TestServerRejectsRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		server Server
		send   int
		bad    int
		is     func(error) bool
	}{
		{"when the queue is full", Server{Capacity: Constant(1), Queue: 9}, 100, 90, apierrors.IsServiceUnavailable},
		{"while it is down", Server{Capacity: Constant(100), Queue: 100, Down: []Window{{0, time.Second}}}, 50, 50, utilnet.IsConnectionRefused},
		{"at random", Server{Capacity: Constant(1e4), Queue: 1e4, ErrorRatio: 0.3}, 1000, 300, apierrors.IsServiceUnavailable},
		{"above its limit", Server{Capacity: Constant(1e4), Queue: 1e4, Limit: Constant(10)}, 100, 100, func(err error) bool {
			after, ok := apierrors.SuggestsClientDelay(err)
			return apierrors.IsTooManyRequests(err) && ok && 1 <= after && after <= 5
		}},
	} {
		record := serving(t, c.server, func(r *running) {
			_, _, errs := sendAll(r, c.send, time.Minute)
			assert.InDelta(t, c.bad, len(errs), float64(c.send)/20, c.name)
			for _, err := range errs {
				require.True(t, c.is(err), "%s: %v", c.name, err)
			}
		})
		attempts, rejected := 0, 0
		for _, s := range record.Seconds {
			attempts += s.Attempts
			rejected += s.Refused + s.Rejected
		}
		assert.Equal(t, c.send, attempts, c.name)
		assert.Equal(t, c.send, record.Accepted+rejected, c.name)
	}
}

func TestLimitBoundsTheRate(t *testing.T) {
	serving(t, Server{Capacity: Constant(1e4), Queue: 1e4, Limit: Constant(50)}, func(r *running) {
		ok := 0
		for range 20 * 100 { // 100/s for 20 s
			if r.request(context.Background(), Get) == nil {
				ok++
			}
			time.Sleep(10*time.Millisecond - time.Since(r.begin)%(10*time.Millisecond))
		}
		assert.InDelta(t, 20*50, ok, 10)
	})
}

func TestCrashResetsQueuedRequests(t *testing.T) {
	record := serving(t, Server{Capacity: Constant(10), Queue: 1000, Down: []Window{{5 * time.Second, 6 * time.Second}}}, func(r *running) {
		_, _, errs := sendAll(r, 100, time.Minute)
		require.InDelta(t, 50, len(errs), 1)
		assert.True(t, utilnet.IsConnectionReset(errs[0]))
	})
	assert.InDelta(t, 50, record.Lost, 1)
}

func TestSlowVerbDelaysItsRequests(t *testing.T) {
	slow := func(Verb, time.Duration) time.Duration { return 15 * time.Second }
	serving(t, Server{Capacity: Constant(100), Queue: 100, Slow: slow}, func(r *running) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, r.request(ctx, Get))
		assert.Equal(t, 10*time.Millisecond, r.now())
		assert.ErrorIs(t, r.request(ctx, List), context.DeadlineExceeded)
	})
}
