package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// What fn marks with Permanent ends the call at once, and comes back without the mark.
func TestPermanentEndsTheCall(t *testing.T) {
	always := func(error) bool { return true }
	transient := func(error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true }
	down := error(unavailable())
	for situation, opts := range map[string][]k8sretry.Option{
		"no option":                  nil,
		"a policy":                   {k8sretry.ForWrite()},
		"a verb that reads":          {k8sretry.WithVerb(k8sretry.VerbGet)},
		"RetryIf says yes":           {k8sretry.WithRetryIf(always)},
		"RetryOn lists it":           {k8sretry.WithRetryOn(down)},
		"the classifier says server": {k8sretry.WithClassifier(transient)},
		"an attempt timeout":         {k8sretry.WithAttemptTimeout(time.Minute)},
		"an observer":                {k8sretry.WithObserver(new(recorder))},
	} {
		t.Run(situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(k8sretry.Permanent(down))
				_, err := k8sretry.Do(t.Context(), s.get, opts...)
				assert.Same(t, down, err)
				assert.Equal(t, 1, s.attempts())
			})
		})
	}
}

func TestPermanentAfterRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fails(unavailable(), k8sretry.Permanent(io.EOF))
		_, err := k8sretry.Do(t.Context(), s.get, k8sretry.ForRead())
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, 2, s.attempts())

		var seen recorder
		s = fails(unavailable(), k8sretry.Permanent(io.EOF))
		_, err = k8sretry.Do(t.Context(), s.get, k8sretry.WithObserver(&seen))
		assert.ErrorIs(t, err, io.EOF)
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown, "of the first attempt")
		last := seen.last(t)
		assert.Equal(t, k8sretry.StopNonRetryable, last.StopReason)
		assert.Equal(t, io.EOF, last.Err, "the event has no mark either")
		assert.Equal(t, k8sretry.ClassPermanent, last.Class)
	})
}

// A write that may have been carried out says so, marked or not.
func TestPermanentKeepsTheOutcomeOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := k8sretry.Do(t.Context(), fails(k8sretry.Permanent(gatewayTimeout())).get, k8sretry.WithVerb(k8sretry.VerbUpdate))
		assert.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
		assert.True(t, apierrors.IsTimeout(err))
	})
}

func TestPermanentIsSeenThrough(t *testing.T) {
	assert.NoError(t, k8sretry.Permanent(nil))
	notFound := apierrors.NewNotFound(corev1.Resource("pods"), "web-0")
	marked := k8sretry.Permanent(notFound)
	assert.True(t, apierrors.IsNotFound(marked))
	assert.ErrorIs(t, marked, notFound)
	assert.Equal(t, notFound.Error(), marked.Error())

	for _, err := range []error{marked, fmt.Errorf("pods: %w", k8sretry.Permanent(unavailable())), errors.Join(io.EOF, k8sretry.Permanent(io.EOF))} {
		assert.Equal(t, k8sretry.ClassPermanent, k8sretry.Classify(err).Class, "%v", err)
		assert.False(t, k8sretry.IsRetryableConnectionError(err), "%v", err)
		synctest.Test(t, func(t *testing.T) {
			_, got := k8sretry.Do(t.Context(), func(context.Context) (int, error) { return 0, err }, k8sretry.ForRead())
			if err == marked {
				require.Same(t, notFound, got)
			} else {
				require.Equal(t, err, got, "a wrapper comes back as it is")
			}
		})
	}
}

// A marked error says nothing about the server's health.
func TestPermanentDoesNotOpenABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 1, Window: time.Second})
		for range 20 {
			_, _ = k8sretry.Do(t.Context(), fails(k8sretry.Permanent(unavailable())).get, k8sretry.WithBreaker(b))
			time.Sleep(time.Second)
		}
		assert.Equal(t, k8sretry.BreakerClosed, b.State())
	})
}

// A BackoffFunc is a Backoff, with everything that is true of one.
func TestBackoffFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		linear := k8sretry.BackoffFunc(func(retry int) time.Duration { return time.Duration(retry) * time.Second })
		s := fails(times(9, unavailable())...)
		_, err := k8sretry.Do(t.Context(), s.get, k8sretry.WithBackoff(linear))
		require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.Equal(t, seconds(1, 2, 3), s.waits())
		s = fails(times(9, unavailable())...)
		_, err = k8sretry.Do(t.Context(), s.get, exact, k8sretry.WithMaxRetries(1), k8sretry.WithBackoffFor(k8sretry.ClassServer, linear))
		require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.Equal(t, seconds(1), s.waits())
		for _, o := range []k8sretry.Option{
			k8sretry.WithBackoff(k8sretry.BackoffFunc(nil)), k8sretry.WithBackoffFor(k8sretry.ClassServer, k8sretry.BackoffFunc(nil)),
		} {
			s = fails()
			_, err = k8sretry.Do(t.Context(), s.get, o)
			assert.ErrorContains(t, err, "the Backoff is nil")
			assert.Zero(t, s.attempts())
		}
	})
}
