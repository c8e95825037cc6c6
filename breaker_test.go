// SPDX-License-Identifier: Apache-2.0

package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestBreakerConfig(t *testing.T) {
	for _, c := range []struct {
		situation string
		config    k8sretry.BreakerConfig
		problem   string
	}{
		{"the zero value", k8sretry.BreakerConfig{}, ""},
		{"everything is set", k8sretry.BreakerConfig{MinFailures: 1, FailureRatio: 1, Window: 1, OpenDuration: 1, MaxOpenDuration: 1, HalfOpenProbes: 1}, ""},
		{"the largest values", k8sretry.BreakerConfig{
			MinFailures: math.MaxInt, FailureRatio: 1, Window: math.MaxInt64, OpenDuration: math.MaxInt64, MaxOpenDuration: math.MaxInt64, HalfOpenProbes: math.MaxInt,
		}, ""},
		{"a negative MinFailures", k8sretry.BreakerConfig{MinFailures: -1}, "MinFailures must not be negative"},
		{"a negative FailureRatio", k8sretry.BreakerConfig{FailureRatio: -0.1}, "FailureRatio must be above 0 and at most 1"},
		{"a FailureRatio above 1", k8sretry.BreakerConfig{FailureRatio: 1.1}, "FailureRatio must be above 0 and at most 1"},
		{"a FailureRatio that is NaN", k8sretry.BreakerConfig{FailureRatio: nan()}, "FailureRatio must be above 0 and at most 1"},
		{"a negative Window", k8sretry.BreakerConfig{Window: -1}, "Window must not be negative"},
		{"a negative OpenDuration", k8sretry.BreakerConfig{OpenDuration: -1}, "OpenDuration must not be negative"},
		{"a negative MaxOpenDuration", k8sretry.BreakerConfig{MaxOpenDuration: -1}, "MaxOpenDuration must not be negative"},
		{"a negative HalfOpenProbes", k8sretry.BreakerConfig{HalfOpenProbes: -1}, "HalfOpenProbes must not be negative"},
	} {
		t.Run(c.situation, func(t *testing.T) {
			b, fn := k8sretry.NewBreaker(c.config), fails()
			assert.Equal(t, k8sretry.BreakerClosed, b.State())
			_, err := k8sretry.Do(t.Context(), fn.get, k8sretry.WithBreaker(b))
			if c.problem == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, "k8sretry: NewBreaker: "+c.problem)
			assert.Zero(t, fn.attempts())
			assert.Equal(t, k8sretry.BreakerClosed, b.State())
		})
	}
}

func TestBreakerZeroValueNeverOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(k8sretry.Breaker)
		for range 100 {
			_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
			assert.NotErrorIs(t, err, k8sretry.ErrBreakerOpen)
			testkit.Sleep(time.Second)
		}
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
	assert.Equal(t, k8sretry.BreakerClosed, (*k8sretry.Breaker)(nil).State())
}

func TestBreakerStateNames(t *testing.T) {
	for s, want := range map[k8sretry.BreakerState]string{
		k8sretry.BreakerClosed: "closed", k8sretry.BreakerOpen: "open", k8sretry.BreakerHalfOpen: "half_open", 3: "invalid",
	} {
		assert.Equal(t, want, s.String())
	}
}

// Failures open it, attempts are refused, probes close it: with errors, events and logs.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 5, Window: time.Second})
		var seen recorder
		logger, written := logs()
		opts := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0), k8sretry.WithObserver(&seen), logger, k8sretry.WithName("get")}
		for range 5 {
			_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
			require.Error(t, err)
			testkit.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, k8sretry.BreakerOpen, b.State())

		fn := fails()
		_, err := k8sretry.Do(t.Context(), fn.get, opts...)
		assert.Zero(t, fn.attempts())
		assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		assert.True(t, apierrors.IsServiceUnavailable(err), "the last error of the API")
		e := asError(t, err)
		assert.Zero(t, e.Attempts)
		assert.Positive(t, e.RetryAfter)
		assert.LessOrEqual(t, e.RetryAfter, 2400*time.Millisecond)
		assert.ErrorContains(t, err, fmt.Sprintf("get: circuit breaker open for another %v, request not sent: ", e.RetryAfter.Round(time.Millisecond)))

		testkit.Sleep(e.RetryAfter)
		_, err = k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
		assert.True(t, apierrors.IsServiceUnavailable(err), "the probe failed")
		assert.NotErrorIs(t, err, k8sretry.ErrBreakerOpen)
		_, err = k8sretry.Do(t.Context(), fails().get, opts...)
		assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		testkit.Sleep(asError(t, err).RetryAfter)
		_, err = k8sretry.Do(t.Context(), fails(notFound()).get, opts...)
		assert.True(t, apierrors.IsNotFound(err))
		assert.Equal(t, k8sretry.BreakerClosed, b.State(), "a 404 is the answer of a server that works")

		var states []k8sretry.BreakerState
		for _, e := range seen.events {
			if e.Kind == k8sretry.EventBreaker {
				states = append(states, e.Breaker)
			}
		}
		const open, half, closed = k8sretry.BreakerOpen, k8sretry.BreakerHalfOpen, k8sretry.BreakerClosed
		assert.Equal(t, []k8sretry.BreakerState{open, half, open, half, closed}, states)
		assert.Equal(t, 2, written.FilterMessage("k8s_api_breaker_open").Len())
		assert.Equal(t, 2, written.FilterMessage("k8s_api_breaker_half_open").Len())
		assert.Equal(t, 1, written.FilterMessage("k8s_api_breaker_closed").Len())
	})
}

