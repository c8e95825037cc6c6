// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// phases is an object that is read: each read fails with an error, or returns the number of
// the successful read.
type phases struct {
	script
	read int
}

func phasesWith(errs ...error) *phases { return &phases{script: script{fails: errs}} }

func (p *phases) get(ctx context.Context) (int, error) {
	if _, err := p.script.get(ctx); err != nil {
		return -1, err
	}
	p.read++
	return p.read, nil
}

// since returns a condition that holds from a read on.
func since(n int) func(int) (bool, error) { return func(v int) (bool, error) { return v >= n, nil } }

const endless = 1 << 30

// When Until reads, what it returns, and with which error.
func TestUntil(t *testing.T) {
	fatal := errors.New("the pod has failed")
	for _, c := range []struct {
		situation string
		fails     []error
		holds     func(int) (bool, error)
		timeout   time.Duration // of the context
		opts      []k8sretry.Option
		waits     []time.Duration
		value     int
		check     func(*testing.T, error)
	}{
		{situation: "the condition holds: one read", holds: since(1), value: 1},
		{
			situation: "it holds at the fourth read: a read each second",
			holds:     since(4), waits: seconds(1, 1, 1), value: 4,
		},
		{
			situation: "another initial delay: the pace of the reads",
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithInitialDelay(5 * time.Second)}, waits: seconds(5, 5), value: 3,
		},
		{
			situation: "a Backoff is for failures only",
			fails:     []error{nil, unavailable()},
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithBackoff(constantBackoff{9 * time.Second})}, waits: seconds(1, 9, 1), value: 3,
		},
		{
			situation: "a schedule of its own, counted in reads, not in attempts",
			fails:     []error{nil, unavailable(), unavailable()},
			holds:     since(3),
			opts: []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassNone, k8sretry.BackoffFunc(func(read int) time.Duration {
				return time.Duration(10*read) * time.Second
			}))},
			waits: seconds(10, 1, 2, 20), value: 3,
		},
		{
			situation: "a negative delay: no wait",
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithBackoffFor(k8sretry.ClassNone, constantBackoff{-1})}, waits: seconds(0, 0), value: 3,
		},
		{
			situation: "reads fail between: retried, each time with all retries",
			fails:     []error{unavailable(), unavailable(), nil, unavailable(), unavailable(), nil, unavailable()},
			holds:     since(3), opts: []k8sretry.Option{k8sretry.WithMaxRetries(2)}, waits: seconds(1, 2, 1, 1, 2, 1, 1), value: 3,
		},
		{
			situation: "a read fails for good: its error, and the value before",
			fails:     []error{nil, nil, notFound()},
			holds:     since(endless), waits: seconds(1, 1), value: 2,
			check: func(t *testing.T, err error) { assert.Equal(t, notFound(), err) },
		},
		{
			situation: "the first read fails for good: no value",
			fails:     []error{notFound()},
			holds:     since(endless),
			check:     func(t *testing.T, err error) { assert.Equal(t, notFound(), err) },
		},
		{
			situation: "no retries are left: the last error of the API, and the attempts of all reads",
			fails:     []error{nil, nil, unavailable(), unavailable()},
			holds:     since(endless), opts: []k8sretry.Option{k8sretry.WithMaxRetries(1)}, waits: seconds(1, 1, 1), value: 2,
			check: func(t *testing.T, err error) {
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopMaxRetries, e.StopReason)
				assert.Equal(t, 4, e.Attempts)
				assert.Equal(t, 3*time.Second, e.Elapsed)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.NotErrorIs(t, err, k8sretry.ErrConditionNotMet)
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "it only reads")
			},
		},
		{
			situation: "the condition ends the call: its error as it is",
			holds:     func(v int) (bool, error) { return false, fatalAt(v, 2, fatal) }, waits: seconds(1), value: 2,
			check: func(t *testing.T, err error) { assert.Same(t, fatal, err) },
		},
		{
			situation: "its error is marked as permanent: without the mark",
			holds:     func(v int) (bool, error) { return false, k8sretry.Permanent(fatalAt(v, 2, fatal)) }, waits: seconds(1), value: 2,
			check: func(t *testing.T, err error) { assert.Same(t, fatal, err) },
		},
		{
			situation: "the next read would come after the deadline: no wait for it",
			holds:     since(endless), timeout: 3500 * time.Millisecond, waits: seconds(1, 1, 1), value: 4,
			check: func(t *testing.T, err error) {
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopDeadline, e.StopReason)
				assert.Equal(t, 4, e.Attempts)
				assert.Equal(t, 3*time.Second, e.Elapsed)
				assert.Same(t, k8sretry.ErrConditionNotMet, e.Err)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorContains(t, err, "no time left before the deadline after 4 attempts in 3s: condition not met")
			},
		},
		{
			situation: "max elapsed, counted from the first read, whatever the reads do",
			fails:     []error{nil, nil, unavailable()},
			holds:     since(endless), opts: []k8sretry.Option{k8sretry.WithMaxElapsed(4500 * time.Millisecond)}, waits: seconds(1, 1, 1, 1), value: 4,
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
				assert.ErrorIs(t, err, k8sretry.ErrConditionNotMet)
				assert.Equal(t, 5, asError(t, err).Attempts)
			},
		},
		{
			situation: "the last read fails until the deadline: the error of the API",
			fails:     []error{nil, unavailable(), unavailable(), unavailable()},
			holds:     since(endless), timeout: 2500 * time.Millisecond, waits: seconds(1, 1), value: 1,
			check: func(t *testing.T, err error) {
				assert.ErrorIs(t, err, k8sretry.ErrDeadline)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Equal(t, 3, asError(t, err).Attempts)
			},
		},
		{
			situation: "a history: the errors of all reads",
			fails:     []error{unavailable(), nil, badGateway(), nil, gatewayTimeout()},
			holds:     since(endless), timeout: 6500 * time.Millisecond, opts: []k8sretry.Option{k8sretry.WithErrorHistory(2)},
			waits: seconds(1, 1, 1, 1, 0.5, 1), value: 4,
			check: func(t *testing.T, err error) {
				assert.Equal(t, []error{badGateway(), gatewayTimeout()}, asError(t, err).History())
			},
		},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				object := phasesWith(c.fails...)
				value, err := k8sretry.Until(ctx, object.get, c.holds, append([]k8sretry.Option{exact}, c.opts...)...)
				assert.Equal(t, c.waits, object.waits())
				assert.Equal(t, c.value, value)
				if c.check == nil {
					assert.NoError(t, err)
				} else {
					c.check(t, err)
				}
			})
		})
	}
}

