package sim

import (
	"context"
	"errors"
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

// serving runs a server in a bubble, gives it to the body, and stops it.
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
	assert.Equal(t, record.Accepted, record.Served+record.Lost+record.Dropped, "what was accepted is served, lost or dropped")
	return record
}

// together sends so many requests at a time, each waiting for so long, and returns when
// the first and the last good answer came, and the bad ones.
func together(r *running, n int, patience time.Duration) (first, last time.Duration, bad []error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range n {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			err := r.request(ctx, Get)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				bad = append(bad, err)
				return
			}
			if last = r.now(); first == 0 {
				first = last
			}
		})
	}
	all.Wait()
	return first, last, bad
}

func TestServerTakesItsTime(t *testing.T) {
	serving(t, Server{Capacity: Constant(100), Queue: 1000}, func(r *running) {
		first, last, bad := together(r, 500, time.Minute)
		assert.Equal(t, 10*time.Millisecond, first)
		assert.InDelta(t, 5*time.Second, last, float64(time.Millisecond))
		assert.Empty(t, bad)
	})
}

func TestServerGoesOnWithoutItsClients(t *testing.T) {
	for _, drops := range []bool{false, true} {
		record := serving(t, Server{Capacity: Constant(10), Queue: 1000, Drops: drops}, func(r *running) {
			_, last, bad := together(r, 300, 10*time.Second)
			assert.InDelta(t, 10*time.Second, last, float64(200*time.Millisecond))
			require.InDelta(t, 200, len(bad), 1)
			assert.ErrorIs(t, bad[0], context.DeadlineExceeded)
		})
		if drops {
			assert.InDelta(t, 200, record.Dropped, 1)
			assert.LessOrEqual(t, record.Wasted, 1, "the one under way")
		} else {
			assert.InDelta(t, 200, record.Wasted, 1)
		}
	}
}

func TestServerTurnsAway(t *testing.T) {
	for _, c := range []struct {
		name   string
		server Server
		send   int
		bad    int
		is     func(error) bool
	}{
		{"what does not fit into the queue", Server{Capacity: Constant(1), Queue: 9}, 100, 90, apierrors.IsServiceUnavailable},
		{"connections while it is down", Server{Capacity: Constant(100), Queue: 100, Down: []Window{{0, time.Second}}}, 50, 50, utilnet.IsConnectionRefused},
		{"at random", Server{Capacity: Constant(1e4), Queue: 1e4, Faults: 0.3}, 1000, 300, apierrors.IsServiceUnavailable},
		{"what is above its limit", Server{Capacity: Constant(1e4), Queue: 1e4, Limit: Constant(10)}, 100, 100, func(err error) bool {
			after, ok := apierrors.SuggestsClientDelay(err)
			return apierrors.IsTooManyRequests(err) && ok && 1 <= after && after <= 5
		}},
	} {
		record := serving(t, c.server, func(r *running) {
			_, _, bad := together(r, c.send, time.Minute)
			assert.InDelta(t, c.bad, len(bad), float64(c.send)/20, c.name)
			for _, err := range bad {
				require.True(t, c.is(err), "%s: %v", c.name, err)
			}
		})
		attempts, away := 0, 0
		for _, s := range record.Seconds {
			attempts += s.Attempts
			away += s.Refused + s.Rejected
		}
		assert.Equal(t, c.send, attempts, c.name)
		assert.Equal(t, c.send, record.Accepted+away, c.name)
	}
}

func TestLimitIsARate(t *testing.T) {
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

func TestCrashLosesTheQueue(t *testing.T) {
	record := serving(t, Server{Capacity: Constant(10), Queue: 1000, Down: []Window{{5 * time.Second, 6 * time.Second}}}, func(r *running) {
		_, _, bad := together(r, 100, time.Minute)
		require.InDelta(t, 50, len(bad), 1)
		assert.True(t, utilnet.IsConnectionReset(bad[0]))
	})
	assert.InDelta(t, 50, record.Lost, 1)
}

func TestOneVerbSlow(t *testing.T) {
	slow := func(Verb, time.Duration) time.Duration { return 15 * time.Second }
	serving(t, Server{Capacity: Constant(100), Queue: 100, Slow: slow}, func(r *running) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, r.request(ctx, Get))
		assert.Equal(t, 10*time.Millisecond, r.now())
		assert.True(t, errors.Is(r.request(ctx, List), context.DeadlineExceeded))
	})
}