// The error of a refused call is that of another call, whose outcome is unknown. The refused call
// was not executed.
func TestBreakerRefusedCallIsNotExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3, Window: time.Second})
		var seen recorder
		opts := []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0), k8sretry.WithVerb(k8sretry.VerbUpdate), k8sretry.WithObserver(&seen)}
		for b.State() != k8sretry.BreakerOpen {
			_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
			require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
			testkit.Sleep(200 * time.Millisecond)
		}
		_, err := k8sretry.Do(t.Context(), fails().get, opts...)
		assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
		assert.True(t, apierrors.IsServiceUnavailable(err), "the error of the API")
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, asError(t, err).Outcome)
		e := seen.last(t)
		assert.Equal(t, k8sretry.StopBreakerOpen, e.StopReason)
		assert.Zero(t, e.Attempt)
		assert.Equal(t, k8sretry.ClassServer, e.Class)
		assert.Equal(t, k8sretry.OutcomeNotExecuted, e.Outcome)
	})
}

// The RetryAfter of a refused call says when the breaker admits an attempt, whatever the age of the
// error that opened it and the Retry-After of that.
func TestBreakerRetryAfter(t *testing.T) {
	for situation, asked := range map[string]int32{"no wait": 0, "half a minute": 30, "a day": 86400} {
		t.Run("the server asks for "+situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := k8sretry.NewBreaker(k8sretry.BreakerConfig{})
				down := status(503, "")
				down.ErrStatus.Details = tooMany(asked).(apierrors.APIStatus).Status().Details
				call := func() error {
					_, err := k8sretry.Do(t.Context(), fails(down).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
					return err
				}
				for b.State() != k8sretry.BreakerOpen {
					_ = call()
					testkit.Sleep(500 * time.Millisecond)
				}
				first := asError(t, call())
				testkit.Sleep(first.RetryAfter / 2)
				second := asError(t, call())
				assert.Equal(t, first.RetryAfter-first.RetryAfter/2, second.RetryAfter)
				testkit.Sleep(second.RetryAfter - time.Nanosecond)
				assert.ErrorIs(t, call(), k8sretry.ErrBreakerOpen)
				testkit.Sleep(time.Nanosecond)
				assert.NotErrorIs(t, call(), k8sretry.ErrBreakerOpen, "it admits an attempt")
			})
		})
	}
}

// An OpenDuration may be longer than the default of MaxOpenDuration.
func TestBreakerWithALongOpenDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{OpenDuration: 5 * time.Minute})
		call := func() error {
			return k8sretry.Run(t.Context(), func(context.Context) error { return unavailable() }, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
		}
		for call(); b.State() != k8sretry.BreakerOpen; call() {
			testkit.Sleep(500 * time.Millisecond)
		}
		assert.GreaterOrEqual(t, asError(t, call()).RetryAfter, 4*time.Minute)
	})
}

// If an observer panics, the probe is given back.
func TestBreakerWhenAnObserverPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MaxOpenDuration: time.Hour})
		down := func(context.Context) error { return unavailable() }
		for b.State() != k8sretry.BreakerOpen {
			_ = k8sretry.Run(t.Context(), down, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
			testkit.Sleep(500 * time.Millisecond)
		}
		testkit.Sleep(time.Minute)
		assert.Panics(t, func() {
			_ = k8sretry.Run(t.Context(), down, k8sretry.WithBreaker(b), k8sretry.WithObserver(observerFunc(func(context.Context, k8sretry.Event) {
				panic("of the observer")
			})))
		})
		assert.Equal(t, k8sretry.BreakerHalfOpen, b.State())
		assert.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return nil }, k8sretry.WithBreaker(b)))
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
}