func fatalAt(v, n int, err error) error {
	if v < n {
		return nil
	}
	return err
}

// A context that ends during a wait or a read ends the call at once.
func TestUntilTheContextEnds(t *testing.T) {
	cause := errors.New("shutting down")
	for _, c := range []struct {
		situation string
		slow      time.Duration // a read
		after     time.Duration
		value     int
		attempts  int
	}{
		{"during a wait", 0, 2500 * time.Millisecond, 3, 3},
		{"during a read", 2 * time.Second, 4 * time.Second, 1, 2},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(c.after, func() { cancel(cause) })
				object, began := phasesWith(), time.Now()
				value, err := k8sretry.Until(ctx, func(ctx context.Context) (int, error) {
					if c.slow > 0 {
						select {
						case <-time.After(c.slow):
						case <-ctx.Done():
							return 0, ctx.Err()
						}
					}
					return object.get(ctx)
				}, since(endless), exact)
				assert.Equal(t, c.after, time.Since(began))
				assert.Equal(t, c.value, value)
				e := asError(t, err)
				assert.Equal(t, k8sretry.StopCanceled, e.StopReason)
				assert.Equal(t, c.attempts, e.Attempts)
				assert.Same(t, k8sretry.ErrConditionNotMet, e.Err)
				assert.ErrorIs(t, err, context.Canceled)
				assert.ErrorIs(t, err, cause)
			})
		})
	}
	t.Run("before the first read", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		object := phasesWith()
		_, err := k8sretry.Until(ctx, object.get, since(1))
		assert.Same(t, cause, err)
		assert.Zero(t, object.attempts())
	})
	t.Run("in the condition", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		object := phasesWith()
		value, err := k8sretry.Until(ctx, object.get, func(int) (bool, error) { cancel(); return false, nil })
		assert.Equal(t, 1, value)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Same(t, k8sretry.ErrConditionNotMet, asError(t, err).Err)
	})
	t.Run("with the condition", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := k8sretry.Until(ctx, phasesWith().get, func(int) (bool, error) { cancel(); return true, nil })
		assert.NoError(t, err)
	})
}

