package k8sretry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// Of two settings of one thing the later wins, all others stay.
func TestLaterWins(t *testing.T) {
	second := k8sretry.Exponential{Initial: 10 * time.Second, Max: 15 * time.Second, Jitter: k8sretry.JitterNone}
	for _, c := range []struct {
		situation string
		opts      []k8sretry.Option
		waits     []time.Duration
	}{
		{"the same option twice", []k8sretry.Option{exact, k8sretry.WithMaxRetries(9), k8sretry.WithMaxRetries(2)}, seconds(1, 2)},
		{"a policy after an option overlays it", []k8sretry.Option{exact, k8sretry.WithInitialDelay(time.Minute), k8sretry.ForBackground()}, seconds(2, 4)},
		{"an option after a policy overlays it", []k8sretry.Option{exact, k8sretry.ForBackground(), k8sretry.WithInitialDelay(5 * time.Second)}, seconds(5, 10)},
		{"a policy leaves what it does not set", []k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.NewPolicy(exact)}, seconds(1)},
		{"a policy of policies", []k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForBackground(), k8sretry.NewPolicy(exact, k8sretry.WithMaxRetries(1)))}, seconds(2)},
		{"a Backoff replaces the four", []k8sretry.Option{exact, k8sretry.WithInitialDelay(7), k8sretry.WithMaxRetries(2), k8sretry.WithBackoff(constantBackoff{time.Second})}, seconds(1, 1)},
		{"one of the four replaces a Backoff", []k8sretry.Option{exact, k8sretry.WithMaxRetries(2), k8sretry.WithBackoff(constantBackoff{time.Second}), k8sretry.WithInitialDelay(3 * time.Second)}, seconds(3, 6)},
		{"an Exponential is the four", []k8sretry.Option{k8sretry.WithMaxRetries(3), k8sretry.WithBackoff(second), k8sretry.WithMultiplier(1.2)}, seconds(10, 12, 14.4)},
		{"an Exponential in a policy is the four", []k8sretry.Option{k8sretry.WithBackoff(constantBackoff{1}), k8sretry.NewPolicy(k8sretry.WithMaxRetries(3), k8sretry.WithBackoff(second))}, seconds(10, 15, 15)},
		{"a Backoff in a policy", []k8sretry.Option{exact, k8sretry.NewPolicy(k8sretry.WithMaxRetries(2), k8sretry.WithBackoff(constantBackoff{time.Second}))}, seconds(1, 1)},
		{"a policy's schedule replaces a Backoff", []k8sretry.Option{exact, k8sretry.WithBackoff(constantBackoff{time.Second}), k8sretry.ForBackground()}, seconds(2, 4)},
		{"a schedule for another class changes nothing", []k8sretry.Option{exact, k8sretry.WithMaxRetries(1), k8sretry.WithBackoffFor(k8sretry.ClassTimeout, constantBackoff{7})}, seconds(1)},
		{"a schedule for the class in a policy", []k8sretry.Option{exact, k8sretry.NewPolicy(k8sretry.WithMaxRetries(1), k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{7 * time.Second}))}, seconds(7)},
		{"a schedule for the class, then a policy without one", []k8sretry.Option{exact, k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{7 * time.Second}), k8sretry.NewPolicy(k8sretry.WithMaxRetries(1))}, seconds(7)},
		{"a schedule for the class, then a policy with one for another", []k8sretry.Option{exact, k8sretry.WithMaxRetries(1), k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{7 * time.Second}), k8sretry.NewPolicy(k8sretry.WithBackoffFor(k8sretry.ClassTimeout, constantBackoff{9 * time.Second}))}, seconds(7)},
		{"of two schedules for the class the later", []k8sretry.Option{exact, k8sretry.WithMaxRetries(1), k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{7 * time.Second}), k8sretry.NewPolicy(k8sretry.WithBackoffFor(k8sretry.ClassServer, constantBackoff{9 * time.Second}))}, seconds(9)},
		{"a given 0 is not the default: no delay", []k8sretry.Option{exact, k8sretry.WithMaxRetries(2), k8sretry.WithInitialDelay(0)}, seconds(0, 0)},
		{"a given 0 as the longest delay: no delay", []k8sretry.Option{exact, k8sretry.WithMaxRetries(2), k8sretry.WithMaxDelay(0)}, seconds(0, 0)},
		{"a bound of time taken off again", []k8sretry.Option{exact, k8sretry.WithMaxRetries(1), k8sretry.WithMaxElapsed(1), k8sretry.WithMaxElapsed(0)}, seconds(1)},
	} {
		t.Run(c.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, unavailable())...)
				_, err := k8sretry.Do(t.Context(), s.get, c.opts...)
				require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, c.waits, s.waits())
			})
		})
	}
}

// Every setting survives being put into a policy, and into a policy of that policy.
func TestPolicyKeepsEverySetting(t *testing.T) {
	var seen recorder
	logger, written := logs()
	asked := 0
	policy := k8sretry.NewPolicy(k8sretry.NewPolicy(
		k8sretry.WithName("get_database"), k8sretry.WithVerb(k8sretry.VerbDelete), k8sretry.WithMaxRetries(2),
		k8sretry.WithInitialDelay(4*time.Second), k8sretry.WithMaxDelay(5*time.Second), k8sretry.WithMultiplier(3), exact,
		k8sretry.WithMaxElapsed(time.Hour), k8sretry.WithAttemptTimeout(time.Minute), k8sretry.WithMaxRetryAfter(time.Second),
		k8sretry.WithRetryIf(func(err error) bool { asked++; return err == errNo }), logger, k8sretry.WithObserver(&seen),
		k8sretry.WithClassifier(func(error) (k8sretry.Verdict, bool) { asked++; return k8sretry.Verdict{}, false }),
	))
	synctest.Test(t, func(t *testing.T) {
		s := fails(errNo, errNo, tooMany(2))
		deadline := false
		_, err := k8sretry.Do(t.Context(), func(ctx context.Context) (string, error) {
			_, deadline = ctx.Deadline()
			return s.get(ctx)
		}, policy)
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.Equal(t, seconds(4, 5), s.waits())
		assert.True(t, deadline, "the attempt timeout")
		assert.Equal(t, 6, asked)
		e := asError(t, err)
		assert.Equal(t, "get_database", e.Function)
		assert.Equal(t, k8sretry.VerbDelete, e.Verb)
		assert.Len(t, seen.events, 3)
		assert.Len(t, written.All(), 3)

		_, err = k8sretry.Do(t.Context(), fails(tooMany(2)).get, policy)
		assert.ErrorIs(t, err, k8sretry.ErrRetryAfterTooLong)
		_, err = k8sretry.Do(t.Context(), fails(errNo).get, policy, k8sretry.WithMaxElapsed(time.Second))
		assert.ErrorIs(t, err, k8sretry.ErrMaxElapsed)
	})
}