// breakerForms are the ways to pass a Breaker to a call, with a Limiter and without.
var breakerForms = map[string]func(*k8sretry.Breaker, *k8sretry.Limiter) []k8sretry.Option{
	"a Policy": func(b *k8sretry.Breaker, _ *k8sretry.Limiter) []k8sretry.Option {
		return []k8sretry.Option{k8sretry.NewPolicy(k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))}
	},
	"options in the call": func(b *k8sretry.Breaker, _ *k8sretry.Limiter) []k8sretry.Option {
		return []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0)}
	},
	"a Policy with a Limiter": func(b *k8sretry.Breaker, l *k8sretry.Limiter) []k8sretry.Option {
		return []k8sretry.Option{k8sretry.NewPolicy(k8sretry.WithBreaker(b), k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0))}
	},
	"options in the call with a Limiter": func(b *k8sretry.Breaker, l *k8sretry.Limiter) []k8sretry.Option {
		return []k8sretry.Option{k8sretry.WithBreaker(b), k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0)}
	},
}

// The failure of a first attempt counts, and an open breaker refuses first attempts.
func TestBreakerCountsFirstAttempts(t *testing.T) {
	for name, form := range breakerForms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 2})
				opts := form(b, k8sretry.NewLimiter())
				for range 2 {
					assert.Equal(t, k8sretry.BreakerClosed, b.State())
					_, err := k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
					assert.True(t, apierrors.IsServiceUnavailable(err))
					testkit.Sleep(11 * time.Second) // the window has passed: the failures count as those in a row
				}
				require.Equal(t, k8sretry.BreakerOpen, b.State())
				b = k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 2, OpenDuration: time.Hour})
				opts = form(b, k8sretry.NewLimiter())
				for b.State() != k8sretry.BreakerOpen {
					_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, opts...)
					testkit.Sleep(11 * time.Second)
				}
				fn := fails()
				_, err := k8sretry.Do(t.Context(), fn.get, opts...)
				assert.ErrorIs(t, err, k8sretry.ErrBreakerOpen)
				assert.True(t, apierrors.IsServiceUnavailable(err))
				assert.Zero(t, fn.attempts())
			})
		})
	}
}

// A success ends a row of failures, also if those of other calls happened after it began, and so does
// a permanent error that only a working server returns. An error of the caller does not.
func TestBreakerCountsSuccesses(t *testing.T) {
	for name, form := range breakerForms {
		for situation, c := range map[string]struct {
			answer error
			opens  bool
		}{
			"a success":              {nil, false},
			"NotFound":               {notFound(), false},
			"an error of the caller": {errors.New("of the caller"), true},
		} {
			t.Run(situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 2})
					opts := form(b, k8sretry.NewLimiter())
					require.NoError(t, k8sretry.Run(t.Context(), func(context.Context) error { return nil }, opts...))
					err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
						_, _ = k8sretry.Do(ctx, fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
						return c.answer
					}, opts...)
					assert.Equal(t, c.answer, err)
					testkit.Sleep(11 * time.Second)
					_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
					assert.Equal(t, c.opens, b.State() == k8sretry.BreakerOpen)
				})
			})
		}
	}
}

// A success counts once, also if the Limiter has something to do with it.
func TestBreakerCountsASuccessOnce(t *testing.T) {
	for name, form := range breakerForms {
		for situation, answer := range map[string]error{"a success": nil, "NotFound": notFound()} {
			t.Run(situation+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, l := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 2, FailureRatio: 0.6}), k8sretry.NewLimiter()
					opts := form(b, l)
					for range 2 {
						err := k8sretry.Run(t.Context(), func(ctx context.Context) error {
							_, _ = k8sretry.Do(ctx, fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithLimiter(l), k8sretry.WithMaxRetries(0))
							return answer
						}, opts...)
						assert.Equal(t, answer, err)
					}
					testkit.Sleep(5 * time.Second)
					_, _ = k8sretry.Do(t.Context(), fails(unavailable()).get, k8sretry.WithBreaker(b), k8sretry.WithMaxRetries(0))
					assert.Equal(t, k8sretry.BreakerOpen, b.State(), "3 failures of 5 attempts in the window, and the last one failed")
				})
			})
		}
	}
}
