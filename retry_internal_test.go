package k8sretry

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// failsFirst fails so often, and then succeeds.
func failsFirst(times int) func(context.Context) (int, error) {
	return func(context.Context) (int, error) {
		if times--; times >= 0 {
			return 0, apierrors.NewServiceUnavailable("not yet")
		}
		return 42, nil
	}
}

// retriedCalls are calls that come to their retries on different ways, with so many of them
// and this delay before each.
func retriedCalls(retries int, delay time.Duration) map[string]func(context.Context) (int, error) {
	exact := []Option{WithMaxRetries(retries), WithInitialDelay(delay), WithMaxDelay(delay), WithJitter(JitterNone)}
	prepared, limiter := NewPolicy(exact...), NewLimiter()
	return map[string]func(context.Context) (int, error){
		"a policy": func(ctx context.Context) (int, error) { return Do(ctx, failsFirst(retries), prepared) },
		"numbers":  func(ctx context.Context) (int, error) { return Do(ctx, failsFirst(retries), exact...) },
		"options":  func(ctx context.Context) (int, error) { return Do(ctx, failsFirst(retries), prepared, WithName("get")) },
		"a timeout": func(ctx context.Context) (int, error) {
			return Do(ctx, failsFirst(retries), prepared, WithAttemptTimeout(time.Hour))
		},
		"a limiter": func(ctx context.Context) (int, error) {
			return Do(ctx, failsFirst(retries), prepared, WithLimiter(limiter))
		},
	}
}

// An Error that somebody has made without saying why is that of an inner call, too.
func TestInnerErrorWithoutAStop(t *testing.T) {
	e := &Error{Err: apierrors.NewServiceUnavailable("not yet"), Outcome: OutcomeUnknown}
	_, err := Do(t.Context(), func(context.Context) (int, error) { return 0, e }, WithVerb(VerbCreate))
	assert.Same(t, e, err)
}

// Who leaves while it waits leaves nothing behind that the next call would hear.
func TestNextCallAfterALeftWait(t *testing.T) {
	for way := range retriedCalls(0, 0) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		_, err := retriedCalls(1, time.Hour)[way](ctx)
		require.ErrorIs(t, err, context.Canceled, way)
		began := time.Now()
		_, err = retriedCalls(1, 20*time.Millisecond)[way](t.Context())
		require.NoError(t, err, way)
		assert.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond, way)
	}
}

// Calls that run at the same time share nothing that one of them has changed.
func TestRetriedCallsBesideEachOther(t *testing.T) {
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			for round := range 20 {
				retries := (i + round) % 5
				for way, call := range retriedCalls(retries, time.Nanosecond) {
					v, err := call(t.Context())
					assert.NoError(t, err, way)
					assert.Equal(t, 42, v)
				}
				_, err := Do(t.Context(), failsFirst(retries+1), WithMaxRetries(retries), WithInitialDelay(time.Nanosecond))
				var e *Error
				if assert.ErrorAs(t, err, &e) {
					assert.Equal(t, retries+1, e.Attempts)
				}
			}
		})
	}
	all.Wait()
}

// A call without end does not begin again: it ends.
func TestAttemptsDoNotOverflow(t *testing.T) {
	p := progress{attempts: math.MaxInt32 - 1}
	for range 3 {
		p.count(1)
	}
	p.count(math.MaxInt)
	assert.Equal(t, int32(math.MaxInt32), p.attempts)

	for _, retries := range []int{math.MaxInt32 - 1, math.MaxInt32, math.MaxInt} {
		c := resolve([]Option{WithMaxRetries(retries), WithLogger(nil)})
		c.setDefaults()
		unavailable := apierrors.NewServiceUnavailable("not yet")
		err := p.failed(&c, t.Context(), unavailable, p.classify(&c, unavailable))
		require.ErrorIs(t, err, ErrMaxRetries)
	}

	c := resolve([]Option{WithLimiter(NewLimiter()), WithMaxDelay(time.Hour)})
	c.setDefaults()
	for i := range 300 {
		d, _ := c.delayByCause(&p, 20, &Verdict{Class: ClassServer})
		if i >= randomFailures {
			require.GreaterOrEqual(t, d, time.Hour/2, "5xx number %d is no chance", i+1)
		}
	}
}
