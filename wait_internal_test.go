package k8sretry

import (
	"context"
	"errors"
	"math"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry/internal/limiter"
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
	prepared, gate := NewPolicy(exact...), NewLimiter()
	return map[string]func(context.Context) (int, error){
		"a policy": func(ctx context.Context) (int, error) { return Do(ctx, failsFirst(retries), prepared) },
		"numbers":  func(ctx context.Context) (int, error) { return Do(ctx, failsFirst(retries), exact...) },
		"options":  func(ctx context.Context) (int, error) { return Do(ctx, failsFirst(retries), prepared, WithName("get")) },
		"a timeout": func(ctx context.Context) (int, error) {
			return Do(ctx, failsFirst(retries), prepared, WithAttemptTimeout(time.Hour))
		},
		"a gate": func(ctx context.Context) (int, error) {
			return Do(ctx, failsFirst(retries), prepared, WithLimiter(gate))
		},
	}
}

// Calls leave their timers to others. Between bubbles, and between a bubble and the world,
// that would end the process (a bubble's timer outside) or wait in earnest (one from
// outside in a bubble).
func TestTimersStayInTheirBubbles(t *testing.T) {
	outside := retriedCalls(2, time.Nanosecond)
	for range 10 {
		for way, call := range outside {
			v, err := call(t.Context())
			require.NoError(t, err, way)
			require.Equal(t, 42, v)
		}
		synctest.Test(t, func(t *testing.T) {
			for way, call := range retriedCalls(2, time.Minute) {
				began := time.Now()
				v, err := call(t.Context())
				require.NoError(t, err, way)
				require.Equal(t, 42, v)
				require.Equal(t, 2*time.Minute, time.Since(began), way)
			}
		})
	}
}

var testsBegan = time.Now()

// A bubble may go on until its year is ours, and long after.
func TestTimersOfABubbleThatGrowsOld(t *testing.T) {
	const year = 365 * 24 * time.Hour
	outside := retriedCalls(2, time.Nanosecond)
	for range 10 {
		for way, call := range outside {
			_, err := call(t.Context())
			require.NoError(t, err, way)
		}
		synctest.Test(t, func(t *testing.T) {
			ours := time.Until(testsBegan) + year
			for _, age := range []time.Duration{ours, 60 * year} {
				time.Sleep(age)
				for way, call := range retriedCalls(2, time.Minute) {
					began := time.Now()
					_, err := call(t.Context())
					require.NoError(t, err, way)
					require.Equal(t, 2*time.Minute, time.Since(began), way)
				}
			}
		})
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

	p := &progress{}
	require.Equal(t, afterWait, p.arm(time.Hour))
	p.disarm()
	assert.Nil(t, p.timer, "what it holds is not certain")
}

// someTicket is not the zero value.
func someTicket() limiter.Ticket {
	t, _, _ := limiter.New().Calls().Enter(context.Background(), 0)
	return t
}

// What comes back to a pool is empty, but for a timer that any call may use.
func TestPoolsHoldNothing(t *testing.T) {
	used := func() *progress {
		p := &progress{
			failed: 1, held: 1, charged: 1, last: errors.New("x"), wire: new(wire), timer: time.NewTimer(time.Hour),
			verdict: Verdict{Class: ClassServer, Outcome: OutcomeUnknown, StatusCode: 500, RetryAfter: 1, Detail: "x"},
			turn: turn{
				ticket:   someTicket(),
				admitted: true, probe: true, heldBack: true, timedOut: true, epoch: 1,
			},
			attempts: 1, inner: StopMaxRetries, failing: 1, outcome: OutcomeUnknown,
		}
		for i := range reflect.TypeOf(*p).NumField() {
			f := reflect.ValueOf(*p).Field(i)
			require.Equal(t, reflect.TypeOf(*p).Field(i).Name == "bubbled", f.IsZero(), "this test has to know all fields")
		}
		return p
	}
	p := used()
	timer := p.timer
	p.free()
	assert.Equal(t, progress{timer: timer}, *p)

	p = used()
	p.bubbled = true
	p.free()
	assert.Equal(t, progress{}, *p)

	c := resolve([]Option{ForWrite(), WithName("get"), WithLimiter(NewLimiter())})
	c.free()
	assert.True(t, reflect.ValueOf(c).IsZero())
	(*config)(nil).free()
}

// Options that hold more than numbers are added up on the stack, or all would escape.
func TestNewConfig(t *testing.T) {
	numbers := []Option{WithMaxRetries(7), WithInitialDelay(time.Second), WithMaxRetries(3)}
	want := resolve(numbers)
	want.setDefaults()
	got := newConfig(numbers, 0)
	require.NotNil(t, got)
	assert.True(t, reflect.DeepEqual(want, *got))
	got.free()

	assert.NotNil(t, newConfig(nil, 0), "no option at all")
	assert.Nil(t, newConfig(append(numbers, WithName("get")), 0))
	assert.Nil(t, newConfig(append(numbers, nil), 0))
	assert.Nil(t, newConfig(numbers, needsWord))
	for range 100 { // whoever used it before
		assert.Equal(t, defaultMaxRetries, newConfig([]Option{WithMaxDelay(time.Second)}, 0).maxRetries)
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
		_, err := p.afterFailure(&c, t.Context(), apierrors.NewServiceUnavailable("not yet"))
		require.ErrorIs(t, err, ErrMaxRetries)
	}

	c := resolve([]Option{WithLimiter(NewLimiter()), WithMaxDelay(time.Hour)})
	c.setDefaults()
	for i := range 300 {
		d := c.delayByCause(&p, 20, &Verdict{Class: ClassServer})
		if i >= randomFailures {
			require.GreaterOrEqual(t, d, time.Hour/2, "5xx number %d is no chance", i+1)
		}
	}
}
