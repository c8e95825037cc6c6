package k8sretry_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
)

// The table of the package documentation and the README: what each preset waits.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy *k8sretry.Policy
		fail   error
		waits  []time.Duration
		total  time.Duration
	}{
		{"the defaults", k8sretry.NewPolicy(), unavailable(), seconds(1, 2, 4), 7 * time.Second},
		{"ForWrite", k8sretry.ForWrite(), unavailable(), seconds(2, 4, 8, 16, 30), 60 * time.Second},
		{"ForRead", k8sretry.ForRead(), unavailable(), seconds(1, 2, 4), 7 * time.Second},
		{"ForConnection", k8sretry.ForConnection(), network("read", 104), seconds(0.5, 1, 2, 4, 8), 15500 * time.Millisecond},
		{"ForMaintenance", k8sretry.ForMaintenance(), unavailable(), seconds(0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60), 243500 * time.Millisecond},
		{"ForBackground", k8sretry.ForBackground(), unavailable(), seconds(2, 4), 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, c.fail)...)
				_, err := k8sretry.Do(t.Context(), s.get, c.policy, exact)
				require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, c.waits, s.waits())
				assert.Equal(t, c.total, asError(t, err).Elapsed)
			})
		})
	}
}

func TestPresetsAreSharedAndLeaveOtherSettings(t *testing.T) {
	assert.Same(t, k8sretry.ForWrite(), k8sretry.ForWrite())
	synctest.Test(t, func(t *testing.T) {
		s := fails(times(2, unavailable())...)
		_, err := k8sretry.Do(t.Context(), s.get, exact, k8sretry.WithMultiplier(3), k8sretry.ForWrite())
		require.NoError(t, err)
		assert.Equal(t, seconds(2, 6), s.waits(), "a preset says nothing of jitter and multiplier")
	})
}

func TestForEvictionEndsWithTheContextAndTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := contextWithTimeout(t, time.Minute)
		defer cancel()
		start := time.Now()
		s := fails(times(99, budgetSpent())...)
		_, err := k8sretry.Do(ctx, s.get, k8sretry.ForEviction(), exact)
		assert.ErrorIs(t, err, k8sretry.ErrDeadline)
		assert.ErrorContains(t, err, "disruption budget")
		assert.Less(t, time.Since(start), time.Minute)
		assert.Equal(t, 5, s.attempts(), "at 0, 5, 12.5, 23.75, 40.6 s and no later than the deadline")
	})
}

// A call of ForRead reads: what became of a failed attempt is in no doubt, unless its
// verb says otherwise.
func TestForReadReads(t *testing.T) {
	for name, c := range map[string]struct {
		opts  []k8sretry.Option
		doubt bool
	}{
		"a query":                         {[]k8sretry.Option{k8sretry.ForRead()}, false},
		"a query with another option":     {[]k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.ForRead(), exact}, false},
		"a query within a policy":         {[]k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForRead())}, false},
		"a query, then a policy":          {[]k8sretry.Option{k8sretry.ForRead(), k8sretry.NewPolicy(k8sretry.WithName("list_pods"))}, false},
		"both within a policy":            {[]k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.NewPolicy(k8sretry.WithName("list_pods")))}, false},
		"a query with a verb that writes": {[]k8sretry.Option{k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbUpdate)}, true},
		"another preset":                  {[]k8sretry.Option{k8sretry.ForBackground()}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, c.opts...)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, c.doubt, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		})
	}
}