// The delay between reads is spread, and the spread is drawn from the time that is left.
func TestUntilSpreadsItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 50 {
			object := phasesWith()
			_, err := k8sretry.Until(t.Context(), object.get, since(2))
			require.NoError(t, err)
			wait := object.waits()[0]
			assert.GreaterOrEqual(t, wait, time.Second)
			assert.LessOrEqual(t, wait, 1200*time.Millisecond)
			seen[wait] = true

			object = phasesWith()
			_, err = k8sretry.Until(t.Context(), object.get, since(2), k8sretry.WithMaxElapsed(1001*time.Millisecond))
			require.NoError(t, err)
		}
		assert.Greater(t, len(seen), 10)
	})
}

// Each read is a call with events of its own, and the end between two reads is a failure.
func TestUntilReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		_, err := k8sretry.Until(t.Context(), phasesWith(unavailable()).get, since(endless), exact, k8sretry.WithMaxElapsed(2*time.Second), k8sretry.WithObserver(&seen))
		require.Error(t, err)
		var kinds []k8sretry.EventKind
		for _, e := range seen.events {
			kinds = append(kinds, e.Kind)
		}
		assert.Equal(t, []k8sretry.EventKind{k8sretry.EventRetry, k8sretry.EventSuccess, k8sretry.EventSuccess, k8sretry.EventFailure}, kinds)
		last := seen.last(t)
		assert.Equal(t, k8sretry.StopMaxElapsed, last.StopReason)
		assert.Same(t, k8sretry.ErrConditionNotMet, last.Err)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, last.Outcome)
	})
}

func TestUntilGivesBackItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := k8sretry.NewLimiter()
		object := phasesWith(nil, unavailable())
		_, err := k8sretry.Until(t.Context(), object.get, func(v int) (bool, error) {
			assert.Zero(t, limiter.State().InFlight)
			return v == 3, nil
		}, k8sretry.WithLimiter(limiter))
		require.NoError(t, err)
		testkit.Sleep(time.Hour)
	})
}

func TestUntilWithInvalidArguments(t *testing.T) {
	object := phasesWith()
	_, err := k8sretry.Until(t.Context(), nil, since(1))
	assert.EqualError(t, err, "k8sretry: the function to call is nil")
	_, err = k8sretry.Until(t.Context(), object.get, nil)
	assert.EqualError(t, err, "k8sretry: the function to call is nil")
	var none context.Context
	_, err = k8sretry.Until(none, object.get, since(1))
	assert.EqualError(t, err, "k8sretry: the context is nil")
	_, err = k8sretry.Until(t.Context(), object.get, since(1), k8sretry.WithVerb(k8sretry.VerbPatch))
	assert.EqualError(t, err, "k8sretry: WithVerb(patch): Until only reads")
	_, err = k8sretry.Until(t.Context(), object.get, since(1), k8sretry.WithMaxRetries(-1))
	assert.ErrorContains(t, err, "WithMaxRetries(-1)")
	assert.Zero(t, object.attempts())
}
